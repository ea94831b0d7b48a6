//! From a verified credential to a caller and, where the request has one, an organization: one statement, cached for
//! a second at most (see `db::identity_cache`).

use std::{collections::HashSet, sync::Arc};

use sea_orm::{
    EntityTrait, ExprTrait as _, FromQueryResult, Iterable, JoinType, QueryFilter, QueryOrder, QueryResult,
    QuerySelect, Select,
    prelude::*,
    sea_query::{Condition, Func, IntoCondition, IntoIden},
};

use super::{Db, OrgScope, fail, filter::among};
use crate::{
    base::{
        clock::Instant,
        enums::{MembershipStatus, Role},
        error::Result,
        id::{ImportId, InvitationId, OrganizationId, SessionId, UserId},
        policy::Permissions,
    },
    data::{
        actor::{Origin, Person},
        entity::{
            ActorRef, Global, api_key, import, inbound_hook, invitation, membership, organization, session, user,
        },
    },
};

/// How a request named its organization.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OrganizationChoice {
    Id(OrganizationId),
    Slug(String),
}

impl OrganizationChoice {
    /// A slug, or an id (`org_…`).
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Slug(text.to_lowercase().replace('\0', "")), Self::Id)
    }
}

/// Who is calling, as the database says.
#[derive(Clone, Debug)]
pub enum Identified {
    Person(Arc<SignedIn>),
    ApiKey(Arc<KeyHolder>),
}

impl Identified {
    pub fn actor(&self) -> ActorRef {
        match self {
            Self::Person(signed_in) => ActorRef::user(signed_in.person.user.id),
            Self::ApiKey(holder) => ActorRef::api_key(holder.key.id),
        }
    }

    /// The person, unless it is an API key.
    pub fn person(&self) -> Option<&Person> {
        match self {
            Self::Person(signed_in) => Some(&signed_in.person),
            Self::ApiKey(_) => None,
        }
    }
}

/// A live session, the person behind it, and what they may choose from.
#[derive(Clone, Debug)]
pub struct SignedIn {
    pub person: Person,
    pub session: session::Model,
    /// Active memberships: the one asked for, else the first few.
    pub memberships: Vec<(membership::Model, Arc<organization::Model>)>,
}

impl SignedIn {
    /// The scope of a membership that was just read.
    pub fn scope(&self, db: &Db, index: usize, origin: Origin) -> Option<OrgScope> {
        let (membership, organization) = self.memberships.get(index)?;
        Some(OrgScope::of_member(db, organization.clone(), membership.clone(), origin))
    }
}

/// An API key, its organization, and how high its creator stands there now.
#[derive(Clone, Debug)]
pub struct KeyHolder {
    pub key: api_key::Model,
    pub organization: Arc<organization::Model>,
    pub role: Role,
    /// Whether the creator is a member, and not suspended.
    pub creator_is_active: bool,
    /// Its scopes, as far as its creator holds them.
    pub permissions: Permissions,
}

impl KeyHolder {
    pub fn scope(&self, db: &Db, origin: Origin) -> OrgScope {
        OrgScope::of_api_key(db, self, origin)
    }
}

/// An inbound hook, its organization, and how high its creator stands there now.
#[derive(Clone, Debug)]
pub struct HookHolder {
    pub hook: inbound_hook::Model,
    pub organization: Arc<organization::Model>,
    pub role: Role,
    /// Whether the creator is a member, and not suspended.
    pub creator_is_active: bool,
}

impl HookHolder {
    pub fn scope(&self, db: &Db, origin: Origin) -> OrgScope {
        OrgScope::of_inbound_hook(db, self, origin)
    }
}

/// How many memberships an error lists as choices, and how many open invitations a person sees.
pub const CHOICES: u64 = 50;

