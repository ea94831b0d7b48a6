//! What an operation costs, in points: at most, before it runs (static), and really, from what its answer holds (actual).
//!
//! | what | static | actual |
//! |---|---|---|
//! | object | 1 + below | 1 + below; 1 when null |
//! | plain list | 1 + 2 × (1 + below) | 1 + each (1 + below) |
//! | `nodes(ids:)`, `_entities` | what is named × (1 + below) | each (1 + below), 1 for a null |
//! | `results` of a bulk mutation | what it names × (1 + below); nothing where no lists of objects are below | the same of each |
//! | connection | 1 + page size × (1 + below), `totalCount` | 1 + each node (1 + below), `totalCount` |
//! | `search` | 5 + `first` × (1 + below) | 5 + each (1 + below) |
//! | `sync` | 1 + `first` × (1 + below); the same without `nodes` | 1 + each node (1 + below); without `nodes` the static |
//! | `totalCount` | 10; 1 where it is kept with the parent | the same |
//! | introspection, `_service` | 10, and 1 for 150 values that it expands to | the same |
//! | scalar, enum, `pageInfo` | 0; of an object's scalars beyond 50 each 10 | the same |
//! | arguments | [`Weight::points`]; once for the page, once for `totalCount` | the same |
//!
//! Below an object of several possible types, what is asked of the dearest type counts: an object is of one. Below the
//! nodes of `sync`, an object without others in it is free, a plain list of those 1, and 50 of a connection's page 1: that
//! is how a copy refers to what it has anyway. Below `results` an object without others in it and a plain list of those
//! are free: each item is paid for as an argument.
//!
//! What a field answers with is [`Kind::of`], from the schema alone: validation's walk and the directives in the schema
//! (`price_list.rs`) both ask it, so what clients read there is what they pay.
//!
//! Validation's walk makes [`Prices`]: a tree of the selected objects alone, so that pricing an answer doesn't look at its
//! scalars. What is not in the answer (`@skip`, another type's fragment) costs nothing.

mod actual;
pub mod price_list;
mod weight;

use async_graphql::{
    Name,
    registry::{MetaField, MetaType, Registry},
};
use serde_json::json;

pub use self::weight::Weight;
use crate::{
    base::error::{Code, Refusal},
    graphql::{
        field_tags::{KEPT_COUNT, has},
        type_name::bare,
    },
};

/// Price of a plain list itself, and how many objects it is taken to hold.
pub const LIST_PRICE: u64 = 1;
pub const LIST_SIZE: u64 = 2;
/// Price of a `totalCount` that has to be counted.
pub const COUNT_PRICE: u64 = 10;
/// Points of a text comparison in a filter.
pub const CONTAINS_PRICE: u64 = 5;
pub const STARTS_WITH_PRICE: u64 = 2;
/// Objects of a bulk mutation at most.
pub const MAX_RESULTS: u64 = 500;
/// Points of a full text: of a search, and in a filter.
pub const TEXT_PRICE: u64 = 5;
/// Price of an introspection that expands to next to nothing.
const INTROSPECTION_PRICE: u64 = 10;
/// Values that an introspection expands to for a further point.
const INTROSPECTED_PER_POINT: u64 = 150;
/// Nodes of a connection within a copy, without others in them, for a point.
pub const REFERENCES_PER_POINT: u64 = 50;
/// Scalars of one object that are free, and those beyond for a point.
const FREE_LEAVES: u64 = 50;
const LEAVES_PER_POINT: u64 = 10;

/// What a field answers with, as far as the schema says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Scalars and enums, lists of them too: free.
    Leaf,
    Object,
    /// Of objects, without pages.
    List,
    /// `nodes(ids:)`, `_entities(representations:)`: a list of as many objects as the argument names.
    Named,
    /// `search`: a list of as many objects as its argument says.
    Hits,
    /// With the price of its `totalCount`.
    Connection(u64),
    /// The parts of a connection.
    Nodes,
    Edges,
    Count,
    Page,
    Sync,
    /// The page of [`Kind::Sync`].
    SyncNodes,
    /// `results` of a bulk mutation: as many objects as its input names.
    Results,
}

