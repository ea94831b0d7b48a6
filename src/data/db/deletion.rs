//! The end of an organization: at once for everybody, in chunks for its rows.

use chrono::TimeDelta;
use sea_orm::{
    ActiveValue::{Set, Unchanged},
    Condition, QueryOrder as _, QuerySelect as _, QueryTrait as _,
    prelude::*,
};

use super::{AccountTx, WriteTx, fail, jobs};
use crate::{
    base::{
        clock::Instant,
        enums::{MembershipStatus, WebhookState},
        error::Result,
        id::OrganizationId,
    },
    data::entity::{
        Keyed, Tenant, api_key, comment, document_set, event, import, inbound_hook, inbound_receipt, invitation, item,
        item_relation, ledger_head, membership, organization, tag, team, usage, webhook, webhook_delivery,
    },
};

/// Rows that one transaction deletes of a table at most.
const CHUNK: u64 = 1000;

impl WriteTx {
    /// Deletes a small organization with everything in it, its ledger included, and commits.
    pub async fn delete_organization(self) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "the one way; this scope's own organization")]
        organization::Entity::delete_many()
            .filter(organization::Column::Id.eq(self.organization_id()))
            .exec(self.transaction())
            .await
            .map_err(fail)?;
        self.commit_deletion().await
    }

    /// Ends an organization for everybody, and commits; a job of `kind`, which reads the organization's id, deletes its
    /// rows. Without a head nothing can be written any more, and who follows the ledger learns that it is gone; without
    /// active members no credential leads in; its slug is free.
    pub async fn end_organization(mut self, kind: &'static str) -> Result<()> {
        let organization_id = self.organization_id();
        jobs::cancel(self.transaction(), organization_id).await?;
        self.enqueue_global(kind, organization_id.uuid(), organization_id).await?;
        let now = self.scope().clock().now();
        let ended = vec![
            (membership::Column::Status, Expr::value(MembershipStatus::Suspended)),
            (membership::Column::RemovedAt, Expr::value(now)),
        ];
        self.update_where::<membership::Entity>(Condition::all(), ended).await?;
        self.delete_where::<invitation::Entity>(Condition::all()).await?;
        let silent = vec![(webhook::Column::State, Expr::value(WebhookState::Disabled))];
        self.update_where::<webhook::Entity>(Condition::all(), silent).await?;
        self.delete_where::<ledger_head::Entity>(Condition::all()).await?;
        let slug = Set(format!("deleted-{}", organization_id.uuid().simple()));
        let row = organization::ActiveModel { id: Unchanged(organization_id), slug, ..Default::default() };
        self.update_organization(row).await?;
        self.commit_deletion().await
    }
}

impl AccountTx {
    /// Deletes the next rows of an organization that has ended; whether it was the last.
    pub async fn delete_more_of(&self, organization_id: OrganizationId) -> Result<bool> {
        let any = Condition::all;
        let is_reply = any().add(comment::Column::ParentId.is_not_null());
        // Whatever may be many, those that others refer to last. The rest goes with the organization's own row.
        let is_empty = self.delete_some::<event::Entity>(organization_id, any()).await?
            && self.delete_some::<webhook_delivery::Entity>(organization_id, any()).await?
            && self.delete_some::<inbound_receipt::Entity>(organization_id, any()).await?
            && self.delete_usage(organization_id).await?
            && self.delete_some::<comment::Entity>(organization_id, is_reply).await?
            && self.delete_some::<comment::Entity>(organization_id, any()).await?
            && self.delete_some::<item_relation::Entity>(organization_id, any()).await?
            && self.part_trees(organization_id).await?
            && self.delete_some::<item::Entity>(organization_id, any()).await?
            && self.delete_some::<inbound_hook::Entity>(organization_id, any()).await?
            && self.delete_some::<webhook::Entity>(organization_id, any()).await?
            && self.delete_some::<invitation::Entity>(organization_id, any()).await?
            && self.delete_some::<api_key::Entity>(organization_id, any()).await?
            && self.delete_one::<document_set::Entity>(organization_id).await?
            && self.delete_one::<import::Entity>(organization_id).await?
            && self.delete_some::<tag::Entity>(organization_id, any()).await?
            && self.delete_some::<team::Entity>(organization_id, any()).await?
            && self.delete_some::<membership::Entity>(organization_id, any()).await?;
        if is_empty {
            #[allow(clippy::disallowed_methods, reason = "an organization that has ended")]
            let organization = organization::Entity::delete_many().filter(organization::Column::Id.eq(organization_id));
            organization.exec(self.transaction()).await.map_err(fail)?;
        }
        Ok(is_empty)
    }

