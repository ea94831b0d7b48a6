//! Purging what has been kept for long enough: rows go from the old end, a chunk at a time, so that on SQLite other
//! writers get their turn between.

use std::time::Duration;

use sea_orm::{
    Condition, ConnectionTrait as _, ExprTrait as _, Iterable as _, PrimaryKeyToColumn as _, QueryOrder as _,
    QuerySelect as _, QueryTrait as _,
    prelude::*,
    sea_query::{Alias, DeleteStatement, IntoCondition, LockBehavior, LockType, Query},
};

use super::{Db, fail};
use crate::{
    base::{
        clock::{Clock, Instant, first_uuid},
        config::AuthConfig,
        error::Result,
        id::{ItemId, OrganizationId},
    },
    data::entity::{
        Tenant, account_token, idempotency, import, import_part, inbound_hook, inbound_receipt, invitation, item,
        ledger_head, refresh_token, security_event, sent_email, session, sign_in_failure, webhook_delivery,
    },
};

/// Rows deleted at once.
const CHUNK: u64 = 1000;

/// The longest that a failed sign-in counts against anybody; older ones are purged.
pub const SIGN_IN_WINDOW: chrono::Duration = chrono::Duration::hours(1);

/// How long an e-mail counts against its mailbox; older ones are purged.
pub const EMAIL_WINDOW: chrono::Duration = chrono::Duration::hours(1);

/// How long a file waits for its import at most: a job is tried for some six hours.
const FILE_RETENTION: chrono::Duration = chrono::Duration::days(1);

/// How long an import is kept, and what came of it.
const IMPORT_RETENTION: chrono::Duration = chrono::Duration::days(30);

/// Rows that have been kept for long enough, and the statement that deletes the next of them.
#[derive(Debug)]
pub struct Expired {
    pub table: &'static str,
    chunk: DeleteStatement,
}

impl Expired {
    /// The rows of a table that match `these`, those with the lowest `age` first. `age` is the first column of an index, so
    /// that what is younger is not read. On PostgreSQL a row that somebody is changing is left for the next time.
    fn of<E: EntityTrait>(age: E::Column, these: impl IntoCondition) -> Self {
        let key = || E::PrimaryKey::iter().map(|column| Expr::col(column.into_column().as_column_ref()));
        #[allow(clippy::disallowed_methods, reason = "retention: of everybody alike")]
        let oldest = E::find()
            .select_only()
            .columns(E::PrimaryKey::iter().map(|column| column.into_column()))
            .filter(these.into_condition())
            .order_by_asc(age)
            .limit(CHUNK)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let mut chunk = Query::delete();
        chunk.from_table(E::default().table_ref()).and_where(Expr::tuple(key()).in_subquery(oldest.into_query()));
        Self { table: E::default().table_name(), chunk }
    }
}

/// All that is purged by its age alone. A table with a foreign key stands before the one that it refers to: what goes along
/// with a row is not counted in its chunk, so it should be gone by then.
pub fn expired(clock: &Clock, auth: &AuthConfig) -> Vec<Expired> {
    let now = clock.now();
    let before = |kept: Duration| {
        let kept = chrono::Duration::from_std(kept).ok();
        kept.and_then(|kept| clock.ago(kept)).unwrap_or(Instant::UNIX_EPOCH)
    };
    let sessions = before(auth.session_retention);
    // Of a live session the newest token is unused, however old it is.
    let traded = refresh_token::Column::UsedAt.is_not_null();
    vec![
        Expired::of::<refresh_token::Entity>(
            refresh_token::Column::IssuedAt,
            refresh_token::Column::IssuedAt.lt(sessions).and(traded),
        ),
        Expired::of::<session::Entity>(session::Column::RevokedAt, session::Column::RevokedAt.lt(sessions)),
        Expired::of::<session::Entity>(session::Column::ExpiresAt, session::Column::ExpiresAt.lt(sessions)),
        // An id has its time, and the primary key its order.
        Expired::of::<security_event::Entity>(
            security_event::Column::Id,
            security_event::Column::Id.lt(first_uuid(before(auth.security_log_retention))),
        ),
        Expired::of::<account_token::Entity>(
            account_token::Column::ExpiresAt,
            account_token::Column::ExpiresAt.lt(before(auth.token_retention)),
        ),
        Expired::of::<invitation::Entity>(
            invitation::Column::ExpiresAt,
            invitation::Column::ExpiresAt.lt(before(auth.invitation_retention)),
        ),
        // Of files that never came whole, or that no worker could read.
        Expired::of::<import_part::Entity>(
            import_part::Column::CreatedAt,
            import_part::Column::CreatedAt.lte(now - FILE_RETENTION),
        ),
        Expired::of::<import::Entity>(import::Column::CreatedAt, import::Column::CreatedAt.lte(now - IMPORT_RETENTION)),
        Expired::of::<sign_in_failure::Entity>(
            sign_in_failure::Column::CreatedAt,
            sign_in_failure::Column::CreatedAt.lte(now - SIGN_IN_WINDOW),
        ),
        Expired::of::<sent_email::Entity>(
            sent_email::Column::CreatedAt,
            sent_email::Column::CreatedAt.lte(now - EMAIL_WINDOW),
        ),
        Expired::of::<idempotency::Entity>(idempotency::Column::ExpiresAt, idempotency::Column::ExpiresAt.lte(now)),
    ]
}

