//! What `demo` and `fill` share: made-up people, work and talk, and how both commands show their progress.
//!
//! Everything random comes from one seeded generator, so that a run can be repeated.

use std::time::Duration;

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressStyle};

use crate::base::{enums::Priority, error::Error};

/// A failure of a service, for the operator's terminal.
pub fn told(error: impl AsRef<Error>) -> anyhow::Error {
    anyhow::Error::msg(error.as_ref().describe())
}

/// A bar on standard error; nothing where that is not a terminal.
pub fn progress(steps: u64, template: &str) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(steps).with_style(ProgressStyle::with_template(template)?.progress_chars("━╸─"));
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// One of them.
pub fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.usize(..of.len())]
}

/// An index, each as likely as its weight says.
pub fn weighted(rng: &mut Rng, weights: &[u32]) -> usize {
    let mut drawn = rng.u32(..weights.iter().sum::<u32>());
    weights
        .iter()
        .position(|weight| {
            let hit = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            hit
        })
        .unwrap_or_default()
}

/// Priorities, with the weights of a usual backlog.
pub fn priority(rng: &mut Rng) -> Priority {
    [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][weighted(rng, &[20, 46, 25, 9])]
}

/// Estimates, in hours.
pub const ESTIMATES: &[f64] = &[0.5, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 6.0, 8.0, 8.0, 12.0, 16.0, 24.0, 40.0];

// ── people, teams, tags ──

pub const FIRST_NAMES: &[&str] = &[
    "Amara", "Jonas", "Priya", "Robert", "Mei", "Lucas", "Sofia", "David", "Aisha", "Mateo", "Hannah", "Kenji", "Elif",
    "Noah", "Ingrid", "Tariq", "Clara", "Diego", "Yuki", "Marta", "Samuel", "Leila", "Pavel", "Grace", "Omar", "Freya",
    "Rafael", "Nadia", "Oscar", "Zofia", "Arjun", "Camille",
];

pub const LAST_NAMES: &[&str] = &[
    "Okafor", "Lindgren", "Raman", "Hale", "Tanaka", "Ferreira", "Moretti", "Cohen", "Rahman", "Vargas", "Schmidt",
    "Sato", "Yilmaz", "Bennett", "Dahl", "Haddad", "Novak", "Castillo", "Mori", "Kowalska", "Osei", "Farahani",
    "Petrov", "Murphy", "Nasser", "Olsen", "Almeida", "Karim", "Nilsson", "Wojcik", "Mehta", "Laurent",
];

/// Tags with colors that can be told apart and read under white text.
pub const TAGS: &[(&str, &str)] = &[
    ("bug", "#DC2626"),
    ("feature", "#2563EB"),
    ("performance", "#C2410C"),
    ("security", "#7C3AED"),
    ("design", "#DB2777"),
    ("infrastructure", "#4B5563"),
    ("incident", "#7F1D1D"),
    ("customer", "#15803D"),
    ("documentation", "#0E7490"),
    ("content", "#4D7C0F"),
    ("research", "#3730A3"),
    ("quick win", "#A16207"),
];

/// A field of work, which a team has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    Platform,
    Operations,
    Marketing,
}

impl Area {
    pub const ALL: [Self; 3] = [Self::Platform, Self::Operations, Self::Marketing];

    pub fn team(self) -> (&'static str, &'static str) {
        match self {
            Self::Platform => ("Platform", "Builds the product: web app, mobile app and the public API."),
            Self::Operations => ("Operations", "Keeps the service running, safe and affordable; helps the office too."),
            Self::Marketing => ("Marketing", "Tells people what we make, and finds out what they need."),
        }
    }

    pub fn tasks(self) -> &'static [Task] {
        match self {
            Self::Platform => PLATFORM,
            Self::Operations => OPERATIONS,
            Self::Marketing => MARKETING,
        }
    }
}

/// A piece of work, with the work it consists of.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub title: &'static str,
    pub tags: &'static [&'static str],
    pub subtasks: &'static [Subtask],
}

