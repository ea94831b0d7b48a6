//! Lists of comments.

use std::collections::HashMap;

use async_graphql::Context;
use sea_orm::IdenStatic as _;
use uuid::Uuid;

use super::types::Comment;
use crate::{
    base::{enums::ActorKind, error::Result, id::UserId},
    data::{
        db::{
            filter::everything,
            page::{Key, PageArgs, PageStart, ParentKey},
        },
        entity::comment,
    },
    domains::accounts::loaders::PeopleAt,
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
    let scope = ctx.scope()?;
    let start = PageStart::read(args, &format!("comments of {}", column.as_str()), ctx.state().clock())?;
    let keys = vec![Key::asc(comment::Column::CreatedAt)];
    let mut plan = start.plan(everything(), keys, comment::Column::Id, wants(ctx))?;
    let with_authors = asks_of_nodes(ctx, "author");
    if with_authors {
        plan = plan.referring(scope, Vec::new());
    }
    let page = ctx
        .loader::<Children<comment::Entity>>()?
        .load_one(ChildPage::new(parent, ParentKey::column::<comment::Entity>(column), plan))
        .await?;
    let page = page.unwrap_or_default();
    let (mut people, version) = (HashMap::new(), page.referred.version);
    if with_authors {
        let authors = page.rows.iter().filter(|row| row.author_kind == ActorKind::User);
        let ids = authors.map(|row| UserId::from_uuid(row.author_id)).collect();
        let (cached, missing) = scope.cached_people(ids, version);
        people = cached;
        if !missing.is_empty() {
            // Those of all lists of the request together.
            let read = ctx.loader::<PeopleAt>()?.load_many(missing.into_iter().map(|id| (id, version))).await?;
            people.extend(read.into_iter().map(|((id, _), person)| (id, person)));
        }
    }
    Ok(Connection::new(page, |row| {
        let author = people.get(&UserId::from_uuid(row.author_id)).cloned();
        Comment::by(row, author)
    }))
}