impl Db {
    /// The caller behind a session, unless it ended. Without a choice, the first [`CHOICES`] active memberships.
    pub async fn identify(
        &self,
        session_id: SessionId,
        user_id: UserId,
        choice: Option<&OrganizationChoice>,
    ) -> Result<Option<SignedIn>> {
        let chosen = match choice {
            Some(OrganizationChoice::Id(id)) => organization::Column::Id.eq(*id).into_condition(),
            Some(OrganizationChoice::Slug(slug)) => organization::Column::Slug.eq(slug.as_str()).into_condition(),
            None => Condition::all(),
        };
        let select = self
            .find::<session::Entity>()
            .select_only()
            .join(
                JoinType::InnerJoin,
                session::Entity::belongs_to(user::Entity).from(session::Column::UserId).to(user::Column::Id).into(),
            )
            .join(
                JoinType::LeftJoin,
                // Both joins to the left, so that a session without a membership still gives a row.
                user::Entity::belongs_to(membership::Entity)
                    .from(user::Column::Id)
                    .to(membership::Column::UserId)
                    .on_condition(|_, _| membership::Column::Status.eq(MembershipStatus::Active).into_condition())
                    .into(),
            )
            .join(
                JoinType::LeftJoin,
                membership::Entity::belongs_to(organization::Entity)
                    .from(membership::Column::OrganizationId)
                    .to(organization::Column::Id)
                    .on_condition(move |_, _| chosen.clone())
                    .into(),
            )
            .filter(session::Column::Id.eq(session_id))
            .filter(session::Column::UserId.eq(user_id))
            .filter(session::Column::RevokedAt.is_null())
            .filter(session::Column::ExpiresAt.gt(self.clock().now()))
            // Where one organization was asked for, its row comes first.
            .order_by(organization::Column::Id.is_null(), sea_orm::Order::Asc)
            .order_by_asc(organization::Column::Name)
            .limit(if choice.is_some() { 1 } else { CHOICES });
        let select = with_columns::<_, session::Entity>(select, "s_");
        let select = with_columns::<_, user::Entity>(select, "u_");
        let select = with_columns::<_, membership::Entity>(select, "m_");
        let select = with_columns::<_, organization::Entity>(select, "o_");
        let rows = select.into_model::<Row>().all(self.reader()).await.map_err(fail)?;

        let mut person = None;
        let mut memberships = Vec::new();
        for row in rows {
            person.get_or_insert((row.session, row.user));
            if let (Some(membership), Some(organization)) = (row.membership, row.organization) {
                memberships.push((membership, Arc::new(organization)));
            }
        }
        Ok(person.map(|(session, user)| SignedIn {
            person: Person { user: Arc::new(user), session_id: session.id },
            session,
            memberships,
        }))
    }

    /// Which of these sessions still stand.
    pub async fn sessions_alive(&self, ids: &[SessionId]) -> Result<HashSet<SessionId>> {
        let mut alive = HashSet::with_capacity(ids.len());
        // SQLite refuses a statement with more than 32,766 values.
        for chunk in ids.chunks(10_000) {
            let found: Vec<SessionId> = self
                .find::<session::Entity>()
                .select_only()
                .column(session::Column::Id)
                .filter(among(self, session::Column::Id, chunk.iter().copied()))
                .filter(session::Column::RevokedAt.is_null())
                .filter(session::Column::ExpiresAt.gt(self.clock().now()))
                .into_tuple()
                .all(self.reader())
                .await
                .map_err(fail)?;
            alive.extend(found);
        }
        Ok(alive)
    }

    /// The API key that a look-up part names, with its organization and its creator's membership.
    pub async fn identify_key(&self, lookup: &str) -> Result<Option<KeyHolder>> {
        self.key_holder(api_key::Column::Lookup.eq(lookup)).await
    }

    /// What somebody may do now who asked for work before: a member with their rights, an API key with its own. `None` when
    /// they may do nothing any more, and for whoever is neither.
    pub async fn scope_of(
        &self,
        organization_id: OrganizationId,
        actor: ActorRef,
        origin: Origin,
    ) -> Result<Option<OrgScope>> {
        if let Some(user_id) = actor.user_id() {
            return OrgScope::of_command_by(self, organization_id, user_id, origin).await;
        }
        let Some(key_id) = actor.api_key_id() else { return Ok(None) };
        let this = api_key::Column::OrganizationId.eq(organization_id).and(api_key::Column::Id.eq(key_id));
        let holder = self.key_holder(this).await?.filter(|holder| {
            let KeyHolder { key, creator_is_active, .. } = holder;
            let is_over = key.expires_at.is_some_and(|end| end <= self.clock().now());
            *creator_is_active && key.revoked_at.is_none() && !is_over
        });
        Ok(holder.map(|holder| holder.scope(self, origin)))
    }

    /// An import that something signed by this server names; what it may do is another question.
    pub async fn import(&self, organization_id: OrganizationId, id: ImportId) -> Result<Option<import::Model>> {
        #[allow(clippy::disallowed_methods, reason = "the organization is named")]
        let found = import::Entity::find_by_id((organization_id, id)).one(self.reader()).await;
        found.map_err(fail)
    }

