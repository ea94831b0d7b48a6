//! Lists of inbound hooks and of their receipts.

use async_graphql::Context;

use super::types::InboundReceipt;
use crate::{
    base::{error::Result, id::InboundHookId},
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, ParentKey, Wants},
        },
        entity::{inbound_hook, inbound_receipt},
    },
    graphql::{
        connection::{Connection, wants},
        context::ContextExt,
        loaders::{ChildPage, Children},
    },
};

/// All hooks, newest first.
pub async fn inbound_hooks(scope: &OrgScope, args: &PageArgs, wants: Wants) -> Result<Page<inbound_hook::Model>> {
    let start = PageStart::read(args, "inboundHooks", scope.clock())?;
    let keys = vec![Key::desc(inbound_hook::Column::CreatedAt)];
    start.plan::<inbound_hook::Entity>(everything(), keys, inbound_hook::Column::Id, wants)?.fetch(scope).await
}

/// A hook's receipts, newest first.
pub async fn receipts(
    ctx: &Context<'_>,
    hook_id: InboundHookId,
    args: &PageArgs,
) -> Result<Connection<InboundReceipt>> {
    use inbound_receipt::{Column, Entity};
    let start = PageStart::read(args, "receipts", ctx.state().clock())?;
    let plan = start.plan(everything(), vec![Key::desc(Column::ReceivedAt)], Column::Id, wants(ctx))?;
    let key = ChildPage::new(hook_id.uuid(), ParentKey::column::<Entity>(Column::HookId), plan);
    let page = ctx.loader::<Children<inbound_receipt::Entity>>()?.load_one(key).await?;
    Ok(Connection::new(page.unwrap_or_default(), InboundReceipt))
}