pub type Subtask = (&'static str, &'static [&'static str]);

const fn task(title: &'static str, tags: &'static [&'static str]) -> Task {
    Task { title, tags, subtasks: &[] }
}

const fn tree(title: &'static str, tags: &'static [&'static str], subtasks: &'static [Subtask]) -> Task {
    Task { title, tags, subtasks }
}

const PLATFORM: &[Task] = &[
    tree(
        "Move the job queue to PostgreSQL",
        &["infrastructure", "performance"],
        &[
            ("Write the migration for the jobs table", &[]),
            ("Port the workers to the new queue", &["Port the mailer", "Port the report builder", "Port the exports"]),
            ("Run both queues side by side for a week", &[]),
            ("Remove the old queue and its alerts", &[]),
        ],
    ),
    tree(
        "Single sign-on with SAML",
        &["feature", "security", "customer"],
        &[
            ("Choose a SAML library", &[]),
            ("Upload of metadata in the organization's settings", &[]),
            ("Map groups to roles", &[]),
            ("Test with two identity providers", &["Test tenant at Okta", "Test tenant at Entra ID"]),
        ],
    ),
    tree(
        "Faster search",
        &["performance", "customer"],
        &[
            ("Measure the slowest hundred queries", &[]),
            ("Index titles and descriptions", &[]),
            ("Send less with each search result", &[]),
        ],
    ),
    tree(
        "Dark mode",
        &["feature", "design"],
        &[("Color tokens for both themes", &[]), ("Charts in dark mode", &[]), ("Remember the choice per device", &[])],
    ),
    tree(
        "Import from CSV",
        &["feature", "customer"],
        &[
            ("Upload with a preview of the first rows", &[]),
            ("Map columns to fields", &[]),
            ("Report rows that could not be read", &[]),
        ],
    ),
    tree(
        "Accessibility audit of the web app",
        &["design", "research"],
        &[("Keyboard order in dialogs", &[]), ("Contrast of secondary text", &[]), ("Names for icon buttons", &[])],
    ),
    tree(
        "Mobile app: offline mode",
        &["feature"],
        &[
            ("Local store for lists and tasks", &[]),
            ("Queue of changes made offline", &["Merge edits of the same field", "Show what is still to be sent"]),
            ("Sync on reconnect", &[]),
        ],
    ),
    tree(
        "Upgrade the web app's framework",
        &["infrastructure"],
        &[("Update the test helpers", &[]), ("Replace the date picker", &[])],
    ),
    tree(
        "Rate limits for the public API",
        &["feature", "security"],
        &[("Agree on limits per plan", &[]), ("Limit headers in every answer", &[]), ("Document the limits", &[])],
    ),
    tree(
        "Split the settings page",
        &["design"],
        &[("Tab for the profile", &[]), ("Tab for notifications", &[]), ("Tab for billing", &[])],
    ),
    tree(
        "Webhooks, second version",
        &["feature"],
        &[
            ("Signatures with rotating secrets", &[]),
            ("Retry with growing pauses", &[]),
            ("Delivery log in the settings", &[]),
        ],
    ),
    task("Sign-in page flashes white before the theme loads", &["bug", "design"]),
    task("Totals of the monthly report are off by one day in Sydney", &["bug", "customer"]),
    task("Attachment names with emoji are cut off", &["bug"]),
    task("Export to PDF loses table borders", &["bug"]),
    task("Search box loses focus after the first letter", &["bug"]),
    task("Duplicate notifications when a task is assigned twice", &["bug"]),
    task("Password reset mail has no subject in Outlook", &["bug", "customer"]),
    task("A dragged card jumps back on slow connections", &["bug"]),
    task("API answers 500 for a cursor of a deleted view", &["bug"]),
    task("Time zone picker lists Kyiv twice", &["bug", "quick win"]),
    task("Comment count stays at one after the last comment is deleted", &["bug"]),
    task("Avatar upload accepts files of zero bytes", &["bug", "security"]),
    task("Shortcut for a new task clashes with Firefox", &["bug"]),
    task("Week view starts on Sunday for everybody", &["bug", "customer"]),
    task("Memory of the worker grows by 40 MB a day", &["bug", "performance"]),
    task("Flaky test in the notification suite", &["bug"]),
    task("Board takes four seconds with more than 500 cards", &["performance", "customer"]),
    task("Too many queries behind the activity feed", &["performance"]),
    task("Cache permissions for the length of a request", &["performance"]),
    task("Compress API answers above one kilobyte", &["performance", "quick win"]),
    task("Load the editor only when it is needed", &["performance"]),
    task("Slow first requests after a deploy", &["performance", "infrastructure"]),
    task("Index for the list of overdue tasks", &["performance", "quick win"]),
    task("Require two-factor sign-in for administrators", &["security", "feature"]),
    task("Rotate the signing keys every quarter", &["security"]),
    task("Session list with sign-out for each device", &["security", "feature"]),
    task("Content security policy without inline scripts", &["security"]),
    task("Replace the abandoned image library", &["security"]),
    task("Check uploaded files for their real type", &["security"]),
    task("Bulk edit of tags", &["feature", "customer"]),
    task("Recurring tasks", &["feature", "customer"]),
    task("Saved filters for the whole team", &["feature"]),
    task("Mention people in comments", &["feature"]),
    task("Reminder by e-mail one day before the due date", &["feature"]),
    task("Copy a task with all its subtasks", &["feature", "customer"]),
    task("Guest access to a single project", &["feature", "customer"]),
    task("Estimated and actual hours in the list view", &["feature"]),
    task("Keyboard navigation on the board", &["feature", "design"]),
    task("Undo for deleting a comment", &["feature"]),
    task("Calendar feed of due dates", &["feature"]),
    task("Task templates for onboarding", &["feature", "customer"]),
    task("Chat integration: previews for links to tasks", &["feature"]),
    task("Paste a file from the clipboard", &["feature", "quick win"]),
    task("Empty states for new organizations", &["design"]),
    task("One style for all date pickers", &["design"]),
    task("Priority icons that work without color", &["design"]),
    task("Shorter texts in the invitation dialog", &["design", "quick win"]),
    task("Print style sheet for task lists", &["design"]),
    task("API guide: pagination with examples", &["documentation"]),
    task("Changelog page for the API", &["documentation"]),
    task("How to run the server from a clean checkout", &["documentation"]),
    task("Describe every error code of the API", &["documentation"]),
    task("Test the upgrade from the oldest supported version", &["infrastructure"]),
    task("Cut the build time below five minutes", &["infrastructure", "performance"]),
    task("Remove feature flags that are on for everybody", &["quick win"]),
    task("Delete the code of the old importer", &["quick win"]),
    task("Compare two full-text search engines", &["research", "performance"]),
    task("How do customers use subtasks? Look at ten accounts", &["research", "customer"]),
    task("Prototype of a timeline view", &["research", "design"]),
    task("Decide on the minimum browser versions", &["research"]),
];

const OPERATIONS: &[Task] = &[
    tree(
        "Disaster recovery drill",
        &["infrastructure"],
        &[
            (
                "Restore the latest backup into an empty region",
                &["Time the restore", "Check row counts against production"],
            ),
            ("Switch DNS to the standby", &[]),
            ("Write down what went wrong", &[]),
        ],
    ),
    tree(
        "Cut the cloud bill by a fifth",
        &["infrastructure", "research"],
        &[
            ("Right-size the staging databases", &[]),
            ("Move old attachments to cheaper storage", &[]),
            ("Turn off preview environments at night", &[]),
        ],
    ),
    tree(
        "SOC 2 evidence for the quarter",
        &["security"],
        &[
            ("Access review of production systems", &[]),
            ("Export of change approvals", &[]),
            ("Report of the penetration test", &[]),
        ],
    ),
    tree(
        "On-call handbook",
        &["documentation", "incident"],
        &[("Who to call, and when", &[]), ("The first ten minutes of an incident", &[])],
    ),
    task("Renew the certificate of the status page", &["infrastructure", "security"]),
    task("Alert when a backup is older than a day", &["infrastructure"]),
    task("Replica lag above ten seconds on Monday mornings", &["incident", "performance"]),
    task("Postmortem of the e-mail outage", &["incident", "documentation"]),
    task("Disk of the log host at 85 percent", &["incident"]),
    task("Patch the VPN gateway", &["security"]),
    task("Upgrade PostgreSQL on the reporting cluster", &["infrastructure"]),
    task("Laptops for two new colleagues", &["quick win"]),
    task("Access for the new support agents", &["security"]),
    task("Remove accounts of people who left", &["security"]),
    task("Move the office to the new internet provider", &[]),
    task("Runbook: restoring a single organization", &["documentation"]),
    task("Runbook: the mail queue is stuck", &["documentation", "incident"]),
    task("Dashboards for the on-call engineer", &["infrastructure"]),
    task("Rename the staging hosts to the new scheme", &["infrastructure"]),
    task("Negotiate the contract of the monitoring service", &[]),
    task("Data processing agreement with the new mail provider", &["security"]),
    task("Inventory of all software licenses", &["research"]),
    task("Second region for attachments", &["infrastructure"]),
    task("Keep logs for 30 days instead of 90", &["infrastructure", "quick win"]),
    task("Answer the security questionnaire of Halden Bank", &["customer", "security"]),
    task("Escalation path for weekends", &["incident", "documentation"]),
    task("Load test before the next campaign", &["performance", "infrastructure"]),
    task("Status page: show the state of webhooks", &["customer"]),
    task("Move secrets out of the build settings", &["security", "infrastructure"]),
    task("Budget alert for the data warehouse", &["infrastructure", "quick win"]),
    task("Nightly job that fails without an alert", &["incident"]),
    task("Refund for Orchard Studio after the double charge", &["customer"]),
    task("New chairs for the Lisbon office", &[]),
];

const MARKETING: &[Task] = &[
    tree(
        "Launch of version 4",
        &["content"],
        &[
            ("Announcement post", &["First draft", "Screenshots in both themes"]),
            ("Release video", &[]),
            ("Mail to all customers", &[]),
            ("Social posts for launch week", &[]),
        ],
    ),
    tree(
        "Customer story: Nordwind Logistics",
        &["content", "customer"],
        &[("Interview with their head of operations", &[]), ("Write the text and have it approved", &[])],
    ),
    tree(
        "New pricing page",
        &["content", "design"],
        &[("Comparison table of the plans", &[]), ("Frequent questions about billing", &[])],
    ),
    tree("Webinar series", &["content"], &[("Find three speakers", &[]), ("Landing page with sign-up", &[])]),
    task("Blog post: how we plan our own sprints", &["content"]),
    task("Blog post: five habits of calm teams", &["content"]),
    task("Monthly newsletter", &["content"]),
    task("Update the screenshots in the help center", &["content", "documentation"]),
    task("Comparison page: spreadsheet or work manager?", &["content"]),
    task("Logo wall: ask twelve customers for permission", &["customer", "content"]),
    task("Landing page for agencies", &["content", "design"]),
    task("A/B test of the sign-up button", &["research", "quick win"]),
    task("Survey: why do trials end without a purchase?", &["research", "customer"]),
    task("Press kit with logos and portraits", &["content", "design"]),
    task("Booth for the trade fair in Berlin", &["design"]),
    task("Handout for the sales team", &["content"]),
    task("Onboarding mails: shorten to four", &["content", "customer"]),
    task("Translate the home page into Spanish", &["content"]),
    task("Search ads: pause the keywords without sign-ups", &["quick win"]),
    task("Podcast interview with Amara", &["content"]),
    task("Fix the broken links on the blog", &["bug", "quick win"]),
    task("Social media calendar for the quarter", &["content"]),
    task("Product tour video, ninety seconds", &["content", "design"]),
    task("Referral program: first idea on one page", &["research"]),
    task("Customer advisory board: invite eight people", &["customer"]),
    task("Template for case studies", &["content"]),
    task("Gifts for the user meetup", &[]),
    task("Annual report of what teams achieved with us", &["content", "research"]),
    task("Cookie banner in plain words", &["content", "security"]),
    task("Measure which help articles are read", &["research", "documentation"]),
];

// ── titles by the million ──

const VERBS: &[&str] = &[
    "Add", "Automate", "Check", "Clean up", "Document", "Estimate", "Fix", "Improve", "Measure", "Migrate", "Monitor",
    "Move", "Plan", "Prepare", "Refactor", "Remove", "Rename", "Replace", "Review", "Rework", "Simplify", "Split",
    "Test", "Update",
];

const OBJECTS: &[&str] = &[
    "the activity feed",
    "the API guide",
    "the audit log",
    "the backup job",
    "the billing report",
    "the board view",
    "the calendar feed",
    "the comment editor",
    "the contract template",
    "the customer survey",
    "the dashboard",
    "the data export",
    "the deploy script",
    "the error page",
    "the help center",
    "the import wizard",
    "the incident checklist",
    "the invitation mail",
    "the invoice layout",
    "the landing page",
    "the list of suppliers",
    "the load test",
    "the login page",
    "the mobile layout",
    "the monthly newsletter",
    "the notification settings",
    "the onboarding tour",
    "the password rules",
    "the permission table",
    "the press kit",
    "the pricing page",
    "the rate limits",
    "the release notes",
    "the retention policy",
    "the search index",
    "the session list",
    "the staging hosts",
    "the status page",
    "the webhook log",
    "the welcome video",
];

const CONTEXTS: &[&str] = &[
    "after the audit",
    "before the launch",
    "for administrators",
    "for agencies",
    "for Halden Bank",
    "for mobile users",
    "for new customers",
    "for Nordwind Logistics",
    "for screen readers",
    "for the board meeting",
    "for the next release",
    "for the sales team",
    "in German",
    "in the European region",
    "in the staging environment",
    "on small screens",
    "on the reporting cluster",
    "once more",
    "per organization",
    "together with support",
    "until the end of the month",
    "with fewer clicks",
    "with real data",
    "without downtime",
];

/// A plausible title; a few ten thousand different ones.
pub fn title(rng: &mut Rng) -> String {
    format!("{} {} {}", one(rng, VERBS), one(rng, OBJECTS), one(rng, CONTEXTS))
}

// ── descriptions and talk ──

/// What people say about work of one kind.
#[derive(Debug)]
pub struct Topic {
    /// The first tag of such work; the last topic has none and fits everything.
    tag: &'static str,
    reasons: &'static [&'static str],
    criteria: &'static [&'static str],
    comments: &'static [&'static str],
}

pub const TOPICS: &[Topic] = &[
    Topic {
        tag: "bug",
        reasons: &[
            "Reported by two customers this week, and I can reproduce it on staging.",
            "Came in through support. There is a way around it, but nobody finds that by themselves.",
            "Found while testing the release. Not new: it happens in the version before as well.",
            "Small, but everybody stumbles over it in their first week.",
        ],
        criteria: &["a test fails without the fix", "checked in Firefox, Chrome and Safari", "support knows about it"],
        comments: &[
            "Reproduced with the latest build.",
            "Only happens when the browser's language is not English.",
            "Bisected it: it came with the last dependency update.",
            "Another report came in today, linked it to the ticket.",
        ],
    },
    Topic {
        tag: "feature",
        reasons: &[
            "Asked for by several customers in the last quarter. The first version may be small, as long as it is solid.",
            "Promised for the next release, so it should be behind a flag by the end of the sprint.",
            "Support spends about an hour a day on questions that this would answer.",
            "See the notes of the planning session; the open question is how it behaves on mobile.",
        ],
        criteria: &[
            "covered by an integration test",
            "works with the keyboard alone",
            "the API guide says how",
            "old clients keep working",
            "shown to two customers before the release",
            "an entry in the changelog",
        ],
        comments: &[
            "There is an older branch with a start on this. I'll rebase it and see what is usable.",
            "Put it behind the flag `preview` for now.",
            "Please keep the old field in the API for one more release, the mobile app still reads it.",
            "Showed it to two customers: both tried to drag first, then looked for a menu.",
        ],
    },
    Topic {
        tag: "performance",
        reasons: &[
            "The largest customers notice it every day, the small ones never.",
            "Our slowest endpoint by far: the 99th percentile is above three seconds.",
            "Cheap to improve, according to the profile of last week.",
        ],
        criteria: &[
            "measured before and after, numbers in a comment",
            "no slower than before with 10,000 tasks",
            "a benchmark in the repository",
            "memory stays where it is",
        ],
        comments: &[
            "The slow part is the query, not the rendering: `EXPLAIN` shows a sequential scan.",
            "Before: 1,840 ms. After: 210 ms. Measured on a copy of the largest organization.",
            "A cache would hide it. I would rather fix the cause.",
            "p99 since the deploy: 380 ms.",
        ],
    },
    Topic {
        tag: "security",
        reasons: &[
            "Finding of the last penetration test, severity medium.",
            "Needed for the audit; the auditor asks for the evidence two weeks ahead.",
            "Nothing has happened so far. Let us keep it that way.",
        ],
        criteria: &[
            "reviewed by a second person",
            "the audit log shows it",
            "written down in the security handbook",
            "customers who are affected know",
        ],
        comments: &[
            "Please no details in this ticket, they are in the vault.",
            "Checked the logs of the last 90 days: no sign that anybody used it.",
            "The auditor accepts this as evidence.",
            "Let us announce it a week ahead, some people will have to sign in again.",
        ],
    },
    Topic {
        tag: "design",
        reasons: &[
            "Three variants are in the design file; we agreed on the second one.",
            "Came up in the usability tests: four out of five people hesitated here.",
            "Everybody did it their own way so far, and it shows.",
        ],
        criteria: &[
            "contrast of at least 4.5 to 1",
            "works at 320 pixels of width",
            "in the component library",
            "looks right in German, where words are longer",
        ],
        comments: &[
            "Updated the mock-up: less text, larger targets.",
            "On a phone the button is below the fold.",
            "I like the second variant better: it says what it does.",
            "Could we reuse what the settings page has?",
        ],
    },
    Topic {
        tag: "infrastructure",
        reasons: &[
            "Came up in the last on-call handover. Nothing is broken today, but the margin is thin.",
            "Costs us about two hundred euros a month as it is.",
            "Has to happen outside of office hours, with two people present.",
            "We learned this the hard way once. Let us not learn it again.",
        ],
        criteria: &[
            "written down in the runbook",
            "tried on staging first",
            "an alert that somebody receives",
            "announced on the status page",
            "the way back is known and tested",
        ],
        comments: &[
            "Planned for Tuesday, 20:00 UTC. I'll post in the channel before I begin.",
            "Dry run on staging took 14 minutes, without errors.",
            "The provider confirmed the change. They need 48 hours.",
            "I can be the second person on that evening.",
        ],
    },
    Topic {
        tag: "incident",
        reasons: &[
            "Happened twice this month, at night both times.",
            "Follow-up of the last outage; see its timeline for the details.",
            "It recovers by itself, but it wakes somebody each time.",
        ],
        criteria: &["the cause is known", "the alert fires before customers notice", "the runbook has a page on it"],
        comments: &[
            "The alert fired again last night; it recovered after four minutes.",
            "Timeline is complete now. Please add what I missed.",
            "About thirty customers were affected, support has the list.",
        ],
    },
    Topic {
        tag: "content",
        reasons: &[
            "Goes with the launch, so it needs the final product names and prices.",
            "The old one is two years old and gets more visits than anything else we have.",
            "Idea from the customer meetup. Keep it honest and short.",
            "One voice throughout, please: see the style guide, and no superlatives.",
        ],
        criteria: &[
            "proofread by two people",
            "approved by whoever is named in it",
            "pictures have alternative texts",
            "published, and linked from the home page",
            "numbers checked with the product team",
        ],
        comments: &[
            "First draft is in the shared folder, comments welcome until Friday.",
            "Can we get a real screenshot instead of the drawing?",
            "Legal is fine with it, with one change in the last paragraph.",
            "Please use the new product name everywhere.",
        ],
    },
    Topic {
        tag: "documentation",
        reasons: &[
            "New colleagues ask for this in their first week.",
            "The page we have describes how it was two versions ago.",
            "Half of the questions to support could be answered by a link to it.",
        ],
        criteria: &[
            "somebody new has followed it once",
            "every example was run",
            "linked from where people look first",
        ],
        comments: &[
            "I followed it step by step and got stuck at the third.",
            "Added the example that customers ask for most.",
            "Shorter is better: the second half repeats the first.",
        ],
    },
    Topic {
        tag: "research",
        reasons: &[
            "Two days at most. The result is a page with a recommendation, not a prototype.",
            "We argue about this without numbers. Let us get some.",
            "Before we build anything: what do people do today?",
        ],
        criteria: &["results on one page", "a recommendation", "raw notes are in the shared folder"],
        comments: &[
            "Six answers so far, and they surprise me: nobody mentions the price.",
            "Compared both on our own data. The notes are in the shared folder.",
            "My recommendation: don't, at least not this year.",
        ],
    },
    Topic {
        tag: "",
        reasons: &[
            "Has been on the list for a while. It needs an owner more than it needs time.",
            "Whoever takes this: talk to finance first, the budget is set.",
            "Not much work, but several people wait for it.",
        ],
        criteria: &["everybody concerned knows", "costs are within the budget", "what is left has a ticket of its own"],
        comments: &[
            "Asked for two offers.",
            "Invoice is with finance.",
            "Waiting for an answer, I'll ask again on Monday.",
        ],
    },
];

/// The topic of work with such tags.
pub fn topic(tags: &[&str]) -> &'static Topic {
    let first = tags.first().copied().unwrap_or_default();
    let last = &TOPICS[TOPICS.len() - 1];
    TOPICS.iter().find(|topic| topic.tag == first).unwrap_or(last)
}

