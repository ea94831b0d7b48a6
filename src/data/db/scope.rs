//! [`OrgScope`]: one organization with one caller's rights. Whoever holds a row of a tenant got it through here.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sea_orm::{
    Condition, ConnectionTrait, JoinType, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    RelationDef, Select,
    prelude::*,
    sea_query::{IntoCondition, LockType, SimpleExpr},
};

use super::{
    Connections, Consumer, Db, fail,
    identity::{HookHolder, KeyHolder},
    write::WriteTx,
};
use crate::{
    base::{
        clock::Clock,
        enums::{Feature, MembershipStatus, Role},
        error::{Code, Error, Refusal, Result},
        id::{Id, OrganizationId, UserId},
        plan,
        policy::{Permission, Permissions},
    },
    data::{
        actor::Origin,
        entity::{ActorRef, Decode, Keyed, Tenant, membership, organization, user},
    },
};

/// One organization, one caller, their rights in it. Made only from a verified membership, from the organization just
/// founded, from a redeemed invitation, or for the server's own work in one organization, and what its operator does. Cheap
/// to clone.
#[derive(Clone, Debug)]
pub struct OrgScope(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    db: Db,
    organization: Arc<organization::Model>,
    membership: Option<membership::Model>,
    /// The member's own, or that of the member who made the API key.
    role: Option<Role>,
    actor: ActorRef,
    responsible: Option<UserId>,
    permissions: Permissions,
    origin: Origin,
    depends_on_time: Arc<AtomicBool>,
}

/// Whose share of the connections somebody uses who acts in an organization.
fn share_of(organization: &organization::Model, actor: ActorRef) -> Consumer {
    Consumer::Caller { tenant: organization.id.uuid(), caller: actor.id }
}

impl OrgScope {
    /// From a membership just read; an inactive one gives none.
    pub(super) fn of_member(
        db: &Db,
        organization: Arc<organization::Model>,
        membership: membership::Model,
        origin: Origin,
    ) -> Self {
        let actor = ActorRef::user(membership.user_id);
        Self(Arc::new(Inner {
            db: db.used_by(share_of(&organization, actor)),
            organization,
            role: Some(membership.role),
            actor,
            responsible: Some(membership.user_id),
            permissions: Permissions::of(membership.role),
            membership: Some(membership),
            origin,
            depends_on_time: Arc::default(),
        }))
    }

    /// For an API key just verified: its scopes, as far as the member who made it holds them now.
    pub(super) fn of_api_key(db: &Db, holder: &KeyHolder, origin: Origin) -> Self {
        let actor = ActorRef::api_key(holder.key.id);
        Self(Arc::new(Inner {
            db: db.used_by(share_of(&holder.organization, actor)),
            organization: holder.organization.clone(),
            membership: None,
            role: Some(holder.role),
            actor,
            responsible: Some(holder.key.created_by_id),
            permissions: holder.permissions,
            origin,
            depends_on_time: Arc::default(),
        }))
    }

    /// For an inbound hook whose callback has just been verified: it may write items and comments, as far as the member
    /// who made it may now.
    pub(super) fn of_inbound_hook(db: &Db, holder: &HookHolder, origin: Origin) -> Self {
        let most: Permissions = [Permission::ItemWrite, Permission::CommentWrite].into_iter().collect();
        let of_creator = if holder.creator_is_active { Permissions::of(holder.role) } else { Permissions::default() };
        let actor = ActorRef::inbound_hook(holder.hook.id);
        Self(Arc::new(Inner {
            db: db.used_by(share_of(&holder.organization, actor)),
            organization: holder.organization.clone(),
            membership: None,
            role: Some(holder.role),
            actor,
            responsible: Some(holder.hook.created_by_id),
            permissions: most & of_creator,
            origin,
            depends_on_time: Arc::default(),
        }))
    }

    /// For a write that makes the membership itself: the rights of an owner who founds, of nobody who joins.
    pub(super) fn of_newcomer(
        db: &Db,
        organization: organization::Model,
        actor: ActorRef,
        permissions: Permissions,
        origin: Origin,
    ) -> Self {
        Self(Arc::new(Inner {
            db: db.used_by(share_of(&organization, actor)),
            organization: Arc::new(organization),
            membership: None,
            role: None,
            responsible: actor.user_id(),
            actor,
            permissions,
            origin,
            depends_on_time: Arc::default(),
        }))
    }

