//! What an operation costs, in points: at most, before it runs (static), and really, from what its answer holds (actual).
//!
//! | what | static | actual |
//! |---|---|---|
//! | object | 1 + below | 1 + below; 1 when null |
//! | plain list | 1 + 2 × (1 + below) | 1 + each (1 + below) |
//! | `nodes(ids:)` | ids × (1 + below) | each (1 + below), 1 for a null |
//! | connection | 1 + page size × (1 + below), `totalCount` | 1 + each node (1 + below), `totalCount` |
//! | `sync` | 1 + `first` × (1 + below); the same without `nodes` | 1 + each node (1 + below); without `nodes` the static |
//! | `totalCount` | 10; 1 where it is kept with the parent | the same |
//! | introspection | 10 | 10 |
//! | scalar, enum, `pageInfo` | 0 | 0 |
//!
//! The gate's walk makes [`Prices`]: a tree of the selected objects alone, so that pricing an answer doesn't look at its
//! scalars. What is not in the answer (`@skip`, another type's fragment) costs nothing.

use async_graphql::{Name, Response, ServerError, Value, indexmap::IndexMap};
use serde_json::json;

use super::error::code_of;
use crate::error::{Code, Refusal};

/// Price of a `totalCount` that has to be counted.
const COUNT_PRICE: u64 = 10;
/// Price of an introspection, whatever it selects.
const INTROSPECTION_PRICE: u64 = 10;
/// Counts that items keep: cheap to ask for.
const KEPT_COUNTS: &[(&str, &str)] = &[("Item", "comments"), ("Item", "subtasks")];

/// Price of the `totalCount` of the connection `field` of the type `parent`.
pub fn count_price(parent: &str, field: &str) -> u64 {
    if KEPT_COUNTS.contains(&(parent, field)) { 1 } else { COUNT_PRICE }
}

/// Prices of the objects that a selection asks for.
#[derive(Clone, Debug, Default)]
pub struct Prices(Vec<Price>);

/// The price of a selected field with all below it.
#[derive(Clone, Debug)]
pub struct Price {
    /// Where the answer has it.
    key: Name,
    shape: Shape,
    /// Static points; of [`Shape::Nodes`] and [`Shape::Edges`] those of one node.
    total: u64,
    below: Prices,
}

/// What a field answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Object,
    List,
    /// A list of as many objects as the arguments name.
    Named(u64),
    /// With its page size, and the price of its `totalCount`.
    Connection {
        size: u64,
        count: u64,
    },
    /// A page of as many objects at most; its `nodes` are `Named(1)`.
    Sync(u64),
    /// The parts of a connection; the connection multiplies the nodes and prices the count.
    Nodes,
    Edges,
    Count,
    Page,
    Introspection,
}

impl Shape {
    /// Whether this part of a connection needs its page; of which only the count is asked, the list itself doesn't run.
    const fn is_of_page(self) -> bool {
        matches!(self, Self::Nodes | Self::Edges | Self::Page)
    }
}

impl Prices {
    pub fn add(&mut self, price: Price) {
        self.0.push(price);
    }

    /// Static points.
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, price| sum.saturating_add(price.total))
    }

    /// The way to the dearest part, by the answer's names: `items.nodes.comments`.
    pub fn dearest_path(&self) -> String {
        let mut path = String::new();
        let mut here = self;
        // The first of several equally dear ones.
        while let Some(price) = here.0.iter().rev().max_by_key(|price| price.total).filter(|price| price.total > 0) {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(price.key.as_str());
            here = &price.below;
        }
        path
    }

    /// QUERY_TOO_COMPLEX: it costs more than one operation may.
    pub fn too_dear(&self, limit: u64) -> Refusal {
        let (cost, path) = (self.total(), self.dearest_path());
        let message = format!("The operation costs {cost} points of at most {limit}; the dearest part is {path}.");
        Refusal::new(Code::QueryTooComplex, message)
            .details(json!({ "cost": cost, "limit": limit, "dearestPath": path }))
    }

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

    fn of(&self, fields: &IndexMap<Name, Value>, failed: bool) -> u64 {
        self.0.iter().filter_map(|price| Some(price.actual(fields.get(&price.key)?, failed))).sum()
    }
}

impl Price {
    pub fn new(key: Name, shape: Shape, below: Prices) -> Self {
        let object = below.total().saturating_add(1);
        let total = match shape {
            Shape::Object | Shape::Nodes => object,
            Shape::List => object.saturating_mul(2).saturating_add(1),
            Shape::Named(count) => object.saturating_mul(count),
            Shape::Connection { size, count } => {
                let has_page = below.0.iter().any(|part| part.shape.is_of_page());
                let has_count = below.0.iter().any(|part| part.shape == Shape::Count);
                let page = if has_page { below.total().saturating_mul(size).saturating_add(1) } else { 0 };
                page.saturating_add(if has_count { count } else { 0 })
            }
            // What has changed is looked up even if its nodes are not asked for.
            Shape::Sync(size) => below.total().max(1).saturating_mul(size).saturating_add(1),
            Shape::Edges => below.total(),
            Shape::Count | Shape::Page => 0,
            Shape::Introspection => INTROSPECTION_PRICE,
        };
        Self { key, shape, total, below }
    }

    fn actual(&self, value: &Value, failed: bool) -> u64 {
        match (self.shape, value) {
            (Shape::Introspection, _) => self.total,
            (_, Value::Null) => {
                if failed {
                    self.total
                } else {
                    1
                }
            }
            (Shape::Connection { size, count }, Value::Object(parts)) => self.connection(parts, size, count, failed),
            (Shape::List, Value::List(items)) => 1 + self.each(items, failed),
            (Shape::Named(_), Value::List(items)) => self.each(items, failed),
            (Shape::Sync(_), Value::Object(parts)) if !self.below.0.is_empty() => 1 + self.below.of(parts, failed),
            (Shape::Object, Value::Object(fields)) => 1 + self.below.of(fields, failed),
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
        for part in &self.below.0 {
            let Some(value) = parts.get(&part.key) else { continue };
            match (part.shape, value) {
                (Shape::Count, _) => counted = count,
                (_, Value::List(items)) => nodes += part.each(items, failed),
                (_, Value::Null) if failed => nodes += part.total.saturating_mul(size),
                _ => {}
            }
            if part.shape.is_of_page() {
                page = 1;
            }
        }
        page + nodes + counted
    }
}
