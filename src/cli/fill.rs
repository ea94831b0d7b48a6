//! `fill`: organizations of a given size, for measuring. Rows go in by the batch, past the services but not past the
//! ledger: every row has its event, sequences have no gaps, and what items count is right.
//!
//! An organization is made in one transaction with its people, teams and tags; its items follow in transactions of some
//! hundred, told in the order of time by a clock of the organization's own.

use std::{ops::Range, sync::Arc, time::Instant as Stopwatch};

use anyhow::{Context as _, bail, ensure};
use chrono::Duration;
use fastrand::Rng;
use indicatif::{HumanCount, ProgressBar};
use sea_orm::{ActiveValue::Set, prelude::ColumnTrait as _};

use super::console::{self, failure};
use crate::{
    app,
    base::{
        clock::{Clock, Instant},
        config::Config,
        enums::{ActorKind, ItemStatus, MembershipStatus, PlanTier, QuotaResource, Role},
        error::{Error, Result},
        id::{AnyId, ItemId, OrganizationId, TagId, TeamId, UserId},
        policy::Permission,
    },
    data::{
        actor::Origin,
        db::{
            AccountTx, Db, OrgScope,
            filter::{email_key, fold},
        },
        entity::{
            ActorRef, EventType, comment, credential, item, item_assignee, item_tag, membership, organization, tag,
            team, team_member, user,
        },
        ledger::{Change, NewEvent, changes},
    },
    domains::{
        items::input::{MAX_ASSIGNEES, MAX_TAGS},
        members,
        organizations::input::OrganizationCreateInput,
    },
    platform::auth::password::{Cost, PasswordHasher},
};
use todo_sample::{self as sample, Stage};

/// Of every person that is made.
const PASSWORD: &str = "load-fill-2026";
/// How far back the oldest item lies.
const SPAN: Duration = Duration::days(90);
/// Items of a transaction at most.
const BATCH: usize = 500;
/// Rows of a transaction with events, about: keeps one with many comments as short as others.
const BATCH_EVENTS: usize = 3_500;

/// How much to make. The first organization may be larger than the others.
#[derive(Clone, Debug, clap::Args)]
pub struct FillArgs {
    /// Organizations.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub organizations: usize,
    /// Items in the first organization.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub items: usize,
    /// Items in each of the others.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub items_each: usize,
    /// People in the first organization.
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub people: usize,
    /// People in each of the others.
    #[arg(long, value_name = "N", default_value_t = 40)]
    pub people_each: usize,
    /// Tags in the first organization.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub tags: usize,
    /// Tags in each of the others.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub tags_each: usize,
    /// Teams in the first organization.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub teams: usize,
    /// Teams in each of the others.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub teams_each: usize,
    /// Comments on each item.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub comments: usize,
    /// Tags of each item.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub tags_per_item: usize,
    /// Assignees of each item.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub assignees_per_item: usize,
    /// The same seed makes the same data, but for ids and the present.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Slugs are PREFIX-1, PREFIX-2 and so on.
    #[arg(long, value_name = "PREFIX", default_value = "load")]
    pub prefix: String,
}

/// The size of one organization.
#[derive(Clone, Copy)]
struct Size {
    items: usize,
    people: usize,
    tags: usize,
    teams: usize,
}

impl FillArgs {
    fn size(&self, index: usize) -> Size {
        if index == 0 {
            Size { items: self.items, people: self.people, tags: self.tags, teams: self.teams }
        } else {
            Size { items: self.items_each, people: self.people_each, tags: self.tags_each, teams: self.teams_each }
        }
    }

    fn slug(&self, index: usize) -> String {
        format!("{}-{}", self.prefix, index + 1)
    }

