//! What an answer really cost, by the objects that are in it.

use async_graphql::{Name, Response, ServerError, Value, indexmap::IndexMap};

use super::{Price, Prices, Shape};
use crate::{base::error::Code, graphql::error::code_of};

impl Prices {
    /// Points that an answer really cost, at most the static ones. Of an answer with errors a null counts in full: what
    /// ran before the error can't be seen, and must not be had for nothing. Nothing ran for a caller who is nobody.
    pub fn actual(&self, answer: &Response) -> u64 {
        let ran = |error: &ServerError| code_of(error) != Some(Code::Unauthenticated.as_str());
        let failed = answer.errors.iter().any(ran);
        match &answer.data {
            Value::Object(fields) => self.of(fields, failed).min(self.total()),
            // A failed validation has no place in the answer.
            _ if failed && answer.errors.iter().any(|error| !error.path.is_empty()) => self.total(),
            _ => 0,
        }
    }

    /// Points that the objects of an answer cost, however many they are.
    pub fn of_answer(&self, answer: &Response) -> u64 {
        match &answer.data {
            Value::Object(fields) => self.of(fields, false),
            _ => 0,
        }
    }

    fn of(&self, fields: &IndexMap<Name, Value>, failed: bool) -> u64 {
        let parts = self.parts.iter().filter_map(|price| Some(price.actual(fields.get(&price.key)?, failed)));
        parts.sum::<u64>() + self.surcharge()
    }
}

impl Price {
    fn actual(&self, value: &Value, failed: bool) -> u64 {
        match (self.shape, value) {
            (Shape::Introspection(_), _) => self.total,
            (_, Value::Null) => {
                if failed {
                    self.total
                } else {
                    1 + self.own
                }
            }
            (Shape::Connection { size, count }, Value::Object(parts)) => self.connection(parts, size, count, failed),
            (Shape::List, Value::List(items)) => 1 + self.own + self.each(items, failed),
            (Shape::Named(_), Value::List(items)) => self.own + self.each(items, failed),
            (Shape::Sync(_), Value::Object(parts)) if !self.below.parts.is_empty() => 1 + self.below.of(parts, failed),
            (Shape::Object, Value::Object(fields)) => 1 + self.own + self.below.of(fields, failed),
            _ => self.total,
        }
    }

    /// Objects of a list; an edge is free, its node is below.
    fn each(&self, items: &[Value], failed: bool) -> u64 {
        let own = u64::from(self.shape != Shape::Edges);
        let of = |item: &Value| match item {
            Value::Object(fields) => own + self.below.of(fields, failed),
            _ if failed => own + self.below.total(),
            _ => own,
        };
        items.iter().map(of).sum()
    }

    fn connection(&self, parts: &IndexMap<Name, Value>, size: u64, count: u64, failed: bool) -> u64 {
        let (mut nodes, mut page, mut counted) = (0, 0, 0);
        for part in &self.below.parts {
            let Some(value) = parts.get(&part.key) else { continue };
            match (part.shape, value) {
                (Shape::Count, _) => counted = count + self.own,
                (_, Value::List(items)) => nodes += part.each(items, failed),
                (_, Value::Null) if failed => nodes += part.total.saturating_mul(size),
                _ => {}
            }
            if part.shape.is_of_page() {
                page = 1 + self.own;
            }
        }
        page + nodes + counted
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;
    use crate::api::cost::{COUNT_PRICE, tests::board};

    #[test]
    fn an_answer_costs_what_is_in_it() {
        let answer = |data: Value| Response::new(data);
        let full = value!({"items": {"nodes": [{"team": {"id": "1"}, "tags": [{"id": "1"}]}, {"team": null, "tags": []}],
            "totalCount": 2}});
        // The page 1; a node 1 with its team 1, its list 1, its tag 1; a node 1 with null 1 and an empty list 1; the total.
        assert_eq!(board().actual(&answer(full)), 1 + 4 + 3 + COUNT_PRICE);
        assert_eq!(board().actual(&answer(value!({"items": {"nodes": [], "totalCount": 0}}))), 1 + COUNT_PRICE);
        assert_eq!(board().actual(&answer(value!({"items": null}))), 1);
        // Skipped, or of another type.
        assert_eq!(board().actual(&answer(value!({}))), 0);
    }

    #[test]
    fn a_null_beside_an_error_costs_all_that_was_asked() {
        let failed = |code: Code| {
            let mut error = ServerError::new("failed", None);
            error.extensions.get_or_insert_default().set("code", code.as_str());
            let mut response = Response::new(value!({"items": null}));
            response.errors.push(error);
            response
        };
        assert_eq!(board().actual(&failed(Code::Internal)), board().total());
        // Nothing ran for nobody.
        assert_eq!(board().actual(&failed(Code::Unauthenticated)), 1);
    }
}
