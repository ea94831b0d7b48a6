//! What an import would do: every record is held against the organization before anything is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::Duration;
use sea_orm::ColumnTrait as _;
use sha2::{Digest as _, Sha256};
use uuid::Builder;

use super::{
    people::{People, UnknownPeople},
    record::{Fault, Field, Found, Place, Record},
    tree::{self, Tree},
    values::shorten,
};
use crate::{
    base::{
        clock::Instant,
        enums::{Feature, QuotaResource},
        error::{Error, Result},
        id::{CommentId, Id, ItemId, Kind, OrganizationId, TagId, TeamId},
        plan,
        policy::Permission,
    },
    data::{
        db::{
            OrgScope,
            filter::{among, among_uuids, fold},
        },
        entity::{EventType, comment, event, item, ledger_head, tag, team},
    },
    domains::{
        comments::input::{CommentCreateInput, MAX_BODY},
        inbound_hooks::mapping::cut,
        items::{create::Times, create_many::Create, input::ItemCreateInput},
        tags::input::TagCreateInput,
        teams::input::TeamCreateInput,
    },
    graphql::scalars::{Color, DateTime, Markdown},
};

/// How records are held against the organization.
#[derive(Clone, Debug)]
pub struct Rules {
    pub unknown_people: UnknownPeople,
    /// What the source calls people, by [`fold`], and their e-mail addresses.
    pub people: BTreeMap<String, String>,
    pub create_tags: bool,
    pub create_teams: bool,
    /// Of records that name none.
    pub team: Option<String>,
    /// Fields that are left out.
    pub without: BTreeSet<Field>,
}

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

/// Colour of a tag whose source has none.
const COLOR: &str = "#3B82F6";

/// Ids of one statement's look-up at most.
const LOOKED_UP: usize = 2_000;

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

/// Names of tags or teams: those that are there, and those that would be made.
struct Names<I> {
    known: HashMap<String, I>,
    new: BTreeMap<String, (I, String)>,
    may_make: bool,
}

