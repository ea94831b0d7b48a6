use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, Enum, Object, SimpleObject};

use super::{
    input::{ItemOrder, ItemScope, oldest_first},
    query::ItemList,
};
use crate::{
    accounts::types::{Actor, User},
    auth::{
        actor::ActorRef,
        policy::{Permission, requires},
    },
    comments::{self, types::Comment},
    db::page::Page,
    entity::{
        comment,
        enums::{ItemStatus, Priority},
        item,
    },
    error::Result,
    events::{self, types::Event},
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        guard,
        payload::payload,
        scalars::{Cursor, DateTime, Markdown, markdown},
    },
    id::{ItemId, TeamId},
    tags::types::Tag,
    teams::types::Team,
};

/// A piece of work.
#[derive(Clone, Debug)]
pub struct Item {
    pub row: item::Model,
    /// Lists that were loaded with the item's page.
    pub nested: Option<Arc<Nested>>,
}

/// What was loaded for a whole page of items; `None` where the document doesn't ask.
#[derive(Debug, Default)]
pub struct Nested {
    pub assignees: Option<HashMap<ItemId, Vec<User>>>,
    pub tags: Option<HashMap<ItemId, Vec<Tag>>>,
    pub teams: Option<HashMap<TeamId, Team>>,
}

impl From<item::Model> for Item {
    fn from(row: item::Model) -> Self {
        Self { row, nested: None }
    }
}

/// What the caller may do to an item.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemAction {
    Update,
    Archive,
    Delete,
    Purge,
    Restore,
    Comment,
}

#[derive(SimpleObject)]
pub struct Progress {
    done: i32,
    total: i32,
}

// The future of any field is as large as that of the largest, and a page makes hundreds of them: fields that wait for
// something box what they wait with.
#[Object(directive = requires::apply(Permission::ItemRead))]
impl Item {
    pub async fn id(&self) -> ItemId {
        self.row.id
    }

    /// Human identifier, stable for life: `ACME-42`.
    async fn identifier(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(format!("{}-{}", ctx.scope()?.organization().item_prefix, self.row.number))
    }

    fn title(&self, ctx: &Context<'_>) -> Result<&str> {
        ctx.text(&self.row.title)
    }

    fn description(&self, ctx: &Context<'_>) -> Result<Option<Markdown>> {
        markdown(ctx, self.row.description.as_deref())
    }

    fn status(&self) -> ItemStatus {
        self.row.status
    }

    fn priority(&self) -> Priority {
        self.row.priority
    }

    fn due_at(&self) -> Option<DateTime> {
        self.row.due_at.map(DateTime)
    }

    /// Past due and neither done nor archived.
    async fn is_overdue(&self, ctx: &Context<'_>) -> bool {
        let finished = matches!(self.row.status, ItemStatus::Done | ItemStatus::Archived);
        !finished && self.row.due_at.is_some_and(|due| due < ctx.state().clock().now())
    }

    fn estimated_hours(&self) -> Option<f64> {
        self.row.estimated_hours
    }

    fn actual_hours(&self) -> Option<f64> {
        self.row.actual_hours
    }

    async fn team(&self, ctx: &Context<'_>) -> Result<Option<Team>> {
        Box::pin(async move {
            let Some(id) = self.row.team_id else { return Ok(None) };
            if let Some(teams) = self.nested.as_ref().and_then(|nested| nested.teams.as_ref()) {
                return Ok(teams.get(&id).cloned());
            }
            Ok(ctx.loaders()?.teams.load_one(id).await?.map(Team))
        })
        .await
    }

    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Self>> {
        Box::pin(async move {
            let Some(id) = self.row.parent_id else { return Ok(None) };
            Ok(ctx.loaders()?.items.load_one(id).await?.map(Self::from))
        })
        .await
    }

    /// Root first, at most 10.
    async fn ancestors(&self, ctx: &Context<'_>) -> Result<Vec<Self>> {
        Box::pin(async move {
            let mut ancestors = Vec::new();
            let mut next = self.row.parent_id;
            while let Some(id) = next.filter(|_| ancestors.len() < super::input::MAX_ANCESTORS) {
                let Some(row) = ctx.loaders()?.items.load_one(id).await? else { break };
                next = row.parent_id;
                ancestors.push(Self::from(row));
            }
            ancestors.reverse();
            Ok(ancestors)
        })
        .await
    }