    /// The server's own work in one organization: commands and jobs.
    pub async fn of_system(db: &Db, organization_id: OrganizationId, origin: Origin) -> Result<Self> {
        let organization = db
            .find::<organization::Entity>()
            .filter(organization::Column::Id.eq(organization_id))
            .one(db.reader())
            .await
            .map_err(fail)?
            .ok_or_else(|| Error::internal("no such organization"))?;
        Ok(Self(Arc::new(Inner {
            db: db.used_by(share_of(&organization, ActorRef::SYSTEM)),
            organization: Arc::new(organization),
            membership: None,
            role: None,
            actor: ActorRef::SYSTEM,
            responsible: None,
            permissions: Permissions::of(Role::Owner),
            origin,
            depends_on_time: Arc::default(),
        })))
    }

    /// A command's work in one organization in the name of an active member, with their rights; `None` when they are none.
    pub async fn of_command_by(
        db: &Db,
        organization_id: OrganizationId,
        user_id: UserId,
        origin: Origin,
    ) -> Result<Option<Self>> {
        let system = Self::of_system(db, organization_id, origin.clone()).await?;
        let active = membership::Column::Status.eq(MembershipStatus::Active);
        let own = system.find::<membership::Entity>().filter(membership::Column::UserId.eq(user_id)).filter(active);
        let found = own.one().await?;
        Ok(found.map(|membership| Self::of_member(db, system.0.organization.clone(), membership, origin)))
    }

    /// A job's own work in one organization, on behalf of whoever asked for it; `None` when the organization is gone.
    pub(super) async fn of_job(
        db: &Db,
        organization_id: OrganizationId,
        actor: ActorRef,
        origin: Origin,
    ) -> Result<Option<Self>> {
        let own = organization::Column::Id.eq(organization_id);
        let found = db.find::<organization::Entity>().filter(own).one(db.reader()).await.map_err(fail)?;
        let permissions = Permissions::of(Role::Owner);
        Ok(found.map(|organization| Self::of_newcomer(db, organization, actor, permissions, origin)))
    }

    pub fn organization(&self) -> &organization::Model {
        &self.0.organization
    }

    pub fn organization_id(&self) -> OrganizationId {
        self.0.organization.id
    }

    /// The caller's membership; none for the server itself, for API keys and for newcomers.
    pub fn membership(&self) -> Option<&membership::Model> {
        self.0.membership.as_ref()
    }

    /// How high the caller stands; an API key as high as the member who made it, the server itself above all.
    pub fn role(&self) -> Option<Role> {
        self.0.role
    }

    pub fn actor(&self) -> ActorRef {
        self.0.actor
    }

    /// Who answers for what the caller does: the person, or the member who made the API key.
    pub fn responsible(&self) -> Result<UserId> {
        self.0.responsible.ok_or_else(|| Error::internal("nobody is responsible for this write"))
    }

    /// The caller, when it is a person.
    pub fn user_id(&self) -> Option<UserId> {
        self.0.actor.user_id()
    }

    pub fn origin(&self) -> &Origin {
        &self.0.origin
    }

    pub fn clock(&self) -> &Clock {
        self.0.db.clock()
    }

    /// Notes that what is read depends on the time: the same rows may be answered otherwise later.
    pub fn note_time(&self) {
        self.0.depends_on_time.store(true, Ordering::Relaxed);
    }

    /// Whether what was read so far depends on when it was read.
    pub fn depends_on_time(&self) -> bool {
        self.0.depends_on_time.load(Ordering::Relaxed)
    }

    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// The same scope over another view of the same database.
    pub(super) fn over(&self, db: Db) -> Self {
        Self(Arc::new(Inner { db, ..Inner::clone(&self.0) }))
    }

    /// Whose share of the connections this is.
    pub fn consumer(&self) -> Consumer {
        share_of(&self.0.organization, self.0.actor)
    }

    pub fn permissions(&self) -> Permissions {
        self.0.permissions
    }

