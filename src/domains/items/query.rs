//! Lists of items. What a page's items are asked for is loaded with the page, not item by item.

use std::{collections::HashMap, sync::Arc};

use async_graphql::{Context, InputType, Value};
use sea_orm::{ColumnTrait, IdenStatic as _};
use uuid::Uuid;

use super::{
    filter::in_scope,
    input::{ItemFilter, ItemOrder, ItemScope},
    loaders,
    types::{Item, Nested},
};
use crate::{
    base::{
        error::Result,
        id::{ItemId, TeamId},
    },
    data::{
        db::{
            OrgScope,
            filter::among,
            page::{Key, Page, PageArgs, PagePlan, PageStart, ParentKey, Wants},
        },
        entity::{item, team},
    },
    domains::teams::types::Team,
    graphql::{
        connection::{Connection, asks_of_nodes, list_with, wants},
        context::ContextExt,
        filter::{bad, list_condition},
        loaders::{ChildPage, Children},
    },
};

/// Keys of an order at most.
const MAX_KEYS: usize = 5;

/// The arguments of a list of items.
pub struct ItemList {
    pub filter: Option<ItemFilter>,
    pub scope: ItemScope,
    pub order_by: Vec<ItemOrder>,
    pub args: PageArgs,
}

impl ItemList {
    /// `of_all`: a list of the organization's items, not of some of them that a table's own index gives.
    fn plan(&self, list: &str, of_all: bool, scope: &OrgScope, wants: Wants) -> Result<PagePlan<item::Entity>> {
        let Self { filter, scope: items, order_by, args } = self;
        if order_by.len() > MAX_KEYS {
            return Err(bad(format!("At most {MAX_KEYS} fields to order by.")));
        }
        let filter_value = filter.as_ref().map_or(Value::Null, InputType::to_value);
        let identity = list_with(list, [filter_value, items.to_value(), order_by.to_value()]);
        let mut start = PageStart::read(args, &identity, scope.clock())?;
        let keys: Vec<Key<item::Column>> = order_by.iter().map(|order| order.key()).collect();
        let is_by_creation = matches!(*keys, [Key { column: item::Column::CreatedAt, .. }]);
        let mut condition = in_scope(*items);
        let mut links = Vec::new();
        if let Some(filter) = filter {
            let found = list_condition(scope, &mut start, |f| match of_all && is_by_creation {
                true => filter.condition_and_links(f),
                false => Ok((filter.condition(f)?, Vec::new())),
            })?;
            condition = condition.add(found.0);
            links = found.1;
        }
        Ok(start.plan(condition, keys, item::Column::Id, wants)?.through(links))
    }
}

/// Items of the organization.
pub async fn items(ctx: &Context<'_>, list: &ItemList) -> Result<Connection<Item>> {
    let scope = ctx.scope()?;
    let page = list.plan("items", true, scope, wants(ctx))?.fetch(scope).await?;
    with_nested(ctx, page).await
}

/// Items that name `parent` in `column`: of a team, or subtasks.
pub async fn children(
    ctx: &Context<'_>,
    column: item::Column,
    parent: Uuid,
    list: &ItemList,
) -> Result<Connection<Item>> {
    let plan = list.plan(&format!("items of {}", column.as_str()), false, ctx.scope()?, wants(ctx))?;
    let page = ctx
        .loader::<Children<item::Entity>>()?
        .load_one(ChildPage::new(parent, ParentKey::column::<item::Entity>(column), plan))
        .await?;
    Ok(Connection::new(page.unwrap_or_default(), Item::from))
}

/// A page's items with the lists that the document asks for, each in one statement for the whole page.
async fn with_nested(ctx: &Context<'_>, page: Page<item::Model>) -> Result<Connection<Item>> {
    let asked = |field: &str| asks_of_nodes(ctx, field);
    let scope = ctx.scope()?;
    let ids: Vec<ItemId> = page.rows.iter().map(|row| row.id).collect();
    // One after the other: side by side they would take three connections a request, and under load wait for them.
    let assignees = optional(asked("assignees"), loaders::assignees(scope, &ids)).await?;
    let tags = optional(asked("tags"), loaders::tags(scope, &ids)).await?;
    let teams = optional(asked("team"), teams_of(scope, &page.rows)).await?;
    let nested = Arc::new(Nested { assignees, tags, teams });
    Ok(Connection::new(page, |row| Item { row: Arc::new(row), nested: Some(nested.clone()) }))
}

async fn optional<T>(wanted: bool, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if wanted { work.await.map(Some) } else { Ok(None) }
}

async fn teams_of(scope: &OrgScope, rows: &[item::Model]) -> Result<HashMap<TeamId, Team>> {
    let mut ids: Vec<TeamId> = rows.iter().filter_map(|row| row.team_id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let teams = scope.find::<team::Entity>().filter(among(scope.db(), team::Column::Id, ids)).all().await?;
    Ok(teams.into_iter().map(|row| (row.id, Team(row))).collect())
}

/// An item by id or human identifier (`ACME-42`); identifiers ignore case.
pub async fn by_reference(ctx: &Context<'_>, reference: &str) -> Result<Option<Item>> {
    let scope = ctx.scope()?;
    let row = match reference.parse::<ItemId>() {
        Ok(id) => scope.get::<item::Entity>(id).await?,
        Err(error) => {
            if !reference.contains('-') {
                return Err(bad(format!("Neither an item's id nor an identifier such as ACME-42 ({error}).")));
            }
            match number_of(scope, reference) {
                Some(number) => scope.find::<item::Entity>().filter(item::Column::Number.eq(number)).one().await?,
                None => None,
            }
        }
    };
    Ok(row.map(Item::from))
}

/// `42` of `ACME-42`, in any case; `None` for what is no identifier of this organization.
pub fn number_of(scope: &OrgScope, identifier: &str) -> Option<i64> {
    let (prefix, number) = identifier.rsplit_once('-')?;
    let is_own = prefix.eq_ignore_ascii_case(&scope.organization().item_prefix);
    number.parse().ok().filter(|_| is_own)
}
