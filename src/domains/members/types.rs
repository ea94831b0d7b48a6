use async_graphql::{Context, Description, Object};

use crate::{
    base::{
        enums::{MembershipStatus, Role},
        error::{Error, Result},
        id::{InvitationId, MembershipId},
        policy::{Permission, requires},
    },
    data::entity::{ActorRef, invitation, membership},
    domains::{
        accounts::{
            loaders::Users,
            types::{Actor, User},
        },
        teams::{
            loaders::{TeamsOfInvitation, TeamsOfMember},
            types::Team,
        },
    },
    graphql::{context::ContextExt, guard, node::row_node, payload::payload, scalars::DateTime},
};

/// A person in an organization.
#[derive(Clone, Debug, Description)]
pub struct Membership(pub membership::Model);

row_node!(Membership: membership, Self);

#[Object(use_type_description, directive = requires::apply(Permission::MemberRead))]
impl Membership {
    /// Global id, `mbr_…`.
    #[graphql(tag = "same-for-all")]
    pub async fn id(&self) -> MembershipId {
        self.0.id
    }

    /// The person.
    #[graphql(tag = "same-for-all")]
    async fn user(&self, ctx: &Context<'_>) -> Result<User> {
        let user = ctx.loader::<Users>()?.load_one(self.0.user_id).await?;
        user.map(User::from).ok_or_else(|| Error::internal("a membership without a person"))
    }

    /// What they may do here.
    #[graphql(tag = "same-for-all")]
    fn role(&self) -> Role {
        self.0.role
    }

    /// Whether they may do anything here.
    #[graphql(tag = "same-for-all")]
    fn status(&self) -> MembershipStatus {
        self.0.status
    }

    /// Teams they are in, by name; at most 50.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        guard::check_field::<Self>(ctx)?;
        let teams = ctx.loader::<TeamsOfMember>()?.load_one(self.0.user_id).await?;
        Ok(teams.unwrap_or_default().into_iter().map(Team::from).collect())
    }

    /// When they became a member.
    #[graphql(tag = "same-for-all")]
    fn joined_at(&self) -> DateTime {
        self.0.joined_at.into()
    }

    /// When the person last signed in or refreshed their session, to within a quarter of an hour while they work; null
    /// when they never did.
    fn last_active_at(&self) -> Option<DateTime> {
        self.0.last_active_at.map(DateTime)
    }

    /// Rises by one with each change of role or status, and of teams by `membershipUpdate`; pass as `ifVersion`.
    #[graphql(tag = "same-for-all")]
    fn version(&self) -> i32 {
        self.0.version
    }
}

/// An open invitation to join the organization.
#[derive(Clone, Debug, Description)]
pub struct Invitation(pub invitation::Model);

row_node!(Invitation: invitation, Self);

#[Object(use_type_description, directive = requires::apply(Permission::MemberManage))]
impl Invitation {
    /// Global id, `inv_…`.
    pub async fn id(&self) -> InvitationId {
        self.0.id
    }

    /// The address that is invited.
    fn email(&self) -> &str {
        &self.0.email
    }

    /// The role that it gives.
    fn role(&self) -> Role {
        self.0.role
    }

    /// Teams that whoever accepts will be in, by name; at most 50.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Vec<Team>> {
        guard::check_field::<Self>(ctx)?;
        let teams = ctx.loader::<TeamsOfInvitation>()?.load_one(self.0.id).await?;
        Ok(teams.unwrap_or_default().into_iter().map(Team::from).collect())
    }

    /// Whoever made it, or sent it again last: it is worth what they may grant when it is accepted.
    async fn invited_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.invited_by_kind, id: self.0.invited_by_id }).await
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Until when it may be accepted: 7 days after it was made or sent again, unless configured otherwise.
    fn expires_at(&self) -> DateTime {
        self.0.expires_at.into()
    }
}

payload! {
    /// What became of a mutation of a membership.
    MembershipPayload { membership: Membership }
}

payload! {
    /// `token` is returned once, to be handed on. It lets its address join this organization and proves nothing: the e-mail
    /// has another one, which proves the address too.
    InvitationPayload { invitation: Invitation } token
}
