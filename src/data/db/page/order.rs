//! The order of a page, and what comes after a position in it.

use sea_orm::{
    Condition, EntityTrait, Order, Value,
    prelude::{ColumnTrait, Expr},
    sea_query::{ExprTrait as _, NullOrdering, SimpleExpr},
};

use super::PagePlan;

impl<E: EntityTrait> PagePlan<E> {
    /// The order in which the database must give the rows: reversed when paging backward.
    pub(super) fn order(&self) -> impl Iterator<Item = (SimpleExpr, Order, Option<NullOrdering>)> + '_ {
        let first = self.links.first();
        self.keys.iter().enumerate().map(move |(place, key)| {
            let order = if key.descending ^ self.backward { Order::Desc } else { Order::Asc };
            let nulls = match key.nulls_first ^ self.backward {
                true => NullOrdering::First,
                false => NullOrdering::Last,
            };
            let nulls = Some(nulls).filter(|_| key.column.def().is_null());
            let column = first.map_or_else(|| Expr::col(key.column.as_column_ref()), |link| link.key(place));
            (column, order, nulls)
        })
    }

    /// Rows after `position` in that order: for some key greater, all keys before it equal.
    pub(super) fn after(&self, position: &[Value]) -> Condition {
        let mut any = Condition::any();
        let mut equal = Condition::all();
        for ((column, order, nulls), value) in self.order().zip(position) {
            let is_null = is_null(value);
            let greater = match (order, is_null) {
                (Order::Desc, false) => Some(column.clone().lt(value.clone()).into_condition_any()),
                (_, false) => Some(column.clone().gt(value.clone()).into_condition_any()),
                (_, true) => None,
            };
            let beyond = match (greater, nulls) {
                (Some(greater), Some(NullOrdering::Last)) => Some(greater.add(column.clone().is_null())),
                (Some(greater), _) => Some(greater),
                (None, Some(NullOrdering::First)) => Some(Condition::any().add(column.clone().is_not_null())),
                (None, _) => None,
            };
            if let Some(beyond) = beyond {
                any = any.add(equal.clone().add(beyond));
            }
            equal = equal.add(if is_null { column.is_null() } else { column.eq(value.clone()) });
        }
        // A bound on the first key alone, implied by the rest, lets the index start at the right place; so does one on
        // its copy in each other link.
        let mut condition = Condition::all().add(any);
        if let (Some((column, order, None)), Some(value)) = (self.order().next(), position.first()) {
            let copies = self.links.iter().skip(1).map(|link| link.key(0));
            for column in std::iter::once(column).chain(copies) {
                condition = condition.add(match order {
                    Order::Desc => column.lte(value.clone()),
                    _ => column.gte(value.clone()),
                });
            }
        }
        condition
    }
}

trait IntoConditionAny {
    fn into_condition_any(self) -> Condition;
}

impl IntoConditionAny for sea_orm::sea_query::SimpleExpr {
    fn into_condition_any(self) -> Condition {
        Condition::any().add(self)
    }
}

fn is_null(value: &Value) -> bool {
    matches!(
        value,
        Value::SmallInt(None)
            | Value::Int(None)
            | Value::BigInt(None)
            | Value::Double(None)
            | Value::String(None)
            | Value::Uuid(None)
            | Value::ChronoDateTimeUtc(None)
    )
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::{Query, SqliteQueryBuilder};

    use super::*;
    use crate::{
        base::clock::Clock,
        data::{
            db::page::{Key, PageArgs, PageStart, Wants},
            entity::item,
        },
    };

    /// A page of items after a position, as its condition and order are sent.
    fn statement(keys: Vec<Key<item::Column>>, is_backward: bool, position: Vec<Value>) -> (String, String) {
        let args = PageArgs { last: is_backward.then_some(2), ..PageArgs::default() };
        let start = PageStart::read(&args, "items", &Clock::system()).expect("arguments of a page");
        let wants = Wants { rows: true, total: false, cursors: true };
        let mut plan = start.plan::<item::Entity>(Condition::all(), keys, item::Column::Id, wants).expect("a plan");
        plan.position = Some(position);
        let mut query = Query::select();
        query
            .expr(Expr::val(1))
            .from(item::Entity)
            .cond_where(plan.after(plan.position.as_deref().unwrap_or_default()));
        let sql = query.to_string(SqliteQueryBuilder).replace("\"item\".", "").replace('"', "");
        let condition = sql.split_once(" WHERE ").map(|(_, condition)| condition.to_owned()).unwrap_or_default();
        let name = |column| {
            let sql = Query::select().expr(column).to_string(SqliteQueryBuilder);
            sql.replace("SELECT \"item\".", "").replace('"', "")
        };
        let order = plan
            .order()
            .map(|(column, order, nulls)| format!("{} {order:?} {nulls:?}", name(column)))
            .collect::<Vec<_>>();
        (condition, order.join(", "))
    }

    fn number(value: i64) -> Value {
        value.into()
    }

    #[test]
    fn after_a_position_is_greater_in_some_key_and_equal_before_it() {
        let keys = || vec![Key::asc(item::Column::Priority), Key::desc(item::Column::Number)];
        let (condition, order) = statement(keys(), false, vec![number(1), number(2), number(3)]);
        assert_eq!(
            condition,
            "(priority > 1 OR (priority = 1 AND number < 2) OR (priority = 1 AND number = 2 AND id < 3)) AND priority >= 1"
        );
        assert_eq!(order, "priority Asc None, number Desc None, id Desc None");
        // Backward everything is the other way round, and the page is turned afterwards.
        let (condition, order) = statement(keys(), true, vec![number(1), number(2), number(3)]);
        assert_eq!(
            condition,
            "(priority < 1 OR (priority = 1 AND number > 2) OR (priority = 1 AND number = 2 AND id > 3)) AND priority <= 1"
        );
        assert_eq!(order, "priority Desc None, number Asc None, id Asc None");
    }

    #[test]
    fn rows_without_a_value_have_their_place_on_both_sides() {
        let due = |nulls_first| vec![Key { column: item::Column::DueAt, descending: false, nulls_first }];
        let null = || Value::ChronoDateTimeUtc(None);
        let last = statement(due(false), false, vec![number(5), number(9)]).0;
        assert_eq!(last, "due_at > 5 OR due_at IS NULL OR (due_at = 5 AND id > 9)");
        let within_the_last = statement(due(false), false, vec![null(), number(9)]).0;
        assert_eq!(within_the_last, "due_at IS NULL AND id > 9");
        let first = statement(due(true), false, vec![number(5), number(9)]).0;
        assert_eq!(first, "due_at > 5 OR (due_at = 5 AND id > 9)");
        let within_the_first = statement(due(true), false, vec![null(), number(9)]).0;
        assert_eq!(within_the_first, "due_at IS NOT NULL OR (due_at IS NULL AND id > 9)");
    }
}
