//! `admin organization erase`: an organization and everything of it, now, with a look that nothing is left.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::{bail, ensure};

use super::{find_organization, origin};
use crate::{
    base::error::Error,
    cli::console::{self, failure, say},
    data::{
        db::{AccountTx, Db, OrgScope, retrying},
        entity::{ActorRef, organization},
    },
    domains::organizations,
    jobs::kinds::{Chunk, next_chunk},
    platform::state::State,
};

/// How long to wait before it is looked again how far another process has got.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub struct EraseArgs {
    /// Slug or id.
    organization: String,
    /// The slug once more, instead of being asked for it.
    #[arg(long, value_name = "SLUG")]
    yes: Option<String>,
}

/// Ends the organization for everybody, then deletes its rows in chunks, by the same job as the API's `organizationDelete`: if
/// this dies, a server's worker goes on.
pub async fn run(state: &State, args: &EraseArgs) -> anyhow::Result<()> {
    let db = &state.db;
    let organization = find_organization(db, &args.organization).await?;
    confirm(&organization, args.yes.as_deref())?;
    // Without a head it has ended before.
    if !db.ledger_heads(vec![organization.id]).await.map_err(failure)?.is_empty() {
        let ended = retrying(|| async {
            let scope = OrgScope::of_system(db, organization.id, origin()).await?;
            organizations::service::end(&scope).await
        });
        ended.await.map_err(failure)?;
        say(format_args!("{} has ended: nobody gets in any more.", organization.slug));
    }
    let bar = console::progress(0, "{spinner} {human_pos} chunk(s) of rows deleted, {elapsed}")?;
    while is_there(db, &organization).await? {
        let job = retrying(|| db.claim_job_about(organizations::service::DELETION, organization.id.uuid()));
        let Some(job) = job.await.map_err(failure)? else {
            leave_a_job(db, &organization).await?;
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while retrying(|| next_chunk(state, &job)).await.map_err(failure)? == Chunk::More {
            bar.inc(1);
        }
    }
    let mut is_last = false;
    while !is_last {
        let traces = retrying(|| async {
            let tx = AccountTx::begin(db, &origin()).await?;
            let is_last = tx.delete_traces_of(organization.id).await?;
            tx.commit(ActorRef::SYSTEM, ()).await?;
            Ok::<_, Error>(is_last)
        });
        is_last = traces.await.map_err(failure)?;
    }
    bar.finish_and_clear();
    let left = db.tables_with(organization.id).await.map_err(failure)?;
    ensure!(left.is_empty(), "rows of {} are left in {}; run this again", organization.id, left.join(", "));
    // Its ledger went with it, so the log is where this stays.
    tracing::warn!(organization = %organization.id, "an organization was erased");
    say(format_args!(
        "{} ({}) is erased: no table has a row of it. It is still in backups, and in what exports and webhooks were given.",
        organization.slug, organization.id
    ));
    Ok(())
}

/// The slug, typed once more.
fn confirm(organization: &organization::Model, yes: Option<&str>) -> anyhow::Result<()> {
    let slug = &organization.slug;
    let typed = match yes {
        Some(typed) => typed.to_owned(),
        None if io::stdin().is_terminal() => {
            say(format_args!(
                "{} ({slug}) and everything in it will be deleted for good. Type its slug:",
                organization.name
            ));
            io::stdout().flush()?;
            let mut line = String::new();
            io::stdin().read_line(&mut line)?;
            line.trim().to_owned()
        }
        None => bail!("nothing was deleted; `--yes {slug}` confirms it where nobody can be asked"),
    };
    ensure!(typed == *slug, "nothing was deleted: {typed:?} is not the slug {slug:?}");
    Ok(())
}

async fn is_there(db: &Db, organization: &organization::Model) -> anyhow::Result<bool> {
    use sea_orm::ColumnTrait as _;
    let same = organization::Column::Id.eq(organization.id);
    Ok(!db.find_global::<organization::Entity>(same).await.map_err(failure)?.is_empty())
}

/// Another one where the job was given up; none while a server's worker is at it.
async fn leave_a_job(db: &Db, organization: &organization::Model) -> anyhow::Result<()> {
    let left = retrying(|| async {
        let mut tx = AccountTx::begin(db, &origin()).await?;
        if !tx.has_job(organizations::service::DELETION, organization.id.uuid()).await? {
            let (kind, id) = (organizations::service::DELETION, organization.id);
            tx.enqueue(kind, id.uuid(), ActorRef::SYSTEM, id).await?;
        }
        tx.commit(ActorRef::SYSTEM, ()).await
    });
    left.await.map(drop).map_err(failure)
}
