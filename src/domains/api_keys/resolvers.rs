use async_graphql::{Context, Object};

use super::{
    input::{ApiKeyCreateInput, ApiKeyRevokeInput, ApiKeyRotateInput, ApiKeyUpdateInput},
    service::{self, Shown},
    types::{ApiKey, ApiKeyPayload},
};
use crate::{
    base::{
        enums::Feature,
        error::Result,
        policy::{Permission, in_plan, requires},
    },
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// Makes an API key. The payload's `secret` is the key; it is shown this once.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn api_key_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new API key.")] input: ApiKeyCreateInput,
    ) -> Result<Option<ApiKeyPayload>> {
        let (scope, mint) = (ctx.scope()?, &ctx.state().mint);
        write(ctx, || service::create(scope, mint, &input), wrap).await
    }

    /// Changes an API key's name, scopes, networks or end. Nobody widens that of somebody above their own role.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn api_key_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which API key, and what to change.")] input: ApiKeyUpdateInput,
    ) -> Result<Option<ApiKeyPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), wrap).await
    }

    /// Gives an API key a new secret; the old one works for `graceHours` more. A second rotation ends the first one's
    /// grace.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn api_key_rotate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which API key, and how long the old secret works on.")] input: ApiKeyRotateInput,
    ) -> Result<Option<ApiKeyPayload>> {
        let (scope, mint) = (ctx.scope()?, &ctx.state().mint);
        write(ctx, || service::rotate(scope, mint, &input), wrap).await
    }

    /// Ends an API key for good, with the keys that it made.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn api_key_revoke(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which API key.")] input: ApiKeyRevokeInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::revoke(scope, input.id), |id| id.any()).await
    }
}

fn wrap((row, secret): Shown) -> (ApiKey, Option<String>) {
    (ApiKey(row), secret)
}
