use async_graphql::{Context, Description, Object};

use super::query;
use crate::{
    base::{
        enums::{InboundAction, InboundOutcome, InboundProvider},
        error::Result,
        id::{InboundHookId, InboundReceiptId},
        policy::{Permission, requires},
    },
    data::entity::{event, inbound_hook, inbound_receipt},
    domains::events::{self, types::Event},
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        guard,
        loaders::Rows,
        node::row_node,
        payload::payload,
        scalars::{Cursor, DateTime, Json, Url},
    },
};

/// An endpoint for other systems: `POST` to its `url`, signed, deduplicated by the sender's delivery id. It may do what its
/// maker may at the time, cut down to writing items and comments.
#[derive(Clone, Debug, Description)]
pub struct InboundHook(pub inbound_hook::Model);

row_node!(InboundHook: inbound_hook, Self);

#[Object(use_type_description, directive = requires::apply(Permission::WebhookManage))]
impl InboundHook {
    /// Global id, `hok_…`.
    pub async fn id(&self) -> InboundHookId {
        self.0.id
    }

    /// What it is called, 1 to 100 characters.
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Where the sender posts to.
    fn url(&self, ctx: &Context<'_>) -> Url {
        format!("{}/callbacks/{}", ctx.state().config.server.base_url(), self.0.token).into()
    }

    /// Who sends, and how it proves that.
    fn provider(&self) -> InboundProvider {
        self.0.provider
    }

    /// What a callback does; null: what the provider's preset says, which may be several things.
    fn action(&self) -> Option<InboundAction> {
        self.0.action
    }

    /// JSON pointers from the sender's body to input fields; null with a preset.
    ///
    /// For example `{"title": {"pointer": "/issue/title", "default": "Untitled"}}`.
    fn mapping(&self, ctx: &Context<'_>) -> Result<Option<Json>> {
        self.0.mapping.as_ref().map(|mapping| Ok(Json(ctx.json(mapping)?.clone()))).transpose()
    }

    /// Whether callbacks are taken.
    fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// What came, and what became of it, newest first; kept for 30 days, unless configured otherwise.
    async fn receipts(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Result<Connection<InboundReceipt>> {
        query::receipts(ctx, self.0.id, &page_args(first, after, None, None)).await
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Rises by one with each change; pass as `ifVersion`.
    fn version(&self) -> i32 {
        self.0.version
    }
}

/// What came through an inbound hook, and what became of it.
#[derive(Clone, Debug, Description)]
pub struct InboundReceipt(pub inbound_receipt::Model);

row_node!(InboundReceipt: inbound_receipt, Self);

#[Object(use_type_description, directive = requires::apply(Permission::WebhookManage))]
impl InboundReceipt {
    /// Global id, `rcp_…`.
    pub async fn id(&self) -> InboundReceiptId {
        self.0.id
    }

    /// What became of it.
    fn outcome(&self) -> InboundOutcome {
        self.0.outcome
    }

    /// The delivery's id, as the sender gave it; null when it gave none.
    fn delivery_id(&self) -> Option<&str> {
        self.0.delivery_id.as_deref()
    }

    /// The last event that it caused; null when there is none, and where the caller may not see it.
    async fn event(&self, ctx: &Context<'_>) -> Result<Option<Event>> {
        let Some(id) = self.0.event_id else { return Ok(None) };
        let event = ctx.loader::<Rows<event::Entity>>()?.load_one(id).await?.map(Event);
        let scope = ctx.scope()?;
        Ok(event.filter(|event| events::query::may_see(scope, event)))
    }

    /// Why nothing was done, or what was left out; null when all was done.
    fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    /// When it came.
    fn received_at(&self) -> DateTime {
        self.0.received_at.into()
    }
}

/// What anyone may see of an inbound hook that did something.
#[derive(Clone, Debug, Description)]
pub struct InboundHookActor(Box<inbound_hook::Model>);

impl From<inbound_hook::Model> for InboundHookActor {
    fn from(hook: inbound_hook::Model) -> Self {
        Self(hook.into())
    }
}

#[Object(use_type_description)]
impl InboundHookActor {
    /// Global id, `hok_…`.
    pub async fn id(&self) -> InboundHookId {
        self.0.id
    }

    /// The hook's name.
    pub async fn display_name(&self) -> &str {
        &self.0.name
    }

    /// Always null.
    pub async fn avatar_url(&self) -> Option<Url> {
        None
    }

    /// The hook itself, for those who manage them.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn inbound_hook(&self, ctx: &Context<'_>) -> Option<Result<InboundHook>> {
        Some(guard::check_field::<Self>(ctx).map(|()| InboundHook((*self.0).clone())))
    }
}

payload! {
    /// `secret` is what the sender signs with; it is shown once, on creation and rotation.
    InboundHookPayload { inbound_hook: InboundHook } secret
}
