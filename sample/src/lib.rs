//! Made-up people, work and talk: what `demo` and `fill` share.
//!
//! Everything random comes from one seeded generator, so that a run can be repeated.

mod tasks;
mod titles;
mod topics;
mod words;

use fastrand::Rng;

use self::{
    tasks::{MARKETING, OPERATIONS, PLATFORM},
    words::{FINISHED, PLANNED, REPLIES, WORKING},
};
pub use self::{titles::title, topics::TOPICS};

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

/// Estimates, in hours.
pub const ESTIMATES: &[f64] = &[0.5, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 6.0, 8.0, 8.0, 12.0, 16.0, 24.0, 40.0];

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

pub(crate) const fn task(title: &'static str, tags: &'static [&'static str]) -> Task {
    Task { title, tags, subtasks: &[] }
}

pub(crate) const fn tree(title: &'static str, tags: &'static [&'static str], subtasks: &'static [Subtask]) -> Task {
    Task { title, tags, subtasks }
}

/// What people say about work of one kind.
#[derive(Debug)]
pub struct Topic {
    /// The first tag of such work; the last topic has none and fits everything.
    pub(crate) tag: &'static str,
    pub(crate) reasons: &'static [&'static str],
    pub(crate) criteria: &'static [&'static str],
    pub(crate) comments: &'static [&'static str],
}

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
