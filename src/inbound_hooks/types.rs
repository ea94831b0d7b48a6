use async_graphql::{Context, Json, Object};

use super::query;
use crate::{
    auth::policy::{Permission, requires},
    entity::{
        enums::{InboundAction, InboundOutcome, InboundProvider},
        inbound_hook, inbound_receipt,
    },
    error::Result,
    events::{self, types::Event},
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        guard,
        payload::payload,
        scalars::{Cursor, DateTime, Url},
    },
    id::{InboundHookId, InboundReceiptId},
};

/// A door for other systems: `POST` to its `url`, signed, deduplicated by the sender's delivery id.
#[derive(Clone, Debug)]
pub struct InboundHook(pub inbound_hook::Model);

#[Object(directive = requires::apply(Permission::WebhookManage))]
impl InboundHook {
    pub async fn id(&self) -> InboundHookId {
        self.0.id
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    /// Where the sender posts to.
    fn url(&self, ctx: &Context<'_>) -> Url {
        format!("{}/callbacks/{}", ctx.state().config.server.base_url(), self.0.token).into()
    }

    fn provider(&self) -> InboundProvider {
        self.0.provider
    }

    /// Null: the provider's preset, which may do several things.
    fn action(&self) -> Option<InboundAction> {
        self.0.action
    }

    /// `{"title": {"pointer": "/issue/title", "default": "Untitled"}}`: JSON pointers from the sender's body to input
    /// fields; null with a preset.
    fn mapping(&self, ctx: &Context<'_>) -> Result<Option<Json<serde_json::Value>>> {
        self.0.mapping.as_ref().map(|mapping| Ok(Json(ctx.json(mapping)?.clone()))).transpose()
    }

    fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// Newest first.
    async fn receipts(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
    ) -> Result<Connection<InboundReceipt>> {
        query::receipts(ctx, self.0.id, &page_args(first, after, None, None)).await
    }

    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    fn version(&self) -> i32 {
        self.0.version
    }
}

/// What came through an inbound hook, and what became of it.
#[derive(Clone, Debug)]
pub struct InboundReceipt(pub inbound_receipt::Model);

#[Object(directive = requires::apply(Permission::WebhookManage))]
impl InboundReceipt {
    pub async fn id(&self) -> InboundReceiptId {
        self.0.id
    }

    fn outcome(&self) -> InboundOutcome {
        self.0.outcome
    }

    /// As the sender gave it.
    fn delivery_id(&self) -> Option<&str> {
        self.0.delivery_id.as_deref()
    }

    /// The last event that it caused.
    async fn event(&self, ctx: &Context<'_>) -> Result<Option<Event>> {
        let Some(id) = self.0.event_id else { return Ok(None) };
        let event = ctx.loaders()?.events.load_one(id).await?.map(Event);
        let scope = ctx.scope()?;
        Ok(event.filter(|event| events::query::may_see(scope, event)))
    }

    /// Why nothing was done, or what was left out.
    fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    fn received_at(&self) -> DateTime {
        self.0.received_at.into()
    }
}

/// What anyone may see of an inbound hook that did something; `inboundHook` is the hook itself, for those who manage them.
#[derive(Clone, Debug)]
pub struct InboundHookActor(Box<inbound_hook::Model>);

impl From<inbound_hook::Model> for InboundHookActor {
    fn from(hook: inbound_hook::Model) -> Self {
        Self(hook.into())
    }
}

#[Object]
impl InboundHookActor {
    pub async fn id(&self) -> InboundHookId {
        self.0.id
    }

    pub async fn display_name(&self) -> &str {
        &self.0.name
    }

    pub async fn avatar_url(&self) -> Option<Url> {
        None
    }

    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn inbound_hook(&self, ctx: &Context<'_>) -> Option<Result<InboundHook>> {
        Some(guard::check_field::<Self>(ctx).map(|()| InboundHook((*self.0).clone())))
    }
}

payload! {
    /// `secret` is what the sender signs with; it is shown once, on creation and rotation.
    InboundHookPayload { inbound_hook: InboundHook } secret
}