    async fn subtasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "oldest_first()")] order_by: Vec<ItemOrder>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Self>> {
        Box::pin(async move {
            if let Some(known) = only_total(ctx, self.row.subtask_count) {
                return Ok(known);
            }
            let args = page_args(first, after, last, before);
            // A tree in the trash still shows what it is made of.
            let scope = if self.row.deleted_at.is_some() { ItemScope::Trashed } else { ItemScope::All };
            let list = ItemList { filter: None, scope, order_by, args };
            super::query::children(ctx, item::Column::ParentId, self.row.id.uuid(), &list).await
        })
        .await
    }

    fn subtask_progress(&self) -> Progress {
        Progress { done: self.row.subtask_done_count, total: self.row.subtask_count }
    }

    /// At most 20.
    async fn assignees(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        Box::pin(async move {
            if let Some(known) = self.nested.as_ref().and_then(|nested| nested.assignees.as_ref()) {
                return Ok(known.get(&self.row.id).cloned().unwrap_or_default());
            }
            Ok(ctx.loaders()?.assignees.load_one(self.row.id).await?.unwrap_or_default())
        })
        .await
    }

    /// At most 50.
    async fn tags(&self, ctx: &Context<'_>) -> Result<Vec<Tag>> {
        Box::pin(async move {
            if let Some(known) = self.nested.as_ref().and_then(|nested| nested.tags.as_ref()) {
                return Ok(known.get(&self.row.id).cloned().unwrap_or_default());
            }
            Ok(ctx.loaders()?.item_tags.load_one(self.row.id).await?.unwrap_or_default())
        })
        .await
    }

    async fn comments(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Comment>> {
        Box::pin(async move {
            guard::check_type::<Comment>(ctx)?;
            if let Some(known) = only_total(ctx, self.row.comment_count) {
                return Ok(known);
            }
            let args = page_args(first, after, last, before);
            comments::query::children(ctx, comment::Column::ItemId, self.row.id.uuid(), &args).await
        })
        .await
    }

    /// Ledger entries about this item and its comments and attachments.
    async fn events(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Event>> {
        Box::pin(async move { events::query::of_item(ctx, self.row.id, &page_args(first, after, last, before)).await })
            .await
    }

    /// What the caller may do to this item now.
    async fn viewer_can(&self, ctx: &Context<'_>) -> Result<Vec<ItemAction>> {
        Box::pin(async move {
            let scope = ctx.scope()?;
            let trashed = self.row.deleted_at.is_some();
            let archived = self.row.status == ItemStatus::Archived;
            let allowed = [
                (ItemAction::Update, scope.allows(Permission::ItemWrite) && !trashed),
                (ItemAction::Archive, scope.allows(Permission::ItemWrite) && !trashed && !archived),
                (ItemAction::Delete, scope.allows(Permission::ItemDelete) && !trashed),
                (ItemAction::Purge, scope.allows(Permission::ItemDelete) && scope.allows(Permission::ItemPurge)),
                (ItemAction::Restore, scope.allows(Permission::ItemDelete) && trashed),
                (ItemAction::Comment, scope.allows(Permission::CommentWrite) && !trashed),
            ];
            Ok(allowed.into_iter().filter_map(|(action, may)| may.then_some(action)).collect())
        })
        .await
    }

    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Box::pin(async move {
            Actor::load(ctx, ActorRef { kind: self.row.created_by_kind, id: self.row.created_by_id }).await
        })
        .await
    }

    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    fn updated_at(&self) -> DateTime {
        self.row.updated_at.into()
    }

    fn started_at(&self) -> Option<DateTime> {
        self.row.started_at.map(DateTime)
    }

    fn completed_at(&self) -> Option<DateTime> {
        self.row.completed_at.map(DateTime)
    }

    fn archived_at(&self) -> Option<DateTime> {
        self.row.archived_at.map(DateTime)
    }

    fn deleted_at(&self) -> Option<DateTime> {
        self.row.deleted_at.map(DateTime)
    }

    /// Rises by one with each change; pass as `ifVersion`.
    fn version(&self) -> i32 {
        self.row.version
    }
}

/// A connection of which only `totalCount` is asked, answered from the count that the item keeps.
fn only_total<T>(ctx: &Context<'_>, kept: i32) -> Option<Connection<T>> {
    let asked = ["nodes", "edges", "pageInfo"];
    if asked.iter().any(|field| ctx.look_ahead().field(field).exists()) {
        return None;
    }
    let total = Some(u64::try_from(kept).unwrap_or(0));
    Some(Connection::new(Page::<T> { total, ..Page::default() }, |node| node))
}

payload! {
    ItemPayload { item: Item }
}