impl Kind {
    /// Of a field of the type `parent`.
    pub fn of(registry: &Registry, parent: &str, field: &MetaField) -> Self {
        let (name, named) = (field.name.as_str(), bare(&field.ty));
        if parent.ends_with("Connection") {
            return match name {
                "nodes" => Self::Nodes,
                "edges" => Self::Edges,
                "totalCount" => Self::Count,
                "pageInfo" => Self::Page,
                _ => Self::Leaf,
            };
        }
        match name {
            _ if named.ends_with("Connection") => {
                Self::Connection(if has(field, KEPT_COUNT) { 1 } else { COUNT_PRICE })
            }
            _ if named == "SyncPage" => Self::Sync,
            _ if named == "SearchHit" => Self::Hits,
            _ if !registry.types.get(named).is_some_and(MetaType::is_composite) => Self::Leaf,
            "nodes" if parent == "SyncPage" => Self::SyncNodes,
            "results" if parent.ends_with("BulkPayload") => Self::Results,
            "nodes" | "_entities" => Self::Named,
            _ if field.ty.starts_with('[') => Self::List,
            _ => Self::Object,
        }
    }
}

/// Prices of the objects that a selection asks for.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    parts: Vec<Price>,
    /// The types that something is asked of alone, with their scalars; `None`: whatever type it is.
    leaves: Vec<(Option<Name>, u64)>,
}

/// The price of a selected field with all below it.
#[derive(Clone, Debug)]
pub struct Price {
    /// Where the answer has it.
    key: Name,
    /// The type that alone has it, of several possible ones.
    on: Option<Name>,
    shape: Shape,
    /// Points of the arguments.
    own: u64,
    /// Static points; of [`Shape::Nodes`] and [`Shape::Edges`] those of one node.
    total: u64,
    below: Prices,
}

/// What a field answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Object,
    List,
    /// In a copy: a plain list of objects without others in them.
    References,
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
    /// With the values that it expands to.
    Introspection(u64),
}

impl Shape {
    /// Whether this part of a connection needs its page; of which only the count is asked, the list itself doesn't run.
    const fn is_of_page(self) -> bool {
        matches!(self, Self::Nodes | Self::Edges | Self::Page)
    }

    /// How often what is below it is priced.
    const fn times(self) -> u64 {
        match self {
            Self::List => LIST_SIZE,
            Self::Named(size) | Self::Sync(size) | Self::Connection { size, .. } => size,
            _ => 1,
        }
    }
}

/// Points of an object's scalars.
const fn surcharge(leaves: u64) -> u64 {
    leaves.saturating_sub(FREE_LEAVES).div_ceil(LEAVES_PER_POINT)
}

impl Prices {
    /// Adds what is asked of the type `on` alone, or of any.
    pub fn add(&mut self, price: Price, on: Option<&str>) {
        self.leaves_on(on);
        self.parts.push(Price { on: on.map(Name::new), ..price });
    }

    /// Adds a scalar.
    pub fn add_leaf(&mut self, on: Option<&str>) {
        *self.leaves_on(on) += 1;
    }

    fn leaves_on(&mut self, on: Option<&str>) -> &mut u64 {
        let place = self.leaves.iter().position(|(of, _)| of.as_deref() == on).unwrap_or_else(|| {
            self.leaves.push((on.map(Name::new), 0));
            self.leaves.len() - 1
        });
        &mut self.leaves[place].1
    }

    /// Whether the object has no others in it.
    pub fn is_plain(&self) -> bool {
        self.parts.is_empty() && self.surcharge() == 0
    }

    /// Whether the nodes of this connection have no other objects in them.
    pub fn has_plain_nodes(&self) -> bool {
        self.parts.iter().all(|part| !matches!(part.shape, Shape::Nodes | Shape::Edges) || part.below.is_plain())
    }