    async fn key_holder(&self, which: impl IntoCondition) -> Result<Option<KeyHolder>> {
        #[allow(clippy::disallowed_methods, reason = "whoever presents a key has no organization yet")]
        let select = api_key::Entity::find()
            .select_only()
            .join(
                JoinType::InnerJoin,
                api_key::Entity::belongs_to(organization::Entity)
                    .from(api_key::Column::OrganizationId)
                    .to(organization::Column::Id)
                    .into(),
            )
            .join(
                JoinType::LeftJoin,
                api_key::Entity::belongs_to(membership::Entity)
                    .from((api_key::Column::OrganizationId, api_key::Column::CreatedById))
                    .to((membership::Column::OrganizationId, membership::Column::UserId))
                    .into(),
            )
            .filter(which.into_condition());
        let select = with_columns::<_, api_key::Entity>(select, "k_");
        let select = with_columns::<_, membership::Entity>(select, "m_");
        let select = with_columns::<_, organization::Entity>(select, "o_");
        let row = select.into_model::<Held<api_key::Model>>().one(self.reader()).await.map_err(fail)?;
        Ok(row.map(|Held { held: key, membership, organization }| {
            let (role, status) = membership.map_or((Role::Viewer, None), |m| (m.role, Some(m.status)));
            let creator_is_active = status == Some(MembershipStatus::Active);
            // Once, and not with each request: the names are looked up one by one.
            let permissions = Permissions::named(&key.scopes) & Permissions::of(role);
            KeyHolder { key, organization: Arc::new(organization), role, creator_is_active, permissions }
        }))
    }

    /// The inbound hook that a token in an address names, with its organization and its creator's membership.
    pub async fn identify_hook(&self, token: &str) -> Result<Option<HookHolder>> {
        #[allow(clippy::disallowed_methods, reason = "whoever calls back has no organization yet")]
        let select = inbound_hook::Entity::find()
            .select_only()
            .join(
                JoinType::InnerJoin,
                inbound_hook::Entity::belongs_to(organization::Entity)
                    .from(inbound_hook::Column::OrganizationId)
                    .to(organization::Column::Id)
                    .into(),
            )
            .join(
                JoinType::LeftJoin,
                inbound_hook::Entity::belongs_to(membership::Entity)
                    .from((inbound_hook::Column::OrganizationId, inbound_hook::Column::CreatedById))
                    .to((membership::Column::OrganizationId, membership::Column::UserId))
                    .into(),
            )
            .filter(inbound_hook::Column::Token.eq(token));
        let select = with_columns::<_, inbound_hook::Entity>(select, "k_");
        let select = with_columns::<_, membership::Entity>(select, "m_");
        let select = with_columns::<_, organization::Entity>(select, "o_");
        let row = select.into_model::<Held<inbound_hook::Model>>().one(self.reader()).await.map_err(fail)?;
        Ok(row.map(|Held { held, membership, organization }| {
            let (role, status) = membership.map_or((Role::Viewer, None), |m| (m.role, Some(m.status)));
            let creator_is_active = status == Some(MembershipStatus::Active);
            HookHolder { hook: held, organization: Arc::new(organization), role, creator_is_active }
        }))
    }

    /// Every organization a person actively belongs to, by name.
    pub async fn memberships_of(&self, user_id: UserId) -> Result<Vec<(membership::Model, organization::Model)>> {
        let select = self
            .find::<organization::Entity>()
            .select_only()
            .join(
                JoinType::InnerJoin,
                organization::Entity::belongs_to(membership::Entity)
                    .from(organization::Column::Id)
                    .to(membership::Column::OrganizationId)
                    .into(),
            )
            .filter(membership::Column::UserId.eq(user_id))
            .filter(membership::Column::Status.eq(MembershipStatus::Active))
            .order_by_asc(organization::Column::Name);
        let select = with_columns::<_, membership::Entity>(select, "m_");
        let select = with_columns::<_, organization::Entity>(select, "o_");
        let rows = select.into_model::<Pair<membership::Model>>().all(self.reader()).await.map_err(fail)?;
        Ok(rows.into_iter().map(|row| (row.0, row.1)).collect())
    }

