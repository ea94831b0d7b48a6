use async_graphql::{Context, ID, Object};

use super::{
    bulk::{
        self,
        input::{ItemBulkCreateInput, ItemBulkDeleteInput, ItemBulkRestoreInput, ItemBulkUpdateInput},
        types::ItemBulkPayload,
    },
    create,
    input::{
        ItemArchiveInput, ItemCreateInput, ItemDeleteInput, ItemFilter, ItemOrder, ItemRestoreInput, ItemScope,
        ItemUnarchiveInput, ItemUpdateInput, ItemWatchInput, newest_first,
    },
    query::{self, ItemList},
    service, trees,
    types::{Item, ItemPayload},
    watching,
};
use crate::{
    base::{
        error::Result,
        policy::{Access, Permission, access, requires},
    },
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
    #[graphql(tag = "of-ledger", directive = requires::apply(Permission::ItemRead))]
    async fn item(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Id, or identifier in any case.")] id: ID,
    ) -> Result<Option<Item>> {
        query::by_reference(ctx, &id).await
    }

    /// Items of the organization that match, page by page.
    #[graphql(tag = "of-ledger", directive = requires::apply(Permission::ItemRead))]
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<Box<ItemFilter>>,
        #[graphql(default_with = "ItemScope::Active", desc = "Which items to read: see `ItemScope`.")] scope: ItemScope,
        #[graphql(
            default_with = "newest_first()",
            desc = "Up to 5 keys, the most important one first; newest first unless said."
        )]
        order_by: Vec<ItemOrder>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Item>> {
        query::items(ctx, &ItemList { filter, scope, order_by, args: page_args(first, after, last, before) }).await
    }
}

#[derive(Default)]
pub struct ItemMutation;

#[Object]
impl ItemMutation {
    /// Creates an item, with subtasks.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new item.")] input: ItemCreateInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || create::create(scope, &input), Item::from).await
    }

    /// Changes an item. A patch that changes nothing raises no version and writes no event.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which item, and what to change.")] input: ItemUpdateInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Item::from).await
    }

    /// Puts an item away: sets status ARCHIVED and remembers the status it had.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_archive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which item.")] input: ItemArchiveInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::archive(scope, &input), Item::from).await
    }

    /// Takes an item out of the archive, back to the remembered status.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_unarchive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which item.")] input: ItemUnarchiveInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::unarchive(scope, &input), Item::from).await
    }

    /// Moves an item to the trash with its subtasks, until it is restored or purged. `permanently` also needs
    /// ITEM_PURGE.
    #[graphql(directive = requires::apply(Permission::ItemDelete))]
    async fn item_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which item, and whether for good.")] input: ItemDeleteInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        if input.permanently {
            let gone = write(ctx, || trees::purge(scope, &input), Item::from).await?;
            return Ok(gone.map(|payload: ItemPayload| ItemPayload { item: None, ..payload }));
        }
        write(ctx, || trees::delete(scope, &input), Item::from).await
    }

    /// Brings an item back from the trash, with what went there together with it.
    #[graphql(directive = requires::apply(Permission::ItemDelete))]
    async fn item_restore(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which item.")] input: ItemRestoreInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || trees::restore(scope, &input), Item::from).await
    }
    /// Begins or ends the caller's watching of an item. It is not in the ledger: no event tells of it.
    #[graphql(directive = access::apply(Access::Member))]
    async fn item_watch(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which item, and whether to watch it.")] input: ItemWatchInput,
    ) -> Result<Option<ItemPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || watching::watch(scope, &input), Item::from).await
    }

    /// Creates up to 500 items, with subtasks.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_bulk_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new items.")] input: ItemBulkCreateInput,
    ) -> Result<Option<ItemBulkPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || bulk::service::create(scope, &input), |bulk| bulk).await
    }

    /// Changes up to 500 items alike. One that the patch doesn't change raises no version and writes no event.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_bulk_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which items, and what to change.")] input: ItemBulkUpdateInput,
    ) -> Result<Option<ItemBulkPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || bulk::service::update(scope, &input), |bulk| bulk).await
    }

    /// Moves up to 500 items to the trash, those below them included, until they are restored or purged.
    #[graphql(directive = requires::apply(Permission::ItemDelete))]
    async fn item_bulk_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which items.")] input: ItemBulkDeleteInput,
    ) -> Result<Option<ItemBulkPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || bulk::service::delete(scope, &input), |bulk| bulk).await
    }

    /// Brings up to 500 items back from the trash, with what went there together with them.
    #[graphql(directive = requires::apply(Permission::ItemDelete))]
    async fn item_bulk_restore(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which items.")] input: ItemBulkRestoreInput,
    ) -> Result<Option<ItemBulkPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || bulk::service::restore(scope, &input), |bulk| bulk).await
    }
}
