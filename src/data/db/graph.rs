//! Walks over items that the database makes in one statement: up from items to their roots, and along what blocks what.

use std::collections::{HashMap, HashSet};

use sea_orm::{
    ConnectionTrait, ExprTrait as _, QueryResult,
    prelude::*,
    sea_query::{
        Alias, CommonTableExpression, DynIden, IntoIden as _, Order, Query, SelectStatement, UnionType, WithClause,
    },
};

use super::{OrgScope, WriteTx, fail, filter::among};
use crate::{
    base::{
        enums::ItemRelationKind,
        error::Result,
        id::{Id, ItemId, Kind},
    },
    data::entity::{item, item_relation},
};

impl OrgScope {
    /// Ids of the items above each of these, root first, `most` at most.
    pub async fn ancestors(&self, ids: &[ItemId], most: usize) -> Result<HashMap<ItemId, Vec<ItemId>>> {
        use item::Column;
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let (above, item, id, level) = (name("above"), name("item_id"), name("id"), name("level"));
        let own = |column: Column| Expr::col((item::Entity, column));
        let parents = Query::select()
            .exprs([own(Column::Id), own(Column::ParentId), Expr::val(1).cast_as("integer")])
            .from(item::Entity)
            .and_where(own(Column::OrganizationId).eq(self.organization_id()))
            .and_where(among(self.db(), Column::Id, ids.iter().copied()))
            .and_where(own(Column::ParentId).is_not_null())
            .take();
        let next = Query::select()
            .exprs([
                Expr::col((above.clone(), item.clone())),
                own(Column::ParentId),
                Expr::col((above.clone(), level.clone())).add(1),
            ])
            .from(above.clone())
            .inner_join(item::Entity, own(Column::Id).equals((above.clone(), id.clone())))
            .and_where(own(Column::OrganizationId).eq(self.organization_id()))
            .and_where(own(Column::ParentId).is_not_null())
            .and_where(Expr::col((above.clone(), level.clone())).lt(most))
            .take();
        let found = Query::select()
            .columns([item.clone(), id.clone()])
            .from(above.clone())
            .order_by(level.clone(), Order::Desc)
            .take();
        let columns = [item, id, level];
        let rows = walk(self.db().reader(), above, columns, (parents, UnionType::All, next), found).await?;
        let mut ancestors: HashMap<ItemId, Vec<ItemId>> = HashMap::new();
        for row in rows {
            let (of, above) = (id_of(&row, "item_id")?, id_of(&row, "id")?);
            ancestors.entry(of).or_default().push(above);
        }
        Ok(ancestors)
    }
}

impl WriteTx {
    /// The items that one blocks, directly and over any number of others; `limit` at most.
    pub async fn items_that_wait(&self, id: ItemId, limit: u64) -> Result<HashSet<ItemId>> {
        use item_relation::{Column, Entity};
        let (waiting, waits) = (name("waiting"), name("id"));
        let blocks = |blocker: Expr| {
            Query::select()
                .column((Entity, Column::RelatedItemId))
                .and_where(Expr::col((Entity, Column::OrganizationId)).eq(self.organization_id()))
                .and_where(Expr::col((Entity, Column::Kind)).eq(ItemRelationKind::Blocks))
                .and_where(Expr::col((Entity, Column::ItemId)).eq(blocker))
                .take()
        };
        let first = blocks(Expr::val(id)).from(Entity).take();
        // Each item once: two ways to it are one.
        let next = blocks(Expr::col((waiting.clone(), waits.clone()))).from(waiting.clone()).from(Entity).take();
        let found = Query::select().column(waits.clone()).from(waiting.clone()).limit(limit).take();
        let rows = walk(self.transaction(), waiting, [waits], (first, UnionType::Distinct, next), found).await?;
        rows.iter().map(|row| id_of(row, "id")).collect()
    }
}

fn name(name: &'static str) -> DynIden {
    Alias::new(name).into_iden()
}

fn id_of<K: Kind>(row: &QueryResult, column: &str) -> Result<Id<K>> {
    row.try_get::<Uuid>("", column).map(Id::from_uuid).map_err(fail)
}

/// Runs a recursive statement: the first rows, what follows from rows found, and what is wanted of all.
async fn walk<const N: usize>(
    connection: &impl ConnectionTrait,
    table: DynIden,
    columns: [DynIden; N],
    (mut first, union, next): (SelectStatement, UnionType, SelectStatement),
    found: SelectStatement,
) -> Result<Vec<QueryResult>> {
    let mut rows = CommonTableExpression::new();
    rows.table_name(table).columns(columns).query(first.union(union, next).take());
    let walk = found.with(WithClause::new().recursive(true).cte(rows).to_owned());
    connection.query_all(&walk).await.map_err(fail)
}
