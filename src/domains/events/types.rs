use async_graphql::{Context, Description, Object, SimpleObject};

use super::query::may_see;
use crate::{
    base::{
        error::{Error, Result},
        id::{AnyId, EventId, kind},
        policy::{Permission, requires},
    },
    data::{
        entity::{ActorRef, EventType, event, item},
        ledger::Change,
    },
    domains::{Node, accounts::types::Actor, items::types::Item, node},
    graphql::{
        context::ContextExt,
        guard,
        loaders::Rows,
        node::NodeType,
        scalars::{BigInt, Cursor, DateTime, Json},
    },
};

/// An immutable fact. The same id reaches the feed, the stream and every webhook.
#[derive(Clone, Debug, Description)]
pub struct Event(pub event::Model);

impl NodeType for Event {
    type Kind = kind::Event;

    async fn find(ctx: &Context<'_>, id: EventId) -> Result<Option<Self>> {
        let found = ctx.loader::<Rows<event::Entity>>()?.load_one(id).await?.map(Self);
        let scope = ctx.scope()?;
        Ok(found.filter(|event| may_see(scope, event)))
    }
}

#[Object(use_type_description)]
impl Event {
    /// Global id, `evt_…`.
    #[graphql(tag = "same-for-all")]
    pub async fn id(&self) -> EventId {
        self.0.id
    }

    /// Its place in the organization's ledger: rises by one with each event, in commit order, without gaps.
    #[graphql(tag = "same-for-all")]
    fn sequence(&self) -> BigInt {
        BigInt(self.0.sequence)
    }

    /// Its ledger position, for `sync`, the subscription and `webhookReplay`; lists take their own cursors.
    #[graphql(tag = "same-for-all")]
    fn cursor(&self, ctx: &Context<'_>) -> Cursor {
        ctx.state().db.cursor(self.0.organization_id, self.0.sequence).into()
    }

    /// What happened.
    #[graphql(tag = "same-for-all")]
    async fn r#type(&self) -> EventType {
        self.0.r#type
    }

    /// When it happened.
    #[graphql(tag = "same-for-all")]
    fn occurred_at(&self) -> DateTime {
        self.0.occurred_at.into()
    }

    /// Whoever did it.
    #[graphql(tag = "same-for-all")]
    async fn actor(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.actor_kind, id: self.0.actor_id }).await
    }

    /// Id of what it is about.
    #[graphql(tag = "same-for-all")]
    fn subject_id(&self) -> Result<AnyId> {
        AnyId::new(&self.0.subject_kind, self.0.subject_id)
            .ok_or_else(|| Error::internal("an event with a subject of unknown kind"))
    }

    /// What it is about, as it is now; null once it is gone, and where the caller may not see it.
    #[graphql(tag = "same-for-all")]
    async fn subject(&self, ctx: &Context<'_>) -> Result<Option<Node>> {
        match AnyId::new(&self.0.subject_kind, self.0.subject_id) {
            Some(id) => node::load(ctx, id).await,
            None => Ok(None),
        }
    }

    /// The item it belongs to; null when it belongs to none, or that is gone.
    #[graphql(tag = "same-for-all")]
    async fn item(&self, ctx: &Context<'_>) -> Result<Option<Item>> {
        let Some(item) = self.0.item_id else { return Ok(None) };
        guard::check_field::<Self>(ctx)?;
        Ok(ctx.loader::<Rows<item::Entity>>()?.load_one(item).await?.map(Item::from))
    }

    /// Before and after of each field that changed.
    #[graphql(tag = "same-for-all")]
    fn changes(&self, ctx: &Context<'_>) -> Result<Vec<FieldChange>> {
        let selected = ctx.look_ahead();
        if selected.field("before").exists() || selected.field("after").exists() {
            ctx.json(&self.0.changes)?;
        }
        let changes: Vec<Change> = serde_json::from_value(self.0.changes.clone()).map_err(Error::internal)?;
        Ok(changes.into_iter().map(FieldChange::from).collect())
    }

    /// The request's id (`X-Request-Id`): the same for everything that one request did.
    #[graphql(tag = "same-for-all")]
    fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// Network address it came from; null when it is not known.
    #[graphql(tag = "same-for-all", directive = requires::apply(Permission::AuditRead))]
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
    /// Oldest first, 100 at most; none in a heartbeat.
    #[graphql(tag = "same-for-all")]
    pub events: Vec<Event>,
    /// Position after the batch, and after what the filter hid.
    #[graphql(tag = "same-for-all")]
    pub cursor: Cursor,
    /// False while catching up on what happened before.
    #[graphql(tag = "same-for-all")]
    pub is_live: bool,
}

/// Before and after of one field.
#[derive(SimpleObject)]
pub struct FieldChange {
    /// Which field, such as `title` or `assigneeIds`.
    #[graphql(tag = "same-for-all")]
    field: String,
    /// Its value before; null when it had none.
    #[graphql(tag = "same-for-all")]
    before: Option<Json>,
    /// Its value since; null when it has none.
    #[graphql(tag = "same-for-all")]
    after: Option<Json>,
}

impl From<Change> for FieldChange {
    fn from(change: Change) -> Self {
        let value = |value: serde_json::Value| (!value.is_null()).then_some(Json(value));
        Self { field: change.field, before: value(change.before), after: value(change.after) }
    }
}
