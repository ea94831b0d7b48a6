//! The demo organization "Acme": a quarter of a year of work in three teams, made through the services themselves, so
//! that rights, rules and the ledger hold for it as for any other.
//!
//! The whole story is planned first ([`plan`]), then told in the order of time with a clock that is moved along. It is
//! the same at every run, seen from the present. Until the end the organization has the slug [`UNFINISHED`]: the change
//! of the slug is what says that nothing is missing, so an interrupted run is noticed by the next one, which starts anew.

mod plan;

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, bail};
use async_graphql::MaybeUndefined;
use chrono::Duration;
use indicatif::ProgressBar;
use sea_orm::ColumnTrait as _;
use serde::Serialize;

use self::plan::{ADMIN, Action, Calendar, END, HOUR, OWNER, PEOPLE, Plan, Second, Someone, Step};
use super::{
    console::{self, failure},
    serve,
};
use crate::{
    api::http::playground,
    app,
    base::{
        clock::Clock,
        config::Config,
        enums::{ItemStatus, PlanTier, Role},
        id::{CommentId, ItemId, TagId, TeamId, UserId},
        secret::ServerSecret,
    },
    data::{
        actor::{Origin, Person},
        db::{Db, OrgScope, filter::email_key, identity::OrganizationChoice},
        entity::{organization, user},
    },
    domains::{
        accounts::{self, input::UserRegisterInput},
        comments::{self, input::CommentCreateInput},
        items::{
            self,
            input::{ItemArchiveInput, ItemCreateInput, ItemDeleteInput, ItemPatch, ItemUpdateInput},
        },
        members::{
            self,
            input::{InvitationAcceptInput, InvitationCreateInput},
        },
        organizations::{
            self,
            input::{OrganizationCreateInput, OrganizationDeleteInput, OrganizationPatch, OrganizationUpdateInput},
        },
        tags::{self, input::TagCreateInput},
        teams::{self, input::TeamCreateInput},
    },
    graphql::scalars::{Color, DateTime, Markdown},
    platform::{
        auth::{password::Cost, token::KeyRing},
        outgoing::Dependencies,
        state::State,
    },
};
use todo_sample::{self as sample, Area};

const SLUG: &str = "acme";
const UNFINISHED: &str = "acme-unfinished";
/// Published: whoever can reach a server with demo data can sign in to it.
const PASSWORD: &str = "acme-demo-2026";

/// The demo organization and how to get in.
#[derive(Debug, Serialize)]
pub struct Demo {
    pub accounts: Vec<DemoAccount>,
    pub slug: String,
    /// Made by this run; otherwise it was there, with whatever has happened in it since.
    pub fresh: bool,
}

/// Somebody to sign in as.
#[derive(Debug, Serialize)]
pub struct DemoAccount {
    pub role: &'static str,
    pub email: String,
    pub password: String,
}

/// `demo`: fills what is missing, then serves.
pub async fn run(config: Arc<Config>) -> anyhow::Result<()> {
    let secret = config.secret()?;
    let db = Db::connect(&config.database, Clock::system(), None).await?;
    app::prepare_schema(&db, &config).await?;
    db.close().await;
    let demo = fill(&config, &secret).await?;
    let accounts: Vec<_> = demo
        .accounts
        .iter()
        .map(|account| playground::DemoAccount {
            role: account.role,
            email: account.email.clone(),
            password: account.password.clone(),
        })
        .collect();
    let greeting = Box::new(move |url: &str| greeting(&demo, url));
    serve::serve(config, serve::Role::All, serve::Demo { accounts: accounts.into(), greeting: Some(greeting) }).await
}

/// What to do next, for the terminal. The `curl` line works as it is pasted.
fn greeting(demo: &Demo, url: &str) -> String {
    let mut lines = vec![
        String::new(),
        format!("  Playground   {url}/o/{}/", demo.slug),
        format!("  API          {url}/graphql"),
        String::new(),
    ];
    for account in &demo.accounts {
        lines.push(format!("  {:12} {}  {}", account.role, account.email, account.password));
    }
    if let Some(owner) = demo.accounts.first() {
        let sign_in = format!(
            "{{\"query\":\"mutation {{ sessionCreate(input: {{email: \\\"{}\\\", password: \\\"{}\\\"}}) {{ accessToken userErrors {{ code message }} }} }}\"}}",
            owner.email, owner.password
        );
        lines.push(String::new());
        lines.push(format!("  curl -s {url}/graphql -H 'content-type: application/json' -d '{sign_in}'"));
        lines.push(String::new());
    }
    lines.join("\n")
}

