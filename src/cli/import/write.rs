//! Writes what was planned, in transactions of some hundred items. One that is interrupted goes on when it is run again.

use indicatif::ProgressBar;

use super::plan::Plan;
use crate::{
    base::{error::Result, policy::Permission},
    data::db::{OrgScope, retrying},
    domains::{
        comments::{self, input::CommentCreateInput},
        items::create_many::{Create, create_all_in},
        tags, teams,
    },
};

/// Bytes of one transaction's texts at most, about.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Items of one transaction at most: others of the organization wait meanwhile.
const MAX_ITEMS: usize = 200;
/// Comments of one transaction at most: each takes a few statements.
const MAX_COMMENTS: usize = 50;

/// What has been written so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub items: usize,
    pub comments: usize,
    pub tags: usize,
    pub teams: usize,
}

/// Writes everything; `written` counts, also of a write that fails.
pub async fn write(scope: &OrgScope, plan: &Plan, written: &mut Written, bar: &ProgressBar) -> Result<()> {
    for input in &plan.teams {
        retrying(|| teams::service::create(scope, input)).await?;
        written.teams += 1;
    }
    for input in &plan.tags {
        retrying(|| tags::service::create(scope, input)).await?;
        written.tags += 1;
    }
    for chunk in chunks(&plan.items) {
        retrying(|| items(scope, chunk)).await?;
        written.items += chunk.len();
        bar.inc(chunk.len() as u64);
    }
    for chunk in plan.comments.chunks(MAX_COMMENTS) {
        retrying(|| comments(scope, chunk)).await?;
        written.comments += chunk.len();
        bar.inc(chunk.len() as u64);
    }
    Ok(())
}

/// All of a chunk, or nothing of it.
async fn items(scope: &OrgScope, chunk: &[Create]) -> Result<()> {
    let mut tx = scope.write(Permission::ItemWrite).await?;
    for outcome in create_all_in(&mut tx, chunk).await? {
        outcome?;
    }
    tx.commit(()).await?;
    Ok(())
}

async fn comments(scope: &OrgScope, chunk: &[CommentCreateInput]) -> Result<()> {
    let mut tx = scope.write(Permission::CommentWrite).await?;
    for input in chunk {
        comments::service::create_in(&mut tx, input).await?;
    }
    tx.commit(()).await?;
    Ok(())
}

/// Creates in turn, as many as one transaction takes.
fn chunks(all: &[Create]) -> impl Iterator<Item = &[Create]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let (mut count, mut bytes) = (0, 0);
        while let Some(create) = rest.get(count).filter(|_| count < MAX_ITEMS && bytes < MAX_BYTES) {
            bytes += create.input.title.len() + create.input.description.as_ref().map_or(0, |text| text.0.len());
            count += 1;
        }
        let (chunk, others) = rest.split_at(count);
        rest = others;
        (!chunk.is_empty()).then_some(chunk)
    })
}
