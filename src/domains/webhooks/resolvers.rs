use async_graphql::{Context, Object};

use super::{
    input::{
        WebhookCreateInput, WebhookDeleteInput, WebhookDeliveryRetryInput, WebhookReplayInput,
        WebhookRotateSecretInput, WebhookTestInput, WebhookUpdateInput,
    },
    service::{self, Shown, Tools},
    test,
    types::{Webhook, WebhookDelivery, WebhookDeliveryPayload, WebhookPayload},
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
    platform::state::State,
};

#[derive(Default)]
pub struct WebhookMutation;

#[Object]
impl WebhookMutation {
    /// Makes a webhook. The payload's `secret` verifies what is sent; it is shown this once.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::Webhooks))]
    async fn webhook_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new webhook.")] input: WebhookCreateInput,
    ) -> Result<Option<WebhookPayload>> {
        let (scope, tools) = (ctx.scope()?, tools(ctx.state()));
        write(ctx, || service::create(scope, tools, &input), wrap).await
    }

    /// Changes, pauses or enables a webhook.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::Webhooks))]
    async fn webhook_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook, and what to change.")] input: WebhookUpdateInput,
    ) -> Result<Option<WebhookPayload>> {
        let (scope, tools) = (ctx.scope()?, tools(ctx.state()));
        write(ctx, || service::update(scope, tools, &input), wrap).await
    }

    /// Gives a webhook a new secret; for `graceHours` deliveries are signed with both. A second rotation ends the
    /// first one's grace.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::Webhooks))]
    async fn webhook_rotate_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook, and how long the old secret is used, too.")] input: WebhookRotateSecretInput,
    ) -> Result<Option<WebhookPayload>> {
        let (scope, tools) = (ctx.scope()?, tools(ctx.state()));
        write(ctx, || service::rotate_secret(scope, tools, &input), wrap).await
    }

    /// Sends a signed `ping` now, once, and returns the delivery; after 8 seconds the attempt may still be under way.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::Webhooks))]
    async fn webhook_test(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook.")] input: WebhookTestInput,
    ) -> Result<Option<WebhookDeliveryPayload>> {
        let scope = ctx.scope()?;
        let begun: Option<WebhookDeliveryPayload> =
            write(ctx, || service::begin_test(scope, input.id), WebhookDelivery).await?;
        let Some(mut payload) = begun else { return Ok(None) };
        if let Some(WebhookDelivery(begun)) = payload.delivery {
            payload.delivery = Some(WebhookDelivery(test::send(ctx.state(), scope, begun).await?));
        }
        Ok(Some(payload))
    }

    /// Queues the webhook's events of a stretch of the ledger again, as new deliveries.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::Webhooks))]
    async fn webhook_replay(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook, and which stretch.")] input: WebhookReplayInput,
    ) -> Result<Option<WebhookPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::replay(scope, &input), wrap).await
    }

    /// Ends a webhook, with what waits and with its log.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn webhook_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which webhook.")] input: WebhookDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }

    /// Tries a delivery now: one that waits, or once more one that was delivered or given up.
    #[graphql(directive = requires::apply(Permission::WebhookManage), directive = in_plan::apply(Feature::Webhooks))]
    async fn webhook_delivery_retry(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which delivery.")] input: WebhookDeliveryRetryInput,
    ) -> Result<Option<WebhookDeliveryPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::retry(scope, input.id), WebhookDelivery).await
    }
}

fn tools(state: &State) -> Tools<'_> {
    Tools { outgoing: &state.outgoing, secret: &state.secret }
}

fn wrap((row, secret): Shown) -> (Webhook, Option<String>) {
    (Webhook(row), secret)
}