/// Makes the demo organization in a migrated database, or finds it.
pub async fn fill(config: &Arc<Config>, secret: &ServerSecret) -> anyhow::Result<Demo> {
    let present = Db::connect(&config.database, Clock::system(), None).await?;
    // Here, so that the ring's first key is of today; the clock below stands in the past.
    KeyRing::load(&present, secret).await.map_err(failure)?;
    let now = present.clock().now();
    let found = find(&present, SLUG).await?;
    present.close().await;
    if found.is_none() {
        // A clock never gives ids that go back in time, so the past needs one of its own.
        let calendar = Calendar::until(now);
        let clock = Clock::fixed(calendar.at(0));
        // Whatever new organizations begin with: the demo shows everything.
        let mut config = Config::clone(config);
        config.plans.default = PlanTier::Enterprise;
        let db = Db::connect(&config.database, clock, None).await?;
        let state =
            State::new(db, config.into(), secret, Cost::OWASP, Dependencies::default()).await.map_err(failure)?;
        tell(&state, &calendar).await?;
        state.background.close();
        state.background.wait().await;
        state.db.close().await;
    }
    Ok(Demo { accounts: accounts(), slug: SLUG.to_owned(), fresh: found.is_none() })
}

fn accounts() -> Vec<DemoAccount> {
    let shown = [(Role::Owner, "owner"), (Role::Admin, "admin"), (Role::Member, "member"), (Role::Viewer, "viewer")];
    let account = |(role, name)| {
        let someone = PEOPLE.iter().find(|someone| someone.role == role)?;
        Some(DemoAccount { role: name, email: someone.email(), password: PASSWORD.to_owned() })
    };
    shown.into_iter().filter_map(account).collect()
}

async fn find(db: &Db, slug: &str) -> anyhow::Result<Option<organization::Model>> {
    let found = db.find_global::<organization::Entity>(organization::Column::Slug.eq(slug)).await;
    Ok(found.map_err(failure)?.pop())
}

/// What has been told so far.
struct Acme<'a> {
    state: &'a State,
    calendar: &'a Calendar,
    /// By place in [`PEOPLE`].
    scopes: Vec<OrgScope>,
    teams: BTreeMap<usize, TeamId>,
    tags: BTreeMap<&'static str, TagId>,
    items: BTreeMap<usize, ItemId>,
    comments: BTreeMap<usize, CommentId>,
}

async fn tell(state: &State, calendar: &Calendar) -> anyhow::Result<()> {
    let plan = Plan::draw();
    let people = PEOPLE.len() as u64;
    let bar = console::progress(people + plan.steps.len() as u64, "filling the demo {bar:40} {percent}%")?;
    let mut acme = Acme::found(state, calendar, &bar).await?;
    for step in &plan.steps {
        acme.take(&plan, step).await.with_context(|| format!("the demo item {:?}", plan.items[step.item].title))?;
        bar.inc(1);
    }
    acme.finish().await?;
    bar.finish_and_clear();
    Ok(())
}

fn origin() -> Origin {
    Origin::command("demo")
}

/// Somebody, registered and signed in. They are there already when an earlier run was interrupted.
async fn enter(state: &State, someone: &Someone) -> anyhow::Result<Person> {
    let (origin, email) = (origin(), someone.email());
    let known =
        state.db.find_global::<user::Entity>(user::Column::EmailKey.eq(email_key(&email))).await.map_err(failure)?;
    let tokens = if known.is_empty() {
        let input = UserRegisterInput {
            email: email.clone(),
            username: someone.username(),
            password: PASSWORD.to_owned(),
            full_name: Some(someone.full_name.to_owned()),
            time_zone: Some(someone.time_zone.to_owned()),
            invitation_token: None,
        };
        accounts::service::register(state, &origin, &input).await
    } else {
        accounts::service::sign_in(state, &origin, &email, PASSWORD).await
    };
    let tokens = tokens.map_err(failure).with_context(|| format!("the demo account {email}"))?.value;
    let identified = state.db.identify(tokens.session_id, tokens.user_id, None).await.map_err(failure)?;
    Ok(identified.context("a session that has just begun is gone")?.person)
}

