//! `admin jobs`.

use serde_json::json;
use uuid::Uuid;

use super::{failure, say};
use crate::{
    base::clock::format_instant,
    data::{db::Db, entity::job},
};

/// Jobs listed at most, the oldest.
const LIMIT: u64 = 1000;

#[derive(Debug, clap::Args)]
pub struct JobsArgs {
    /// As JSON, for programs.
    #[arg(long)]
    json: bool,
    /// Let jobs that were given up be tried again: this one, or all.
    #[arg(long, value_name = "ID|all")]
    retry: Option<String>,
}

/// Lists what waits, runs, and was given up; jobs that are done are gone.
pub async fn run(db: &Db, args: &JobsArgs) -> anyhow::Result<()> {
    if let Some(which) = &args.retry {
        let id = if which == "all" { None } else { Some(which.parse::<Uuid>()?) };
        let retried = db.retry_jobs(id).await.map_err(failure)?;
        say(format_args!("{retried} job(s) will be tried again; running workers take them within a second."));
        return Ok(());
    }
    let jobs = db.jobs(LIMIT).await.map_err(failure)?;
    if args.json {
        let rows: Vec<_> = jobs
            .iter()
            .map(|job| {
                json!({
                    "id": job.id,
                    "kind": job.kind,
                    "organizationId": job.organization_id.map(|id| id.to_string()),
                    "state": state(job),
                    "attempts": job.attempts,
                    "lastError": job.last_error,
                    "createdAt": format_instant(job.created_at),
                    "runAt": format_instant(job.run_at),
                })
            })
            .collect();
        say(serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for job in &jobs {
        let organization = job.organization_id.map_or_else(|| "the server".to_owned(), |id| id.to_string());
        let error = job.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        let (created, attempts) = (format_instant(job.created_at), job.attempts);
        say(format_args!(
            "{}  {:22}  {:9}  {organization}  since {created}, {attempts} failure(s){error}",
            job.id,
            job.kind,
            state(job)
        ));
    }
    say(format_args!("{} job(s)", jobs.len()));
    Ok(())
}

fn state(job: &job::Model) -> &'static str {
    match (job.failed_at, job.attempts) {
        (Some(_), _) => "failed",
        (None, 0) => "waiting",
        (None, _) => "retrying",
    }
}
