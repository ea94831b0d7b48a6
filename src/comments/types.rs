use async_graphql::{Context, Object};

use crate::{
    accounts::types::Actor,
    auth::{
        actor::ActorRef,
        policy::{Permission, requires},
    },
    entity::comment,
    error::{Error, Result},
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        payload::payload,
        scalars::{Cursor, DateTime, Markdown},
    },
    id::CommentId,
    items::types::Item,
};

/// What somebody said about an item.
#[derive(Clone, Debug)]
pub struct Comment(pub comment::Model);

#[Object(directive = requires::apply(Permission::ItemRead))]
impl Comment {
    pub async fn id(&self) -> CommentId {
        self.0.id
    }

    async fn item(&self, ctx: &Context<'_>) -> Result<Item> {
        let item = ctx.loaders()?.items.load_one(self.0.item_id).await?;
        item.map(Item::from).ok_or_else(|| Error::internal("a comment without an item"))
    }

    /// Null at the top of a thread.
    async fn parent(&self, ctx: &Context<'_>) -> Result<Option<Self>> {
        let Some(parent) = self.0.parent_id else { return Ok(None) };
        Ok(ctx.loaders()?.comments.load_one(parent).await?.map(Self))
    }

    async fn replies(&self, ctx: &Context<'_>, first: Option<i32>, after: Option<Cursor>) -> Result<Connection<Self>> {
        let args = page_args(first, after, None, None);
        super::query::children(ctx, comment::Column::ParentId, self.0.id.uuid(), &args).await
    }

    fn body(&self, ctx: &Context<'_>) -> Result<Markdown> {
        Ok(Markdown(ctx.text(&self.0.body)?.to_owned()))
    }

    async fn author(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef { kind: self.0.author_kind, id: self.0.author_id }).await
    }

    async fn viewer_can_edit(&self, ctx: &Context<'_>) -> Result<bool> {
        Ok(super::service::may_edit(ctx.scope()?, &self.0))
    }

    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// Null unless the body was changed.
    fn edited_at(&self) -> Option<DateTime> {
        self.0.edited_at.map(DateTime)
    }

    fn version(&self) -> i32 {
        self.0.version
    }
}

payload! {
    CommentPayload { comment: Comment }
}