    /// Open invitations to an address, with who invites; at most [`CHOICES`] rows.
    pub async fn invitations_to(
        &self,
        email_key: &str,
        now: Instant,
        id: Option<InvitationId>,
    ) -> Result<Vec<Invited>> {
        let member = invitation::Entity::belongs_to(membership::Entity)
            .from(invitation::Column::OrganizationId)
            .to(membership::Column::OrganizationId)
            .on_condition(|_, _| {
                // The member who invites, or who made the key that does.
                let maker = Func::coalesce([
                    Expr::col((api_key::Entity, api_key::Column::CreatedById)),
                    Expr::col((invitation::Entity, invitation::Column::InvitedById)),
                ]);
                Expr::col((membership::Entity, membership::Column::UserId)).eq(maker).into_condition()
            });
        let mut select = self
            .find::<organization::Entity>()
            .select_only()
            .join(
                JoinType::InnerJoin,
                organization::Entity::belongs_to(invitation::Entity)
                    .from(organization::Column::Id)
                    .to(invitation::Column::OrganizationId)
                    .into(),
            )
            .join(
                JoinType::LeftJoin,
                invitation::Entity::belongs_to(api_key::Entity)
                    .from((invitation::Column::OrganizationId, invitation::Column::InvitedById))
                    .to((api_key::Column::OrganizationId, api_key::Column::Id))
                    .into(),
            )
            .join(JoinType::LeftJoin, member.into())
            .filter(invitation::Column::EmailKey.eq(email_key))
            .filter(invitation::Column::ExpiresAt.gt(now))
            .order_by_asc(organization::Column::Name)
            .limit(CHOICES);
        if let Some(id) = id {
            select = select.filter(invitation::Column::Id.eq(id));
        }
        let select = with_columns::<_, invitation::Entity>(select, "i_");
        let select = with_columns::<_, organization::Entity>(select, "o_");
        let select = with_columns::<_, api_key::Entity>(select, "k_");
        let select = with_columns::<_, membership::Entity>(select, "m_");
        select.into_model::<Invited>().all(self.reader()).await.map_err(fail)
    }

    /// Rows of a table that no organization owns.
    pub async fn find_global<E: Global>(&self, condition: impl IntoCondition) -> Result<Vec<E::Model>> {
        self.find::<E>().filter(condition.into_condition()).all(self.reader()).await.map_err(fail)
    }
}

struct Row {
    session: session::Model,
    user: user::Model,
    membership: Option<membership::Model>,
    organization: Option<organization::Model>,
}

impl FromQueryResult for Row {
    fn from_query_result(row: &QueryResult, _: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            session: session::Model::from_query_result(row, "s_")?,
            user: user::Model::from_query_result(row, "u_")?,
            membership: membership::Model::from_query_result_optional(row, "m_")?,
            organization: organization::Model::from_query_result_optional(row, "o_")?,
        })
    }
}

/// What somebody outside holds a key to: its row, its creator's membership, its organization.
struct Held<M> {
    held: M,
    membership: Option<membership::Model>,
    organization: organization::Model,
}

impl<M: FromQueryResult> FromQueryResult for Held<M> {
    fn from_query_result(row: &QueryResult, _: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            held: M::from_query_result(row, "k_")?,
            membership: membership::Model::from_query_result_optional(row, "m_")?,
            organization: organization::Model::from_query_result(row, "o_")?,
        })
    }
}

/// An invitation, the organization, and what its maker stands on there.
pub struct Invited {
    pub invitation: invitation::Model,
    pub organization: organization::Model,
    pub maker: Option<membership::Model>,
    pub maker_key: Option<api_key::Model>,
}

impl FromQueryResult for Invited {
    fn from_query_result(row: &QueryResult, _: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self {
            invitation: invitation::Model::from_query_result(row, "i_")?,
            organization: organization::Model::from_query_result(row, "o_")?,
            maker: membership::Model::from_query_result_optional(row, "m_")?,
            maker_key: api_key::Model::from_query_result_optional(row, "k_")?,
        })
    }
}

/// A tenant's row with its organization.
struct Pair<M>(M, organization::Model);

impl<M: FromQueryResult> FromQueryResult for Pair<M> {
    fn from_query_result(row: &QueryResult, _: &str) -> std::result::Result<Self, DbErr> {
        Ok(Self(M::from_query_result(row, "m_")?, organization::Model::from_query_result(row, "o_")?))
    }
}

/// Selects all columns of `E`, each under its name after `prefix`.
pub(super) fn with_columns<S: EntityTrait, E: EntityTrait>(mut select: Select<S>, prefix: &str) -> Select<S> {
    for column in E::Column::iter() {
        let alias = format!("{prefix}{}", column.into_iden());
        select = select.column_as(Expr::col((E::default(), column)), alias);
    }
    select
}