    /// Deletes up to [`CHUNK`] rows of a table; whether there were none.
    async fn delete_some<E: Keyed>(&self, organization_id: OrganizationId, which: Condition) -> Result<bool> {
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        let some = E::find()
            .select_only()
            .column(E::ID)
            .filter(E::ORGANIZATION.eq(organization_id))
            .filter(which)
            .limit(CHUNK)
            .into_query();
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        let done = E::delete_many()
            .filter(E::ORGANIZATION.eq(organization_id))
            .filter(E::ID.in_subquery(some))
            .exec(self.transaction())
            .await
            .map_err(fail)?;
        Ok(done.rows_affected == 0)
    }

    /// Takes up to [`CHUNK`] items out of their parents, so that they can go in any order; whether there were none.
    async fn part_trees(&self, organization_id: OrganizationId) -> Result<bool> {
        use item::{Column, Entity};
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        let some = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::OrganizationId.eq(organization_id))
            .filter(Column::ParentId.is_not_null())
            .limit(CHUNK)
            .into_query();
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        let done = Entity::update_many()
            .col_expr(Column::ParentId, Expr::value(None::<Uuid>))
            .filter(Column::OrganizationId.eq(organization_id))
            .filter(Column::Id.in_subquery(some))
            .exec(self.transaction())
            .await
            .map_err(fail)?;
        Ok(done.rows_affected == 0)
    }

    /// Deletes a row of a table, one at a time: what belongs to it goes with it, which may be much (the documents of a set, the
    /// file of an import). Whether there was none.
    async fn delete_one<E: Keyed>(&self, organization_id: OrganizationId) -> Result<bool> {
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        let one = E::find().select_only().column(E::ID).filter(E::ORGANIZATION.eq(organization_id)).limit(1);
        let one: Option<Uuid> = one.into_tuple().one(self.transaction()).await.map_err(fail)?;
        let Some(id) = one else { return Ok(true) };
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        E::delete_many()
            .filter(E::ORGANIZATION.eq(organization_id))
            .filter(E::ID.eq(id))
            .exec(self.transaction())
            .await
            .map_err(fail)?;
        Ok(false)
    }

    /// Deletes the oldest day of usage; whether there was none.
    async fn delete_usage(&self, organization_id: OrganizationId) -> Result<bool> {
        use usage::{Column, Entity};
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        let oldest = Entity::find()
            .select_only()
            .column(Column::Start)
            .filter(<Entity as Tenant>::ORGANIZATION.eq(organization_id))
            .order_by_asc(Column::Start)
            .limit(1);
        let oldest: Option<Instant> = oldest.into_tuple().one(self.transaction()).await.map_err(fail)?;
        let Some(oldest) = oldest else { return Ok(true) };
        #[allow(clippy::disallowed_methods, reason = "an organization that has ended; it is named")]
        Entity::delete_many()
            .filter(<Entity as Tenant>::ORGANIZATION.eq(organization_id))
            .filter(Column::Start.lt(oldest + TimeDelta::days(1)))
            .exec(self.transaction())
            .await
            .map_err(fail)?;
        Ok(false)
    }
}
