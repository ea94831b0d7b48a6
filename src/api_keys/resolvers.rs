use async_graphql::{Context, Object};

use super::{
    input::{ApiKeyCreateInput, ApiKeyRevokeInput, ApiKeyRotateInput, ApiKeyUpdateInput},
    service::{self, Shown},
    types::{ApiKey, ApiKeyPayload},
};
use crate::{
    auth::policy::{Permission, in_plan, requires},
    entity::enums::Feature,
    error::Result,
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct ApiKeyMutation;

#[Object]
impl ApiKeyMutation {
    /// The payload's `secret` is the key; it is shown this once.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn api_key_create(&self, ctx: &Context<'_>, input: ApiKeyCreateInput) -> Result<Option<ApiKeyPayload>> {
        let (scope, mint) = (ctx.scope()?, &ctx.state().mint);
        write(ctx, || service::create(scope, mint, &input), wrap).await
    }

    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn api_key_update(&self, ctx: &Context<'_>, input: ApiKeyUpdateInput) -> Result<Option<ApiKeyPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), wrap).await
    }

    /// New secret; the old one works for `graceHours` more.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn api_key_rotate(&self, ctx: &Context<'_>, input: ApiKeyRotateInput) -> Result<Option<ApiKeyPayload>> {
        let (scope, mint) = (ctx.scope()?, &ctx.state().mint);
        write(ctx, || service::rotate(scope, mint, &input), wrap).await
    }

    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn api_key_revoke(&self, ctx: &Context<'_>, input: ApiKeyRevokeInput) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::revoke(scope, input.id), |id| id.any()).await
    }
}

fn wrap((row, secret): Shown) -> (ApiKey, Option<String>) {
    (ApiKey(row), secret)
}
