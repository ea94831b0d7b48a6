//! Keyset paging, over an organization's rows or a person's own: total orders, opaque cursors, never OFFSET.
//!
//! A cursor holds the values that the order compares, the id last, and a fingerprint of order and filter, so that using
//! it with another list fails loudly. It also carries the instant at which relative times were resolved, so that a
//! filter such as "of the last week" does not drift between pages.

mod children;
mod cursor;
mod order;
mod referred;

use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::DateTime;
use sea_orm::{
    Condition, ConnectionTrait as _, EntityTrait, Iterable as _, ModelTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait as _, Select, Value,
};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

pub use self::{
    children::ParentKey,
    referred::{Links, Referred},
};
use self::{
    cursor::{TIMELESS, decode, encode, from_json, to_json},
    referred::Selected,
};
use super::{
    Connections, Db, OrgScope, fail,
    ordered_link::{self, OrderedLink},
    scope::decoded,
};
use crate::{
    base::{
        clock::{Clock, Instant, in_calendar},
        error::{Code, Refusal, Result},
    },
    data::entity::{Decode, Global, Tenant},
};

/// Nodes of a page when the caller doesn't say.
pub const DEFAULT_PAGE: u64 = 20;
/// Nodes of a page at most.
pub const MAX_PAGE: u64 = 100;

/// Objects of a page of `sync` when the caller doesn't say.
pub const DEFAULT_SYNC_PAGE: u16 = 200;
/// Objects of a page of `sync` at most.
pub const MAX_SYNC_PAGE: u16 = 500;

/// `first`, `after`, `last`, `before` as the caller gave them.
#[derive(Clone, Debug, Default)]
pub struct PageArgs {
    pub first: Option<i32>,
    pub after: Option<String>,
    pub last: Option<i32>,
    pub before: Option<String>,
}

impl PageArgs {
    pub fn forward(first: Option<i32>, after: Option<String>) -> Self {
        Self { first, after, ..Self::default() }
    }

    /// The rows this page can hold; also what it costs.
    pub fn limit(&self) -> Result<u64> {
        let asked = match (self.first, self.last) {
            (Some(_), Some(_)) => {
                return Err(Refusal::bad_request("Give `first` or `last`, not both.").into());
            }
            (Some(first), None) => first,
            (None, Some(last)) => last,
            (None, None) => return Ok(DEFAULT_PAGE),
        };
        match u64::try_from(asked) {
            Ok(limit @ 0..=MAX_PAGE) => Ok(limit),
            _ => Err(Refusal::bad_request(format!("A page has 0 to {MAX_PAGE} nodes.")).into()),
        }
    }

    fn cursor(&self) -> Result<Option<&str>> {
        match (&self.after, &self.before, self.last.is_some()) {
            (Some(_), Some(_), _) => Err(Refusal::bad_request("Give `after` or `before`, not both.").into()),
            (Some(_), None, true) => Err(Refusal::bad_request("`after` goes with `first`.").into()),
            (None, Some(_), false) => Err(Refusal::bad_request("`before` goes with `last`.").into()),
            (after, before, _) => Ok(after.as_deref().or(before.as_deref())),
        }
    }
}

/// One column of an order.
#[derive(Clone, Copy, Debug)]
pub struct Key<C> {
    pub column: C,
    pub descending: bool,
    /// Where rows without a value go; of no matter for columns that always have one.
    pub nulls_first: bool,
}

impl<C> Key<C> {
    pub fn asc(column: C) -> Self {
        Self { column, descending: false, nulls_first: false }
    }

    pub fn desc(column: C) -> Self {
        Self { column, descending: true, nulls_first: false }
    }
}

/// The first half of a page: its cursor read, so that `now` is known before the filter is resolved.
#[derive(Clone, Debug)]
pub struct PageStart {
    limit: u64,
    backward: bool,
    fingerprint: u64,
    position: Option<Vec<Json>>,
    /// Relative times of the filter are relative to this.
    pub now: Instant,
    /// Whether the filter has relative times: the cursors then carry `now`, so that the following pages mean the same.
    /// Without, the same page has the same cursors whenever it is read.
    pub depends_on_time: bool,
}

