//! What an import would do: every record is held against the organization before anything is written.

use std::collections::{BTreeSet, HashMap};

use chrono::Duration;
use sha2::{Digest as _, Sha256};
use uuid::Builder;

use super::{
    file::record::{Fault, Field, Found, Place, Record},
    lookups::comments,
    options::{Asker, Options, Setting},
    people::People,
    references::{Names, new_tag, new_team, resolve},
    tree::Tree,
};
use crate::{
    base::{
        enums::{Feature, QuotaResource},
        error::{Error, Problem, ProblemCode, Result},
        id::{Id, ItemId, Kind, OrganizationId, TagId, TeamId},
        plan,
        policy::Permission,
    },
    data::{
        db::OrgScope,
        entity::{ledger_head, tag, team},
    },
    domains::{
        comments::input::CommentCreateInput,
        inbound_hooks::mapping::cut,
        items::{create::Times, create_many::Create, input::MAX_TITLE},
        tags::input::TagCreateInput,
        teams::input::{MAX_DESCRIPTION, TeamCreateInput},
    },
};

/// A record that can't be imported, and one reason.
#[derive(Debug)]
pub struct Bad {
    pub place: Place,
    pub source_id: String,
    pub fault: Fault,
}

/// What would be written.
#[derive(Default)]
pub struct Plan {
    /// Parents before their children.
    pub items: Vec<Create>,
    pub comments: Vec<CommentCreateInput>,
    pub tags: Vec<TagCreateInput>,
    pub teams: Vec<TeamCreateInput>,
    /// Records that were imported before: they stay as they are.
    pub already: usize,
    /// In the order of the file.
    pub bad: Vec<Bad>,
    pub bad_records: usize,
    /// Why nothing at all can be written.
    pub refused: Vec<Fault>,
    pub notes: Vec<String>,
}

/// The id of what a source has, in one organization: the same at every import. It has the form of a UUIDv7, with a time of
/// its own (2000-01-01): the source's times may come with one export and not with the next.
pub fn id_of<K: Kind>(organization_id: OrganizationId, source: &str, what: &str) -> Id<K> {
    const TIME: u64 = 946_684_800_000;
    let mut hash = Sha256::new();
    hash.update(organization_id.uuid().as_bytes());
    for part in [K::PREFIX, source, what] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut random = [0; 10];
    random.copy_from_slice(&hash.finalize()[..10]);
    Id::from_uuid(Builder::from_unix_timestamp_millis(TIME, &random).into_uuid())
}

/// Holds everything against the organization.
pub async fn plan(scope: &OrgScope, mut found: Found, options: &Options) -> Result<Plan> {
    let mut plan = Plan { notes: std::mem::take(&mut found.notes), ..Plan::default() };
    let organization_id = scope.organization_id();
    let Found { source, mut records, colors, .. } = found;
    let mut shortened = 0;
    for record in &mut records {
        leave_out(record, &options.without);
        shortened += usize::from(options.cut && shorten_texts(record));
        if record.team.is_none() {
            record.team.clone_from(&options.team);
        }
    }
    if shortened > 0 {
        plan.notes.push(format!("{shortened} records with a text that was too long: it is shortened"));
    }
    let ids: Vec<ItemId> = records.iter().map(|record| id_of(organization_id, &source, &record.source_id)).collect();
    refuse_repeated(&mut records);

    let tree =
        Tree::of(scope, &mut records, &ids, |parent| id_of(organization_id, &source, parent), options.asked_by).await?;
    let mut people = People::load(scope, options).await?;
    let tags = scope.find::<tag::Entity>().columns::<String, TagId>(tag::Column::NameKey, tag::Column::Id).await?;
    let teams = scope.find::<team::Entity>().columns::<String, TeamId>(team::Column::NameKey, team::Column::Id).await?;
    let mut tags = Names::of(tags, options.create_tags);
    let mut teams = Names::of(teams, options.create_teams);

    let now = scope.clock().now();
    let mut is_bad = vec![false; records.len()];
    let (mut used_tags, mut used_teams) = (BTreeSet::new(), BTreeSet::new());
    let count = records.len();
    for (place, index) in tree.order().into_iter().enumerate() {
        // Others get their turn.
        if place % 256 == 255 {
            tokio::task::yield_now().await;
        }
        let record = &mut records[index];
        if tree.is_present(index) {
            if record.faults.is_empty() {
                plan.already += 1;
            }
            is_bad[index] = !record.faults.is_empty();
            continue;
        }
        // Of what can't be read as a record nothing more is told.
        if record.faults.iter().any(|fault| fault.field.is_none()) {
            is_bad[index] = true;
            continue;
        }
        if let Some(parent) = tree.parent_in_file(index)
            && is_bad[parent]
        {
            record.fault("PARENT_IS_BAD", Field::Parent, "The record that it belongs to can't be imported.");
        }
        let input = resolve(
            scope,
            record,
            (ids[index], tree.parent_id(index)),
            (&mut people, &mut tags, &mut teams),
            options.asked_by,
        );
        if let Err(Error::Invalid(problems)) = input.validate() {
            record.faults.extend(problems.into_iter().map(|problem| fault_of_input(problem, options.asked_by)));
        }
        is_bad[index] = !record.faults.is_empty();
        if is_bad[index] {
            continue;
        }
        used_tags.extend(input.tags());
        used_teams.extend(input.team_id);
        // Without times of their own they keep the order of the file.
        let in_order = now - Duration::milliseconds(i64::try_from(count - index).unwrap_or_default());
        let times = Times {
            created_at: Some(record.created_at.unwrap_or(in_order)),
            started_at: record.started_at,
            completed_at: record.completed_at,
        };
        plan.items.push(Create { input, times });
    }
    for (index, record) in records.iter_mut().enumerate() {
        is_bad[index] |= !record.faults.is_empty();
        plan.bad_records += usize::from(is_bad[index]);
        let bad = |fault| Bad { place: record.place, source_id: record.source_id.clone(), fault };
        plan.bad.extend(std::mem::take(&mut record.faults).into_iter().map(bad));
    }
    people.note(&mut plan.notes);
    plan.tags = tags
        .new
        .into_values()
        .filter(|(id, _)| used_tags.contains(id))
        .map(|(id, name)| new_tag(id, name, &colors))
        .collect();
    plan.teams = teams
        .new
        .into_values()
        .filter(|(id, _)| used_teams.contains(id))
        .map(|(id, name)| new_team(id, name))
        .collect();
    let good = records.iter().enumerate().filter(|(index, _)| !is_bad[*index] && !tree.is_trashed(*index));
    plan.comments = comments(scope, &source, good.map(|(index, record)| (ids[index], record))).await?;
    refuse_by_rights(scope, &mut plan);
    refuse_by_plan(scope, &mut plan).await?;
    Ok(plan)
}

