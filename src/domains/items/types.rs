use std::sync::Arc;

use async_graphql::{Context, Description, Enum, Object, SimpleObject};

use super::{
    input::{ItemOrder, ItemScope, by_rank},
    loaders::{Ancestors, Assignees, Tags, Watched},
    query::ItemList,
};
use crate::{
    base::{
        enums::{ItemRelationKind, ItemStatus, Priority},
        error::Result,
        id::ItemId,
        policy::{Permission, requires},
    },
    data::{
        db::page::Page,
        entity::{ActorRef, comment, item, team},
    },
    domains::{
        accounts::types::{Actor, User},
        comments::{self, types::Comment},
        events::{self, types::Event},
        members::{self, types::Membership},
        relations::{
            loaders::{Blocked, Relations},
            types::ItemRelation,
        },
        tags::types::Tag,
        teams::types::Team,
    },
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        guard,
        loaders::Rows,
        node::row_node,
        objects::{Object, Objects},
        payload::payload,
        scalars::{Cursor, DateTime, Markdown},
    },
};

/// A piece of work. An item may have subtasks, which are items themselves, 10 levels below each other at most.
#[derive(Clone, Debug, Description)]
pub struct Item {
    /// Shared: a page may lead to one item many times, and a description is large.
    pub row: Arc<item::Model>,
    /// What was read with the item's page.
    pub nested: Option<Box<Nested>>,
}

row_node!(Item: item, Self::from);

/// What a page read with each of its items; `None` where the document doesn't ask.
#[derive(Clone, Debug, Default)]
pub struct Nested {
    /// By username.
    pub assignees: Option<Vec<User>>,
    /// By name.
    pub tags: Option<Vec<Tag>>,
    /// The item's team, if it has one.
    pub team: Option<Option<Team>>,
}

impl From<item::Model> for Item {
    fn from(row: item::Model) -> Self {
        Self::from(Arc::new(row))
    }
}

impl From<Arc<item::Model>> for Item {
    fn from(row: Arc<item::Model>) -> Self {
        Self { row, nested: None }
    }
}

/// What may be done to an item. `Item.viewerCan` has those that the caller may do now.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemAction {
    /// Change it: `itemUpdate`.
    Update,
    /// Archive it: `itemArchive`.
    Archive,
    /// Move it to the trash: `itemDelete`.
    Delete,
    /// Delete it for good: `itemDelete` with `permanently`.
    Purge,
    /// Bring it back from the trash: `itemRestore`.
    Restore,
    /// Comment on it: `commentCreate`.
    Comment,
}

/// How far an item's direct subtasks have got. Those in the trash don't count, unless their parent went there with
/// them.
#[derive(SimpleObject)]
pub struct Progress {
    /// Items with status DONE, or that were done when they were archived.
    #[graphql(tag = "of-ledger")]
    done: i32,
    /// All items, done or not.
    #[graphql(tag = "of-ledger")]
    total: i32,
}