impl PageStart {
    /// `list` is whatever decides its content and order: its name, filter, order, scope. Cursors are worth what it is: it
    /// stays the same from release to release.
    pub fn read(args: &PageArgs, list: &str, clock: &Clock) -> Result<Self> {
        let fingerprint = Sha256::digest(list).iter().take(8).fold(0, |bits, byte| (bits << 8) | u64::from(*byte));
        let limit = args.limit()?;
        let (position, now) = match args.cursor()? {
            None => (None, clock.now()),
            Some(text) => {
                let cursor = decode(text).filter(|cursor| cursor.0 == fingerprint).ok_or_else(invalid_cursor)?;
                let now = match cursor.1 {
                    TIMELESS => clock.now(),
                    millis => DateTime::from_timestamp_millis(millis)
                        .filter(|now| in_calendar(*now))
                        .ok_or_else(invalid_cursor)?,
                };
                (Some(cursor.2), now)
            }
        };
        Ok(Self { limit, backward: args.last.is_some(), fingerprint, position, now, depends_on_time: false })
    }

    /// The whole plan. `id` breaks ties in the direction of the last key.
    pub fn plan<E: EntityTrait>(
        self,
        condition: Condition,
        mut keys: Vec<Key<E::Column>>,
        id: E::Column,
        wants: Wants,
    ) -> Result<PagePlan<E>> {
        let descending = keys.last().is_some_and(|key| key.descending);
        keys.push(Key { column: id, descending, nulls_first: false });
        let position = match self.position {
            None => None,
            Some(values) if values.len() == keys.len() => Some(
                keys.iter()
                    .zip(values)
                    .map(|(key, value)| from_json(key.column, &value).ok_or_else(invalid_cursor))
                    .collect::<Result<Vec<_>, Refusal>>()?,
            ),
            Some(_) => return Err(invalid_cursor().into()),
        };
        Ok(PagePlan {
            condition,
            keys,
            limit: self.limit,
            backward: self.backward,
            links: Vec::new(),
            position,
            fingerprint: self.fingerprint,
            now: if self.depends_on_time { self.now.timestamp_millis() } else { TIMELESS },
            wants,
            referring: None,
        })
    }
}

fn invalid_cursor() -> Refusal {
    Refusal::new(Code::InvalidCursor, "The cursor belongs to another list, order or filter.")
}

/// Everything a page's statement needs, except whose children it lists.
#[derive(Clone, Debug)]
pub struct PagePlan<E: EntityTrait> {
    condition: Condition,
    keys: Vec<Key<E::Column>>,
    /// Each of them must lead to the row; the first gives the order.
    links: Vec<OrderedLink>,
    limit: u64,
    backward: bool,
    position: Option<Vec<Value>>,
    fingerprint: u64,
    /// For the cursors, in milliseconds of Unix time, or [`TIMELESS`].
    now: i64,
    wants: Wants,
    referring: Option<Selected>,
}

/// What of a page is asked for: the list itself doesn't run for its total alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wants {
    pub rows: bool,
    pub total: bool,
    /// The cursor of each row, and not those of the first and the last alone.
    pub cursors: bool,
}

/// Rows with their cursors.
#[derive(Clone, Debug)]
pub struct Page<M> {
    pub rows: Vec<M>,
    /// Of each row, or of the first and the last alone: see [`Wants::cursors`].
    pub cursors: Vec<Option<String>>,
    pub has_next: bool,
    pub has_previous: bool,
    /// Counted only when asked for.
    pub total: Option<u64>,
    /// What the rows refer to, where [`PagePlan::referring`] asked for it.
    pub referred: Referred,
}

impl<M> Default for Page<M> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            cursors: Vec::new(),
            has_next: false,
            has_previous: false,
            total: Some(0),
            referred: Referred::default(),
        }
    }
}

impl<E: Tenant> PagePlan<E> {
    /// Distinguishes plans that may share a statement from those that may not.
    pub fn group(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, self.limit, self.backward, self.wants, self.referring.is_some()).hash(&mut hasher);
        format!("{:?}", self.position).hash(&mut hasher);
        hasher.finish()
    }

    /// Reads the list, which [`Self::fetch`] gives, in the order of tables that link its rows to something: each of them
    /// leads to a row at most once, and repeats the list's keys.
    pub fn through(mut self, links: Vec<OrderedLink>) -> Self {
        self.links = links;
        self
    }

    /// One page of the organization's rows: one statement, two with the total.
    pub async fn fetch(&self, scope: &OrgScope) -> Result<Page<E::Model>> {
        let (connection, organization, select) = scope.find::<E>().filter(self.condition.clone()).into_parts();
        self.fetch_from(connection, ordered_link::join(&self.links, select, organization)).await
    }
}

