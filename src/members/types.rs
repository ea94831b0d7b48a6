use async_graphql::{Context, Object};

use crate::{
    accounts::types::{Actor, User},
    auth::{
        actor::ActorRef,
        policy::{Permission, requires},
    },
    entity::{
        enums::{MembershipStatus, Role},
        invitation, membership,
    },
    error::{Error, Result},
    graphql::{context::ContextExt, guard, payload::payload, scalars::DateTime},
    id::{InvitationId, MembershipId},
    teams::types::Team,
};

/// A person in an organization.
#[derive(Clone, Debug)]
pub struct Membership(pub membership::Model);

#[Object(directive = requires::apply(Permission::MemberRead))]
impl Membership {
    pub async fn id(&self) -> MembershipId {
        self.0.id
    }

    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        let user = ctx.loaders()?.users.load_one(self.0.user_id).await?;
        user.map(User::from).ok_or_else(|| Error::internal("a membership without a person"))
    }

    fn role(&self) -> Role {
        self.0.role
    }

    fn status(&self) -> MembershipStatus {
        self.0.status
    }

    /// At most 50.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        guard::check_type::<Team>(ctx)?;
        let teams = ctx.loaders()?.teams_of_member.load_one(self.0.user_id).await?;
        Ok(teams.unwrap_or_default().into_iter().map(Team).collect())
    }

    fn joined_at(&self) -> DateTime {
        self.0.joined_at.into()
    }

    /// When the person last signed in or refreshed their session, to within a quarter of an hour while they work.
    fn last_active_at(&self) -> Option<DateTime> {
        self.0.last_active_at.map(DateTime)
    }

    fn version(&self) -> i32 {
        self.0.version
    }
}

/// An open invitation.
#[derive(Clone, Debug)]
pub struct Invitation(pub invitation::Model);

#[Object(directive = requires::apply(Permission::MemberManage))]
impl Invitation {
    pub async fn id(&self) -> InvitationId {
        self.0.id
    }

    fn email(&self) -> &str {
        &self.0.email
    }

    fn role(&self) -> Role {
        self.0.role
    }

    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        guard::check_type::<Team>(ctx)?;
        let teams = ctx.loaders()?.teams_of_invitation.load_one(self.0.id).await?;
        Ok(teams.unwrap_or_default().into_iter().map(Team).collect())
    }

    async fn invited_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.invited_by_kind, id: self.0.invited_by_id }).await
    }

    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    fn expires_at(&self) -> DateTime {
        self.0.expires_at.into()
    }
}

payload! {
    MembershipPayload { membership: Membership }
}

payload! {
    /// `token` is returned once, to be handed on. It lets its address join this organization and proves nothing: the letter
    /// has another one, which proves the address too.
    InvitationPayload { invitation: Invitation } token
}
