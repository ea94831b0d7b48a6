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
        connection::{Connection, asks_of_nodes, wants},
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
    let mut plan = start.plan(everything(), keys, comment::Column::Id, wants(ctx))?;
    if asks_of_nodes(ctx, "author") {
        plan = plan.with_people(comment::Column::AuthorId);
    }
    let page = ctx
        .loader::<Children<comment::Entity>>()?
        .load_one(ChildPage::new(parent, ParentKey::column::<comment::Entity>(column), plan))
        .await?;
    let mut page = page.unwrap_or_default();
    let people = std::mem::take(&mut page.people);
    Ok(Connection::new(page, |row| {
        let author = people.get(&row.author_id).cloned();
        Comment::by(row, author)
    }))
}
