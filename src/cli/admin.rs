//! `admin`: what the operator of a server does beside it, running or not. Each command says what it did in a sentence.
//! What concerns an organization is in its ledger, what concerns a person in their security log, the rest in the log.

mod erase;
mod export;
mod jobs;
mod organizations;
mod owner;
mod reencrypt;

use std::sync::Arc;

use anyhow::{Context as _, bail};
use sea_orm::ColumnTrait as _;

use super::console::{failure, say};
use crate::{
    app::StartError,
    base::{clock::Clock, config::Config, enums::PlanTier, error::Error, plan},
    data::{
        actor::Origin,
        db::{Db, OrgScope, filter::email_key, identity::OrganizationChoice, retrying},
        entity::{organization, user},
    },
    domains::{
        accounts,
        plans::{self, service::Fit},
    },
    platform::{
        auth::{password::Cost, token},
        outgoing::Dependencies,
        state::State,
    },
};

#[derive(Debug, clap::Subcommand)]
pub enum AdminCommand {
    /// Make a person the owner of an organization; whichever isn't there is made.
    CreateOwner(owner::OwnerArgs),
    /// Put an organization on a plan.
    SetPlan(PlanArgs),
    /// Print every organization with its plan and what is counted of it.
    ListOrganizations {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
    /// All of one organization: into a file, or gone for good.
    #[command(subcommand)]
    Organization(OrganizationCommand),
    /// Print the durable jobs that wait, run, or were given up; `--retry` tries those again.
    Jobs(jobs::JobsArgs),
    /// Sign a person out everywhere.
    RevokeSessions { email: String },
    /// Sign access tokens with a new key; no session ends.
    RotateSigningKey,
    /// After PostgreSQL was put back to an earlier state, before servers start: ledger cursors given out so far are refused.
    Restored,
    /// After `SECRET_KEY` was changed: encrypt under it what is still under `SECRET_KEY_OLD`, and say what is left.
    Reencrypt {
        /// Change nothing; say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
pub enum OrganizationCommand {
    /// Write everything of it into a file, a JSON object a line.
    Export(export::ExportArgs),
    /// Delete everything of it for good.
    Erase(erase::EraseArgs),
}

#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Slug or id.
    organization: String,
    /// FREE, STARTER, PROFESSIONAL or ENTERPRISE.
    #[arg(value_parser = tier)]
    tier: PlanTier,
    /// Although what is in use does not fit: it stays, and nothing is added until it does.
    #[arg(long)]
    force: bool,
}

fn tier(text: &str) -> Result<PlanTier, String> {
    let tier = serde_json::from_value(text.to_uppercase().into());
    tier.map_err(|_| "FREE, STARTER, PROFESSIONAL or ENTERPRISE".to_owned())
}

/// Runs one command against the database that the settings name.
pub async fn run(command: AdminCommand, config: Arc<Config>) -> anyhow::Result<()> {
    let state = open(config).await?;
    let done = match command {
        AdminCommand::CreateOwner(args) => owner::create(&state, args).await,
        AdminCommand::SetPlan(args) => set_plan(&state, &args).await,
        AdminCommand::ListOrganizations { json } => organizations::list(&state.db, json).await,
        AdminCommand::Organization(OrganizationCommand::Export(args)) => export::run(&state.db, &args).await,
        AdminCommand::Organization(OrganizationCommand::Erase(args)) => erase::run(&state, &args).await,
        AdminCommand::Jobs(args) => jobs::run(&state.db, &args).await,
        AdminCommand::RevokeSessions { email } => revoke_sessions(&state, &email).await,
        AdminCommand::RotateSigningKey => rotate_signing_key(&state).await,
        AdminCommand::Restored => restored(&state.db).await,
        AdminCommand::Reencrypt { dry_run } => reencrypt::run(&state, dry_run).await,
    };
    state.db.close().await;
    done
}

/// The database as it is. The schema is never changed from here: a server may be running on it.
pub async fn connect(config: &Config) -> anyhow::Result<Db> {
    let db = Db::connect(&config.database, Clock::system(), None).await?;
    match db.pending_migrations().await?.len() {
        0 => Ok(db),
        missing => Err(StartError::Unmigrated(missing).into()),
    }
}

async fn open(config: Arc<Config>) -> anyhow::Result<State> {
    let db = connect(&config).await?;
    let secret = config.secret()?;
    State::new(db, config, &secret, Cost::OWASP, Dependencies::default()).await.map_err(failure)
}

fn origin() -> Origin {
    Origin::command("admin")
}

pub async fn find_organization(db: &Db, name: &str) -> anyhow::Result<organization::Model> {
    let named = match OrganizationChoice::parse(name) {
        OrganizationChoice::Id(id) => organization::Column::Id.eq(id),
        OrganizationChoice::Slug(slug) => organization::Column::Slug.eq(slug),
    };
    let found = db.find_global::<organization::Entity>(named).await.map_err(failure)?.pop();
    found.with_context(|| format!("there is no organization {name:?}; `admin list-organizations` shows them all"))
}

async fn set_plan(state: &State, args: &PlanArgs) -> anyhow::Result<()> {
    let before = find_organization(&state.db, &args.organization).await?;
    let scope = OrgScope::of_system(&state.db, before.id, origin()).await.map_err(failure)?;
    let fit = if args.force { Fit::Ignored } else { Fit::Required };
    let after = match retrying(|| plans::service::change(&scope, args.tier, fit)).await {
        Ok(changed) => changed.value,
        Err(Error::Invalid(reasons)) => {
            let reasons: Vec<_> = reasons.iter().map(|reason| format!("- {}", reason.message)).collect();
            bail!("nothing was changed; --force would, although:\n{}", reasons.join("\n"));
        }
        Err(error) => return Err(failure(error)),
    };
    let (slug, plan) = (&after.slug, plan::name(after.plan_tier));
    if after.version == before.version {
        say(format_args!("{slug} was on the plan {plan} already; nothing was changed."));
    } else {
        say(format_args!("{slug} is now on the plan {plan}; it was on {}.", plan::name(before.plan_tier)));
    }
    Ok(())
}

async fn revoke_sessions(state: &State, email: &str) -> anyhow::Result<()> {
    let known = user::Column::EmailKey.eq(email_key(email));
    let person = state.db.find_global::<user::Entity>(known).await.map_err(failure)?.pop();
    let person = person.with_context(|| format!("nobody has the address {email:?}"))?;
    let origin = origin();
    let ended = retrying(|| accounts::service::end_all_sessions(state, &origin, person.id)).await.map_err(failure)?;
    say(format_args!("Ended {ended} session(s) of {}; a running server refuses them within a second.", person.email));
    Ok(())
}

async fn rotate_signing_key(state: &State) -> anyhow::Result<()> {
    let id = retrying(|| state.keys.rotate()).await.map_err(failure)?;
    tracing::info!(key = id, "the signing key was rotated");
    say(format_args!(
        "The key {id} signs from now on, on every running server within {} s; tokens signed before are accepted until \
         they end.",
        token::REFRESH.as_secs()
    ));
    Ok(())
}

async fn restored(db: &Db) -> anyhow::Result<()> {
    retrying(|| db.begin_epoch()).await.map_err(failure)?;
    tracing::info!("ledger cursors from before the restore are refused from now on");
    say("Ledger cursors given out so far are refused (INVALID_CURSOR) by servers that start from now on.");
    Ok(())
}
