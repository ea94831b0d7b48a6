use async_graphql::{Context, Object};

use super::{
    input::{
        InvitationAcceptInput, InvitationCreateInput, InvitationResendInput, InvitationRevokeInput,
        MembershipRemoveInput, MembershipUpdateInput,
    },
    invitations, service,
    types::{Invitation, InvitationPayload, Membership, MembershipPayload},
};
use crate::{
    base::{
        error::{Error, Result},
        policy::{Access, Permission, access, requires},
    },
    graphql::{
        context::{ContextExt, adopt_organization},
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct MemberMutation;

#[Object]
impl MemberMutation {
    /// Mails an invitation to an address. An earlier one to it is replaced.
    #[graphql(directive = requires::apply(Permission::MemberManage))]
    async fn invitation_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom to invite, and to what.")] input: InvitationCreateInput,
    ) -> Result<Option<InvitationPayload>> {
        let (state, scope) = (ctx.state(), ctx.scope()?);
        write(ctx, || invitations::invite(state, scope, &input), |(row, token)| (Invitation(row), token)).await
    }

    /// Takes an invitation back.
    #[graphql(directive = requires::apply(Permission::MemberManage))]
    async fn invitation_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which invitation.")] input: InvitationRevokeInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || invitations::revoke(scope, input.id), |id| id.any()).await
    }

    /// Sends an invitation again, with new tokens, one mailed and one shown; the old ones are void. From now on it is
    /// the caller's: it ends with their right to grant its role.
    #[graphql(directive = requires::apply(Permission::MemberManage))]
    async fn invitation_resend(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which invitation.")] input: InvitationResendInput,
    ) -> Result<Option<InvitationPayload>> {
        let (state, scope) = (ctx.state(), ctx.scope()?);
        let attempt = || invitations::resend(state, scope, input.id);
        write(ctx, attempt, |(row, token)| (Invitation(row), token)).await
    }

    /// Joins the organization that invites.
    #[graphql(directive = access::apply(Access::User))]
    async fn invitation_accept(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "A token, or an id.")] input: InvitationAcceptInput,
    ) -> Result<Option<MembershipPayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        let attempt = async || {
            let joined = invitations::accept(&request.state, &request.origin, person, &input).await?;
            adopt_organization(ctx, joined.value.organization_id).await?;
            Ok::<_, Error>(joined)
        };
        write(ctx, attempt, Membership).await
    }

    /// Changes a member's role, status or teams. Nobody may grant above their own role, nor demote the last owner.
    #[graphql(directive = requires::apply(Permission::MemberManage))]
    async fn membership_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which membership, and what to change.")] input: MembershipUpdateInput,
    ) -> Result<Option<MembershipPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Membership).await
    }

    /// Removes a member (MEMBER_MANAGE), or oneself: out of their teams and items, and the API keys they made are
    /// revoked.
    #[graphql(directive = access::apply(Access::Member))]
    async fn membership_remove(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which membership, and who takes over.")] input: MembershipRemoveInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::remove(scope, &input), |id| id.any()).await
    }
}
