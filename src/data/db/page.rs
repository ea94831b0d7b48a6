//! Keyset paging, over an organization's rows or a person's own: total orders, opaque cursors, never OFFSET.
//!
//! A cursor holds the values that the order compares, the id last, and a fingerprint of order and filter, so that using
//! it with another list fails loudly. It also carries the instant at which relative times were resolved, so that a
//! filter such as "of the last week" does not drift between pages.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use sea_orm::{
    ColumnType, Condition, ConnectionTrait, EntityTrait, Iterable, JoinType, ModelTrait, Order, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, QueryTrait, RelationDef, Select, Value,
    prelude::{ColumnTrait, Expr, Uuid},
    sea_query::{Alias, DynIden, ExprTrait as _, Func, IntoIden, NullOrdering, Query, SimpleExpr, WindowStatement},
};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use super::{Connections, Db, OrgScope, fail, ordered_link::OrderedLink};
use crate::{
    base::{
        clock::{Clock, Instant, in_calendar},
        error::{Code, Refusal, Result},
    },
    data::entity::{Decode, Global, Tenant, user},
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
            people: None,
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
    people: Option<E::Column>,
}

/// Where a child's parent is named: in a column of its own table, or of a table that links the two.
#[derive(Clone, Debug)]
pub struct ParentKey {
    table: DynIden,
    column: DynIden,
    link: Option<RelationDef>,
}

/// The parent's id in the rows of a page of children.
const PARENT: &str = "parent_of_page";

impl ParentKey {
    /// The child's own column.
    pub fn column<E: Tenant>(column: E::Column) -> Self {
        Self { table: E::default().into_iden(), column: column.into_iden(), link: None }
    }

    /// `L` links child and parent: `child` of `E` is `to` of `L`, and `parent` of `L` names the parent. The organization
    /// is part of the join.
    pub fn linked<E: Tenant, L: Tenant>(child: E::Column, to: L::Column, parent: L::Column) -> Self {
        let link = E::belongs_to(L::default()).from((E::ORGANIZATION, child)).to((L::ORGANIZATION, to));
        Self { table: L::default().into_iden(), column: parent.into_iden(), link: Some(link.into()) }
    }

    /// For telling one key from another.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }
}

/// What of a page is asked for: the list itself doesn't run for its total alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wants {
    pub rows: bool,
    pub total: bool,
}

/// Rows with their cursors.
#[derive(Clone, Debug)]
pub struct Page<M> {
    pub rows: Vec<M>,
    pub cursors: Vec<String>,
    pub has_next: bool,
    pub has_previous: bool,
    /// Counted only when asked for.
    pub total: Option<u64>,
    /// People that the rows name, where [`PagePlan::with_people`] read them.
    pub people: HashMap<Uuid, Arc<user::Model>>,
}

impl<M> Default for Page<M> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            cursors: Vec::new(),
            has_next: false,
            has_previous: false,
            total: Some(0),
            people: HashMap::new(),
        }
    }
}

impl<E: Tenant> PagePlan<E> {
    /// Reads the people that a column of the rows names with them, in the same statement, where the page is of one list:
    /// a list of each of many parents names the same people again and again.
    #[must_use]
    pub fn with_people(mut self, named_in: E::Column) -> Self {
        self.people = Some(named_in);
        self
    }