/// Short Markdown on why and what.
pub fn description(rng: &mut Rng, topic: &Topic) -> String {
    let why = one(rng, topic.reasons);
    if rng.u8(..3) == 0 {
        return why.to_owned();
    }
    if topic.tag == "bug" {
        let (patch, browser, often) = (rng.u8(0..12), one(rng, BROWSERS), one(rng, FREQUENCIES));
        return format!("{why}\n\n- **Version:** `4.2.{patch}`\n- **Browser:** {browser}\n- **How often:** {often}");
    }
    let wanted = 2 + rng.usize(..2);
    let criteria = rng.choose_multiple(topic.criteria, wanted);
    let lines: Vec<String> = criteria.into_iter().map(|criterion| format!("- {criterion}")).collect();
    format!("{why}\n\n**Done when**\n\n{}", lines.join("\n"))
}

const BROWSERS: &[&str] = &["Firefox and Chrome", "Safari on iOS", "all of them", "Chrome on Windows", "Edge"];
const FREQUENCIES: &[&str] = &["every time", "about one time in ten", "once a day", "only with a slow connection"];

/// How far work is when somebody comments on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Planned,
    Working,
    Finished,
}

/// What somebody writes.
pub fn comment(rng: &mut Rng, topic: &Topic, stage: Stage) -> &'static str {
    let general = match stage {
        Stage::Planned => PLANNED,
        Stage::Working => WORKING,
        Stage::Finished => FINISHED,
    };
    if stage != Stage::Finished && rng.u8(..5) < 2 { one(rng, topic.comments) } else { one(rng, general) }
}