/// A person's scope in the organization.
async fn scope(state: &State, person: &Person, slug: &str) -> anyhow::Result<OrgScope> {
    let choice = OrganizationChoice::Slug(slug.to_owned());
    let identified = state.db.identify(person.session_id, person.user.id, Some(&choice)).await.map_err(failure)?;
    let scope = identified.and_then(|identified| identified.scope(&state.db, 0, origin()));
    scope.with_context(|| format!("{} is no member of the organization {slug}", person.user.email))
}

impl<'a> Acme<'a> {
    /// The organization with its people, teams and tags.
    async fn found(state: &'a State, calendar: &'a Calendar, bar: &ProgressBar) -> anyhow::Result<Self> {
        let founder = enter(state, &PEOPLE[OWNER]).await?;
        if find(&state.db, UNFINISHED).await?.is_some() {
            let Ok(scope) = scope(state, &founder, UNFINISHED).await else {
                bail!("the organization {UNFINISHED} belongs to somebody else; delete it or change its slug");
            };
            let confirm = OrganizationDeleteInput { confirm_slug: UNFINISHED.to_owned() };
            organizations::service::delete(&scope, &confirm).await.map_err(failure)?;
        }
        let input = OrganizationCreateInput {
            id: None,
            name: "Acme".to_owned(),
            slug: UNFINISHED.to_owned(),
            item_prefix: Some("ACME".to_owned()),
            time_zone: "Europe/Berlin".to_owned(),
        };
        organizations::service::create(state, &origin(), &founder, &input).await.map_err(failure)?;
        let owner = scope(state, &founder, UNFINISHED).await?;
        bar.inc(1);
        let mut acme = Self {
            state,
            calendar,
            scopes: vec![owner],
            teams: BTreeMap::new(),
            tags: BTreeMap::new(),
            items: BTreeMap::new(),
            comments: BTreeMap::new(),
        };
        for (index, area) in Area::ALL.into_iter().enumerate() {
            acme.at(600 + 120 * index as Second);
            let (name, description) = area.team();
            let members = if PEOPLE[OWNER].areas.contains(&area) { vec![founder.user.id] } else { Vec::new() };
            let input = TeamCreateInput {
                name: name.to_owned(),
                description: Some(Markdown(description.to_owned())),
                member_ids: Some(members),
                ..TeamCreateInput::default()
            };
            let team = teams::service::create(&acme.scopes[OWNER], &input).await.map_err(failure)?;
            acme.teams.insert(area as usize, team.value.id);
        }
        for (index, someone) in PEOPLE.iter().enumerate().skip(1) {
            acme.at(HOUR + HOUR / 2 * index as Second);
            acme.welcome(someone).await?;
            bar.inc(1);
        }
        for (index, (name, color)) in sample::TAGS.iter().enumerate() {
            acme.at(6 * HOUR + 60 * index as Second);
            let input = TagCreateInput { id: None, name: (*name).to_owned(), color: Color((*color).to_owned()) };
            let tag = tags::service::create(&acme.scopes[ADMIN], &input).await.map_err(failure)?;
            acme.tags.insert(name, tag.value.id);
        }
        Ok(acme)
    }

    fn at(&self, second: Second) {
        self.state.clock().set(self.calendar.at(second));
    }

    /// Invites somebody, who accepts.
    async fn welcome(&mut self, someone: &Someone) -> anyhow::Result<()> {
        let input = InvitationCreateInput {
            id: None,
            email: someone.email(),
            role: someone.role,
            team_ids: Some(someone.areas.iter().map(|area| self.teams[&(*area as usize)]).collect()),
        };
        let invited = members::invitations::invite(self.state, &self.scopes[OWNER], &input).await.map_err(failure)?;
        let token = invited.value.1.context("an invitation without a token")?;
        self.state.clock().advance(Duration::minutes(10));
        let person = enter(self.state, someone).await?;
        let accept = InvitationAcceptInput::Token(token);
        members::invitations::accept(self.state, &origin(), &person, &accept).await.map_err(failure)?;
        self.scopes.push(scope(self.state, &person, UNFINISHED).await?);
        Ok(())
    }

