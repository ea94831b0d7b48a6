//! Lists of webhooks and of their deliveries.

use async_graphql::Context;

use super::{input::DeliveryFilter, types::WebhookDelivery};
use crate::{
    base::{error::Result, id::WebhookId},
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, ParentKey, Wants},
        },
        entity::{webhook, webhook_delivery},
    },
    graphql::{
        connection::{Connection, list_filtered, wants},
        context::ContextExt,
        filter::list_condition,
        loaders::{ChildPage, Children},
    },
};

/// All webhooks, newest first.
pub async fn webhooks(scope: &OrgScope, args: &PageArgs, wants: Wants) -> Result<Page<webhook::Model>> {
    let start = PageStart::read(args, "webhooks", scope.clock())?;
    let keys = vec![Key::desc(webhook::Column::CreatedAt)];
    start.plan::<webhook::Entity>(everything(), keys, webhook::Column::Id, wants)?.fetch(scope).await
}

/// A webhook's deliveries, newest first.
pub async fn deliveries(
    ctx: &Context<'_>,
    webhook_id: WebhookId,
    filter: Option<&DeliveryFilter>,
    args: &PageArgs,
) -> Result<Connection<WebhookDelivery>> {
    use webhook_delivery::{Column, Entity};
    let scope = ctx.scope()?;
    let mut start = PageStart::read(args, &list_filtered("deliveries", filter), scope.clock())?;
    let condition = match filter {
        Some(filter) => list_condition(scope, &mut start, |f| filter.condition(f))?,
        None => everything(),
    };
    let plan = start.plan(condition, vec![Key::desc(Column::CreatedAt)], Column::Id, wants(ctx))?;
    let key = ChildPage::new(webhook_id.uuid(), ParentKey::column::<Entity>(Column::WebhookId), plan);
    let page = ctx.loader::<Children<webhook_delivery::Entity>>()?.load_one(key).await?;
    Ok(Connection::new(page.unwrap_or_default(), WebhookDelivery))
}
