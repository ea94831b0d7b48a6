//! Lists of events, cut down to what the caller may see.

use async_graphql::Context;
use sea_orm::{ColumnTrait, Condition, Iterable};

use super::{input::EventFilter, types::Event};
use crate::{
    base::{error::Result, id::ItemId, policy::Permission},
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{PageArgs, PagePlan, PageStart, ParentKey, Wants},
        },
        entity::{EventType, event},
    },
    graphql::{
        connection::{Connection, list_filtered, wants},
        context::ContextExt,
        filter::list_condition,
        loaders::{ChildPage, Children},
    },
};

/// What the caller may see: AUDIT_READ everything, others the work that they may read.
pub fn visible(scope: &OrgScope) -> Condition {
    let hidden: Vec<EventType> = EventType::iter().filter(|kind| !may_see_type(scope, *kind)).collect();
    if hidden.is_empty() {
        return everything();
    }
    everything().add(event::Column::Type.is_not_in(hidden))
}

/// Whether the caller may see events of a type.
pub fn may_see_type(scope: &OrgScope, kind: EventType) -> bool {
    scope.allows(Permission::AuditRead) || kind.seen_with().is_none_or(|permission| scope.allows(permission))
}

fn plan(
    list: &str,
    scope: &OrgScope,
    filter: Option<&EventFilter>,
    args: &PageArgs,
    wants: Wants,
) -> Result<PagePlan<event::Entity>> {
    let mut start = PageStart::read(args, &list_filtered(list, filter), scope.clock())?;
    let mut condition = visible(scope);
    if let Some(filter) = filter {
        condition = condition.add(list_condition(scope, &mut start, |f| filter.condition(f))?);
    }
    start.plan(condition, Vec::new(), event::Column::Sequence, wants)
}

/// The organization's ledger, oldest first.
pub async fn events(ctx: &Context<'_>, filter: Option<&EventFilter>, args: &PageArgs) -> Result<Connection<Event>> {
    let scope = ctx.scope()?;
    let page = plan("events", scope, filter, args, wants(ctx))?.fetch(scope).await?;
    Ok(Connection::new(page, Event))
}

/// The ledger entries of one item.
pub async fn of_item(ctx: &Context<'_>, item_id: ItemId, args: &PageArgs) -> Result<Connection<Event>> {
    let plan = plan("events of an item", ctx.scope()?, None, args, wants(ctx))?;
    let key = ChildPage::new(item_id.uuid(), ParentKey::column::<event::Entity>(event::Column::ItemId), plan);
    let page = ctx.loader::<Children<event::Entity>>()?.load_one(key).await?;
    Ok(Connection::new(page.unwrap_or_default(), Event))
}

/// [`visible`], of one event at hand.
pub fn may_see(scope: &OrgScope, event: &Event) -> bool {
    may_see_type(scope, event.0.r#type)
}