    pub fn allows(&self, permission: Permission) -> bool {
        self.0.permissions.contains(permission)
    }

    /// FORBIDDEN, with the permission's name, unless the caller holds it.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if self.allows(permission) {
            return Ok(());
        }
        let name = permission.name();
        Err(Refusal::new(Code::Forbidden, format!("This needs the permission {name}."))
            .details(serde_json::json!({ "requiredPermission": name }))
            .into())
    }

    /// NOT_IN_PLAN unless the organization's plan has the feature.
    pub fn require_feature(&self, feature: Feature) -> Result<()> {
        plan::require(self.organization().plan_tier, feature)
    }

    /// Reads rows of this organization, outside a transaction.
    pub fn find<E: Tenant>(&self) -> Scoped<'_, E, Connections> {
        Scoped::new(self.0.db.reader(), self.organization_id())
    }

    /// One row by its id.
    pub async fn get<E: Keyed>(&self, id: Id<E::Kind>) -> Result<Option<E::Model>> {
        self.find::<E>().filter(E::ID.eq(id)).one().await
    }

    /// The organization as it is now; [`OrgScope::organization`] may be as old as what is remembered of the caller.
    pub async fn present_organization(&self) -> Result<Option<organization::Model>> {
        let own = organization::Column::Id.eq(self.organization_id());
        self.0.db.find::<organization::Entity>().filter(own).one(self.0.db.reader()).await.map_err(fail)
    }

    /// Begins a write that needs `permission`.
    pub async fn write(&self, permission: Permission) -> Result<WriteTx> {
        self.require(permission)?;
        WriteTx::begin(self.clone()).await
    }

    /// Begins a write that every member may make; the service checks what else it takes.
    pub async fn write_as_member(&self) -> Result<WriteTx> {
        WriteTx::begin(self.clone()).await
    }
}

/// A query over one organization's rows: the organization is in it from the start, and nothing here can widen it.
pub struct Scoped<'c, E: Tenant, C: ConnectionTrait> {
    connection: &'c C,
    organization_id: OrganizationId,
    select: Select<E>,
}

impl<'c, E: Tenant, C: ConnectionTrait> Scoped<'c, E, C> {
    pub(super) fn new(connection: &'c C, organization_id: OrganizationId) -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one way to tenant tables; the organization is added here")]
        let mut select = E::find().filter(E::ORGANIZATION.eq(organization_id));
        if let Some(removed_at) = E::REMOVED {
            select = select.filter(removed_at.is_null());
        }
        Self { connection, organization_id, select }
    }

    /// Narrows further (AND).
    #[must_use]
    pub fn filter(mut self, condition: impl IntoCondition) -> Self {
        self.select = self.select.filter(Condition::all().add(condition.into_condition()));
        self
    }

    #[must_use]
    pub fn order_by_asc(mut self, column: E::Column) -> Self {
        self.select = self.select.order_by_asc(column);
        self
    }