    fn organization(&self, index: usize) -> OrganizationCreateInput {
        OrganizationCreateInput {
            id: None,
            name: format!("Organization {} of {}", index + 1, self.prefix),
            slug: self.slug(index),
            item_prefix: None,
            time_zone: "UTC".to_owned(),
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=10_000).contains(&self.organizations), "--organizations: 1 to 10,000");
        // It is part of usernames, which are at most 32 characters long.
        ensure!((1..=16).contains(&self.prefix.len()), "--prefix: 1 to 16 characters");
        let last = self.organization(self.organizations - 1);
        last.validate().map_err(failure).with_context(|| format!("--prefix {:?}", self.prefix))?;
        ensure!(self.tags_per_item <= MAX_TAGS, "--tags-per-item: at most {MAX_TAGS}");
        ensure!(self.assignees_per_item <= MAX_ASSIGNEES, "--assignees-per-item: at most {MAX_ASSIGNEES}");
        for size in (0..self.organizations.min(2)).map(|index| self.size(index)) {
            ensure!(size.people >= 1, "--people, --people-each: at least 1");
            ensure!(self.tags_per_item <= size.tags, "--tags-per-item: there are only {} tags", size.tags);
            ensure!(self.assignees_per_item <= size.people, "--assignees-per-item: only {} people", size.people);
        }
        Ok(())
    }

    /// What is there already would be in the way half-way through, so it is looked for first.
    async fn check_absent(&self, db: &Db) -> anyhow::Result<()> {
        let slugs: Vec<String> = (0..self.organizations).map(|index| self.slug(index)).collect();
        let owners: Vec<String> = slugs.iter().map(|slug| email(slug, 0)).collect();
        let there = organization::Column::Slug.is_in(&slugs);
        if let Some(taken) = db.find_global::<organization::Entity>(there).await.map_err(failure)?.first() {
            bail!("the organization {} exists already; nothing was written. Choose another --prefix", taken.slug);
        }
        let there = user::Column::EmailKey.is_in(owners);
        if let Some(taken) = db.find_global::<user::Entity>(there).await.map_err(failure)?.first() {
            bail!("the account {} exists already; nothing was written. Choose another --prefix", taken.email);
        }
        Ok(())
    }
}

fn email(slug: &str, person: usize) -> String {
    format!("user{}@{slug}.example", person + 1)
}

pub async fn run(args: &FillArgs, config: &Arc<Config>) -> anyhow::Result<()> {
    args.check()?;
    let db = Db::connect(&config.database, Clock::system(), None).await?;
    app::prepare_schema(&db, config).await?;
    args.check_absent(&db).await?;
    let now = db.clock().now();
    db.close().await;

    // One hash for all: making each its own would take longer than everything else.
    let password_hash = PasswordHasher::new(Cost::OWASP).map_err(failure)?.hash(PASSWORD).await.map_err(failure)?;
    let sizes: Vec<Size> = (0..args.organizations).map(|index| args.size(index)).collect();
    let items: usize = sizes.iter().map(|size| size.items).sum();
    let template = "{msg} {bar:40} {human_pos}/{human_len} items, {per_sec}, {eta} left";
    let bar = console::progress(items as u64, template)?;
    let stopwatch = Stopwatch::now();
    let mut rng = Rng::with_seed(args.seed);
    for (index, size) in sizes.iter().enumerate() {
        bar.set_message(args.slug(index));
        let filling = Filling { args, size: *size, organization: args.organization(index), now, config };
        filling.run(&password_hash, &mut rng, &bar).await.with_context(|| args.slug(index))?;
    }
    bar.finish_and_clear();

    let took = stopwatch.elapsed().as_secs_f64();
    let people: usize = sizes.iter().map(|size| size.people).sum();
    println!(
        "made {} organization(s) with {} people, {} items and {} comments in {took:.1} s: {:.0} items/s",
        args.organizations,
        HumanCount(people as u64),
        HumanCount(items as u64),
        HumanCount((items * args.comments) as u64),
        items as f64 / took,
    );
    println!("sign in to {} as {} with the password {PASSWORD}", args.slug(0), email(&args.slug(0), 0));
    Ok(())
}

/// One organization being filled.
struct Filling<'a> {
    args: &'a FillArgs,
    size: Size,
    organization: OrganizationCreateInput,
    now: Instant,
    config: &'a Config,
}

/// What items refer to.
struct World {
    organization_id: OrganizationId,
    people: Vec<UserId>,
    /// Those who may write.
    writers: Vec<UserId>,
    teams: Vec<TeamId>,
    tags: Vec<TagId>,
}

