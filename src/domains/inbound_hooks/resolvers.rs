use async_graphql::{Context, Object};

use super::{
    input::{InboundHookCreateInput, InboundHookDeleteInput, InboundHookRotateSecretInput, InboundHookUpdateInput},
    service::{self, Shown},
    types::{InboundHook, InboundHookPayload},
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
pub struct InboundHookMutation;

#[Object]
impl InboundHookMutation {
    /// Makes an inbound hook. The payload's `secret` is what the sender signs with; it is shown this once.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::InboundHooks))]
    async fn inbound_hook_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new inbound hook.")] input: InboundHookCreateInput,
    ) -> Result<Option<InboundHookPayload>> {
        let (scope, secret) = (ctx.scope()?, &ctx.state().secret);
        write(ctx, || service::create(scope, secret, &input), wrap).await
    }

    /// Changes, closes or opens an inbound hook.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::InboundHooks))]
    async fn inbound_hook_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which inbound hook, and what to change.")] input: InboundHookUpdateInput,
    ) -> Result<Option<InboundHookPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), wrap).await
    }

    /// Gives an inbound hook a new secret; the old one works for `graceHours` more. A second rotation ends the first
    /// one's grace.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::InboundHooks))]
    async fn inbound_hook_rotate_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which inbound hook, and how long the old secret works on.")]
        input: InboundHookRotateSecretInput,
    ) -> Result<Option<InboundHookPayload>> {
        let (scope, secret) = (ctx.scope()?, &ctx.state().secret);
        write(ctx, || service::rotate_secret(scope, secret, &input), wrap).await
    }

    /// Deletes an inbound hook, and what came through it.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn inbound_hook_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which inbound hook.")] input: InboundHookDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}

fn wrap((row, secret): Shown) -> (InboundHook, Option<String>) {
    (InboundHook(row), secret)
}
