//! The demo's story: who takes part, what there is to do, and what happens to it, all drawn before any of it is told.
//!
//! It knows neither ids nor the calendar: people, items and comments are named by their places in lists, time is counted
//! in seconds of work ([`Second`]).

use std::{collections::BTreeMap, ops::Range};

use chrono::{Datelike as _, Duration, NaiveTime, Weekday};
use fastrand::Rng;

use crate::base::{
    clock::Instant,
    enums::{ItemStatus, Priority, Role},
};
use todo_sample::{self as sample, Area, Stage, Topic};

/// A person of the story.
pub struct Someone {
    pub role: Role,
    /// Of the address, `owner` of `owner@acme.test`.
    pub name: &'static str,
    pub full_name: &'static str,
    pub time_zone: &'static str,
    /// The teams they are in.
    pub areas: &'static [Area],
}

impl Someone {
    pub fn email(&self) -> String {
        format!("{}@acme.test", self.name)
    }

    /// `amara.okafor`.
    pub fn username(&self) -> String {
        self.full_name.to_lowercase().replace(' ', ".")
    }
}

const fn someone(
    role: Role,
    name: &'static str,
    full_name: &'static str,
    time_zone: &'static str,
    areas: &'static [Area],
) -> Someone {
    Someone { role, name, full_name, time_zone, areas }
}

/// The founder comes first, then an administrator. The first of a role is the account that is shown for it.
pub const PEOPLE: &[Someone] = &[
    someone(Role::Owner, "owner", "Amara Okafor", "Europe/Berlin", &[Area::Marketing]),
    someone(Role::Admin, "admin", "Jonas Lindqvist", "Europe/Stockholm", &[Area::Platform, Area::Operations]),
    someone(Role::Member, "member", "Priya Raman", "Asia/Kolkata", &[Area::Platform]),
    someone(Role::Viewer, "viewer", "Robert Hale", "Europe/London", &[]),
    someone(Role::Member, "mei", "Mei Tanaka", "Asia/Tokyo", &[Area::Platform]),
    someone(Role::Member, "lucas", "Lucas Ferreira", "Europe/Lisbon", &[Area::Platform, Area::Operations]),
    someone(Role::Member, "sofia", "Sofia Marchetti", "Europe/Rome", &[Area::Marketing]),
    someone(Role::Member, "david", "David Cohen", "America/New_York", &[Area::Operations, Area::Marketing]),
];

/// Places in [`PEOPLE`].
pub const OWNER: usize = 0;
pub const ADMIN: usize = 1;

// ── time ──

/// Seconds of working time since the story began. Counted so, everything happens in office hours, and the same things
/// happen whatever day of the week it is today.
pub type Second = i64;

pub const HOUR: Second = 3600;
const DAY: Second = 9 * HOUR;
/// The present: 62 working days, which are within 90 days of the calendar wherever the weekends fall.
pub const END: Second = 62 * DAY;

/// Working time on the calendar: Monday to Friday, 07:00 to 16:00 UTC, up to the present.
pub struct Calendar {
    now: Instant,
    /// Beginning and length of the working days, the latest first.
    days: Vec<(Instant, Second)>,
}

impl Calendar {
    pub fn until(now: Instant) -> Self {
        let workdays = (0..90)
            .map(|back| (now - Duration::days(back)).date_naive())
            .filter(|day| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun))
            .map(|day| day.and_time(NaiveTime::MIN).and_utc() + Duration::hours(7))
            .map(|begin| (begin, (now - begin).num_seconds().clamp(0, DAY)));
        Self { now, days: workdays.collect() }
    }

    /// The instant of a second, always in the past.
    pub fn at(&self, second: Second) -> Instant {
        let mut back = (END - second).max(1);
        for (begin, length) in &self.days {
            if back <= *length {
                return *begin + Duration::seconds(length - back);
            }
            back -= length;
        }
        self.now - Duration::days(90)
    }

    /// When something is due: at the end of a working day, not on the day on which it was thought of.
    pub fn due(&self, due: Due, created: Second) -> Instant {
        let day = self.at(due.from) + Duration::days(due.days);
        let day = day.max(self.at(created) + Duration::days(1)).date_naive();
        day.and_time(NaiveTime::MIN).and_utc() + Duration::hours(16)
    }
}

// ── the plan ──

/// So many days of the calendar from a point in the story.
#[derive(Clone, Copy)]
pub struct Due {
    from: Second,
    days: i64,
}