    /// Static points.
    pub fn total(&self) -> u64 {
        let sum = |on: Option<&Name>| {
            let parts = self.parts.iter().filter(|part| part.on.as_ref() == on);
            parts.fold(0_u64, |sum, part| sum.saturating_add(part.total))
        };
        let of_one = self.possible().map(|on| sum(Some(on)).saturating_add(surcharge(self.leaves_of(Some(on)))));
        sum(None).saturating_add(of_one.max().unwrap_or_default().max(surcharge(self.leaves_of(None))))
    }

    /// The types that something is asked of alone.
    fn possible(&self) -> impl Iterator<Item = &Name> {
        self.leaves.iter().filter_map(|(on, _)| on.as_ref())
    }

    /// Scalars of an object of this type.
    fn leaves_of(&self, on: Option<&Name>) -> u64 {
        let counts = self.leaves.iter().filter(|(of, _)| of.is_none() || of.as_ref() == on);
        counts.map(|(_, leaves)| leaves).sum()
    }

    /// Points of the scalars of one object.
    fn surcharge(&self) -> u64 {
        let of_one = self.possible().map(|on| self.leaves_of(Some(on))).max();
        surcharge(of_one.unwrap_or_default().max(self.leaves_of(None)))
    }

    /// The way to the dearest part, by the answer's names: `items.nodes.comments`.
    pub fn dearest_path(&self) -> String {
        let mut path = String::new();
        let mut here = self;
        // The first of several equally dear ones.
        while let Some(price) = here.parts.iter().rev().max_by_key(|price| price.total).filter(|price| price.total > 0)
        {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(price.key.as_str());
            here = &price.below;
        }
        path
    }

    /// The dearest parts, each with all below it for all objects that have it: the way there and its points. No part is
    /// dearer than the one it is in, so the next one is always below those that are taken already.
    pub fn dearest(&self, most: usize) -> Vec<(Vec<&str>, u64)> {
        let mut open: Vec<(Vec<&str>, u64, &Price)> = Vec::new();
        let mut taken = Vec::new();
        let mut below = Some((Vec::new(), 1, self));
        while taken.len() < most {
            if let Some((path, times, prices)) = below.take() {
                for price in prices.parts.iter().filter(|price| price.total > 0) {
                    let path = path.iter().copied().chain([price.key.as_str()]).collect();
                    open.push((path, times, price));
                }
            }
            let points = |(_, times, price): &(Vec<&str>, u64, &Price)| price.total.saturating_mul(*times);
            let Some(place) = (0..open.len()).rev().max_by_key(|place| points(&open[*place])) else { break };
            let (path, times, price) = open.swap_remove(place);
            taken.push((path.clone(), price.total.saturating_mul(times)));
            below = Some((path, times.saturating_mul(price.shape.times()), &price.below));
        }
        taken
    }

    /// QUERY_TOO_COMPLEX: it costs more than one operation may.
    pub fn too_dear(&self, limit: u64, dearest: Dearest) -> Refusal {
        let (cost, path) = (self.total(), dearest.path);
        let message = format!("The operation costs {cost} points of at most {limit}; the dearest part is {path}.");
        Refusal::new(Code::QueryTooComplex, message)
            .details(json!({ "cost": cost, "limit": limit, "dearestPath": path }))
            .about(dearest.coordinate)
    }
}

impl Price {
    pub fn new(key: Name, shape: Shape, arguments: Weight, below: Prices) -> Self {
        let own = arguments.points();
        let object = below.total().saturating_add(1);
        let total = match shape {
            Shape::Object => object.saturating_add(own),
            Shape::Nodes => object,
            Shape::List => object.saturating_mul(LIST_SIZE).saturating_add(LIST_PRICE + own),
            Shape::References => 1,
            Shape::Named(count) => object.saturating_mul(count).saturating_add(own),
            Shape::Connection { size, count } => {
                let has_page = below.parts.iter().any(|part| part.shape.is_of_page());
                let has_count = below.parts.iter().any(|part| part.shape == Shape::Count);
                let page = if has_page { below.total().saturating_mul(size).saturating_add(1 + own) } else { 0 };
                page.saturating_add(if has_count { count + own } else { 0 })
            }
            // What has changed is looked up even if its nodes are not asked for.
            Shape::Sync(size) => below.total().max(1).saturating_mul(size).saturating_add(1),
            Shape::Edges => below.total(),
            Shape::Count | Shape::Page => 0,
            Shape::Introspection(values) => INTROSPECTION_PRICE.saturating_add(values / INTROSPECTED_PER_POINT),
        };
        Self { key, on: None, shape, own, total, below }
    }

