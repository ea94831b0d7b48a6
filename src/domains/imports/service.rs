//! Beginning and cancelling imports. Neither is in the ledger: what an import makes is, by whoever asked for it.

use chrono::Duration;
use sea_orm::{ColumnTrait as _, ExprTrait as _, sea_query::Expr};
use serde_json::json;

use super::input::ImportCreateInput;
use crate::{
    base::{
        enums::ImportStatus,
        error::{Error, Problem, ProblemCode, Result},
        id::ImportId,
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx},
        entity::{import, import_part},
    },
};

/// How long a file may come.
const UPLOAD_WITHIN: Duration = Duration::hours(1);
/// Imports of an organization that wait or run at most: their files are kept.
const MAX_OPEN: u64 = 10;

/// Begins an import: it waits for its file.
pub async fn create(scope: &OrgScope, input: &ImportCreateInput) -> Result<Committed<import::Model>> {
    input.validate()?;
    let now = scope.clock().now();
    let actor = scope.actor();
    let row = import::Model {
        organization_id: scope.organization_id(),
        id: input.id.unwrap_or_else(|| scope.clock().new_id()),
        file_name: input.file_name.clone(),
        check_only: input.check_only,
        skip_bad: input.skip_bad,
        options: serde_json::to_value(input.options()).map_err(Error::internal)?,
        status: ImportStatus::Waiting,
        size: None,
        report: None,
        failure_code: None,
        failure_message: None,
        item_count: 0,
        comment_count: 0,
        tag_count: 0,
        team_count: 0,
        created_by_kind: actor.kind,
        created_by_id: actor.id,
        created_at: now,
        upload_until: now + UPLOAD_WITHIN,
        attempt: None,
        finished_at: None,
    };
    let tx = scope.write(Permission::ItemWrite).await?;
    let said = |row: &import::Model| {
        let row = row.clone();
        (row.file_name, row.check_only, row.skip_bad, row.options, row.created_by_id)
    };
    let is_same = async |present: &import::Model| Ok(said(present) == said(&row));
    if let Some(present) = tx.made_before::<import::Entity>(input.id, is_same).await? {
        return tx.commit(present).await;
    }
    // Two at a time are counted one after the other.
    tx.lock_head().await?;
    let waits = import::Column::Status.eq(ImportStatus::Waiting);
    end(&tx, waits.clone().and(import::Column::UploadUntil.lte(now)), ImportStatus::Cancelled).await?;
    let open = waits.or(import::Column::Status.eq(ImportStatus::Running));
    if tx.find::<import::Entity>().filter(open).count().await? >= MAX_OPEN {
        let message = format!("At most {MAX_OPEN} imports wait or run at a time; cancel one, or let one end first.");
        let details = json!({ "maximum": MAX_OPEN });
        return Err(Problem::new(ProblemCode::TooMany, &["input"], message).details(details).into());
    }
    let row = tx.insert(row).await?;
    tx.commit_unrecorded(row, "an import makes nothing yet").await
}

/// Ends an import that waits or runs, and forgets its file; INVALID_STATE for one that has ended otherwise.
pub async fn cancel(scope: &OrgScope, id: ImportId) -> Result<Committed<import::Model>> {
    let tx = scope.write(Permission::ItemWrite).await?;
    let path = ["input", "id"];
    let mut row = tx.locked::<import::Entity>(id, &path).await?;
    match row.status {
        ImportStatus::Cancelled => return tx.commit(row).await,
        ImportStatus::Waiting | ImportStatus::Running => {}
        ImportStatus::Finished | ImportStatus::Checked | ImportStatus::Refused | ImportStatus::Failed => {
            return Err(Problem::new(ProblemCode::InvalidState, &path, "This import has ended.").into());
        }
    }
    end(&tx, import::Column::Id.eq(id), ImportStatus::Cancelled).await?;
    row.status = ImportStatus::Cancelled;
    row.finished_at = Some(scope.clock().now());
    tx.commit_unrecorded(row, "an import that ends makes nothing more").await
}

/// Ends imports, whose files are not needed any more.
pub(super) async fn end(tx: &WriteTx, which: sea_orm::sea_query::SimpleExpr, status: ImportStatus) -> Result<()> {
    use import::Column;
    let ids = tx.find::<import::Entity>().filter(which).column::<ImportId>(Column::Id).await?;
    for id in ids {
        tx.delete_where::<import_part::Entity>(import_part::Column::ImportId.eq(id)).await?;
        let ended = vec![
            (Column::Status, Expr::value(status)),
            (Column::FinishedAt, Expr::value(Some(tx.scope().clock().now()))),
        ];
        tx.update_where::<import::Entity>(Column::Id.eq(id), ended).await?;
    }
    Ok(())
}
