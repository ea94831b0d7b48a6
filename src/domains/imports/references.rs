//! What records refer to: tags and teams by their names, people by [`People`]; and what a record makes of it.

use std::collections::{BTreeMap, HashMap};

use super::{
    file::record::{Field, Record},
    file::values::shorten,
    options::{Asker, Setting},
    people::People,
};
use crate::{
    base::{
        error::{Error, Result},
        id::{Id, ItemId, Kind, TagId, TeamId},
    },
    data::db::{OrgScope, filter::fold},
    domains::{items::input::ItemCreateInput, tags::input::TagCreateInput, teams::input::TeamCreateInput},
    graphql::scalars::{Color, DateTime, Markdown},
};

/// Color of a tag whose source has none.
const COLOR: &str = "#3B82F6";

/// Names of tags or teams: those that are there, and those that would be made.
pub struct Names<I> {
    known: HashMap<String, I>,
    pub new: BTreeMap<String, (I, String)>,
    may_make: bool,
}

impl<K: Kind> Names<Id<K>> {
    pub fn of(rows: impl IntoIterator<Item = (String, Id<K>)>, may_make: bool) -> Self {
        Self { known: rows.into_iter().collect(), new: BTreeMap::new(), may_make }
    }

    fn find(&mut self, scope: &OrgScope, name: &str) -> Option<Id<K>> {
        let key = fold(name);
        if let Some(id) = self.known.get(&key) {
            return Some(*id);
        }
        let new = || (scope.clock().new_id(), name.trim().to_owned());
        self.may_make.then(|| self.new.entry(key).or_insert_with(new).0)
    }
}

/// The input that creates what a record says. What it refers to and isn't there is one of its faults.
pub fn resolve(
    scope: &OrgScope,
    record: &mut Record,
    (id, parent_id): (ItemId, Option<ItemId>),
    (people, tags, teams): (&mut People, &mut Names<TagId>, &mut Names<TeamId>),
    asked_by: Asker,
) -> ItemCreateInput {
    let calls = |setting| asked_by.calls(setting);
    let mut assignee_ids = Vec::new();
    for name in std::mem::take(&mut record.assignees) {
        match people.find(&name) {
            Ok(Some(id)) => assignee_ids.push(id),
            Ok(None) => {}
            Err(fault) => record.faults.push(fault),
        }
    }
    let mut tag_ids = Vec::new();
    for name in std::mem::take(&mut record.tags) {
        match tags.find(scope, &name) {
            Some(id) => {
                named(record, Field::Tags, &name, new_tag(id, name.clone(), &BTreeMap::new()).validate());
                tag_ids.push(id);
            }
            None => {
                let (make, leave) = (calls(Setting::CreateTags), calls(Setting::Without(Field::Tags)));
                let message =
                    format!("There is no tag {:?}; {make} makes it, {leave} leaves tags out.", shorten(&name));
                record.fault("UNKNOWN_TAG", Field::Tags, message);
            }
        }
    }
    let team_id = record.team.clone().and_then(|name| {
        let id = teams.find(scope, &name);
        match id {
            Some(id) => named(record, Field::Team, &name, new_team(id, name.clone()).validate()),
            None => {
                let (make, leave) = (calls(Setting::CreateTeams), calls(Setting::Without(Field::Team)));
                let message =
                    format!("There is no team {:?}; {make} makes it, {leave} leaves teams out.", shorten(&name));
                record.fault("UNKNOWN_TEAM", Field::Team, message);
            }
        }
        id
    });
    ItemCreateInput {
        id: Some(id),
        title: std::mem::take(&mut record.title),
        description: record.description.take().map(Markdown),
        status: record.status,
        priority: record.priority,
        due_at: record.due_at.map(DateTime),
        estimated_hours: record.estimated_hours,
        team_id,
        parent_id,
        assignee_ids: Some(assignee_ids),
        tag_ids: Some(tag_ids),
        subtasks: None,
    }
}

/// What is wrong with the name of a tag or a team.
fn named(record: &mut Record, field: Field, name: &str, checked: Result<()>) {
    let Err(Error::Invalid(problems)) = checked else { return };
    for problem in problems {
        record.fault(&problem.code.name(), field, format!("{:?}: {}", shorten(name), problem.message));
    }
}

pub fn new_team(id: TeamId, name: String) -> TeamCreateInput {
    TeamCreateInput { id: Some(id), name, ..TeamCreateInput::default() }
}

pub fn new_tag(id: TagId, name: String, colors: &BTreeMap<String, String>) -> TagCreateInput {
    let own = colors.get(&name).cloned();
    let mut input = TagCreateInput { id: Some(id), name, color: Color(own.unwrap_or_else(|| COLOR.to_owned())) };
    // A color that can't be read is not worth a tag.
    if input.validate().is_err() {
        input.color = Color(COLOR.to_owned());
    }
    input
}