    #[must_use]
    pub fn order_by_desc(mut self, column: E::Column) -> Self {
        self.select = self.select.order_by_desc(column);
        self
    }

    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.select = self.select.limit(rows);
        self
    }

    /// Locks the rows until the transaction ends (PostgreSQL; SQLite has one writer anyway). Rows that merely refer to
    /// them may still be inserted: a writer that holds the ledger's head does so, and must not wait for one that wants it.
    #[must_use]
    pub fn for_update(mut self) -> Self {
        self.select = self.select.lock(LockType::NoKeyUpdate);
        self
    }

    pub async fn one(self) -> Result<Option<E::Model>> {
        let row = self.connection.query_one(self.select.limit(1).as_query()).await.map_err(fail)?;
        row.map(|row| E::decode(&row, "", 0)).transpose().map_err(fail)
    }

    pub async fn all(self) -> Result<Vec<E::Model>> {
        decoded::<E, _>(self.connection, self.select).await
    }

    pub async fn count(self) -> Result<u64>
    where
        Select<E>: for<'d> PaginatorTrait<'d, C>,
    {
        self.select.count(self.connection).await.map_err(fail)
    }

    /// One column of the only row, and an expression beside it.
    pub(super) async fn columns_with<A, B>(self, column: E::Column, beside: SimpleExpr) -> Result<Option<(A, B)>>
    where
        A: sea_orm::TryGetable + Send,
        B: sea_orm::TryGetable + Send,
    {
        let select = self.select.select_only().column_as(column, "a").expr_as(beside, "b");
        select.into_tuple().one(self.connection).await.map_err(fail)
    }

    /// One column of the rows.
    pub async fn column<T: sea_orm::TryGetable + Send>(self, column: E::Column) -> Result<Vec<T>> {
        self.select.select_only().column(column).into_tuple::<T>().all(self.connection).await.map_err(fail)
    }

    /// How many rows there are for each value of a column of ids.
    pub async fn count_by(self, column: E::Column) -> Result<Vec<(Uuid, i64)>> {
        self.select
            .select_only()
            .column(column)
            .column_as(column.count(), "rows")
            .group_by(column)
            .into_tuple()
            .all(self.connection)
            .await
            .map_err(fail)
    }

    /// How many rows there are for each value of a column of ids, with the least value of another column among them.
    pub async fn count_with_least(self, column: E::Column, least: E::Column) -> Result<Vec<(Uuid, i64, Option<i64>)>> {
        self.select
            .select_only()
            .column(column)
            .column_as(column.count(), "rows")
            .column_as(least.min(), "least")
            .group_by(column)
            .into_tuple()
            .all(self.connection)
            .await
            .map_err(fail)
    }

    /// Rows of the tenant's table `T` that links of this one lead to, each with the link's `from` column: one statement.
    /// `on` names the linked row's id in this table; the organization is part of the join.
    pub async fn linked<T: Keyed>(self, from: E::Column, on: E::Column) -> Result<Vec<(Uuid, T::Model)>> {
        let relation = E::belongs_to(T::default()).from((E::ORGANIZATION, on)).to((T::ORGANIZATION, T::ID));
        self.removed_left_out::<T>().joined::<T>(from, relation.into()).await
    }

    /// People that links of this table lead to, each with the link's `from` column: one statement.
    pub async fn linked_people(self, from: E::Column, on: E::Column) -> Result<Vec<(Uuid, user::Model)>> {
        let relation = E::belongs_to(user::Entity).from(on).to(user::Column::Id);
        self.joined::<user::Entity>(from, relation.into()).await
    }

    /// Without rows of the joined table `T` that are being removed.
    fn removed_left_out<T: Tenant>(self) -> Self {
        match T::REMOVED {
            Some(removed_at) => self.filter(removed_at.is_null()),
            None => self,
        }
    }

    async fn joined<T: Decode>(self, from: E::Column, relation: RelationDef) -> Result<Vec<(Uuid, T::Model)>> {
        let select = self.select.select_only().join(JoinType::InnerJoin, relation).column_as(from, "link_from");
        let select = super::identity::with_columns::<E, T>(select, "l_");
        let rows = self.connection.query_all(select.as_query()).await.map_err(fail)?;
        rows.iter()
            .map(|row| Ok((row.try_get_by_index(0)?, T::decode(row, "l_", 1)?)))
            .collect::<Result<_, _>>()
            .map_err(fail)
    }

    /// Two columns of the rows.
    pub async fn columns<T, U>(self, first: E::Column, second: E::Column) -> Result<Vec<(T, U)>>
    where
        T: sea_orm::TryGetable + Send,
        U: sea_orm::TryGetable + Send,
    {
        self.select
            .select_only()
            .column(first)
            .column(second)
            .into_tuple::<(T, U)>()
            .all(self.connection)
            .await
            .map_err(fail)
    }

    /// For `db::page` and `db::filter`, which add keys and joins that keep the organization.
    pub(super) fn into_parts(self) -> (&'c C, OrganizationId, Select<E>) {
        (self.connection, self.organization_id, self.select)
    }
}

/// The rows of a select that has its table's columns first.
pub(super) async fn decoded<E: Decode, C: ConnectionTrait>(connection: &C, select: Select<E>) -> Result<Vec<E::Model>> {
    let rows = connection.query_all(select.as_query()).await.map_err(fail)?;
    rows.iter().map(|row| E::decode(row, "", 0)).collect::<Result<_, _>>().map_err(fail)
}
