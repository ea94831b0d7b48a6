//! `fill`: organizations of a given size, for measuring. Rows go in by the batch, past the services but not past the
//! ledger: every row has its event, sequences have no gaps, and what items count is right.
//!
//! An organization is made in one transaction with its people, teams and tags; its items follow in transactions of some
//! hundred, told in the order of time by a clock of the organization's own.

mod batch;
mod world;

use std::{sync::Arc, time::Instant as Stopwatch};

use anyhow::{Context as _, bail, ensure};
use chrono::Duration;
use fastrand::Rng;
use indicatif::{HumanCount, ProgressBar};
use sea_orm::prelude::ColumnTrait as _;

use super::console::{self, failure};
use crate::{
    app,
    base::{
        clock::{Clock, Instant},
        config::Config,
    },
    data::{
        actor::Origin,
        db::{Db, OrgScope},
        entity::{organization, user},
    },
    domains::{
        items::input::{MAX_ASSIGNEES, MAX_TAGS},
        organizations::input::OrganizationCreateInput,
    },
    platform::auth::password::{Cost, PasswordHasher},
};

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
}

fn origin() -> Origin {
    Origin::command("fill")
}
