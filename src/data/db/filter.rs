//! Conditions that stay inside an organization, and mean the same on both databases.
//!
//! Filters are two-valued: a comparison with an absent value is false, so that `not` includes it. SQL's are
//! three-valued; [`present`] closes the gap.

use sea_orm::{
    ColumnTrait, Condition, DatabaseBackend, QueryFilter, QuerySelect, QueryTrait,
    prelude::Uuid,
    sea_query::{Expr, ExprTrait, Func, IntoCondition, SelectStatement, SimpleExpr, extension::postgres::PgFunc},
};

pub use migration::keys::{email_key, fold, fold_part, parse_email, shown_email};

use super::{Db, OrgScope};
use crate::{
    base::id::{Id, Kind, UserId},
    data::entity::{Tenant, user},
};

/// Everything: `AND` of nothing.
pub fn everything() -> Condition {
    Condition::all()
}

/// Nothing at all: `OR` of nothing is false, which SQL builders leave out.
pub fn nothing() -> Condition {
    Condition::all().add(Expr::val(1).eq(0))
}

/// A comparison that is false where the column is absent.
pub fn present(column: impl ColumnTrait, comparison: impl IntoCondition) -> Condition {
    Condition::all().add(column.is_not_null()).add(comparison.into_condition())
}

/// Whether a column of ids is among `ids`. On PostgreSQL they go as one array: a list of parameters would get another
/// statement for each length, and a generic plan that has been seen to read a whole organization.
pub fn among<K: Kind>(db: &Db, column: impl ColumnTrait, ids: impl IntoIterator<Item = Id<K>>) -> SimpleExpr {
    among_uuids(db, Expr::col(column.as_column_ref()), ids.into_iter().map(Id::uuid).collect())
}

/// [`among`], of bare ids and any expression.
pub fn among_uuids(db: &Db, column: SimpleExpr, ids: Vec<Uuid>) -> SimpleExpr {
    match db.backend() {
        DatabaseBackend::Postgres => column.eq(PgFunc::any(Expr::val(ids))),
        _ => column.is_in(ids),
    }
}

/// One column of the organization's rows that match, for `IN (…)`.
pub fn select<E: Tenant>(scope: &OrgScope, column: E::Column, condition: Condition) -> SelectStatement {
    let (_, _, select) = scope.find::<E>().filter(condition).into_parts();
    select.select_only().column(column).into_query()
}

/// Ids of the people that match, for `IN (…)` against a column of a tenant's row.
pub fn select_people(scope: &OrgScope, condition: Condition) -> SelectStatement {
    scope.db().find::<user::Entity>().select_only().column(user::Column::Id).filter(condition).into_query()
}

/// Whether a person is the caller.
pub fn is_viewer(scope: &OrgScope, column: impl ColumnTrait, wanted: bool) -> Condition {
    let viewer = scope.user_id().unwrap_or(UserId::from_uuid(uuid::Uuid::nil()));
    let is = present(column, column.eq(viewer));
    if wanted { is } else { is.not() }
}

/// Whether `column` contains `part`, byte for byte. (`LIKE` folds ASCII on SQLite and has wildcards.)
pub fn contains(scope: &OrgScope, column: impl ColumnTrait, part: &str) -> SimpleExpr {
    let position = match scope.db().backend() {
        DatabaseBackend::Sqlite => "instr",
        _ => "strpos",
    };
    Expr::expr(Func::cust(position).arg(Expr::col(column.as_column_ref())).arg(part)).gt(0)
}

/// Whether `column` starts with `part`, byte for byte.
pub fn starts_with(column: impl ColumnTrait, part: &str) -> SimpleExpr {
    let length = i32::try_from(part.chars().count()).unwrap_or(i32::MAX);
    Expr::expr(Func::cust("substr").arg(Expr::col(column.as_column_ref())).arg(1).arg(length)).eq(part)
}