    /// Distinguishes plans that may share a statement from those that may not.
    pub fn group(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.fingerprint, self.limit, self.backward, self.wants, self.people.is_some()).hash(&mut hasher);
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
        let (connection, organization, mut select) = scope.find::<E>().filter(self.condition.clone()).into_parts();
        for (place, link) in self.links.iter().enumerate() {
            select = link.join(select, organization);
            if let Some(first) = self.links.first().filter(|_| place > 0) {
                select = select.filter(link.agrees_with(first));
            }
        }
        self.fetch_from(connection, select).await
    }

    /// A page of each parent's children: one statement for all, two with the totals.
    pub async fn fetch_children(
        &self,
        scope: &OrgScope,
        parent: &ParentKey,
        parents: &[Uuid],
    ) -> Result<HashMap<Uuid, Page<E::Model>>> {
        let parent_id = || Expr::col((parent.table.clone(), parent.column.clone()));
        let of_parents = match parents {
            [one] => parent_id().eq(*one),
            several => super::filter::among_uuids(scope.db(), parent_id(), several.to_vec()),
        };
        let (connection, _, mut select) =
            scope.find::<E>().filter(self.condition.clone()).filter(of_parents).into_parts();
        if let Some(link) = &parent.link {
            select = select.join(JoinType::InnerJoin, link.clone());
        }
        // Children of one parent are numbered by no window: an index gives the first of them.
        if let [one] = parents {
            return Ok(HashMap::from([(*one, self.fetch_from(connection, select).await?)]));
        }
        let mut totals = HashMap::new();
        if self.wants.total {
            let counts: Vec<(Uuid, i64)> = select
                .clone()
                .select_only()
                .column_as(parent_id(), "parent")
                .column_as(parent_id().count(), "n")
                .group_by(parent_id())
                .into_tuple()
                .all(connection)
                .await
                .map_err(fail)?;
            totals.extend(counts.into_iter().map(|(id, count)| (id, u64::try_from(count).unwrap_or(0))));
        }
        if let Some(position) = &self.position {
            select = select.filter(self.after(position));
        }
        let mut window = WindowStatement::partition_by((parent.table.clone(), parent.column.clone()));
        for (column, order, nulls) in self.order() {
            match nulls {
                Some(nulls) => window.order_by_expr_with_nulls(column, order, nulls),
                None => window.order_by_expr(column, order),
            };
        }
        let rank = Alias::new("place");
        let mut ranked = select.column_as(parent_id(), PARENT).into_query();
        ranked.expr_window_as(Func::cust("ROW_NUMBER"), window, rank.clone());
        let mut outer = Query::select();
        for column in E::Column::iter() {
            outer.column((Alias::new("ranked"), column.into_iden()));
        }
        outer
            .column((Alias::new("ranked"), Alias::new(PARENT)))
            .from_subquery(ranked, Alias::new("ranked"))
            .and_where(Expr::col(rank.clone()).lte(self.limit + 1))
            .order_by(rank, Order::Asc);
        let mut children: HashMap<Uuid, Vec<E::Model>> = HashMap::new();
        for row in connection.query_all(&outer).await.map_err(fail)? {
            let id: Uuid = row.try_get("", PARENT).map_err(fail)?;
            let model = E::decode(&row, "", 0).map_err(fail)?;
            children.entry(id).or_default().push(model);
        }
        Ok(parents
            .iter()
            .map(|id| {
                let total = self.wants.total.then(|| totals.get(id).copied().unwrap_or(0));
                (*id, self.page(children.remove(id).unwrap_or_default(), total))
            })
            .collect())
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
        let Some(named_in) = self.people else {
            return Ok(self.page(super::scope::decoded(connection, page).await?, total));
        };
        let person = E::belongs_to(user::Entity).from(named_in).to(user::Column::Id);
        let page = super::identity::with_columns::<E, user::Entity>(page.join(JoinType::LeftJoin, person.into()), "p_");
        let (mut rows, mut people) = (Vec::new(), HashMap::new());
        for row in connection.query_all(page.as_query()).await.map_err(fail)? {
            rows.push(E::decode(&row, "", 0).map_err(fail)?);
            let id: Option<Uuid> = row.try_get("p_", "id").map_err(fail)?;
            if let Some(Entry::Vacant(place)) = id.map(|id| people.entry(id)) {
                let person = user::Entity::decode(&row, "p_", E::Column::iter().count()).map_err(fail)?;
                place.insert(Arc::new(person));
            }
        }
        Ok(Page { people, ..self.page(rows, total) })
    }

    /// The order in which the database must give the rows: reversed when paging backward.
    fn order(&self) -> impl Iterator<Item = (SimpleExpr, Order, Option<NullOrdering>)> + '_ {
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
    fn after(&self, position: &[Value]) -> Condition {
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

    fn page(&self, mut rows: Vec<E::Model>, total: Option<u64>) -> Page<E::Model> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        if self.backward {
            rows.reverse();
        }
        let cursors = rows.iter().map(|row| self.cursor(row)).collect();
        let beyond = self.position.is_some();
        let (has_next, has_previous) = if self.backward { (beyond, more) } else { (more, beyond) };
        Page { rows, cursors, has_next, has_previous, total, people: HashMap::new() }
    }

    fn cursor(&self, row: &E::Model) -> String {
        let values: Vec<Json> = self.keys.iter().map(|key| to_json(&row.get(key.column))).collect();
        encode(&(self.fingerprint, self.now, values))
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

/// The instant in cursors of lists that don't depend on it.
const TIMELESS: i64 = 0;

/// Fingerprint, the instant of relative times, the values of the keys.
type Cursor = (u64, i64, Vec<Json>);

fn encode(cursor: &Cursor) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

fn decode(text: &str) -> Option<Cursor> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
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

fn to_json(value: &Value) -> Json {
    match value {
        Value::SmallInt(Some(number)) => (*number).into(),
        Value::Int(Some(number)) => (*number).into(),
        Value::BigInt(Some(number)) => (*number).into(),
        Value::Double(Some(number)) => (*number).into(),
        Value::String(Some(text)) => text.as_str().into(),
        Value::Uuid(Some(id)) => id.simple().to_string().into(),
        Value::ChronoDateTimeUtc(Some(instant)) => instant.timestamp_millis().into(),
        _ => Json::Null,
    }
}

/// The value of a key, as its column's type; `None` for what such a column can't hold.
fn from_json<C: ColumnTrait>(column: C, json: &Json) -> Option<Value> {
    let definition = column.def();
    if json.is_null() && !definition.is_null() {
        return None;
    }
    let absent = json.is_null();
    Some(match definition.get_column_type() {
        ColumnType::SmallInteger if absent => Value::SmallInt(None),
        ColumnType::SmallInteger => Value::SmallInt(Some(i16::try_from(json.as_i64()?).ok()?)),
        ColumnType::Integer => Value::Int(Some(i32::try_from(json.as_i64()?).ok()?)),
        ColumnType::BigInteger => Value::BigInt(Some(json.as_i64()?)),
        ColumnType::Double if absent => Value::Double(None),
        ColumnType::Double => Value::Double(Some(json.as_f64()?)),
        ColumnType::Uuid => Value::Uuid(Some(Uuid::parse_str(json.as_str()?).ok()?)),
        ColumnType::TimestampWithTimeZone if absent => Value::ChronoDateTimeUtc(None),
        ColumnType::TimestampWithTimeZone => {
            let instant = DateTime::from_timestamp_millis(json.as_i64()?)?;
            Value::ChronoDateTimeUtc(Some(Some(instant).filter(|instant| in_calendar(*instant))?))
        }
        // PostgreSQL holds no text with a NUL.
        _ => Value::String(Some(json.as_str().filter(|text| !text.contains('\0'))?.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use sea_orm::sea_query::SqliteQueryBuilder;

    use super::*;
    use crate::{base::clock::Clock, data::entity::item};

    /// A page of items after a position, as its condition and order are sent.
    fn statement(keys: Vec<Key<item::Column>>, is_backward: bool, position: Vec<Value>) -> (String, String) {
        let args = PageArgs { last: is_backward.then_some(2), ..PageArgs::default() };
        let start = PageStart::read(&args, "items", &Clock::system()).expect("arguments of a page");
        let wants = Wants { rows: true, total: false };
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

    #[test]
    fn a_cursor_is_of_its_list_alone() {
        let clock = Clock::system();
        let plan = |args: &PageArgs, list: &str| {
            let wants = Wants { rows: true, total: false };
            let keys = vec![Key::asc(item::Column::Number)];
            PageStart::read(args, list, &clock)?.plan::<item::Entity>(Condition::all(), keys, item::Column::Id, wants)
        };
        let made = plan(&PageArgs::default(), "one").expect("a plan");
        let values = [number(7), Value::Uuid(Some(Uuid::nil()))];
        let values = values.iter().map(to_json).collect();
        let cursor = encode(&(made.fingerprint, made.now, values));
        let next = PageArgs::forward(None, Some(cursor));
        assert!(plan(&next, "one").is_ok());
        assert!(plan(&next, "another").is_err());
        assert!(plan(&PageArgs::forward(None, Some("%".to_owned())), "one").is_err());
    }
}