    fn user_id(&self, person: usize) -> anyhow::Result<UserId> {
        self.scopes[person].user_id().context("a scope of nobody")
    }

    async fn take(&mut self, plan: &Plan, step: &Step) -> anyhow::Result<()> {
        self.at(step.at);
        if matches!(step.action, Action::Create) {
            let input = self.creation(plan, step.item)?;
            items::create::create(&self.scopes[step.who], &input).await.map_err(failure)?;
            return Ok(());
        }
        let scope = &self.scopes[step.who];
        let id = self.items[&step.item];
        let update = |patch| ItemUpdateInput { id, if_version: None, patch };
        match &step.action {
            Action::Create => {}
            Action::Move(status, took) => {
                let actual_hours = took.map_or(MaybeUndefined::Undefined, MaybeUndefined::Value);
                let patch = ItemPatch { status: MaybeUndefined::Value(*status), actual_hours, ..ItemPatch::default() };
                items::service::update(scope, &update(patch)).await.map_err(failure)?;
            }
            Action::Prioritize(priority) => {
                let patch = ItemPatch { priority: MaybeUndefined::Value(*priority), ..ItemPatch::default() };
                items::service::update(scope, &update(patch)).await.map_err(failure)?;
            }
            Action::Comment(planned) => {
                let body = match planned.mentions {
                    Some(person) => {
                        format!("@[{}]({}) {}", PEOPLE[person].full_name, self.user_id(person)?, planned.body)
                    }
                    None => planned.body.to_owned(),
                };
                let parent_id = planned.answers.map(|top| self.comments[&top]);
                let input = CommentCreateInput { id: None, item_id: id, parent_id, body: Markdown(body) };
                let comment = comments::service::create(scope, &input).await.map_err(failure)?;
                self.comments.insert(planned.place, comment.value.id);
            }
            Action::Archive => {
                items::service::archive(scope, &ItemArchiveInput { id, if_version: None }).await.map_err(failure)?;
            }
            Action::Delete => {
                let input = ItemDeleteInput { id, if_version: None, permanently: false };
                items::trees::delete(scope, &input).await.map_err(failure)?;
            }
        }
        Ok(())
    }

    /// The input that creates an item with all below it. The ids are made here, so that what follows can name them.
    fn creation(&mut self, plan: &Plan, item: usize) -> anyhow::Result<ItemCreateInput> {
        let id = self.state.clock().new_id();
        self.items.insert(item, id);
        let sketch = &plan.items[item];
        let assignees = sketch.assignees.iter().map(|person| self.user_id(*person));
        let assignee_ids = assignees.collect::<anyhow::Result<Vec<_>>>()?;
        let subtasks = sketch.subtasks.iter().map(|subtask| self.creation(plan, *subtask));
        let subtasks = subtasks.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(ItemCreateInput {
            id: Some(id),
            title: sketch.title.to_owned(),
            description: sketch.description.clone().map(Markdown),
            status: ItemStatus::Todo,
            priority: sketch.priority,
            due_at: sketch.due.map(|due| DateTime(self.calendar.due(due, sketch.created))),
            estimated_hours: sketch.estimate,
            team_id: Some(self.teams[&(sketch.area as usize)]),
            parent_id: None,
            assignee_ids: Some(assignee_ids),
            tag_ids: Some(sketch.tags.iter().map(|name| self.tags[name]).collect()),
            subtasks: Some(subtasks),
        })
    }

    /// Gives the organization its slug: from here on it counts as complete.
    async fn finish(self) -> anyhow::Result<()> {
        self.at(END);
        let patch = OrganizationPatch {
            name: MaybeUndefined::Undefined,
            slug: MaybeUndefined::Value(SLUG.to_owned()),
            time_zone: MaybeUndefined::Undefined,
        };
        let input = OrganizationUpdateInput { if_version: None, patch };
        organizations::service::update(&self.scopes[OWNER], &input).await.map_err(failure)?;
        Ok(())
    }
}
