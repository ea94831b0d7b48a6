//! What people say about work of one kind.

use crate::Topic;

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