pub fn reply(rng: &mut Rng) -> &'static str {
    one(rng, REPLIES)
}

const PLANNED: &[&str] = &[
    "Who knows the history of this one? I would like to talk before we start.",
    "I would keep it small at first and see whether anybody misses the rest.",
    "Can we split this? A part of it could be done this week.",
    "Not urgent from my side. I moved it behind the launch.",
    "Is this still wanted? It has been quiet for a while.",
    "I can take this on once my current task is done, probably on Thursday.",
    "We need a decision first. Options:\n\n1. do the least and move on\n2. do it properly, about three days more\n\n\
     I lean towards the second.",
    "The estimate assumes that nobody has to wait for approvals.",
];

const WORKING: &[&str] = &[
    "Started. First result by tomorrow evening.",
    "Halfway there. What remains is bigger than I thought.",
    "Blocked until I have access to the account; asked for it this morning.",
    "Tried the obvious way first and it does **not** work. I'll write down why.",
    "Ready for a look. Please be strict.",
    "Looked through it: two small remarks, otherwise good to go.",
    "We worked on this in a pair today, that helped a lot.",
    "Done except for the last point, which waits for an answer from outside.",
    "This turned out to be two problems. I'll solve the first here and write up the second.",
];

const FINISHED: &[&str] = &[
    "Done since this morning.",
    "Checked it today: all as agreed.",
    "Thank you, that was quick!",
    "Closing. What is left went into a task of its own.",
    "For the record: it took longer than estimated because of the review, not the work.",
];

const REPLIES: &[&str] = &[
    "Agreed.",
    "Good point, I'll change that.",
    "Thanks, that helps.",
    "I don't think so, but let us ask around first.",
    "Yes, go ahead.",
    "Can it wait until Monday?",
    "Done.",
    "I would rather not: it makes the next step harder.",
    "Same here.",
    "See the link in the channel, that should answer it.",
    "Let us talk about it in the stand-up.",
    "Makes sense to me.",
];