    /// What introspection expands to, in values.
    pub fn of_values(key: Name, values: u64) -> Self {
        Self { key, on: None, shape: Shape::Object, own: 0, total: values, below: Prices::default() }
    }
}

/// Where most points of an operation go.
#[derive(Clone, Debug, Default)]
pub struct Dearest {
    /// By the answer's names, `items.nodes.comments`; empty where nothing costs anything.
    pub path: String,
    /// `Item.comments`.
    pub coordinate: Option<String>,
}

#[cfg(test)]
mod tests {

    use super::*;

    fn price(key: &str, shape: Shape, below: Prices) -> Price {
        Price::new(Name::new(key), shape, Weight::default(), below)
    }

    fn prices(parts: impl IntoIterator<Item = Price>) -> Prices {
        let mut prices = Prices::default();
        parts.into_iter().for_each(|part| prices.add(part, None));
        prices
    }

    fn object(key: &str) -> Price {
        price(key, Shape::Object, Prices::default())
    }

    /// `{ items(first: 10) { nodes { team tags } totalCount } }`.
    pub(in crate::api::cost) fn board() -> Prices {
        let node = prices([object("team"), price("tags", Shape::List, Prices::default())]);
        let parts = [price("nodes", Shape::Nodes, node), price("totalCount", Shape::Count, Prices::default())];
        prices([price("items", Shape::Connection { size: 10, count: COUNT_PRICE }, prices(parts))])
    }

    #[test]
    fn what_is_asked_is_priced_as_the_table_says() {
        assert_eq!(prices([object("viewer")]).total(), 1);
        assert_eq!(prices([price("tags", Shape::List, Prices::default())]).total(), 1 + LIST_SIZE);
        assert_eq!(prices([price("nodes", Shape::Named(7), prices([object("team")]))]).total(), 14);
        // A node is 1, its team 1, its tags 3: ten of them, the page itself, the total.
        assert_eq!(board().total(), 10 * 5 + 1 + COUNT_PRICE);
        // The total alone runs no list.
        let count = prices([price("totalCount", Shape::Count, Prices::default())]);
        assert_eq!(prices([price("items", Shape::Connection { size: 100, count: 1 }, count)]).total(), 1);
    }

    #[test]
    fn the_dearest_of_several_types_counts_and_the_first_of_equals_is_named() {
        let mut node = Prices::default();
        node.add(object("author"), Some("Comment"));
        node.add(price("tags", Shape::List, Prices::default()), Some("Item"));
        node.add(object("organization"), None);
        assert_eq!(node.total(), (1 + LIST_SIZE) + 1);
        assert_eq!(prices([object("first"), object("second")]).dearest_path(), "first");
        assert_eq!(board().dearest_path(), "items.nodes.tags");
    }

    #[test]
    fn many_scalars_cost_and_no_price_overflows() {
        let mut wide = Prices::default();
        (0..FREE_LEAVES + LEAVES_PER_POINT + 1).for_each(|_| wide.add_leaf(None));
        assert_eq!(wide.total(), 2);
        let nested = (0..100).fold(Prices::default(), |below, _| prices([price("nodes", Shape::Named(1000), below)]));
        assert_eq!(nested.total(), u64::MAX);
        let arguments = Weight {
            contains: 1,
            texts: 1,
            starts_with: 1,
            conditions: 25,
            values: 250,
            orders: 1,
            objects: 3,
            named: 4,
            entries: 120,
        };
        assert_eq!(arguments.points(), 5 + 5 + 2 + 2 + 2 + 1 + 3 + 4 + 2);
    }
}
