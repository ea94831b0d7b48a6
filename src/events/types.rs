use async_graphql::{Context, Json, Object, SimpleObject};

use crate::{
    accounts::types::Actor,
    auth::{
        actor::ActorRef,
        policy::{Permission, requires},
    },
    entity::event,
    error::{Error, Result},
    graphql::{
        context::ContextExt,
        guard,
        node::{self, Node},
        scalars::{BigInt, Cursor, DateTime},
    },
    id::{AnyId, EventId},
    items::types::Item,
    ledger::{Change, EventType, LedgerCursor},
};

/// An immutable fact. The same id reaches the feed, the stream and every webhook.
#[derive(Clone, Debug)]
pub struct Event(pub event::Model);

#[Object]
impl Event {
    pub async fn id(&self) -> EventId {
        self.0.id
    }

    /// Per organization, in commit order, without gaps.
    fn sequence(&self) -> BigInt {
        BigInt(self.0.sequence)
    }

    fn cursor(&self) -> Cursor {
        Cursor(LedgerCursor { organization_id: self.0.organization_id, sequence: self.0.sequence }.encode())
    }

    async fn r#type(&self) -> EventType {
        self.0.r#type
    }

    fn occurred_at(&self) -> DateTime {
        self.0.occurred_at.into()
    }

    async fn actor(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.actor_kind, id: self.0.actor_id }).await
    }

    fn subject_id(&self) -> Result<AnyId> {
        AnyId::new(&self.0.subject_kind, self.0.subject_id)
            .ok_or_else(|| Error::internal("an event with a subject of unknown kind"))
    }

    /// Present state; null once gone.
    async fn subject(&self, ctx: &Context<'_>) -> Result<Option<Node>> {
        match AnyId::new(&self.0.subject_kind, self.0.subject_id) {
            Some(id) => node::load(ctx, id).await,
            None => Ok(None),
        }
    }

    /// The item it belongs to, when there is one.
    async fn item(&self, ctx: &Context<'_>) -> Result<Option<Item>> {
        let Some(item) = self.0.item_id else { return Ok(None) };
        guard::check_type::<Item>(ctx)?;
        Ok(ctx.loaders()?.items.load_one(item).await?.map(Item::from))
    }

    /// Before and after of each field that changed.
    fn changes(&self, ctx: &Context<'_>) -> Result<Vec<FieldChange>> {
        let selected = ctx.look_ahead();
        if selected.field("before").exists() || selected.field("after").exists() {
            ctx.json(&self.0.changes)?;
        }
        let changes: Vec<Change> = serde_json::from_value(self.0.changes.clone()).map_err(Error::internal)?;
        Ok(changes.into_iter().map(FieldChange::from).collect())
    }

    /// Correlates everything one request did.
    fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Network origin.
    #[graphql(directive = requires::apply(Permission::AuditRead))]
    async fn ip(&self, ctx: &Context<'_>) -> Option<Result<&str>> {
        let ip = self.0.ip.as_deref();
        match guard::check_field::<Self>(ctx) {
            Ok(()) => ip.map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Store `cursor` after handling the batch; resume with it.
#[derive(SimpleObject, Clone, Debug)]
pub struct EventBatch {
    pub events: Vec<Event>,
    pub cursor: Cursor,
    /// False while catching up on history.
    pub is_live: bool,
}

/// Before and after of one field.
#[derive(SimpleObject)]
pub struct FieldChange {
    field: String,
    before: Option<Json<serde_json::Value>>,
    after: Option<Json<serde_json::Value>>,
}

impl From<Change> for FieldChange {
    fn from(change: Change) -> Self {
        let value = |value: serde_json::Value| (!value.is_null()).then_some(Json(value));
        Self { field: change.field, before: value(change.before), after: value(change.after) }
    }
}
