//! Writes what was planned, in transactions of some hundred items. One that is interrupted goes on when it is run again.

use sea_orm::{ColumnTrait as _, ExprTrait as _, sea_query::Expr};

use super::plan::Plan;
use crate::{
    base::{enums::ImportStatus, error::Result, id::ImportId, policy::Permission},
    data::{
        db::{Db, OrgScope, WriteTx, jobs::Job, retrying},
        entity::import,
    },
    domains::{
        comments,
        items::create_many::{Create, create_all_in},
        tags, teams,
    },
};

/// Bytes of one transaction's texts at most, about.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Items of one transaction at most: others of the organization wait meanwhile.
const MAX_ITEMS: usize = 200;
/// Comments, tags or teams of one transaction at most: each takes a few statements.
const MAX_OTHERS: usize = 50;

/// How much was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub items: usize,
    pub comments: usize,
    pub tags: usize,
    pub teams: usize,
}

/// Who writes.
#[derive(Clone, Copy)]
pub enum Writer<'w> {
    /// With the rights of a scope.
    Scope(&'w OrgScope),
    /// A job, while it is this worker's and its import is running; the plan asked for the rights.
    Job { db: &'w Db, job: &'w Job, import_id: ImportId },
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    More,
    /// Everything is written.
    Done,
    /// The job is another's, or the import was cancelled: nothing was written.
    Lost,
}

/// Writes what comes next in one transaction: teams and tags, items with parents first, comments. `written` counts what of
/// this plan is there.
pub async fn step(writer: Writer<'_>, plan: &Plan, written: &mut Written) -> Result<Step> {
    let next = Next::of(plan, *written);
    if matches!(next, Next::Nothing) {
        return Ok(Step::Done);
    }
    if !retrying(|| write(writer, &next)).await? {
        return Ok(Step::Lost);
    }
    let more = next.counts();
    written.items += more.items;
    written.comments += more.comments;
    written.tags += more.tags;
    written.teams += more.teams;
    Ok(Step::More)
}

/// What one transaction writes.
enum Next<'p> {
    Teams(&'p [teams::input::TeamCreateInput]),
    Tags(&'p [tags::input::TagCreateInput]),
    Items(&'p [Create]),
    Comments(&'p [comments::input::CommentCreateInput]),
    Nothing,
}

impl<'p> Next<'p> {
    fn of(plan: &'p Plan, written: Written) -> Self {
        let teams = some(&plan.teams[written.teams..]);
        let tags = some(&plan.tags[written.tags..]);
        let items = chunk(&plan.items[written.items..]);
        let comments = some(&plan.comments[written.comments..]);
        match () {
            () if !teams.is_empty() => Self::Teams(teams),
            () if !tags.is_empty() => Self::Tags(tags),
            () if !items.is_empty() => Self::Items(items),
            () if !comments.is_empty() => Self::Comments(comments),
            () => Self::Nothing,
        }
    }

    fn counts(&self) -> Written {
        let mut counts = Written::default();
        match self {
            Self::Teams(teams) => counts.teams = teams.len(),
            Self::Tags(tags) => counts.tags = tags.len(),
            Self::Items(items) => counts.items = items.len(),
            Self::Comments(comments) => counts.comments = comments.len(),
            Self::Nothing => {}
        }
        counts
    }

    const fn permission(&self) -> Permission {
        match self {
            Self::Teams(_) => Permission::TeamManage,
            Self::Comments(_) => Permission::CommentWrite,
            Self::Tags(_) | Self::Items(_) | Self::Nothing => Permission::ItemWrite,
        }
    }
}

fn some<T>(rest: &[T]) -> &[T] {
    &rest[..rest.len().min(MAX_OTHERS)]
}

/// Creates in turn, as many as one transaction takes.
fn chunk(rest: &[Create]) -> &[Create] {
    let (mut count, mut bytes) = (0, 0);
    while let Some(create) = rest.get(count).filter(|_| count < MAX_ITEMS && bytes < MAX_BYTES) {
        bytes += create.input.title.len() + create.input.description.as_ref().map_or(0, |text| text.0.len());
        count += 1;
    }
    &rest[..count]
}

/// All of it, or nothing; whether the job was still this worker's.
async fn write(writer: Writer<'_>, next: &Next<'_>) -> Result<bool> {
    let begun = match writer {
        Writer::Scope(scope) => Some(scope.write(next.permission()).await?),
        Writer::Job { db, job, .. } => WriteTx::of_job(db, job).await?,
    };
    let Some(mut tx) = begun else { return Ok(false) };
    match next {
        Next::Teams(teams) => {
            for input in *teams {
                teams::service::create_in(&mut tx, input).await?;
            }
        }
        Next::Tags(tags) => {
            for input in *tags {
                tags::service::create_in(&mut tx, input).await?;
            }
        }
        Next::Items(items) => {
            for outcome in create_all_in(&mut tx, items).await? {
                outcome?;
            }
        }
        Next::Comments(comments) => {
            for input in *comments {
                comments::service::create_in(&mut tx, input).await?;
            }
        }
        Next::Nothing => {}
    }
    match writer {
        Writer::Scope(_) => {
            tx.commit(()).await?;
            Ok(true)
        }
        Writer::Job { job, import_id, .. } => {
            if !count(&tx, import_id, next.counts()).await? {
                return Ok(false);
            }
            tx.commit_chunk_unrecorded(job, false, "what was there before has no event, and is counted").await?;
            Ok(true)
        }
    }
}

/// Adds to an import's counts; false when it is not running any more.
async fn count(tx: &WriteTx, import_id: ImportId, more: Written) -> Result<bool> {
    use import::Column;
    let counts = [
        (Column::ItemCount, more.items),
        (Column::CommentCount, more.comments),
        (Column::TagCount, more.tags),
        (Column::TeamCount, more.teams),
    ];
    let add =
        |(column, more): (Column, usize)| (column, Expr::col(column).add(i32::try_from(more).unwrap_or(i32::MAX)));
    let running = Column::Id.eq(import_id).and(Column::Status.eq(ImportStatus::Running));
    Ok(tx.update_where::<import::Entity>(running, counts.into_iter().map(add).collect()).await? == 1)
}
