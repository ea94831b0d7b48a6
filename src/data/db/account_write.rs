//! Writes about a person: accounts, sessions, profiles.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, Condition, EntityTrait, ExprTrait as _, IntoActiveModel, QueryFilter,
    prelude::*,
    sea_query::{IntoCondition, SimpleExpr},
};

use super::{
    Db, OrgScope, Transaction, fail,
    idempotency::Claim,
    write::{Again, WriteTx, conclude},
};
use crate::{
    base::{
        clock::Instant,
        enums::{QuotaResource, Role},
        error::{Error, Result},
        id::{OrganizationId, UserId},
        policy::Permissions,
    },
    data::{
        actor::Origin,
        entity::{ActorRef, Findable, Global, invitation, ledger_head, membership, organization, session, user},
        ledger::{NewEvent, PendingEvents},
    },
};

/// A write about a person: accounts, sessions, profiles. It may record events in the ledgers of several organizations.
pub struct AccountTx {
    pub(super) db: Db,
    pub(super) tx: Transaction,
    pub(super) origin: Origin,
    pub(super) events: PendingEvents,
    pub(super) changes_rights: AtomicBool,
    pub(super) claim: Option<Claim>,
}

impl AccountTx {
    pub async fn begin(db: &Db, origin: &Origin) -> Result<Self> {
        let (tx, claim) = Box::pin(Claim::begin(db, origin.idempotency.as_ref())).await?;
        Ok(Self {
            db: db.clone(),
            tx,
            origin: origin.clone(),
            events: PendingEvents::default(),
            changes_rights: AtomicBool::new(false),
            claim,
        })
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.tx
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// Reads a table that no organization owns; locks what it finds until the end.
    pub async fn find<E: Global>(&self, condition: impl IntoCondition) -> Result<Vec<E::Model>> {
        use sea_orm::QuerySelect;
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        E::find().filter(condition.into_condition()).lock_exclusive().all(&self.tx).await.map_err(fail)
    }

    /// The open invitation that a token names, in whichever organization it is.
    pub async fn find_invitation(&self, token_hash: &[u8]) -> Result<Option<invitation::Model>> {
        #[allow(clippy::disallowed_methods, reason = "an invited person is outside the organization")]
        invitation::Entity::find()
            .filter(
                Condition::any()
                    .add(invitation::Column::TokenHash.eq(token_hash))
                    .add(invitation::Column::MailedTokenHash.eq(token_hash)),
            )
            .one(&self.tx)
            .await
            .map_err(fail)
    }

    pub async fn insert<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send + 'static,
        A::Entity: Global,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A> + Send + Sync,
    {
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        row.insert(&self.tx).await.map_err(fail)
    }

    pub async fn update<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send + 'static,
        A::Entity: Global,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A> + Send + Sync,
    {
        // A session is refreshed this way, which takes nothing from anybody.
        if A::Entity::default().table_name() == user::Entity.table_name() {
            self.notes_identities::<A::Entity>();
        }
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        row.update(&self.tx).await.map_err(fail)
    }

    pub async fn update_where<E: Global>(
        &self,
        condition: impl IntoCondition,
        columns: Vec<(E::Column, SimpleExpr)>,
    ) -> Result<u64> {
        self.notes_identities::<E>();
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        let mut update = E::update_many();
        for (column, value) in columns {
            update = update.col_expr(column, value);
        }
        let done = update.filter(condition.into_condition()).exec(&self.tx).await.map_err(fail)?;
        Ok(done.rows_affected)
    }

    pub async fn delete_where<E: Global>(&self, condition: impl IntoCondition) -> Result<u64> {
        self.notes_identities::<E>();
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        let done = E::delete_many().filter(condition.into_condition()).exec(&self.tx).await.map_err(fail)?;
        Ok(done.rows_affected)
    }

    /// Notes that identities read before this write are old, where it changes people or sessions. A failed sign-in does
    /// not, so that guessing passwords costs others nothing.
    fn notes_identities<E: EntityTrait>(&self) {
        let table = E::default().table_name().to_owned();
        if [session::Entity.table_name(), user::Entity.table_name()].contains(&table.as_str()) {
            self.changes_rights.store(true, Ordering::Relaxed);
        }
    }

    /// The first `limit` memberships of a person, suspended ones too, in ascending order of organization. Not locked: an
    /// organization is locked before its members.
    pub async fn memberships(&self, user_id: UserId, which: Condition, limit: u64) -> Result<Vec<membership::Model>> {
        use sea_orm::{QueryOrder, QuerySelect};
        #[allow(clippy::disallowed_methods, reason = "a person's own memberships, in whichever organization")]
        membership::Entity::find()
            .filter(membership::Column::UserId.eq(user_id))
            .filter(which)
            .order_by_asc(membership::Column::OrganizationId)
            .limit(limit)
            .all(&self.tx)
            .await
            .map_err(fail)
    }

    /// How many organizations a person owns, and how many of them were founded after `since`. Not locked: whoever goes by
    /// it locks the person first.
    pub async fn owned(&self, user_id: UserId, since: Instant) -> Result<(u64, u64)> {
        use sea_orm::{PaginatorTrait, QuerySelect, QueryTrait};
        #[allow(clippy::disallowed_methods, reason = "a person's own memberships, in whichever organization")]
        let owned = membership::Entity::find()
            .select_only()
            .column(membership::Column::OrganizationId)
            .filter(membership::Column::UserId.eq(user_id).and(membership::Column::Role.eq(Role::Owner)));
        let owned = organization::Column::Id.in_subquery(owned.into_query());
        let recent = owned.clone().and(organization::Column::CreatedAt.gt(since));
        #[allow(clippy::disallowed_methods, reason = "a table without a tenant")]
        let count = |condition| organization::Entity::find().filter::<SimpleExpr>(condition).count(&self.tx);
        Ok((count(owned).await.map_err(fail)?, count(recent).await.map_err(fail)?))
    }

    /// Notes in all their memberships that the person is there. Not a change that a ledger records.
    pub async fn mark_active(&self, user_id: UserId) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "a person's own memberships, in whichever organization")]
        membership::Entity::update_many()
            .col_expr(membership::Column::LastActiveAt, Expr::value(self.db.clock().now()))
            .filter(membership::Column::UserId.eq(user_id))
            .exec(&self.tx)
            .await
            .map_err(fail)?;
        Ok(())
    }

    /// Adds an event to the ledger of one of the person's organizations.
    pub fn record_in(&mut self, organization_id: OrganizationId, event: NewEvent) {
        self.events.record(organization_id, self.db.clock().new_id(), event);
    }

    /// [`WriteTx::count`] in one of the person's organizations.
    pub fn count_in(&mut self, organization_id: OrganizationId, resource: QuotaResource, units: i64) {
        self.events.count(organization_id, resource, units);
    }

    /// Founds an organization: its row and its ledger's head. The write goes on inside it as `actor`, with an owner's
    /// rights.
    pub async fn found(self, actor: ActorRef, row: organization::ActiveModel) -> Result<WriteTx> {
        #[allow(clippy::disallowed_methods, reason = "an organization is founded outside any organization")]
        let organization = row.insert(&self.tx).await.map_err(fail)?;
        let head = ledger_head::Model {
            organization_id: organization.id,
            sequence: 0,
            next_number: 1,
            plan_tier: organization.plan_tier,
            member_count: 0,
            item_count: 0,
            api_key_count: 0,
            webhook_count: 0,
            reference_revision: 0,
        };
        let head = head.into_active_model();
        #[allow(clippy::disallowed_methods, reason = "its head comes with it")]
        head.insert(&self.tx).await.map_err(fail)?;
        Ok(self.enter(organization, actor, Permissions::of(Role::Owner)))
    }

    /// Goes on inside an organization without rights of its own: the invitation that is redeemed is the right, or that the
    /// operator of the server asks.
    pub async fn join(self, organization_id: OrganizationId, actor: ActorRef) -> Result<WriteTx> {
        self.inside(organization_id, actor).await
    }

    /// Goes on inside one of the person's organizations, which they leave with their account; [`WriteTx::leave`] comes
    /// back. Without rights of its own: leaving takes none.
    pub async fn depart(self, membership: &membership::Model) -> Result<WriteTx> {
        self.inside(membership.organization_id, ActorRef::user(membership.user_id)).await
    }

    async fn inside(self, organization_id: OrganizationId, actor: ActorRef) -> Result<WriteTx> {
        #[allow(
            clippy::disallowed_methods,
            reason = "the caller holds an invitation or a membership, or is the server"
        )]
        let organization = organization::Entity::find()
            .filter(organization::Column::Id.eq(organization_id))
            .one(&self.tx)
            .await
            .map_err(fail)?
            .ok_or_else(|| Error::retry("the organization is gone"))?;
        Ok(self.enter(organization, actor, Permissions::default()))
    }

    fn enter(self, organization: organization::Model, actor: ActorRef, permissions: Permissions) -> WriteTx {
        let scope = OrgScope::of_newcomer(&self.db, organization, actor, permissions, self.origin);
        WriteTx::over(scope, self.tx, self.events, self.claim)
    }

    /// Writes the events as `actor`, then commits; says each ledger's new position.
    pub async fn commit<T: Findable>(self, actor: ActorRef, value: T) -> Result<(T, BTreeMap<OrganizationId, i64>)> {
        let changes_rights = self.changes_rights.into_inner() || self.events.change_rights();
        let written = self.events.write(&self.tx, self.db.clock(), actor, &self.origin).await?;
        let organization_id = self.claim.as_ref().map(Claim::organization_id);
        let cursor = organization_id.and_then(|organization_id| {
            let sequence = *written.sequences.get(&organization_id)?;
            Some(self.db.cursor(organization_id, sequence))
        });
        let (db, sequences) = (self.db, written.sequences.clone());
        conclude(self.tx, self.claim, Again::of(&value)?, cursor, move || db.announce(&written, changes_rights))
            .await?;
        Ok((value, sequences))
    }
}