/// An item to be.
pub struct Sketch {
    pub title: &'static str,
    pub description: Option<String>,
    pub area: Area,
    pub tags: Vec<&'static str>,
    pub created: Second,
    pub creator: usize,
    pub priority: Priority,
    pub due: Option<Due>,
    pub estimate: Option<f64>,
    pub assignees: Vec<usize>,
    /// Places of the items right below it.
    pub subtasks: Vec<usize>,
    is_subtask: bool,
    topic: &'static Topic,
    /// What it moves to, and when.
    moves: Vec<(Second, ItemStatus)>,
}

impl Sketch {
    fn worker(&self) -> usize {
        self.assignees.first().copied().unwrap_or(self.creator)
    }

    fn finished(&self) -> Option<Second> {
        self.moves.iter().find(|(_, status)| *status == ItemStatus::Done).map(|(at, _)| *at)
    }
}

/// One thing that somebody does with an item.
pub struct Step {
    pub at: Second,
    pub who: usize,
    pub item: usize,
    pub action: Action,
}

pub enum Action {
    /// With all its subtasks.
    Create,
    /// With the hours it took, once it is done.
    Move(ItemStatus, Option<f64>),
    Prioritize(Priority),
    Comment(PlannedComment),
    Archive,
    Delete,
}

pub struct PlannedComment {
    pub place: usize,
    /// The place of the comment at the top of the thread.
    pub answers: Option<usize>,
    pub mentions: Option<usize>,
    pub body: &'static str,
}

/// The items, and what happens to them in the order of time.
pub struct Plan {
    pub items: Vec<Sketch>,
    pub steps: Vec<Step>,
    remarks: usize,
    rng: Rng,
}

/// What is known of an item before the rest is drawn.
struct Outline<'a> {
    title: &'static str,
    tags: &'a [&'static str],
    area: Area,
    topic: &'static Topic,
    created: Second,
    aim: ItemStatus,
    /// From its start until it is done, should it get that far.
    work: &'a Range<Second>,
    creator: Option<usize>,
}

const SEED: u64 = 2026;
/// Items that end in the archive, and in the trash.
const ARCHIVED: usize = 7;
const TRASHED: usize = 2;

impl Plan {
    pub fn draw() -> Self {
        let mut plan = Self { items: Vec::new(), steps: Vec::new(), remarks: 0, rng: Rng::with_seed(SEED) };
        plan.sketch_all();
        for item in 0..plan.items.len() {
            plan.work_on(item);
            plan.talk_about(item);
        }
        plan.archive_and_delete();
        // Stable: of two things at once, what was planned first happens first.
        plan.steps.sort_by_key(|step| step.at);
        plan
    }

    /// A draw from the range in which small values are likelier: most things take a short while, some a long one.
    fn span(&mut self, range: Range<Second>) -> Second {
        let drawn = self.rng.f64();
        range.start + (drawn * drawn * (range.end - range.start) as f64) as Second
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.rng.f64() < probability
    }

    fn push(&mut self, at: Second, who: usize, item: usize, action: Action) {
        // What lies beyond the present has not happened.
        if at < END {
            self.steps.push(Step { at, who, item, action });
        }
    }

    fn sketch_all(&mut self) {
        let tasks = Area::ALL.into_iter().flat_map(|area| area.tasks().iter().map(move |task| (area, task)));
        let mut tasks: Vec<_> = tasks.collect();
        self.rng.shuffle(&mut tasks);
        for (index, (area, task)) in tasks.into_iter().enumerate() {
            // The backlog that Acme brought along, then what came up.
            let days = if index < 30 { DAY..2 * DAY } else { 2 * DAY..END - 2 * HOUR };
            let created = self.rng.i64(days);
            // The older, the likelier it is done.
            let age = (END - created) as f64 / END as f64;
            let aim = if self.chance(0.1 + 0.65 * age) {
                ItemStatus::Done
            } else {
                let open = [ItemStatus::Todo, ItemStatus::InProgress, ItemStatus::InReview];
                open[sample::weighted(&mut self.rng, &[60, 27, 13])]
            };
            let start = created + self.span(HOUR / 2..12 * DAY);
            let length = if task.subtasks.is_empty() { HOUR..9 * DAY } else { 5 * DAY..20 * DAY };
            let work = start..start + self.span(length);
            let root = self.sketch(&Outline {
                title: task.title,
                tags: task.tags,
                area,
                topic: sample::topic(task.tags),
                created,
                aim,
                work: &work,
                creator: None,
            });
            for (title, below) in task.subtasks {
                let (child, work, aim) = self.sketch_below(root, title, &work, aim);
                for title in *below {
                    self.sketch_below(child, title, &work, aim);
                }
            }
        }
    }

