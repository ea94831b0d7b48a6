//! The job that does an import. Each turn reads the file and plans anew, which leaves out what is there already, and writes
//! for a while; so a turn that is lost loses nothing.

use std::time::Duration;

use sea_orm::{ColumnTrait as _, ExprTrait as _, sea_query::Expr};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    file::{self, values::Reading},
    options::Options,
    plan,
    report::{MAX_MESSAGE, Report},
    service, upload,
    write::{Step, Writer, Written, step},
};
use crate::{
    base::{
        enums::ImportStatus,
        error::{Code, Error, Result},
        id::ImportId,
    },
    data::{
        db::{Db, OrgScope, WriteTx, jobs::Job},
        entity::{ActorRef, import},
    },
    domains::inbound_hooks::mapping::cut,
};

/// The kind of the job.
pub const RUN: &str = "import.run";

/// How long a turn writes; reading and planning come on top.
const TURN: Duration = Duration::from_secs(4);

/// How long a turn waits for that of another import; then other jobs have theirs.
const WAIT: Duration = Duration::from_secs(1);

/// What the job reads.
#[derive(Debug, Serialize, Deserialize)]
pub struct Payload {
    pub import_id: ImportId,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to write.
    More,
    /// The import has ended, and the job is gone.
    Last,
    /// The job is somebody else's by now, or gone.
    Lost,
}

/// Why an import ends without all of it being written.
struct Failure {
    code: String,
    message: String,
}

impl Failure {
    /// A message may quote the file.
    fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: cut(message, MAX_MESSAGE) }
    }
}

/// What a turn is to do.
struct Work {
    plan: plan::Plan,
    report: Report,
    is_first: bool,
    check_only: bool,
    skip_bad: bool,
}

/// One import at a time: a file and what is read from it are held in memory, some 20 bytes for each byte of the file.
struct OneAtATime(Semaphore);

/// A job's next turn; of an instance that works on another import, none.
pub async fn turn(db: &Db, job: &Job) -> Result<Turn> {
    let running = db.shared(|| OneAtATime(Semaphore::new(1)));
    let Ok(Ok(_turn)) = timeout(WAIT, running.0.acquire()).await else { return Ok(Turn::More) };
    let Payload { import_id } = job.payload()?;
    let Some(organization_id) = job.organization_id else { return Ok(Turn::Lost) };
    let row = db.import(organization_id, import_id).await?;
    let Some(row) = row.filter(|row| row.status == ImportStatus::Running) else {
        return finish(db, job, import_id, None).await;
    };
    let asker = ActorRef { kind: row.created_by_kind, id: row.created_by_id };
    let Some(scope) = db.scope_of(organization_id, asker, job.origin()).await? else {
        let failure = Failure::new("FORBIDDEN", "Whoever asked for the import may not write here any more.");
        return finish(db, job, import_id, Some((ImportStatus::Failed, None, Some(failure)))).await;
    };
    let work = match prepare(&scope, row).await? {
        Ok(work) => work,
        Err(failure) => return finish(db, job, import_id, Some((ImportStatus::Failed, None, Some(failure)))).await,
    };
    let Work { plan, report, is_first, check_only, skip_bad } = work;
    if check_only {
        return finish(db, job, import_id, Some((ImportStatus::Checked, Some(report), None))).await;
    }
    // Later on what is there stays, and what is bad by now is left out of what is to be written.
    if is_first && (!plan.refused.is_empty() || (plan.bad_records > 0 && !skip_bad)) {
        return finish(db, job, import_id, Some((ImportStatus::Refused, Some(report), None))).await;
    }
    if let Some(fault) = plan.refused.first() {
        let failure = Failure::new(&fault.code, &fault.message);
        return finish(db, job, import_id, Some((ImportStatus::Failed, None, Some(failure)))).await;
    }
    if is_first && !tell(db, job, import_id, &report).await? {
        return Ok(Turn::Lost);
    }
    let (writer, mut written) = (Writer::Job { db, job, import_id }, Written::default());
    let until = Instant::now() + TURN;
    loop {
        match step(writer, &plan, &mut written).await {
            Ok(Step::More) if Instant::now() >= until => return Ok(Turn::More),
            Ok(Step::More) => {}
            Ok(Step::Done) => return finish(db, job, import_id, Some((ImportStatus::Finished, None, None))).await,
            // Cancelled, unless the job is somebody else's.
            Ok(Step::Lost) => return finish(db, job, import_id, None).await,
            Err(error) => {
                let failure = refused(error)?;
                return finish(db, job, import_id, Some((ImportStatus::Failed, None, Some(failure)))).await;
            }
        }
    }
}