impl Filling<'_> {
    async fn run(&self, password_hash: &str, rng: &mut Rng, bar: &ProgressBar) -> anyhow::Result<()> {
        // A clock gives no ids that go back in time, so each organization begins with one of its own.
        let clock = Clock::fixed(self.now - SPAN - Duration::hours(1));
        let db = Db::connect(&self.config.database, clock, None).await?;
        let world = self.found(&db, password_hash, rng).await.map_err(failure)?;
        let scope = OrgScope::of_system(&db, world.organization_id, origin()).await.map_err(failure)?;
        let batch = (BATCH_EVENTS / (self.args.comments + 1)).clamp(1, BATCH);
        for first in (0..self.size.items).step_by(batch) {
            let last = self.size.items.min(first + batch);
            let batch = self.draw(&world, rng, &scope, first..last);
            let made = (last - first) as u64;
            batch.write(&scope).await.map_err(failure)?;
            bar.inc(made);
        }
        db.close().await;
        Ok(())
    }

    /// The organization with its people, teams and tags.
    async fn found(&self, db: &Db, password_hash: &str, rng: &mut Rng) -> Result<World> {
        let now = db.clock().now();
        let OrganizationCreateInput { ref name, ref slug, ref time_zone, .. } = self.organization;
        let tx = AccountTx::begin(db, &origin()).await?;
        let mut people = Vec::with_capacity(self.size.people);
        for index in 0..self.size.people {
            let address = email(slug, index);
            let username = format!("user{}.{slug}", index + 1);
            let full_name =
                format!("{} {}", sample::one(rng, sample::FIRST_NAMES), sample::one(rng, sample::LAST_NAMES));
            let person = tx
                .insert(user::ActiveModel {
                    id: Set(db.clock().new_id()),
                    email_key: Set(email_key(&address)),
                    email: Set(address),
                    username_key: Set(fold(&username)),
                    username: Set(username),
                    full_name_key: Set(Some(fold(&full_name))),
                    full_name: Set(Some(full_name)),
                    avatar_url: Set(None),
                    time_zone: Set("UTC".to_owned()),
                    email_verified_at: Set(Some(now)),
                    created_at: Set(now),
                    updated_at: Set(now),
                    version: Set(1),
                })
                .await?;
            tx.insert(credential::ActiveModel {
                user_id: Set(person.id),
                password_hash: Set(password_hash.to_owned()),
                updated_at: Set(now),
            })
            .await?;
            people.push(person.id);
        }
        let row = organization::ActiveModel {
            id: Set(db.clock().new_id()),
            name: Set(name.clone()),
            slug: Set(slug.clone()),
            item_prefix: Set(self.organization.prefix()),
            time_zone: Set(time_zone.clone()),
            // Whatever new organizations begin with: what is measured must fit.
            plan_tier: Set(PlanTier::Enterprise),
            plan_renews_at: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
            version: Set(1),
        };
        let mut tx = tx.found(ActorRef::user(people[0]), row).await?;
        let organization_id = tx.organization_id();
        tx.record(NewEvent::new(EventType::OrganizationCreated, organization_id.any(), shown("name", name)));

        let memberships: Vec<membership::Model> = people
            .iter()
            .enumerate()
            .map(|(index, user_id)| membership::Model {
                organization_id,
                id: db.clock().new_id(),
                user_id: *user_id,
                role: role(index),
                status: MembershipStatus::Active,
                joined_at: now,
                last_active_at: None,
                version: 1,
                removed_at: None,
            })
            .collect();
        tx.insert_many(memberships.clone()).await?;
        tx.count(QuotaResource::Members, i64::try_from(memberships.len()).map_err(Error::internal)?);
        for row in &memberships {
            let joined = changes(None, Some(&members::service::fields(row)));
            tx.record(NewEvent::new(EventType::MemberJoined, row.id.any(), joined));
        }

        let teams: Vec<team::Model> = (0..self.size.teams)
            .map(|index| {
                let name = format!("Team {}", index + 1);
                team::Model {
                    organization_id,
                    id: db.clock().new_id(),
                    name_key: fold(&name),
                    name,
                    description: None,
                    created_at: now,
                    updated_at: now,
                    version: 1,
                    removed_at: None,
                }
            })
            .collect();
        tx.insert_many(teams.clone()).await?;
        let links = people.iter().zip(teams.iter().cycle()).map(|(user_id, team)| team_member::Model {
            organization_id,
            team_id: team.id,
            user_id: *user_id,
        });
        tx.insert_many(links.collect()).await?;
        for row in &teams {
            let created = NewEvent::new(EventType::TeamCreated, row.id.any(), shown("name", &row.name));
            tx.record(created.of_team(row.id));
        }

        let tags: Vec<tag::Model> = (0..self.size.tags)
            .map(|index| {
                let (name, color) = sample::TAGS[index % sample::TAGS.len()];
                let name = format!("{name} {}", index / sample::TAGS.len() + 1);
                tag::Model {
                    organization_id,
                    id: db.clock().new_id(),
                    name_key: fold(&name),
                    name,
                    color: color.to_owned(),
                    created_at: now,
                    updated_at: now,
                    version: 1,
                    removed_at: None,
                }
            })
            .collect();
        tx.insert_many(tags.clone()).await?;
        for row in &tags {
            tx.record(NewEvent::new(EventType::TagCreated, row.id.any(), shown("name", &row.name)));
        }

        let writers = memberships.iter().filter(|row| row.role > Role::Viewer).map(|row| row.user_id).collect();
        let teams = teams.iter().map(|row| row.id).collect();
        let tags = tags.iter().map(|row| row.id).collect();
        tx.commit(()).await?;
        Ok(World { organization_id, people, writers, teams, tags })
    }

    /// Rows and events of some items. The clock goes along, so that ids, instants and sequences have one order.
    fn draw(&self, world: &World, rng: &mut Rng, scope: &OrgScope, indexes: Range<usize>) -> Batch {
        let clock = scope.clock();
        let organization_id = world.organization_id;
        // In milliseconds. Of an item's share of time the comments take the middle, and a change at the end closes it.
        let pace = SPAN.num_milliseconds() / (self.size.items as i64).max(1);
        let mut batch = Batch::default();
        for index in indexes {
            let begin = self.now - SPAN + Duration::milliseconds(pace * index as i64);
            let created_at = begin + Duration::milliseconds(rng.i64(0..=pace / 4));
            clock.set(created_at);
            let id: ItemId = clock.new_id();
            let team_id = (!world.teams.is_empty()).then(|| sample::one(rng, &world.teams));
            let title = sample::title(rng);
            batch.events.push(item_event(EventType::ItemCreated, id, team_id, id.any(), shown("title", &title)));

            let topic = &sample::TOPICS[rng.usize(..sample::TOPICS.len())];
            for number in 0..self.args.comments {
                let after = pace / 2 * (number as i64 + 1) / (self.args.comments as i64 + 1);
                clock.set(created_at + Duration::milliseconds(after));
                let body = sample::comment(rng, topic, Stage::Working);
                let row = comment::Model {
                    organization_id,
                    id: clock.new_id(),
                    item_id: id,
                    parent_id: None,
                    body: body.to_owned(),
                    author_kind: ActorKind::User,
                    author_id: sample::one(rng, &world.writers).uuid(),
                    created_at: clock.now(),
                    edited_at: None,
                    version: 1,
                };
                batch.events.push(item_event(
                    EventType::CommentCreated,
                    id,
                    team_id,
                    row.id.any(),
                    shown("body", body),
                ));
                batch.comments.push(row);
            }

            let status = STATUSES[index % STATUSES.len()];
            let is_archived = status == ItemStatus::Archived;
            let changed_at = begin + Duration::milliseconds(pace / 5 * 4);
            clock.set(changed_at);
            if is_archived {
                let change = change("status", "DONE".into(), "ARCHIVED".into());
                batch.events.push(item_event(EventType::ItemArchived, id, team_id, id.any(), vec![change]));
            }
            let parent_id = (index % SUBTASK_EVERY == 0).then(|| batch.adopt(rng, status)).flatten();
            batch.items.push(item::Model {
                organization_id,
                id,
                number: 0,
                title_key: fold(&title),
                title,
                description: (rng.u8(..4) > 0).then(|| sample::description(rng, topic)),
                status,
                status_before_archive: is_archived.then_some(ItemStatus::Done),
                priority: super::priority(rng),
                due_at: (rng.u8(..10) < 7).then(|| created_at + Duration::hours(rng.i64(24..24 * 120))),
                estimated_hours: (rng.u8(..10) < 6).then(|| sample::one(rng, sample::ESTIMATES)),
                actual_hours: None,
                team_id,
                parent_id,
                subtask_count: 0,
                subtask_done_count: 0,
                comment_count: i32::try_from(self.args.comments).unwrap_or(i32::MAX),
                created_by_kind: ActorKind::User,
                created_by_id: sample::one(rng, &world.writers).uuid(),
                created_at,
                updated_at: if is_archived { changed_at } else { created_at },
                started_at: (status > ItemStatus::Todo).then_some(created_at),
                completed_at: (status >= ItemStatus::Done).then_some(created_at),
                archived_at: is_archived.then_some(changed_at),
                deleted_at: None,
                deletion_id: None,
                version: if is_archived { 2 } else { 1 },
            });
            let people = rng.choose_multiple(&world.people, self.args.assignees_per_item);
            batch.assignees.extend(people.into_iter().map(|user_id| item_assignee::Model {
                organization_id,
                item_id: id,
                user_id: *user_id,
            }));
            let tags = rng.choose_multiple(&world.tags, self.args.tags_per_item);
            batch.tags.extend(tags.into_iter().map(|tag_id| item_tag::Model {
                organization_id,
                item_id: id,
                tag_id: *tag_id,
            }));
        }
        batch
    }
}