    /// A subtask is worked on while its parent is, and done before that is reviewed.
    fn sketch_below(
        &mut self,
        parent: usize,
        title: &'static str,
        work: &Range<Second>,
        aim: ItemStatus,
    ) -> (usize, Range<Second>, ItemStatus) {
        let until = if aim > ItemStatus::InProgress { reviewed(work) } else { END.max(work.start + 1) };
        let start = work.start + ((until - work.start) as f64 * self.rng.f64() * 0.5) as Second;
        let work = start..start + ((until - start) as f64 * (0.3 + 0.7 * self.rng.f64())) as Second;
        let aim = match aim {
            ItemStatus::Todo => ItemStatus::Todo,
            ItemStatus::InProgress => {
                let aims = [ItemStatus::Todo, ItemStatus::InProgress, ItemStatus::Done];
                aims[sample::weighted(&mut self.rng, &[30, 20, 50])]
            }
            _ => ItemStatus::Done,
        };
        let Sketch { area, topic, created, creator, ref tags, .. } = self.items[parent];
        let tags: Vec<_> = tags.iter().copied().filter(|_| self.rng.bool()).collect();
        let outline = Outline { title, tags: &tags, area, topic, created, aim, work: &work, creator: Some(creator) };
        let child = self.sketch(&outline);
        self.items[parent].subtasks.push(child);
        (child, work, aim)
    }

    /// Draws what the outline leaves open; says the item's place.
    fn sketch(&mut self, outline: &Outline<'_>) -> usize {
        let &Outline { title, tags, area, topic, created, aim, work, creator } = outline;
        let is_subtask = creator.is_some();
        let team: Vec<usize> = (0..PEOPLE.len()).filter(|person| PEOPLE[*person].areas.contains(&area)).collect();
        let moves = [
            (work.start, ItemStatus::InProgress),
            (reviewed(work), ItemStatus::InReview),
            (work.end, ItemStatus::Done),
        ];
        let moves: Vec<_> = moves.into_iter().filter(|(at, status)| *status <= aim && *at < END).collect();
        let assigned = match sample::weighted(&mut self.rng, &[16, 55, 22, 7]) {
            0 if !moves.is_empty() => 1,
            assigned => assigned,
        };
        let mut tags = tags.to_vec();
        for extra in ["customer", "quick win"] {
            if !is_subtask && self.chance(0.08) && !tags.contains(&extra) {
                tags.push(extra);
            }
        }
        let due = self.chance(0.58).then(|| {
            if let [.., (finished, ItemStatus::Done)] = moves.as_slice() {
                Due { from: *finished, days: self.rng.i64(-2..8) }
            } else if self.chance(0.22) {
                Due { from: END, days: -self.rng.i64(1..14) }
            } else {
                Due { from: END, days: self.rng.i64(1..45) }
            }
        });
        let least = if tags.contains(&"incident") { Priority::High } else { Priority::Low };
        let estimate = self.chance(0.68).then(|| sample::one(&mut self.rng, sample::ESTIMATES));
        let described = self.chance(if is_subtask { 0.3 } else { 0.8 });
        self.items.push(Sketch {
            title,
            description: described.then(|| sample::description(&mut self.rng, topic)),
            area,
            created,
            creator: creator.unwrap_or_else(|| sample::one(&mut self.rng, &team)),
            priority: crate::cli::priority(&mut self.rng).max(least),
            tags,
            due,
            estimate,
            assignees: self.rng.choose_multiple(&team, assigned).into_iter().copied().collect(),
            subtasks: Vec::new(),
            is_subtask,
            topic,
            moves,
        });
        self.items.len() - 1
    }

    /// What is done to an item until it is done itself.
    fn work_on(&mut self, item: usize) {
        let Sketch { created, creator, estimate, priority, is_subtask, ref moves, .. } = self.items[item];
        let (moves, worker) = (moves.clone(), self.items[item].worker());
        // A subtask comes with its root.
        if !is_subtask {
            self.push(created, creator, item, Action::Create);
        }
        for (at, status) in moves {
            let drawn = 0.6 + self.rng.f64();
            let took = estimate.filter(|_| status == ItemStatus::Done).map(|hours| (hours * drawn * 2.0).ceil() / 2.0);
            self.push(at, worker, item, Action::Move(status, took));
        }
        let end = self.items[item].finished().unwrap_or(END);
        if priority < Priority::Urgent && end - created > 2 * DAY && self.chance(0.07) {
            let higher = if priority == Priority::Low { Priority::High } else { Priority::Urgent };
            let at = self.rng.i64(created + DAY..end);
            self.push(at, ADMIN, item, Action::Prioritize(higher));
        }
    }