// The future of any field is as large as that of the largest, and a page makes hundreds of them: fields that wait for
// something box what they wait with.
#[Object(use_type_description, directive = requires::apply(Permission::ItemRead))]
impl Item {
    /// Global id, `itm_…`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn id(&self) -> ItemId {
        self.row.id
    }

    /// Human identifier, stable for life: `ACME-42`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn identifier(&self, ctx: &Context<'_>) -> Result<String> {
        Ok(format!("{}-{}", ctx.scope()?.organization().item_prefix, self.row.number))
    }

    /// What is to be done, 1 to 500 characters.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn title(&self, ctx: &Context<'_>) -> Result<&str> {
        ctx.text(&self.row.title)
    }

    /// More about it, 50,000 characters at most; null when there is none.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn description(&self, ctx: &Context<'_>) -> Result<Option<Markdown>> {
        ctx.markdown(self.row.description.as_deref())
    }

    /// How far it has got.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn status(&self) -> ItemStatus {
        self.row.status
    }

    /// How urgent it is.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn priority(&self) -> Priority {
        self.row.priority
    }

    /// When it is to be done; null when there is no such time.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn due_at(&self) -> Option<DateTime> {
        self.row.due_at.map(DateTime)
    }

    /// Past due and neither done nor archived.
    #[graphql(tag = "same-for-all")]
    async fn is_overdue(&self, ctx: &Context<'_>) -> bool {
        let finished = matches!(self.row.status, ItemStatus::Done | ItemStatus::Archived);
        !finished && self.row.due_at.is_some_and(|due| due < ctx.state().clock().now())
    }

    /// Estimate of the work, in hours, 0 to 100,000; null when nobody has made one.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn estimated_hours(&self) -> Option<f64> {
        self.row.estimated_hours
    }

    /// Time it took, in hours, 0 to 100,000, as somebody entered it; null when nobody has.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn actual_hours(&self) -> Option<f64> {
        self.row.actual_hours
    }

    /// The team it belongs to; null when it belongs to none.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn team(&self, ctx: &Context<'_>) -> Result<Option<Object<Team>>> {
        let Some(id) = self.row.team_id else { return Ok(None) };
        if let Some(known) = self.nested.as_ref().and_then(|nested| nested.team.as_ref()) {
            return Ok(known.clone().map(Object));
        }
        Box::pin(async move {
            Ok(ctx.loader::<Rows<team::Entity>>()?.load_one(id).await?.map(|row| Object(Team::from(row))))
        })
        .await
    }

    /// The item it is a subtask of; null at the top.
    #[graphql(tag = "of-ledger")]
    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Self>> {
        Box::pin(async move {
            let Some(id) = self.row.parent_id else { return Ok(None) };
            Ok(ctx.loader::<Rows<item::Entity>>()?.load_one(id).await?.map(Self::from))
        })
        .await
    }

    /// The items it is below, root first; at most 10.
    #[graphql(tag = "of-ledger")]
    async fn ancestors(&self, ctx: &Context<'_>) -> Result<Vec<Self>> {
        Box::pin(async move {
            if self.row.parent_id.is_none() {
                return Ok(Vec::new());
            }
            let ids = ctx.loader::<Ancestors>()?.load_one(self.row.id).await?.unwrap_or_default();
            let mut rows = ctx.loader::<Rows<item::Entity>>()?.load_many(ids.clone()).await?;
            Ok(ids.iter().filter_map(|id| rows.remove(id)).map(Self::from).collect())
        })
        .await
    }

    /// Its direct subtasks, archived ones included: those outside the trash, or of an item in the trash those that are
    /// there, too.
    #[graphql(tag = "kept-count", tag = "of-ledger")]
    async fn subtasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            default_with = "by_rank()",
            desc = "Up to 5 keys, the most important one first; in manual order unless said."
        )]
        order_by: Vec<ItemOrder>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
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

    /// How many of its direct subtasks are done.
    #[graphql(tag = "of-ledger")]
    fn subtask_progress(&self) -> Progress {
        Progress { done: self.row.subtask_done_count, total: self.row.subtask_count }
    }

    /// People it is assigned to, by username; at most 20.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn assignees(&self, ctx: &Context<'_>) -> Result<Objects<'_, User>> {
        if let Some(known) = self.nested.as_ref().and_then(|nested| nested.assignees.as_ref()) {
            return Ok(Objects::Of(known.iter().collect()));
        }
        Box::pin(async move {
            Ok(Objects::Own(ctx.loader::<Assignees>()?.load_one(self.row.id).await?.unwrap_or_default()))
        })
        .await
    }

    /// Its tags, by name; at most 50.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn tags(&self, ctx: &Context<'_>) -> Result<Objects<'_, Tag>> {
        if let Some(known) = self.nested.as_ref().and_then(|nested| nested.tags.as_ref()) {
            return Ok(Objects::Of(known.iter().collect()));
        }
        Box::pin(
            async move { Ok(Objects::Own(ctx.loader::<Tags>()?.load_one(self.row.id).await?.unwrap_or_default())) },
        )
        .await
    }

    /// Comments and replies, oldest first.
    #[graphql(tag = "kept-count", tag = "of-ledger")]
    async fn comments(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Object<Connection<Comment>>> {
        guard::check_field::<Self>(ctx)?;
        if let Some(known) = only_total(ctx, self.row.comment_count) {
            return Ok(Object(known));
        }
        Box::pin(async move {
            let args = page_args(first, after, last, before);
            Ok(Object(comments::query::children(ctx, comment::Column::ItemId, self.row.id.uuid(), &args).await?))
        })
        .await
    }

    /// What it blocks, duplicates or relates to, and what does so to it, oldest first; at most 100. Items in the trash are
    /// left out, unless it is there itself.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn relations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Of these kinds; null or left out: of all.")] kinds: Option<Vec<ItemRelationKind>>,
    ) -> Result<Vec<ItemRelation>> {
        Box::pin(async move {
            let mut relations = ctx.loader::<Relations>()?.load_one(self.row.id).await?.unwrap_or_default();
            if let Some(kinds) = kinds {
                relations.retain(|relation| kinds.contains(&relation.row.kind));
            }
            Ok(relations)
        })
        .await
    }

    /// Whether an item blocks it that is neither done, archived nor in the trash.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn is_blocked(&self, ctx: &Context<'_>) -> Result<bool> {
        Box::pin(async move { Ok(ctx.loader::<Blocked>()?.load_one(self.row.id).await?.unwrap_or_default()) }).await
    }

    /// What happened to this item and its comments, oldest first, as far as the caller may see it.
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Event>> {
        Box::pin(async move { events::query::of_item(ctx, self.row.id, &page_args(first, after, last, before)).await })
            .await
    }

    /// Who watches it, in the order they joined the organization.
    #[graphql(directive = requires::apply(Permission::MemberRead))]
    async fn watchers(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Result<Connection<Membership>> {
        Box::pin(async move {
            guard::check_field::<Self>(ctx)?;
            let page = members::query::watching(ctx, self.row.id, &page_args(first, after, None, None)).await?;
            Ok(Connection::new(page, Membership))
        })
        .await
    }

    /// Whether the caller watches it; false for an API key.
    async fn is_watched_by_viewer(&self, ctx: &Context<'_>) -> Result<bool> {
        Box::pin(async move { Ok(ctx.loader::<Watched>()?.load_one(self.row.id).await?.unwrap_or_default()) }).await
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

    /// Its place in the manual order, to be compared byte for byte; see `ItemPatch.position`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn rank(&self) -> String {
        self.row.place()
    }

    /// Whoever created it.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Box::pin(async move {
            Actor::load(ctx, ActorRef { kind: self.row.created_by_kind, id: self.row.created_by_id }).await
        })
        .await
    }

    /// When it was created.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// When it was last changed. Comments, relations and subtasks don't count.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn updated_at(&self) -> DateTime {
        self.row.updated_at.into()
    }

    /// When work began: when it left TODO. Null while it is there, and when it was archived from there.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn started_at(&self) -> Option<DateTime> {
        self.row.started_at.map(DateTime)
    }

    /// When it was done; null unless its status is DONE, or was when it was archived.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn completed_at(&self) -> Option<DateTime> {
        self.row.completed_at.map(DateTime)
    }

    /// When it was archived; null unless it is.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn archived_at(&self) -> Option<DateTime> {
        self.row.archived_at.map(DateTime)
    }

    /// When it went to the trash; null unless it is there.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn deleted_at(&self) -> Option<DateTime> {
        self.row.deleted_at.map(DateTime)
    }

    /// Rises by one with each change; pass as `ifVersion`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
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
    /// What became of a mutation of an item.
    ItemPayload { item: Item }
}