/// Forgets what is said of fields that are left out, with what is wrong with it.
fn leave_out(record: &mut Record, without: &BTreeSet<Field>) {
    let blank = Record::new(record.place, String::new());
    for field in without {
        match field {
            Field::Description => record.description = None,
            Field::Status => record.status = blank.status,
            Field::Priority => record.priority = blank.priority,
            Field::Due => record.due_at = None,
            Field::Estimate => record.estimated_hours = None,
            Field::Created => record.created_at = None,
            Field::Started => record.started_at = None,
            Field::Completed => record.completed_at = None,
            Field::Assignees => record.assignees.clear(),
            Field::Tags => record.tags.clear(),
            Field::Team => record.team = None,
            Field::Parent => record.parent = None,
            Field::Id | Field::Title | Field::Ignore => continue,
        }
        record.faults.retain(|fault| fault.field != Some(*field));
    }
}

/// Shortens what is too long; says whether there was anything.
fn shorten_texts(record: &mut Record) -> bool {
    let (is_long_title, is_long_text) = (
        record.title.chars().count() > MAX_TITLE,
        record.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION),
    );
    if is_long_title {
        record.title = cut(&record.title, MAX_TITLE);
    }
    if is_long_text {
        record.description = record.description.take().map(|text| cut(&text, MAX_DESCRIPTION));
    }
    is_long_title || is_long_text
}

/// A problem with the input, with the option that helps.
fn fault_of_input(problem: Problem, asked_by: Asker) -> Fault {
    let is_long = problem.code == ProblemCode::TooLong;
    let fault = Fault::from(problem);
    if !is_long {
        return fault;
    }
    let message = format!("{} {} shortens it.", fault.message, asked_by.calls(Setting::Cut));
    Fault { message, ..fault }
}

/// A record whose id another before it has.
fn refuse_repeated(records: &mut [Record]) {
    let mut first: HashMap<String, Place> = HashMap::new();
    for record in records.iter_mut().filter(|record| !record.source_id.is_empty()) {
        if let Some(place) = first.get(&record.source_id) {
            let message = format!("The record of {place} has the same id.");
            record.fault("DUPLICATE_ID", Field::Id, message);
        } else {
            first.insert(record.source_id.clone(), record.place);
        }
    }
}

/// What whoever imports may not do.
fn refuse_by_rights(scope: &OrgScope, plan: &mut Plan) {
    let needed = [
        (Permission::ItemWrite, true),
        (Permission::CommentWrite, !plan.comments.is_empty()),
        (Permission::TeamManage, !plan.teams.is_empty()),
    ];
    for (permission, _) in needed.into_iter().filter(|(_, is_needed)| *is_needed) {
        if let Err(Error::Refused(refusal)) = scope.require(permission) {
            plan.refused.push(Fault::new(refusal.code.as_str(), None, refusal.message));
        }
    }
}

/// What the organization's plan has no room for, or lacks.
async fn refuse_by_plan(scope: &OrgScope, plan: &mut Plan) -> Result<()> {
    let Some(head) = scope.find::<ledger_head::Entity>().one().await? else { return Ok(()) };
    let more = i64::try_from(plan.items.len()).map_err(Error::internal)?;
    let used = head.used(QuotaResource::Items);
    let limit = plan::Plan::of(head.plan_tier).limit(QuotaResource::Items);
    if more > 0 && limit.is_some_and(|limit| used + more > limit) {
        plan.refused.push(plan::exceeded(head.plan_tier, QuotaResource::Items, used, more, &[]).into());
    }
    let features = [(Feature::Tags, plan.tags.is_empty()), (Feature::Teams, plan.teams.is_empty())];
    for (feature, is_unused) in features {
        if let (false, Err(Error::Refused(refusal))) = (is_unused, plan::require(head.plan_tier, feature)) {
            plan.refused.push(Fault::new(refusal.code.as_str(), None, refusal.message));
        }
    }
    Ok(())
}
