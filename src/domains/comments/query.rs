//! Lists of comments.

use async_graphql::Context;
use sea_orm::IdenStatic as _;
use uuid::Uuid;

use super::types::Comment;
use crate::{
    base::error::Result,
    data::{
        db::{
            filter::everything,
            page::{Key, PageArgs, PageStart, ParentKey},
        },
        entity::comment,
    },
    graphql::{
        connection::{Connection, wants},
        context::ContextExt,
        loaders::{ChildPage, Children},
    },
};

/// Comments of an item, or replies to one, oldest first; `column` names the parent.
pub async fn children(
    ctx: &Context<'_>,
    column: comment::Column,
    parent: Uuid,
    args: &PageArgs,
) -> Result<Connection<Comment>> {
    let start = PageStart::read(args, &format!("comments of {}", column.as_str()), ctx.state().clock())?;
    let keys = vec![Key::asc(comment::Column::CreatedAt)];
    let plan = start.plan(everything(), keys, comment::Column::Id, wants(ctx))?;
    let page = ctx
        .loader::<Children<comment::Entity>>()?
        .load_one(ChildPage::new(parent, ParentKey::column::<comment::Entity>(column), plan))
        .await?;
    Ok(Connection::new(page.unwrap_or_default(), Comment))
}