impl<K: Kind> Names<Id<K>> {
    fn of(rows: impl IntoIterator<Item = (String, Id<K>)>, may_make: bool) -> Self {
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

/// Holds everything against the organization.
pub async fn plan(scope: &OrgScope, mut found: Found, rules: &Rules) -> Result<Plan> {
    let mut plan = Plan { notes: std::mem::take(&mut found.notes), ..Plan::default() };
    let organization_id = scope.organization_id();
    let Found { source, mut records, colors, .. } = found;
    for record in &mut records {
        leave_out(record, &rules.without);
        if record.team.is_none() {
            record.team.clone_from(&rules.team);
        }
    }
    let ids: Vec<ItemId> = records.iter().map(|record| id_of(organization_id, &source, &record.source_id)).collect();
    refuse_repeated(&mut records);

    let tree = Tree::of(scope, &mut records, &ids, |parent| id_of(organization_id, &source, parent)).await?;
    let mut people = People::load(scope, rules).await?;
    let tags = scope.find::<tag::Entity>().columns::<String, TagId>(tag::Column::NameKey, tag::Column::Id).await?;
    let teams = scope.find::<team::Entity>().columns::<String, TeamId>(team::Column::NameKey, team::Column::Id).await?;
    let mut tags = Names::of(tags, rules.create_tags);
    let mut teams = Names::of(teams, rules.create_teams);

    let now = scope.clock().now();
    let mut is_bad = vec![false; records.len()];
    let (mut used_tags, mut used_teams) = (BTreeSet::new(), BTreeSet::new());
    let count = records.len();
    for index in tree.order() {
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
        let input = resolve(scope, record, (ids[index], tree.parent_id(index)), (&mut people, &mut tags, &mut teams));
        if let Err(Error::Invalid(problems)) = input.validate() {
            record.faults.extend(problems.into_iter().map(Fault::from));
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

/// The input that creates what a record says. What it refers to and isn't there is one of its faults.
fn resolve(
    scope: &OrgScope,
    record: &mut Record,
    (id, parent_id): (ItemId, Option<ItemId>),
    (people, tags, teams): (&mut People, &mut Names<TagId>, &mut Names<TeamId>),
) -> ItemCreateInput {
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
                let message =
                    format!("There is no tag {name:?}; --create-tags makes it, --without tags leaves tags out.");
                record.fault("UNKNOWN_TAG", Field::Tags, message);
            }
        }
    }
    let team_id = record.team.clone().and_then(|name| {
        let id = teams.find(scope, &name);
        match id {
            Some(id) => named(record, Field::Team, &name, new_team(id, name.clone()).validate()),
            None => {
                let message =
                    format!("There is no team {name:?}; --create-teams makes it, --without team leaves teams out.");
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

fn new_team(id: TeamId, name: String) -> TeamCreateInput {
    TeamCreateInput { id: Some(id), name, ..TeamCreateInput::default() }
}

fn new_tag(id: TagId, name: String, colors: &BTreeMap<String, String>) -> TagCreateInput {
    let own = colors.get(&name).cloned();
    let mut input = TagCreateInput { id: Some(id), name, color: Color(own.unwrap_or_else(|| COLOR.to_owned())) };
    // A color that can't be read is not worth a tag.
    if input.validate().is_err() {
        input.color = Color(COLOR.to_owned());
    }
    input
}

/// Comments that are not there and have not been deleted since an earlier import.
async fn comments<'r>(
    scope: &OrgScope,
    source: &str,
    records: impl Iterator<Item = (ItemId, &'r Record)>,
) -> Result<Vec<CommentCreateInput>> {
    let mut wanted = Vec::new();
    for (item_id, record) in records {
        for said in &record.comments {
            let what = format!("{}\n{}", record.source_id, said.source_id);
            let id: CommentId = id_of(scope.organization_id(), source, &what);
            let body = attributed(&said.author, said.at, &said.body);
            wanted.push(CommentCreateInput { id: Some(id), item_id, parent_id: None, body: Markdown(body) });
        }
    }
    let mut known: BTreeSet<CommentId> = BTreeSet::new();
    for chunk in wanted.chunks(LOOKED_UP) {
        let ids = || chunk.iter().filter_map(|comment| comment.id);
        let these = among(scope.db(), comment::Column::Id, ids());
        known.extend(scope.find::<comment::Entity>().filter(these).column::<CommentId>(comment::Column::Id).await?);
        let subject = sea_orm::sea_query::Expr::col(event::Column::SubjectId);
        let gone = among_uuids(scope.db(), subject, ids().map(Id::uuid).collect());
        let gone = scope.find::<event::Entity>().filter(gone).filter(event::Column::Type.eq(EventType::CommentDeleted));
        let gone = gone.column::<uuid::Uuid>(event::Column::SubjectId).await?;
        known.extend(gone.into_iter().map(CommentId::from_uuid));
    }
    // Also one that the source has twice.
    wanted.retain(|comment| comment.id.is_some_and(|id| known.insert(id)));
    Ok(wanted)
}

/// A comment with who wrote it and when: it is made by whoever imports it.
fn attributed(author: &str, at: Option<Instant>, body: &str) -> String {
    let at = at.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string());
    let author = Some(author.trim()).filter(|author| !author.is_empty()).map(|author| format!("**{author}**"));
    let head: Vec<String> = author.into_iter().chain(at).collect();
    cut(format!("{}\n\n{}", head.join(" · "), body.trim()).trim(), MAX_BODY)
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

/// Items among these ids that are there, and which of them are in the trash.
pub async fn present(scope: &OrgScope, ids: &[ItemId]) -> Result<HashMap<ItemId, bool>> {
    let mut present = HashMap::new();
    for chunk in ids.chunks(LOOKED_UP) {
        let these = among(scope.db(), item::Column::Id, chunk.iter().copied());
        let rows = scope.find::<item::Entity>().filter(these);
        let rows = rows.columns::<ItemId, Option<Instant>>(item::Column::Id, item::Column::DeletedAt).await?;
        present.extend(rows.into_iter().map(|(id, deleted_at)| (id, deleted_at.is_some())));
    }
    Ok(present)
}

/// How many ancestors each of these items has.
pub async fn levels(scope: &OrgScope, ids: &[ItemId]) -> Result<HashMap<ItemId, usize>> {
    let mut above: HashMap<ItemId, Option<ItemId>> = HashMap::new();
    let mut next: Vec<ItemId> = ids.to_vec();
    for _ in 0..=tree::MAX_LEVELS {
        let mut upper = BTreeSet::new();
        for chunk in next.chunks(LOOKED_UP) {
            let these = among(scope.db(), item::Column::Id, chunk.iter().copied());
            let rows = scope.find::<item::Entity>().filter(these);
            let rows = rows.columns::<ItemId, Option<ItemId>>(item::Column::Id, item::Column::ParentId).await?;
            upper.extend(rows.iter().filter_map(|(_, parent)| *parent).filter(|id| !above.contains_key(id)));
            above.extend(rows);
        }
        if upper.is_empty() {
            break;
        }
        next = upper.into_iter().collect();
    }
    let level =
        |id: &ItemId| std::iter::successors(above.get(id).copied().flatten(), |id| above.get(id).copied().flatten());
    Ok(ids.iter().map(|id| (*id, level(id).take(tree::MAX_LEVELS + 1).count())).collect())
}
