use async_graphql::{Context, Description, Object};

use super::{
    input::DeliveryFilter,
    loaders::{AttemptsOf, WaitingOf},
    query,
};
use crate::{
    base::{
        enums::{DeliveryStatus, WebhookState},
        error::{Error, Result},
        id::{WebhookDeliveryId, WebhookId},
        policy::{Permission, requires},
    },
    data::{
        entity::{ActorRef, EventType, event, team, webhook, webhook_attempt, webhook_delivery},
        ledger::deliveries::{named_teams, named_types},
    },
    domains::{
        accounts::types::Actor,
        events::{self, types::Event},
        teams::types::Team,
    },
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        guard,
        loaders::Rows,
        node::row_node,
        payload::payload,
        scalars::{Cursor, DateTime, Url},
    },
};

/// Where the organization's events are sent, signed as [Standard Webhooks](https://www.standardwebhooks.com) has it.
#[derive(Clone, Debug, Description)]
pub struct Webhook(pub webhook::Model);

row_node!(Webhook: webhook, Self);

#[Object(use_type_description, directive = requires::apply(Permission::WebhookManage))]
impl Webhook {
    /// Global id, `whk_…`.
    pub async fn id(&self) -> WebhookId {
        self.0.id
    }

    /// What it is called, 1 to 100 characters; null when it has no name.
    fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Where events are sent to.
    fn url(&self) -> Url {
        self.0.url.clone().into()
    }

    /// Types of events that are sent; null: every type, those of later releases included.
    fn event_types(&self) -> Option<Vec<EventType>> {
        self.0.event_types.as_ref().map(|types| named_types(types).collect())
    }

    /// Teams whose events are sent; null: all events. Teams that are gone are left out.
    async fn teams(&self, ctx: &Context<'_>) -> Result<Option<Vec<Team>>> {
        guard::check_field::<Self>(ctx)?;
        let Some(teams) = &self.0.team_ids else { return Ok(None) };
        let ids: Vec<_> = named_teams(teams).collect();
        let mut found = ctx.loader::<Rows<team::Entity>>()?.load_many(ids.iter().copied()).await?;
        Ok(Some(ids.iter().filter_map(|id| found.remove(id)).map(Team::from).collect()))
    }

    /// Whether anything is sent.
    fn state(&self) -> WebhookState {
        self.0.state
    }

    /// Why the server has disabled it; null unless it has.
    fn disabled_reason(&self) -> Option<&str> {
        self.0.disabled_reason.as_deref()
    }

    /// Whether deliveries of one item's events wait for each other.
    fn is_ordered(&self) -> bool {
        self.0.is_ordered
    }

    /// Everything up to here has been delivered or given up. Of a paused or disabled webhook: where `webhookReplay` goes on
    /// from, once it is enabled again.
    async fn cursor(&self, ctx: &Context<'_>) -> Result<Cursor> {
        let waiting = ctx.loader::<WaitingOf>()?.load_one(self.0.id).await?.unwrap_or_default();
        let done = [waiting.oldest.map(|oldest| oldest - 1), self.0.stopped_at, Some(waiting.head)];
        let sequence = done.into_iter().flatten().min().unwrap_or_default();
        Ok(ctx.state().db.cursor(self.0.organization_id, sequence).into())
    }

    /// Deliveries that wait for their first or next attempt.
    async fn pending_count(&self, ctx: &Context<'_>) -> Result<i32> {
        let waiting = ctx.loader::<WaitingOf>()?.load_one(self.0.id).await?.unwrap_or_default();
        i32::try_from(waiting.count).map_err(Error::internal)
    }

    /// What was sent or is to be, newest first. What is done is kept for 30 days, unless configured otherwise.
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn deliveries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<DeliveryFilter>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<WebhookDelivery>> {
        query::deliveries(ctx, self.0.id, filter.as_ref(), &page_args(first, after, last, before)).await
    }

    /// Whoever made it.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.created_by_kind, id: self.0.created_by_id }).await
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was last changed.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Rises by one with each change; pass as `ifVersion`.
    fn version(&self) -> i32 {
        self.0.version
    }
}

/// One event, or a test's `ping`, on its way to a webhook's URL.
#[derive(Clone, Debug, Description)]
pub struct WebhookDelivery(pub webhook_delivery::Model);

row_node!(WebhookDelivery: webhook_delivery, Self);

#[Object(use_type_description, directive = requires::apply(Permission::WebhookManage))]
impl WebhookDelivery {
    /// Global id, `whd_…`: the header `webhook-id`, the same on every attempt.
    pub async fn id(&self) -> WebhookDeliveryId {
        self.0.id
    }

    /// Where it goes.
    async fn webhook(&self, ctx: &Context<'_>) -> Result<Webhook> {
        let webhook = ctx.loader::<Rows<webhook::Entity>>()?.load_one(self.0.webhook_id).await?;
        webhook.map(Webhook).ok_or_else(|| Error::internal("a delivery without its webhook"))
    }

    /// What it tells of. Null for a test's `ping`, once the ledger's retention has passed, and where the caller may
    /// not see it.
    async fn event(&self, ctx: &Context<'_>) -> Result<Option<Event>> {
        let Some(id) = self.0.event_id else { return Ok(None) };
        let event = ctx.loader::<Rows<event::Entity>>()?.load_one(id).await?.map(Event);
        let scope = ctx.scope()?;
        Ok(event.filter(|event| events::query::may_see(scope, event)))
    }

    /// How far it has got.
    fn status(&self) -> DeliveryStatus {
        self.0.status
    }

    /// What was tried, first one first; at most 20.
    async fn attempts(&self, ctx: &Context<'_>) -> Result<Vec<DeliveryAttempt>> {
        let attempts = ctx.loader::<AttemptsOf>()?.load_one(self.0.id).await?;
        Ok(attempts.unwrap_or_default().into_iter().map(DeliveryAttempt).collect())
    }

    /// When it is tried next; null once nothing will be tried any more.
    fn next_attempt_at(&self) -> Option<DateTime> {
        self.0.next_attempt_at.map(DateTime)
    }

    /// When it was queued.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// One try to deliver.
#[derive(Clone, Debug, Description)]
pub struct DeliveryAttempt(pub webhook_attempt::Model);

#[Object(use_type_description)]
impl DeliveryAttempt {
    /// Which try it was, counted from 1.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// When it began.
    async fn started_at(&self) -> DateTime {
        self.0.started_at.into()
    }

    /// How long it took, in milliseconds.
    async fn duration_ms(&self) -> i32 {
        self.0.duration_ms
    }

    /// HTTP status of the answer; null when there was no answer.
    async fn response_status(&self) -> Option<i32> {
        self.0.response_status
    }

    /// First 4 KiB of the answer; null when there was none.
    async fn response_body(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        self.0.response_body.as_deref().map(|body| ctx.text(body)).transpose()
    }

    /// Why there was no answer, or what was wrong with it; null when it was accepted.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }
}

payload! {
    /// `secret` is shown once, on creation and rotation.
    WebhookPayload { webhook: Webhook } secret
}

payload! {
    /// What became of a mutation of a delivery.
    WebhookDeliveryPayload { delivery: WebhookDelivery }
}