    /// Comments, and replies to them.
    fn talk_about(&mut self, item: usize) {
        let Sketch { area, topic, created, is_subtask, ref moves, .. } = self.items[item];
        let (moves, worker) = (moves.clone(), self.items[item].worker());
        let end = self.items[item].finished().unwrap_or(END) + DAY;
        let team = (0..PEOPLE.len()).filter(|person| PEOPLE[*person].areas.contains(&area));
        let writers: Vec<usize> = team.chain([worker, worker, OWNER]).collect();
        let amounts = if is_subtask { [55, 25, 12, 8, 0, 0, 0] } else { [24, 22, 20, 14, 10, 6, 4] };
        let mut said = Vec::new();
        for _ in 0..sample::weighted(&mut self.rng, &amounts) {
            let mut at = self.rng.i64(created + HOUR / 6..end);
            let stage = match moves.iter().rev().find(|(moved, _)| *moved <= at) {
                None => Stage::Planned,
                Some((_, ItemStatus::Done)) => Stage::Finished,
                Some(_) => Stage::Working,
            };
            let body = sample::comment(&mut self.rng, topic, stage);
            if said.contains(&body) {
                continue;
            }
            said.push(body);
            let author = sample::one(&mut self.rng, &writers);
            let top = self.comment(at, author, item, None, None, body);
            for _ in 0..sample::weighted(&mut self.rng, &[48, 32, 14, 6]) {
                at += self.rng.i64(HOUR / 20..DAY);
                let replier = sample::one(&mut self.rng, &writers);
                let body = sample::reply(&mut self.rng);
                if replier != author {
                    let mentions = self.chance(0.4).then_some(author);
                    self.comment(at, replier, item, Some(top), mentions, body);
                }
            }
        }
    }

    fn comment(
        &mut self,
        at: Second,
        who: usize,
        item: usize,
        answers: Option<usize>,
        mentions: Option<usize>,
        body: &'static str,
    ) -> usize {
        let place = self.remarks;
        self.remarks += 1;
        self.push(at, who, item, Action::Comment(PlannedComment { place, answers, mentions, body }));
        place
    }

    /// Sends some finished work to the archive, and ideas that came to nothing to the trash.
    fn archive_and_delete(&mut self) {
        let mut last = BTreeMap::new();
        for step in &self.steps {
            let at: &mut Second = last.entry(step.item).or_default();
            *at = step.at.max(*at);
        }
        let single = |item: &usize| !self.items[*item].is_subtask && self.items[*item].subtasks.is_empty();
        let singles: Vec<usize> = (0..self.items.len()).filter(single).collect();
        let old = |item: &usize| self.items[*item].finished().is_some() && last[item] < END - 15 * DAY;
        let idle = |item: &usize| self.items[*item].moves.is_empty() && last[item] < END - DAY;
        let archived: Vec<usize> = singles.iter().copied().filter(old).take(ARCHIVED).collect();
        let trashed: Vec<usize> = singles.iter().copied().filter(idle).take(TRASHED).collect();
        for item in archived {
            let at = last[&item] + self.rng.i64(5 * DAY..15 * DAY);
            self.push(at, ADMIN, item, Action::Archive);
        }
        for item in trashed {
            let at = self.rng.i64(last[&item] + HOUR..END);
            self.push(at, self.items[item].creator, item, Action::Delete);
        }
    }
}

/// When work is handed over for review.
fn reviewed(work: &Range<Second>) -> Second {
    work.end - (work.end - work.start) / 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_fits_into_ninety_days_whenever_it_is_told() {
        let monday = Instant::UNIX_EPOCH + Duration::days(4);
        for hours in 0..7 * 24 {
            let now = monday + Duration::days(20_000 / 7 * 7) + Duration::hours(hours);
            let calendar = Calendar::until(now);
            assert!(now - calendar.at(0) < Duration::days(90), "{now}");
            assert!(calendar.at(END) < now, "{now}");
            let told: Vec<Instant> = (0..=END).step_by(977).map(|second| calendar.at(second)).collect();
            assert!(told.is_sorted_by(|earlier, later| earlier < later), "{now}");
        }
    }

    #[test]
    fn the_story_is_always_the_same() {
        let (plan, again) = (Plan::draw(), Plan::draw());
        assert_eq!(plan.items.len(), 200);
        assert_eq!(plan.items.iter().filter(|item| item.is_subtask).count(), 66);
        let outline = |plan: &Plan| plan.steps.iter().map(|step| (step.at, step.who, step.item)).collect::<Vec<_>>();
        assert_eq!(outline(&plan), outline(&again));
    }
}
