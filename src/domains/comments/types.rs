use std::sync::Arc;

use async_graphql::{Context, Description, Object};

use crate::{
    base::{
        error::{Error, Result},
        id::CommentId,
        policy::{Permission, requires},
    },
    data::entity::{ActorRef, comment, item, user},
    domains::{accounts::types::Actor, items::types::Item},
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        loaders::Rows,
        node::row_node,
        objects::Object,
        payload::payload,
        scalars::{Cursor, DateTime, Markdown},
    },
};

/// What somebody said about an item. A comment at the top may have replies, 1,000 at most, which have none.
#[derive(Clone, Debug, Description)]
pub struct Comment {
    row: comment::Model,
    /// Where its list was read with it.
    author: Option<Arc<user::Model>>,
}

impl Comment {
    /// With whoever wrote it, where they are at hand.
    pub fn by(row: comment::Model, author: Option<Arc<user::Model>>) -> Self {
        Self { row, author }
    }
}

impl From<comment::Model> for Comment {
    fn from(row: comment::Model) -> Self {
        Self::by(row, None)
    }
}

row_node!(Comment: comment, Self::from);

#[Object(use_type_description, directive = requires::apply(Permission::ItemRead))]
impl Comment {
    /// Global id, `cmt_…`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn id(&self) -> CommentId {
        self.row.id
    }

    /// What it is about.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn item(&self, ctx: &Context<'_>) -> Result<Item> {
        Box::pin(async move {
            let item = ctx.loader::<Rows<item::Entity>>()?.load_one(self.row.item_id).await?;
            item.map(Item::from).ok_or_else(|| Error::internal("a comment without an item"))
        })
        .await
    }

    /// The comment it answers; null at the top of a thread.
    #[graphql(tag = "of-ledger")]
    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Self>> {
        Box::pin(async move {
            let Some(parent) = self.row.parent_id else { return Ok(None) };
            Ok(ctx.loader::<Rows<comment::Entity>>()?.load_one(parent).await?.map(Self::from))
        })
        .await
    }

    /// Answers to it, oldest first.
    #[graphql(tag = "of-ledger")]
    async fn replies(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Result<Connection<Self>> {
        Box::pin(async move {
            let args = page_args(first, after, None, None);
            super::query::children(ctx, comment::Column::ParentId, self.row.id.uuid(), &args).await
        })
        .await
    }

    /// Its text, 1 to 20,000 characters.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn body(&self, ctx: &Context<'_>) -> Result<Markdown> {
        Ok(Markdown(ctx.text(&self.row.body)?.to_owned()))
    }

    /// Whoever wrote it.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn author(&self, ctx: &Context<'_>) -> Result<Object<Actor>> {
        if let Some(author) = &self.author {
            return Ok(Object(Actor::User(author.clone().into())));
        }
        let author = ActorRef { kind: self.row.author_kind, id: self.row.author_id };
        Box::pin(Actor::load(ctx, author)).await.map(Object)
    }

    /// Whether the caller may change or delete it: as its author, or by COMMENT_MODERATE.
    async fn viewer_can_edit(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(super::service::may_edit(ctx.scope()?, &self.row))
    }

    /// When it was written.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// When its text was last changed; null when it never was.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn edited_at(&self) -> Option<DateTime> {
        self.row.edited_at.map(DateTime)
    }

    /// Rises by one with each change; pass as `ifVersion`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn version(&self) -> i32 {
        self.row.version
    }
}

payload! {
    /// What became of a mutation of a comment.
    CommentPayload { comment: Comment }
}
