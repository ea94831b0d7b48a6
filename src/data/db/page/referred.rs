//! What the rows of a page refer to, read in the page's own statement: ids that tables of links have for each row, and how
//! often what they name has changed. Their rows come from a cache; see [`ReferenceVersion`].

use sea_orm::{
    DatabaseBackend, DbErr, EntityTrait, IntoSimpleExpr as _, Iterable, QueryResult, QuerySelect as _, Select,
    prelude::{Expr, Uuid},
    sea_query::{ExprTrait as _, Func, Query, SimpleExpr},
    sqlx::Row as _,
};

use super::PagePlan;
use crate::data::{
    db::{OrgScope, ReferenceVersion},
    entity::{Keyed, Tenant},
};

/// What is selected beside the columns of a row.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    version: [SimpleExpr; 2],
    links: Vec<SimpleExpr>,
}

/// What the rows of a page refer to.
#[derive(Clone, Debug, Default)]
pub struct Referred {
    pub version: ReferenceVersion,
    /// Of each row, in the page's order, the ids of each of the links that were asked for, in no order.
    pub links: Vec<Vec<Vec<Uuid>>>,
}

/// Links of a row: the ids that a table of links has for it.
#[derive(Clone, Debug)]
pub struct Links(SimpleExpr);

impl Links {
    /// `from` of `L` names the row of `E`, `to` what it refers to; on PostgreSQL the row's own column `kept` has them, by
    /// triggers (see the step `link_ids`). A few for each row: no index of `L` gives them but one by row.
    pub fn of<E: Keyed, L: Tenant>(scope: &OrgScope, kept: &'static str, from: L::Column, to: L::Column) -> Self {
        if scope.db().backend() == DatabaseBackend::Postgres {
            return Self(Expr::col((E::default(), kept)));
        }
        // SQLite has no arrays: 32 hexadecimal digits an id, one after the other.
        let digits = Func::cust("hex").arg(Expr::col((L::default(), to))).into();
        let ids = Query::select()
            .expr(Func::cust("group_concat").args([digits, Expr::val("")]))
            .from(L::default())
            .and_where(L::ORGANIZATION.into_simple_expr().eq(scope.organization_id()))
            .and_where(Expr::col((L::default(), from)).eq(Expr::col((E::default(), E::ID))))
            .take();
        Self(SimpleExpr::SubQuery(None, Box::new(ids.into())))
    }
}

impl<E: Tenant> PagePlan<E> {
    /// Reads with the rows what they refer to: links, where the page is of one list, and the version at which what rows name
    /// may be taken from the cache.
    #[must_use]
    pub fn referring(mut self, scope: &OrgScope, links: Vec<Links>) -> Self {
        let version = ReferenceVersion::selected(scope.organization_id());
        self.referring = Some(Selected { version, links: links.into_iter().map(|links| links.0).collect() });
        self
    }
}

impl Selected {
    pub(super) fn version(&self) -> impl Iterator<Item = (String, SimpleExpr)> + '_ {
        self.version.iter().enumerate().map(|(place, count)| (format!("changes_{place}"), count.clone()))
    }

    /// Selects it behind the columns of `E`.
    pub(super) fn add_to<E: EntityTrait>(&self, mut select: Select<E>) -> Select<E> {
        for (name, count) in self.version() {
            select = select.expr_as(count, name);
        }
        for (place, links) in self.links.iter().enumerate() {
            select = select.expr_as(links.clone(), format!("links_{place}"));
        }
        select
    }

    /// The links of a row, as [`Self::add_to`] selected them.
    pub(super) fn links<E: EntityTrait>(&self, row: &QueryResult) -> Result<Vec<Vec<Uuid>>, DbErr> {
        let first = E::Column::iter().count() + self.version.len();
        (first..first + self.links.len()).map(|place| ids(row, place)).collect()
    }
}

/// The version that was selected from the `first` column on.
pub(super) fn version(row: &QueryResult, first: usize) -> Result<ReferenceVersion, DbErr> {
    Ok(ReferenceVersion::new(row.try_get_by_index(first)?, row.try_get_by_index(first + 1)?))
}

fn ids(row: &QueryResult, place: usize) -> Result<Vec<Uuid>, DbErr> {
    if let Some(row) = row.try_as_pg_row() {
        return row.try_get(place).map_err(|error| DbErr::Query(sea_orm::RuntimeErr::SqlxError(error.into())));
    }
    let digits: Option<String> = row.try_get_by_index(place)?;
    let digits = digits.unwrap_or_default();
    let id = |digits: &[u8]| Uuid::try_parse_ascii(digits).map_err(|error| DbErr::Type(error.to_string()));
    digits.as_bytes().chunks(32).map(id).collect()
}
