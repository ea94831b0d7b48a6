//! Rows read by the place of their columns. By name, each value costs a look-up of its name in the row, and each null the
//! text of an error that nobody reads: a quarter of the processor that a page took.

use sea_orm::{
    DbErr, EntityTrait, FromQueryResult, QueryResult, TryGetable,
    sqlx::{Row as _, ValueRef as _},
};

/// How rows of a table are read. Tables that pages are made of say their columns to `table!`; others are read by name.
pub trait Decode: EntityTrait {
    /// The columns in the order in which they are read; none where they are read by name.
    const COLUMNS: &[&str] = &[];

    /// A row of which all columns stand in the table's order from `first` on, each with `prefix` before its name.
    fn decode(row: &QueryResult, prefix: &str, _first: usize) -> Result<Self::Model, DbErr> {
        Self::Model::from_query_result(row, prefix)
    }
}

/// The values of a row, one after the other.
pub struct Values<'r> {
    row: &'r QueryResult,
    next: usize,
}

impl<'r> Values<'r> {
    pub fn from(row: &'r QueryResult, first: usize) -> Self {
        Self { row, next: first }
    }

    pub fn value<T: TryGetable>(&mut self) -> Result<T, DbErr> {
        let place = self.next;
        self.next += 1;
        self.row.try_get_by_index(place)
    }

    pub fn nullable<T: TryGetable>(&mut self) -> Result<Option<T>, DbErr> {
        if is_null(self.row, self.next)? {
            self.next += 1;
            return Ok(None);
        }
        self.value().map(Some)
    }
}

fn is_null(row: &QueryResult, place: usize) -> Result<bool, DbErr> {
    let is_null = match (row.try_as_pg_row(), row.try_as_sqlite_row()) {
        (Some(row), _) => row.try_get_raw(place).map(|value| value.is_null()),
        (_, Some(row)) => row.try_get_raw(place).map(|value| value.is_null()),
        (None, None) => Ok(false),
    };
    is_null.map_err(|error| DbErr::Query(sea_orm::RuntimeErr::SqlxError(error.into())))
}

#[cfg(test)]
mod tests {
    use sea_orm::{IdenStatic as _, Iterable as _};

    use super::*;
    use crate::data::entity::{comment, item, tag, team, user};

    /// Two columns of one type in the wrong order would be read as each other.
    fn reads_its_columns_in_order<E: Decode>() {
        let columns: Vec<_> = E::Column::iter().map(|column| column.as_str()).collect();
        assert_eq!(E::COLUMNS, columns, "{}", E::default().as_str());
    }

    #[test]
    fn columns_are_read_in_the_order_in_which_they_are_selected() {
        reads_its_columns_in_order::<comment::Entity>();
        reads_its_columns_in_order::<item::Entity>();
        reads_its_columns_in_order::<tag::Entity>();
        reads_its_columns_in_order::<team::Entity>();
        reads_its_columns_in_order::<user::Entity>();
    }
}