/// Statuses, over and over: the same share of each in every batch also gives every batch the same statements.
const STATUSES: &[ItemStatus] = &[
    ItemStatus::Todo,
    ItemStatus::Done,
    ItemStatus::InProgress,
    ItemStatus::Todo,
    ItemStatus::Done,
    ItemStatus::Archived,
    ItemStatus::InReview,
    ItemStatus::Done,
    ItemStatus::Todo,
    ItemStatus::InProgress,
];

/// Every so many items one is a subtask. Shares no factor with the statuses' number, so that subtasks have all of them.
const SUBTASK_EVERY: usize = 9;

fn role(person: usize) -> Role {
    match person {
        0 => Role::Owner,
        1..4 => Role::Admin,
        _ if (person + 1).is_multiple_of(10) => Role::Viewer,
        _ => Role::Member,
    }
}

fn origin() -> Origin {
    Origin::command("fill")
}

fn change(field: &str, before: serde_json::Value, after: serde_json::Value) -> Change {
    Change { field: field.to_owned(), before, after }
}

/// A creation, as its event shows it: one field stands for all, which keeps large ledgers small.
fn shown(field: &str, value: &str) -> Vec<Change> {
    vec![change(field, serde_json::Value::Null, value.into())]
}

fn item_event(
    r#type: EventType,
    item_id: ItemId,
    team_id: Option<TeamId>,
    subject: AnyId,
    changes: Vec<Change>,
) -> NewEvent {
    NewEvent::new(r#type, subject, changes).of_item(item_id, team_id)
}

/// Rows and events of one transaction.
#[derive(Default)]
struct Batch {
    items: Vec<item::Model>,
    assignees: Vec<item_assignee::Model>,
    tags: Vec<item_tag::Model>,
    comments: Vec<comment::Model>,
    events: Vec<NewEvent>,
}

impl Batch {
    /// A parent for an item of such a status among those of the batch, which counts it from now on.
    fn adopt(&mut self, rng: &mut Rng, status: ItemStatus) -> Option<ItemId> {
        if self.items.is_empty() {
            return None;
        }
        let index = rng.usize(..self.items.len());
        let parent = self.items.get_mut(index).filter(|item| item.parent_id.is_none())?;
        parent.subtask_count += 1;
        // What is archived here was done before.
        parent.subtask_done_count += i32::from(status >= ItemStatus::Done);
        Some(parent.id)
    }

    async fn write(self, scope: &OrgScope) -> Result<()> {
        let Self { mut items, assignees, tags, comments, events } = self;
        let count = |number: usize| i64::try_from(number).map_err(Error::internal);
        let mut tx = scope.write(Permission::ItemWrite).await?;
        tx.count(QuotaResource::Items, count(items.len())?);
        let first = tx.reserve(count(items.len())?, count(events.len())?).await?;
        for (number, item) in (first..).zip(&mut items) {
            item.number = number;
        }
        tx.insert_many(items).await?;
        tx.insert_many(assignees).await?;
        tx.insert_many(tags).await?;
        tx.insert_many(comments).await?;
        for event in events {
            tx.record(event);
        }
        tx.commit(()).await?;
        Ok(())
    }
}
