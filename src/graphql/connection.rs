//! Connections: the one shape of every unbounded list.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use async_graphql::{ContainerType, Context, InputType, Object, OutputType, SimpleObject, TypeName, Value};
use serde_json::Value as Json;

use super::{objects::Objects, scalars::Cursor};
use crate::{
    base::error::{Error, Result},
    data::db::page::{Page, PageArgs, Wants},
};

/// A list's name with the arguments that decide its content and order, as cursors know it. What is null or left out says
/// nothing, and the order of an input's fields doesn't matter: so cursors live on when a filter gets a new field.
pub fn list_with(list: &str, arguments: impl IntoIterator<Item = Value>) -> String {
    let arguments: Vec<Json> = arguments.into_iter().map(canonical).collect();
    format!("{list} {}", Json::from(arguments))
}

/// The same of a list that has a filter alone.
pub fn list_filtered(list: &str, filter: Option<&impl InputType>) -> String {
    list_with(list, filter.map(InputType::to_value))
}

fn canonical(value: Value) -> Json {
    match value {
        Value::Object(fields) => {
            let given = fields.into_iter().filter(|(_, value)| *value != Value::Null);
            let sorted: BTreeMap<String, Json> =
                given.map(|(name, value)| (name.to_string(), canonical(value))).collect();
            sorted.into_iter().collect()
        }
        Value::List(values) => values.into_iter().map(canonical).collect(),
        other => other.into_json().unwrap_or_default(),
    }
}

/// Where a page is within its list.
#[derive(SimpleObject, Clone, Debug)]
pub struct PageInfo {
    /// Whether anything comes after this page.
    #[graphql(tag = "of-ledger")]
    pub has_next_page: bool,
    /// Whether anything comes before this page.
    #[graphql(tag = "of-ledger")]
    pub has_previous_page: bool,
    /// Of the first entry; null for an empty page. `before` it is the page before.
    #[graphql(tag = "of-ledger")]
    pub start_cursor: Option<Cursor>,
    /// Of the last entry; null for an empty page. `after` it is the next page.
    #[graphql(tag = "of-ledger")]
    pub end_cursor: Option<Cursor>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Connection<T> {
    nodes: Vec<Arc<T>>,
    cursors: Vec<Option<String>>,
    has_next: bool,
    has_previous: bool,
    total: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Edge<T> {
    cursor: Option<String>,
    node: Arc<T>,
}

impl<T> Connection<T> {
    /// A page of rows, each wrapped.
    pub fn new<M>(page: Page<M>, wrap: impl FnMut(M) -> T) -> Self {
        Self {
            nodes: page.rows.into_iter().map(wrap).map(Arc::new).collect(),
            cursors: page.cursors,
            has_next: page.has_next,
            has_previous: page.has_previous,
            total: page.total,
        }
    }

    /// A list that is empty whoever asks.
    pub fn empty() -> Self {
        Self::new(Page::<T>::default(), |node| node)
    }
}

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

/// One page of a list, by the Relay specification of connections.
#[Object(name_type)]
impl<T: ContainerType> Connection<T> {
    /// What the page holds, in the list's order.
    #[graphql(tag = "of-ledger")]
    async fn nodes(&self) -> Objects<'_, T> {
        Objects::Of(self.nodes.iter().map(|node| &**node).collect())
    }

    /// The same with the cursor of each.
    #[graphql(tag = "of-ledger")]
    async fn edges(&self) -> Objects<'_, Edge<T>> {
        let edge = |(node, cursor): (&Arc<T>, &Option<String>)| Edge { cursor: cursor.clone(), node: node.clone() };
        Objects::Own(self.nodes.iter().zip(&self.cursors).map(edge).collect())
    }

    /// Whether there are more, and the cursors to ask for them.
    #[graphql(tag = "of-ledger")]
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: self.cursors.first().cloned().flatten().map(Cursor),
            end_cursor: self.cursors.last().cloned().flatten().map(Cursor),
        }
    }

    /// Exact; counted only when selected, and priced.
    #[graphql(tag = "of-ledger")]
    async fn total_count(&self) -> Result<i32> {
        let total = self.total.ok_or_else(|| Error::internal("totalCount was selected but not counted"))?;
        i32::try_from(total).map_err(Error::internal)
    }
}

impl<T: OutputType> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

/// One entry of a page.
#[Object(name_type)]
impl<T: ContainerType> Edge<T> {
    /// Its place in the list, for `after` and `before`; good for the same order and filter alone.
    #[graphql(tag = "of-ledger")]
    async fn cursor(&self) -> Result<Cursor> {
        let cursor = self.cursor.clone();
        cursor.map(Cursor).ok_or_else(|| Error::internal("a cursor was selected but not made"))
    }

    /// What it is the place of.
    #[graphql(tag = "of-ledger")]
    async fn node(&self) -> &T {
        &self.node
    }
}

/// The four paging arguments of a field.
pub fn page_args(first: Option<i32>, after: Option<Cursor>, last: Option<i32>, before: Option<Cursor>) -> PageArgs {
    PageArgs { first, after: after.map(|cursor| cursor.0), last, before: before.map(|cursor| cursor.0) }
}

/// What the connection being resolved is asked for.
pub fn wants(ctx: &Context<'_>) -> Wants {
    let asked = |field: &str| ctx.look_ahead().field(field).exists();
    Wants {
        rows: ["nodes", "edges", "pageInfo"].into_iter().any(asked),
        total: asked("totalCount"),
        cursors: ctx.look_ahead().field("edges").field("cursor").exists(),
    }
}

/// Whether a field of its nodes is asked of the connection being resolved.
pub fn asks_of_nodes(ctx: &Context<'_>, field: &str) -> bool {
    let look = ctx.look_ahead();
    look.field("nodes").field(field).exists() || look.field("edges").field("node").field(field).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_known_by_what_is_asked_of_it_alone() {
        let list = |text: &str| list_with("items", [Value::from_json(text.parse().expect("JSON")).expect("a value")]);
        let before = list(r#"{"status": {"eq": "DONE"}, "title": {"in": ["a", "b"]}}"#);
        assert_eq!(before, r#"items [{"status":{"eq":"DONE"},"title":{"in":["a","b"]}}]"#);
        assert_eq!(list(r#"{"new": null, "title": {"in": ["a", "b"], "eq": null}, "status": {"eq": "DONE"}}"#), before);
        assert_ne!(list(r#"{"status": {"eq": "DONE"}, "title": {"in": ["b", "a"]}}"#), before);
        assert_ne!(list("{}"), list("null"));
    }
}
