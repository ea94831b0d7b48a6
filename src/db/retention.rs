//! Forgetting what has been kept for long enough: rows go from the old end, a chunk at a time, so that on SQLite other
//! writers get their turn between.

use sea_orm::{Condition, QueryOrder as _, QuerySelect as _, QueryTrait as _, prelude::*};

use super::{Db, fail};
use crate::{
    clock::{Instant, first_uuid},
    entity::{Tenant, idempotency, inbound_hook, inbound_receipt, ledger_head, webhook_delivery},
    error::Result,
    id::OrganizationId,
};

/// Rows deleted at once.
const CHUNK: u64 = 1000;

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

    /// Forgets idempotency keys whose time has passed, of all organizations; says how many.
    pub async fn purge_idempotency(&self) -> Result<u64> {
        use idempotency::{Column, Entity};
        let now = self.clock().now();
        let mut purged = 0;
        loop {
            #[allow(clippy::disallowed_methods, reason = "of all organizations alike")]
            let oldest = Entity::find().filter(Column::ExpiresAt.lte(now)).order_by_asc(Column::ExpiresAt);
            let last = oldest.select_only().column(Column::ExpiresAt).offset(CHUNK - 1).limit(1);
            let last: Option<Instant> = last.into_tuple().one(self.reader()).await.map_err(fail)?;
            #[allow(clippy::disallowed_methods, reason = "of all organizations alike")]
            let chunk = Entity::delete_many().filter(Column::ExpiresAt.lte(last.unwrap_or(now)));
            purged += chunk.exec(self.writer()).await.map_err(fail)?.rows_affected;
            if last.is_none() {
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