impl<E: Global> PagePlan<E> {
    /// One page of rows that no organization owns; the plan's condition says whose they are.
    pub async fn fetch_global(&self, db: &Db) -> Result<Page<E::Model>> {
        self.fetch_from(db.reader(), db.find::<E>().filter(self.condition.clone())).await
    }
}

impl<E: Decode<Model: Send + Sync>> PagePlan<E> {
    async fn fetch_from(&self, connection: &Connections, select: Select<E>) -> Result<Page<E::Model>> {
        let total = match self.wants.total {
            true => Some(select.clone().count(connection).await.map_err(fail)?),
            false => None,
        };
        if !self.wants.rows {
            return Ok(Page { total, ..Page::default() });
        }
        let mut page = select;
        if let Some(position) = &self.position {
            page = page.filter(self.after(position));
        }
        for (column, order, nulls) in self.order() {
            page = match nulls {
                Some(nulls) => page.order_by_with_nulls(column, order, nulls),
                None => page.order_by(column, order),
            };
        }
        page = page.limit(self.limit + 1);
        let Some(referring) = &self.referring else {
            return Ok(self.page(decoded(connection, page).await?, total));
        };
        let found = connection.query_all(referring.add_to(page).as_query()).await.map_err(fail)?;
        let (mut rows, mut links) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
        for row in &found {
            rows.push(E::decode(row, "", 0).map_err(fail)?);
            links.push(referring.links::<E>(row).map_err(fail)?);
        }
        let version = found.first().map(|row| referred::version(row, E::Column::iter().count()));
        let version = version.transpose().map_err(fail)?.unwrap_or_default();
        let referred = Referred { version, links: self.shown(links) };
        Ok(Page { referred, ..self.page(rows, total) })
    }

    /// Of what was read, one more than the page holds: what it shows, in its order.
    fn shown<T>(&self, mut read: Vec<T>) -> Vec<T> {
        read.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        if self.backward {
            read.reverse();
        }
        read
    }

    fn page(&self, rows: Vec<E::Model>, total: Option<u64>) -> Page<E::Model> {
        let more = rows.len() > usize::try_from(self.limit).unwrap_or(usize::MAX);
        let rows = self.shown(rows);
        let is_shown = |place: usize| self.wants.cursors || place == 0 || place + 1 == rows.len();
        let cursors = rows.iter().enumerate().map(|(place, row)| is_shown(place).then(|| self.cursor(row))).collect();
        let beyond = self.position.is_some();
        let (has_next, has_previous) = if self.backward { (beyond, more) } else { (more, beyond) };
        Page { rows, cursors, has_next, has_previous, total, referred: Referred::default() }
    }

    fn cursor(&self, row: &E::Model) -> String {
        let values: Vec<Json> = self.keys.iter().map(|key| to_json(&row.get(key.column))).collect();
        encode(&(self.fingerprint, self.now, values))
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::prelude::Uuid;

    use super::*;
    use crate::data::entity::item;

    #[test]
    fn a_cursor_is_of_its_list_alone() {
        let clock = Clock::system();
        let plan = |args: &PageArgs, list: &str| {
            let wants = Wants { rows: true, total: false, cursors: true };
            let keys = vec![Key::asc(item::Column::Number)];
            PageStart::read(args, list, &clock)?.plan::<item::Entity>(Condition::all(), keys, item::Column::Id, wants)
        };
        let made = plan(&PageArgs::default(), "one").expect("a plan");
        let values = [Value::from(7_i64), Value::Uuid(Some(Uuid::nil()))];
        let values = values.iter().map(to_json).collect();
        let cursor = encode(&(made.fingerprint, made.now, values));
        let next = PageArgs::forward(None, Some(cursor));
        assert!(plan(&next, "one").is_ok());
        assert!(plan(&next, "another").is_err());
        assert!(plan(&PageArgs::forward(None, Some("%".to_owned())), "one").is_err());
    }
}
