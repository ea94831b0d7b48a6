use async_graphql::{Context, ID, Object};

use super::{
    input::{
        ItemArchiveInput, ItemCreateInput, ItemDeleteInput, ItemFilter, ItemOrder, ItemRestoreInput, ItemScope,
        ItemUnarchiveInput, ItemUpdateInput, newest_first,
    },
    query::{self, ItemList},
    service, trees,
    types::{Item, ItemPayload},
};
use crate::{
    auth::policy::{Permission, requires},
    error::Result,
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        payload::write,
        scalars::Cursor,
    },
};

#[derive(Default)]
pub struct ItemQuery;

#[Object]
impl ItemQuery {
    /// One item by id or human identifier (`ACME-42`).
    #[graphql(directive = requires::apply(Permission::ItemRead))]
    async fn item(&self, ctx: &Context<'_>, id: ID) -> Result<Option<Item>> {
        query::by_reference(ctx, &id).await
    }

    #[graphql(directive = requires::apply(Permission::ItemRead))]
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn items(
        &self,
        ctx: &Context<'_>,
        filter: Option<ItemFilter>,
        #[graphql(default_with = "ItemScope::Active")] scope: ItemScope,
        #[graphql(default_with = "newest_first()")] order_by: Vec<ItemOrder>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Item>> {
        query::items(ctx, &ItemList { filter, scope, order_by, args: page_args(first, after, last, before) }).await
    }
}

#[derive(Default)]
pub struct ItemMutation;

#[Object]
impl ItemMutation {
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_create(&self, ctx: &Context<'_>, input: ItemCreateInput) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Item::from).await
    }

    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_update(&self, ctx: &Context<'_>, input: ItemUpdateInput) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Item::from).await
    }

    /// Sets status ARCHIVED and remembers the status it had.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_archive(&self, ctx: &Context<'_>, input: ItemArchiveInput) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::archive(scope, &input), Item::from).await
    }

    /// Back to the remembered status.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_unarchive(&self, ctx: &Context<'_>, input: ItemUnarchiveInput) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::unarchive(scope, &input), Item::from).await
    }

    /// To the trash with its subtasks, until restored or purged. `permanently` also needs ITEM_PURGE.
    #[graphql(directive = requires::apply(Permission::ItemDelete))]
    async fn item_delete(&self, ctx: &Context<'_>, input: ItemDeleteInput) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        if input.permanently {
            let gone = write(ctx, || trees::purge(scope, &input), Item::from).await?;
            return Ok(gone.map(|payload: ItemPayload| ItemPayload { item: None, ..payload }));
        }
        write(ctx, || trees::delete(scope, &input), Item::from).await
    }

    /// Back from the trash, with what went there together with it.
    #[graphql(directive = requires::apply(Permission::ItemDelete))]
    async fn item_restore(&self, ctx: &Context<'_>, input: ItemRestoreInput) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || trees::restore(scope, &input), Item::from).await
    }
}
