//! Tables that link the rows of a list to something else, and repeat what orders the list: an index gives the rows of one
//! tag or person in the list's order, so that a page reads its own rows and not all of theirs.

use sea_orm::{
    Condition, EntityTrait, JoinType, QueryFilter, QuerySelect, RelationDef, Select,
    sea_query::{DynIden, Expr, ExprTrait, IntoColumnRef, IntoIden, SimpleExpr},
};

use crate::{base::id::OrganizationId, data::entity::Tenant};

/// The rows of one such table that lead to one thing.
#[derive(Clone, Debug)]
pub struct OrderedLink {
    table: DynIden,
    organization: DynIden,
    to_row: RelationDef,
    /// The list's keys, in this table.
    keys: Vec<DynIden>,
    /// Which rows: those of one thing.
    condition: Condition,
}

impl OrderedLink {
    /// `keys` are the list's, as `L` has them; the last names a row of `E`, whose `id` it is. Of the rows of `L` that
    /// satisfy `condition`, one at most may name the same.
    pub fn new<E: Tenant, L: Tenant>(id: E::Column, keys: [L::Column; 2], condition: Condition) -> Self {
        let to_row = E::belongs_to(L::default()).from((E::ORGANIZATION, id)).to((L::ORGANIZATION, keys[1]));
        Self {
            table: L::default().into_iden(),
            organization: L::ORGANIZATION.into_iden(),
            to_row: to_row.into(),
            keys: keys.into_iter().map(IntoIden::into_iden).collect(),
            condition,
        }
    }

    /// Rows of `E` that are linked. The organization is part of the join, and said again for what plans by one table.
    fn join<E: EntityTrait>(&self, select: Select<E>, organization: OrganizationId) -> Select<E> {
        select
            .join(JoinType::InnerJoin, self.to_row.clone())
            .filter(self.column(&self.organization).eq(organization))
            .filter(self.condition.clone())
    }

    /// Both are of the same row. By the keys and not its id alone: both tables are in this order, and can be read side by
    /// side.
    fn agrees_with(&self, other: &Self) -> Condition {
        let same = |(own, others): (&DynIden, &DynIden)| self.column(own).eq(other.column(others));
        self.keys.iter().zip(&other.keys).map(same).fold(Condition::all(), Condition::add)
    }

    /// A key of the list.
    pub(super) fn key(&self, place: usize) -> SimpleExpr {
        self.column(&self.keys[place])
    }

    fn column(&self, column: &DynIden) -> SimpleExpr {
        Expr::col((self.table.clone(), column.clone()).into_column_ref())
    }
}

/// Rows of `E` that every one of these links leads to, in the order that they share.
pub(super) fn join<E: EntityTrait>(
    links: &[OrderedLink],
    mut select: Select<E>,
    organization: OrganizationId,
) -> Select<E> {
    for (place, link) in links.iter().enumerate() {
        select = link.join(select, organization);
        if let Some(first) = links.first().filter(|_| place > 0) {
            select = select.filter(link.agrees_with(first));
        }
    }
    select
}
