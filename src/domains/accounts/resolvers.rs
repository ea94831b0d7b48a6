use async_graphql::{Context, Object};

use super::{
    credentials,
    input::{
        EmailChangeRequestInput, EmailVerifyInput, PasswordChangeInput, PasswordResetCompleteInput,
        PasswordResetRequestInput, SessionCreateInput, SessionRefreshInput, SessionRevokeInput, UserDeleteInput,
        UserRegisterInput, UserUpdateInput,
    },
    service::{self, Tokens},
    types::{SessionPayload, Signed, User, UserPayload, Viewer},
};
use crate::{
    base::{
        error::{Refusal, Result},
        policy::{Access, access},
    },
    data::db::{Committed, identity::Identified},
    graphql::{
        context::ContextExt,
        payload::{AckPayload, DeletePayload, write},
    },
    platform::auth::session::Caller,
};

#[derive(Default)]
pub struct AccountQuery;

#[Object]
impl AccountQuery {
    /// Who is calling, in which organization, with which permissions.
    #[graphql(directive = access::apply(Access::User))]
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        Viewer::of(ctx.request().caller()).ok_or_else(|| Refusal::unauthenticated().into())
    }
}

#[derive(Default)]
pub struct AccountMutation;

#[Object]
impl AccountMutation {
    /// Signs in. Refused for a while after five wrong passwords from one address, unless configured otherwise.
    #[graphql(tag = "throttled", directive = access::apply(Access::Public))]
    async fn session_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who signs in.")] input: SessionCreateInput,
    ) -> Result<Option<SessionPayload>> {
        let request = ctx.request();
        let attempt = async || {
            let signed = service::sign_in(&request.state, &request.origin, &input.email, &input.password).await?;
            with_caller(ctx, signed).await
        };
        write(ctx, attempt, |signed| signed).await
    }

    /// Trades a refresh token for a new pair. One that comes again after 10 seconds, or after its successor was
    /// traded, ends its session.
    #[graphql(directive = access::apply(Access::Public))]
    async fn session_refresh(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The refresh token.")] input: SessionRefreshInput,
    ) -> Result<Option<SessionPayload>> {
        let request = ctx.request();
        let attempt = async || {
            let signed = service::refresh(&request.state, &request.origin, &input.refresh_token).await?;
            with_caller(ctx, signed).await
        };
        write(ctx, attempt, |signed| signed).await
    }

    /// Ends this session, another one, or all of the caller's.
    #[graphql(directive = access::apply(Access::User))]
    async fn session_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which session; none: this one.")] input: SessionRevokeInput,
    ) -> Result<Option<DeletePayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        write(ctx, || service::revoke(&request.state, &request.origin, person, &input), |id| id.any()).await
    }

    /// Registers a person; with an invitation token, also joins that organization.
    #[graphql(tag = "throttled", directive = access::apply(Access::Public))]
    async fn user_register(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new account.")] input: UserRegisterInput,
    ) -> Result<Option<SessionPayload>> {
        let request = ctx.request();
        let attempt = async || {
            let signed = service::register(&request.state, &request.origin, &input).await?;
            with_caller(ctx, signed).await
        };
        write(ctx, attempt, |signed| signed).await
    }

    /// Changes the caller's profile; written as MEMBER_UPDATED into every organization they belong to.
    #[graphql(directive = access::apply(Access::User))]
    async fn user_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: UserUpdateInput,
    ) -> Result<Option<UserPayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        let current = request.caller().scope.as_ref().map(|scope| scope.organization_id());
        let attempt = || service::update(&request.state, &request.origin, person, current, &input);
        write(ctx, attempt, User::from).await
    }

    /// Deletes the caller's account; refused while they are the last owner of an organization.
    #[graphql(tag = "throttled", directive = access::apply(Access::User))]
    async fn user_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The password, to confirm.")] input: UserDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        write(ctx, || credentials::delete(&request.state, &request.origin, person, &input), |id| id.any()).await
    }

    /// Proves an address with the token that was mailed to it: a new account's, or that of an `emailChangeRequest`.
    #[graphql(tag = "throttled", directive = access::apply(Access::Public))]
    async fn email_verify(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The mailed token.")] input: EmailVerifyInput,
    ) -> Result<Option<UserPayload>> {
        let request = ctx.request();
        write(ctx, || credentials::verify_email(&request.state, &request.origin, &input), User::own).await
    }

    /// Mails a token to the new address; the old one stays until `emailVerify`.
    #[graphql(tag = "throttled", directive = access::apply(Access::User))]
    async fn email_change_request(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new address, and the password to confirm.")] input: EmailChangeRequestInput,
    ) -> Result<Option<AckPayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        let attempt = || credentials::request_email_change(&request.state, &request.origin, person, &input);
        write(ctx, attempt, |()| ()).await
    }

    /// Changes the password, and ends every other session.
    #[graphql(tag = "throttled", directive = access::apply(Access::User))]
    async fn password_change(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The present password and the new one.")] input: PasswordChangeInput,
    ) -> Result<Option<UserPayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        let attempt = || credentials::change_password(&request.state, &request.origin, person, &input);
        write(ctx, attempt, User::from).await
    }

    /// Mails a token to set another password, where there is such an account. Always succeeds, so that it does not
    /// reveal which addresses exist.
    #[graphql(tag = "throttled", directive = access::apply(Access::Public))]
    async fn password_reset_request(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose password was forgotten.")] input: PasswordResetRequestInput,
    ) -> Result<Option<AckPayload>> {
        let request = ctx.request();
        let attempt = || credentials::request_reset(&request.state, &request.origin, &input.email);
        write(ctx, attempt, |()| ()).await
    }

    /// Sets another password with the mailed token, ends every session and starts one.
    #[graphql(tag = "throttled", directive = access::apply(Access::Public))]
    async fn password_reset_complete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The mailed token and the new password.")] input: PasswordResetCompleteInput,
    ) -> Result<Option<SessionPayload>> {
        let request = ctx.request();
        let attempt = async || {
            let signed = credentials::complete_reset(&request.state, &request.origin, &input).await?;
            with_caller(ctx, signed).await
        };
        write(ctx, attempt, |signed| signed).await
    }
}

/// The new session's caller, as a request with its token would be.
async fn with_caller(ctx: &Context<'_>, signed: Committed<Tokens>) -> Result<Committed<Signed>> {
    let request = ctx.request();
    let tokens = signed.value;
    let signed_in = request.state.db.identify(tokens.session_id, tokens.user_id, None).await?;
    let scope = signed_in
        .as_ref()
        .filter(|signed_in| signed_in.memberships.len() == 1)
        .and_then(|signed_in| signed_in.scope(&request.state.db, 0, request.origin.clone()));
    let identified = signed_in.map(|signed_in| Identified::Person(signed_in.into()));
    let caller = Caller { identified, scope, ..Caller::default() };
    request.adopt(caller.clone());
    Ok(Committed { value: Signed { tokens, caller }, cursor: signed.cursor })
}
