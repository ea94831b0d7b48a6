//! Titles by the ten thousand.

use fastrand::Rng;

use crate::one;

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
