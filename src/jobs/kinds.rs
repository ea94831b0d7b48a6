//! The kinds of jobs, by name: which function does a job's next chunk. To add one: its name, what it reads and its function
//! in the domain's service, a line here.

use crate::{
    base::error::{Error, Result},
    data::db::{
        AccountTx, WriteTx,
        jobs::{Job, Rest},
    },
    domains::{
        accounts,
        imports::{self, run::Turn},
        items, members, organizations, search, tags, teams,
    },
    platform::state::State,
};

/// What one chunk brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// There is more to do.
    More,
    /// It was the last one; the job is gone.
    Last,
    /// The job is somebody else's by now, or gone with its organization: nothing was written.
    Lost,
}

/// Does a job's next chunk, in one transaction that holds only while the job is this worker's; an import's in several of them,
/// since what they write is read and planned before.
pub async fn next_chunk(state: &State, job: &Job) -> Result<Chunk> {
    if job.kind == imports::run::RUN {
        return Ok(match imports::run::turn(&state.db, job).await? {
            Turn::More => Chunk::More,
            Turn::Last => Chunk::Last,
            Turn::Lost => Chunk::Lost,
        });
    }
    if job.organization_id.is_some() { in_organization(state, job).await } else { on_server(state, job).await }
}

async fn in_organization(state: &State, job: &Job) -> Result<Chunk> {
    let Some(mut tx) = WriteTx::of_job(&state.db, job).await? else { return Ok(Chunk::Lost) };
    let is_last = match job.kind.as_str() {
        tags::service::REMOVAL => tags::service::remove_more(&mut tx, job.payload()?).await?,
        teams::service::REMOVAL => teams::service::remove_more(&mut tx, job.payload()?).await?,
        members::service::REMOVAL => members::service::remove_more(&mut tx, job.payload()?).await?,
        items::trees::DELETION => items::trees::delete_more(&mut tx, job.payload()?).await?,
        items::trees::RESTORE => items::trees::restore_more(&mut tx, job.payload()?).await?,
        items::trees::PURGE => items::trees::purge_more(&mut tx, job.payload()?).await?,
        unknown => return Err(unknown_kind(unknown)),
    };
    tx.commit_chunk(job, is_last).await?;
    Ok(if is_last { Chunk::Last } else { Chunk::More })
}

async fn on_server(state: &State, job: &Job) -> Result<Chunk> {
    let Some((tx, job)) = AccountTx::of_job(&state.db, job).await? else { return Ok(Chunk::Lost) };
    let (tx, rest) = match job.kind.as_str() {
        organizations::service::DELETION => {
            let (tx, is_last) = organizations::service::delete_more(tx, job.payload()?).await?;
            (tx, Rest::unless(is_last))
        }
        accounts::departure::DEPARTURE => {
            let (tx, is_last) = accounts::departure::depart_more(tx, job.payload()?).await?;
            (tx, Rest::unless(is_last))
        }
        accounts::announce::ANNOUNCEMENT => {
            let (tx, next) = accounts::announce::announce_more(tx, job.payload()?).await?;
            (tx, Rest::of(next)?)
        }
        search::service::FILL => {
            let (tx, next) = search::service::fill_more(tx, job.payload()?).await?;
            (tx, Rest::of(next)?)
        }
        unknown => return Err(unknown_kind(unknown)),
    };
    let is_last = matches!(rest, Rest::Nothing);
    tx.commit_chunk(&job, rest).await?;
    Ok(if is_last { Chunk::Last } else { Chunk::More })
}

/// A newer release left it: that release's workers know it.
fn unknown_kind(kind: &str) -> Error {
    Error::internal(format!("this release knows no job {kind:?}"))
}
