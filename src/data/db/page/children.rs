//! Pages of the children of many rows at once.

use std::collections::HashMap;

use sea_orm::{
    ConnectionTrait as _, Iterable, JoinType, Order, QueryFilter, QuerySelect, QueryTrait, RelationDef,
    prelude::{Expr, Uuid},
    sea_query::{Alias, DynIden, ExprTrait as _, Func, IntoIden, Query, WindowStatement},
};

use super::{
    Page, PagePlan,
    referred::{self, Referred, Selected},
};
use crate::{
    base::error::Result,
    data::{
        db::{OrgScope, ReferenceVersion, fail, filter},
        entity::Tenant,
    },
};

/// Where a child's parent is named: in a column of its own table, or of a table that links the two.
#[derive(Clone, Debug)]
pub struct ParentKey {
    table: DynIden,
    column: DynIden,
    link: Option<RelationDef>,
}

/// The parent's id in the rows of a page of children.
const PARENT: &str = "parent_of_page";

impl ParentKey {
    /// The child's own column.
    pub fn column<E: Tenant>(column: E::Column) -> Self {
        Self { table: E::default().into_iden(), column: column.into_iden(), link: None }
    }

    /// `L` links child and parent: `child` of `E` is `to` of `L`, and `parent` of `L` names the parent. The organization
    /// is part of the join.
    pub fn linked<E: Tenant, L: Tenant>(child: E::Column, to: L::Column, parent: L::Column) -> Self {
        let link = E::belongs_to(L::default()).from((E::ORGANIZATION, child)).to((L::ORGANIZATION, to));
        Self { table: L::default().into_iden(), column: parent.into_iden(), link: Some(link.into()) }
    }

    /// For telling one key from another.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }
}

impl<E: Tenant> PagePlan<E> {
    /// A page of each parent's children: one statement for all, two with the totals.
    pub async fn fetch_children(
        &self,
        scope: &OrgScope,
        parent: &ParentKey,
        parents: &[Uuid],
    ) -> Result<HashMap<Uuid, Page<E::Model>>> {
        let parent_id = || Expr::col((parent.table.clone(), parent.column.clone()));
        let of_parents = match parents {
            [one] => parent_id().eq(*one),
            several => filter::among_uuids(scope.db(), parent_id(), several.to_vec()),
        };
        let (connection, _, mut select) =
            scope.find::<E>().filter(self.condition.clone()).filter(of_parents).into_parts();
        if let Some(link) = &parent.link {
            select = select.join(JoinType::InnerJoin, link.clone());
        }
        // Children of one parent are numbered by no window: an index gives the first of them.
        if let [one] = parents {
            return Ok(HashMap::from([(*one, self.fetch_from(connection, select).await?)]));
        }
        let mut totals = HashMap::new();
        if self.wants.total {
            let counts: Vec<(Uuid, i64)> = select
                .clone()
                .select_only()
                .column_as(parent_id(), "parent")
                .column_as(parent_id().count(), "n")
                .group_by(parent_id())
                .into_tuple()
                .all(connection)
                .await
                .map_err(fail)?;
            totals.extend(counts.into_iter().map(|(id, count)| (id, u64::try_from(count).unwrap_or(0))));
        }
        if let Some(position) = &self.position {
            select = select.filter(self.after(position));
        }
        let mut window = WindowStatement::partition_by((parent.table.clone(), parent.column.clone()));
        for (column, order, nulls) in self.order() {
            match nulls {
                Some(nulls) => window.order_by_expr_with_nulls(column, order, nulls),
                None => window.order_by_expr(column, order),
            };
        }
        let rank = Alias::new("place");
        let mut ranked = select.column_as(parent_id(), PARENT).into_query();
        ranked.expr_window_as(Func::cust("ROW_NUMBER"), window, rank.clone());
        let mut outer = Query::select();
        for column in E::Column::iter() {
            outer.column((Alias::new("ranked"), column.into_iden()));
        }
        outer
            .column((Alias::new("ranked"), Alias::new(PARENT)))
            .from_subquery(ranked, Alias::new("ranked"))
            .and_where(Expr::col(rank.clone()).lte(self.limit + 1))
            .order_by(rank, Order::Asc);
        for (name, count) in self.referring.iter().flat_map(Selected::version) {
            outer.expr_as(count, name);
        }
        let mut version = ReferenceVersion::default();
        let mut children: HashMap<Uuid, Vec<E::Model>> = HashMap::new();
        for row in connection.query_all(&outer).await.map_err(fail)? {
            let id: Uuid = row.try_get("", PARENT).map_err(fail)?;
            let model = E::decode(&row, "", 0).map_err(fail)?;
            if self.referring.is_some() {
                version = referred::version(&row, E::Column::iter().count() + 1).map_err(fail)?;
            }
            children.entry(id).or_default().push(model);
        }
        Ok(parents
            .iter()
            .map(|id| {
                let total = self.wants.total.then(|| totals.get(id).copied().unwrap_or(0));
                let page = self.page(children.remove(id).unwrap_or_default(), total);
                (*id, Page { referred: Referred { version, links: Vec::new() }, ..page })
            })
            .collect())
    }
}
