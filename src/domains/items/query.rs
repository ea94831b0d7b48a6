//! Lists of items. What a page's items are asked for is loaded with the page, not item by item.

use std::sync::Arc;

use async_graphql::{Context, InputType, Value};
use sea_orm::{ColumnTrait, IdenStatic as _};
use uuid::Uuid;

use super::{
    filter::in_scope,
    input::{ItemFilter, ItemOrder, ItemScope},
    types::{Item, Nested},
};
use crate::{
    base::{
        error::Result,
        id::{ItemId, TagId, UserId},
    },
    data::{
        db::{
            OrgScope,
            page::{Key, Links, Page, PageArgs, PagePlan, PageStart, ParentKey, Referred, Wants},
        },
        entity::{item, item_assignee, item_tag},
    },
    domains::{accounts::types::User, tags::types::Tag, teams::types::Team},
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
    pub filter: Option<Box<ItemFilter>>,
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
        let filter_value = filter.as_deref().map_or(Value::Null, InputType::to_value);
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
    let asked = Asked::of(ctx);
    let plan = list.plan("items", true, scope, wants(ctx))?;
    let page = if asked.anything() { plan.referring(scope, asked.links(scope)) } else { plan }.fetch(scope).await?;
    let mut nested = asked.nested(scope, &page).await?.into_iter();
    Ok(Connection::new(page, |row| Item { row: Arc::new(row), nested: nested.next().map(Box::new) }))
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

/// What a document asks of a page's items that the page reads with them.
#[derive(Clone, Copy)]
struct Asked {
    assignees: bool,
    tags: bool,
    team: bool,
}

impl Asked {
    fn of(ctx: &Context<'_>) -> Self {
        let asked = |field: &str| asks_of_nodes(ctx, field);
        Self { assignees: asked("assignees"), tags: asked("tags"), team: asked("team") }
    }

    fn anything(self) -> bool {
        self.assignees || self.tags || self.team
    }

    /// Assignees, then tags.
    fn links(self, scope: &OrgScope) -> Vec<Links> {
        let assignees = || {
            use item_assignee::Column;
            Links::of::<item::Entity, item_assignee::Entity>(scope, "assignee_ids", Column::ItemId, Column::UserId)
        };
        let tags = || {
            use item_tag::Column;
            Links::of::<item::Entity, item_tag::Entity>(scope, "tag_ids", Column::ItemId, Column::TagId)
        };
        self.assignees.then(assignees).into_iter().chain(self.tags.then(tags)).collect()
    }

    /// For each row of the page.
    async fn nested(self, scope: &OrgScope, page: &Page<item::Model>) -> Result<Vec<Nested>> {
        if !self.anything() {
            return Ok(Vec::new());
        }
        let Referred { version, links } = &page.referred;
        let ids = |place: usize| links.iter().filter_map(move |of_row| of_row.get(place)).flatten().copied();
        let (people_at, tags_at) = (0, usize::from(self.assignees));
        let (mut people, mut tags, mut teams) = Default::default();
        if self.assignees {
            people = scope.people_at(ids(people_at).map(UserId::from_uuid).collect(), *version).await?;
        }
        if self.tags {
            tags = scope.tags_at(ids(tags_at).map(TagId::from_uuid).collect(), *version).await?;
        }
        if self.team {
            teams = scope.teams_at(page.rows.iter().filter_map(|row| row.team_id).collect(), *version).await?;
        }
        let of_row = |(row, links): (&item::Model, &Vec<Vec<Uuid>>)| {
            let ids = |place: usize| links.get(place).into_iter().flatten().copied();
            let assignees = self.assignees.then(|| {
                let found = ids(people_at).filter_map(|id| people.get(&UserId::from_uuid(id)).cloned());
                sorted(found.map(User::from), |user| &user.row.username_key)
            });
            let tags = self.tags.then(|| {
                let found = ids(tags_at).filter_map(|id| tags.get(&TagId::from_uuid(id)).cloned());
                sorted(found.map(Tag), |tag| &tag.0.name_key)
            });
            let team = self.team.then(|| row.team_id.and_then(|id| teams.get(&id).cloned()).map(Team));
            Nested { assignees, tags, team }
        };
        Ok(page.rows.iter().zip(links).map(of_row).collect())
    }
}

fn sorted<T>(found: impl Iterator<Item = T>, key: impl Fn(&T) -> &String) -> Vec<T> {
    let mut sorted: Vec<T> = found.collect();
    sorted.sort_by(|a, b| key(a).cmp(key(b)));
    sorted
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