impl Db {
    /// Organizations that have webhooks.
    pub async fn organizations_with_webhooks(&self) -> Result<Vec<OrganizationId>> {
        use ledger_head::{Column, Entity};
        #[allow(clippy::disallowed_methods, reason = "the server's own look at all organizations")]
        let heads = Entity::find().filter(Column::WebhookCount.gt(0)).select_only().column(Column::OrganizationId);
        heads.into_tuple().all(self.reader()).await.map_err(fail)
    }

    /// Organizations that have inbound hooks.
    pub async fn organizations_with_inbound_hooks(&self) -> Result<Vec<OrganizationId>> {
        use inbound_hook::{Column, Entity};
        #[allow(clippy::disallowed_methods, reason = "the server's own look at all organizations")]
        let hooks = Entity::find().select_only().column(Column::OrganizationId).distinct();
        hooks.into_tuple().all(self.reader()).await.map_err(fail)
    }

    /// Roots of trees that went to the trash before `before`, the oldest first, beyond `after`: each with when it went there.
    pub async fn deleted_trees(
        &self,
        before: Instant,
        after: Option<(Instant, ItemId)>,
        limit: u64,
    ) -> Result<Vec<(OrganizationId, ItemId, Instant)>> {
        use item::{Column, Entity};
        let parent = Alias::new("parent");
        let of_parent = |column: Column| Expr::col((parent.clone(), column));
        let own = |column: Column| Expr::col((Entity, column));
        // What went there with its parent goes with it.
        let above = Query::select()
            .expr(Expr::val(1))
            .from_as(Entity, parent.clone())
            .and_where(of_parent(Column::OrganizationId).eq(own(Column::OrganizationId)))
            .and_where(of_parent(Column::Id).eq(own(Column::ParentId)))
            .and_where(of_parent(Column::DeletionId).eq(own(Column::DeletionId)))
            .take();
        #[allow(clippy::disallowed_methods, reason = "retention: of everybody alike")]
        let mut roots = Entity::find()
            .select_only()
            .columns([Column::OrganizationId, Column::Id, Column::DeletedAt])
            .filter(Column::DeletedAt.lt(before))
            .filter(Expr::exists(above).not())
            .order_by_asc(Column::DeletedAt)
            .order_by_asc(Column::Id)
            .limit(limit);
        if let Some((at, id)) = after {
            let later = Column::DeletedAt.gt(at).or(Column::DeletedAt.eq(at).and(Column::Id.gt(id)));
            roots = roots.filter(Column::DeletedAt.gte(at)).filter(later);
        }
        roots.into_tuple().all(self.reader()).await.map_err(fail)
    }

    /// Deletes an organization's deliveries that are done and were made before `before`, with their attempts.
    pub async fn delete_deliveries(&self, organization_id: OrganizationId, before: Instant) -> Result<()> {
        use webhook_delivery::{Column, Entity};
        let is_done = Condition::all().add(Column::NextAttemptAt.is_null());
        self.delete_older::<Entity>(organization_id, Column::Id, before, is_done).await
    }

    /// Deletes an organization's receipts of callbacks from before `before`.
    pub async fn delete_receipts(&self, organization_id: OrganizationId, before: Instant) -> Result<()> {
        use inbound_receipt::{Column, Entity};
        self.delete_older::<Entity>(organization_id, Column::Id, before, Condition::all()).await
    }

    /// Deletes rows that have expired, chunk by chunk; says how many.
    pub async fn purge(&self, expired: &Expired) -> Result<u64> {
        let mut purged = 0;
        loop {
            let deleted = self.writer().execute(&expired.chunk).await.map_err(fail)?.rows_affected();
            purged += deleted;
            if deleted < CHUNK {
                return Ok(purged);
            }
        }
    }

    /// Deletes an organization's rows whose ids were made before `before`, those of `these`. An id has its time, and the
    /// primary key its order: that needs no index of its own, and what is younger is not read.
    async fn delete_older<E: Tenant>(
        &self,
        organization_id: OrganizationId,
        id: E::Column,
        before: Instant,
        these: Condition,
    ) -> Result<()> {
        let first_kept = first_uuid(before);
        loop {
            #[allow(clippy::disallowed_methods, reason = "retention; the organization is named")]
            let oldest = E::find()
                .select_only()
                .column(id)
                .filter(E::ORGANIZATION.eq(organization_id))
                .filter(id.lt(first_kept))
                .filter(these.clone())
                .order_by_asc(id)
                .limit(CHUNK);
            #[allow(clippy::disallowed_methods, reason = "retention; the organization is named")]
            let deleted = E::delete_many()
                .filter(E::ORGANIZATION.eq(organization_id))
                .filter(id.in_subquery(oldest.into_query()))
                .exec(self.writer())
                .await
                .map_err(fail)?;
            if deleted.rows_affected < CHUNK {
                return Ok(());
            }
        }
    }
}