/// Reads the file, and plans what is to be written.
async fn prepare(scope: &OrgScope, row: import::Model) -> Result<std::result::Result<Work, Failure>> {
    let Some(bytes) = upload::file(scope, &row).await? else {
        return Ok(Err(Failure::new("FILE_GONE", "The file is not kept any more; send it with a new import.")));
    };
    let import::Model { file_name, check_only, skip_bad, options, report, .. } = row;
    let options: Options = serde_json::from_value(options).map_err(Error::internal)?;
    let reading = Reading::of(scope, file_name, options.clone());
    let mut file = match tokio::task::spawn_blocking(move || file::read(bytes, &reading)).await {
        Ok(Ok(file)) => file,
        Ok(Err(unreadable)) => return Ok(Err(Failure::new(unreadable.code, &unreadable.message))),
        Err(panic) => {
            // The same file would do the same again.
            tracing::error!(error = %panic, "a file could not be read");
            return Ok(Err(Failure::new(
                "NOT_READABLE",
                "Something in the file can't be read; tell the server's operator.",
            )));
        }
    };
    let records = std::mem::take(&mut file.found.records);
    let (count, found) = (records.len(), file::record::Found { records, ..file.found.clone() });
    let plan = plan::plan(scope, found, &options).await?;
    let report_of = Report::of(&file, count, &plan);
    Ok(Ok(Work { plan, report: report_of, is_first: report.is_none(), check_only, skip_bad }))
}

/// What is wrong with the input, or not allowed, is the import's end; anything else is tried again.
fn refused(error: Error) -> Result<Failure> {
    match error {
        Error::Invalid(problems) => {
            let first = problems.first().ok_or_else(|| Error::internal("no problem"))?;
            Ok(Failure::new(&first.code.name(), &first.message))
        }
        Error::Refused(refusal) if refusal.code != Code::Unavailable => {
            Ok(Failure::new(refusal.code.as_str(), &refusal.message))
        }
        error => Err(error),
    }
}

/// Keeps what was found, for whoever looks while it is written; false when the job is somebody else's.
async fn tell(db: &Db, job: &Job, id: ImportId, report: &Report) -> Result<bool> {
    let Some(tx) = WriteTx::of_job(db, job).await? else { return Ok(false) };
    tx.update_where::<import::Entity>(import::Column::Id.eq(id), vec![of_report(report)?]).await?;
    tx.commit_chunk_unrecorded(job, false, "a report is no change").await?;
    Ok(true)
}

fn of_report(report: &Report) -> Result<(import::Column, sea_orm::sea_query::SimpleExpr)> {
    let kept = serde_json::to_value(report).map_err(Error::internal)?;
    Ok((import::Column::Report, Expr::value(Some(kept))))
}

type End = (ImportStatus, Option<Report>, Option<Failure>);

/// Ends the job, and the import with it, unless that has ended.
async fn finish(db: &Db, job: &Job, id: ImportId, end: Option<End>) -> Result<Turn> {
    use import::Column;
    let Some(tx) = WriteTx::of_job(db, job).await? else { return Ok(Turn::Lost) };
    if let Some((status, report, failure)) = end {
        let running = Column::Id.eq(id).and(Column::Status.eq(ImportStatus::Running));
        let mut told = Vec::new();
        if let Some(report) = &report {
            told.push(of_report(report)?);
        }
        if let Some(Failure { code, message }) = failure {
            told.push((Column::FailureCode, Expr::value(Some(code))));
            told.push((Column::FailureMessage, Expr::value(Some(message))));
        }
        if !told.is_empty() {
            tx.update_where::<import::Entity>(running.clone(), told).await?;
        }
        service::end(&tx, running, status).await?;
    }
    tx.commit_chunk_unrecorded(job, true, "what the import made is recorded").await?;
    Ok(Turn::Last)
}
