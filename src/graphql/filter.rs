//! Comparators that filters are made of, and the budget that a filter may spend. An empty comparator is refused: it says
//! nothing, and is what is left when a client forgot a variable.

use std::fmt::Display;

use async_graphql::InputObject;
use sea_orm::{ColumnTrait, Condition, IntoSimpleExpr, Value, sea_query::ExprTrait};
use serde_json::json;

use super::scalars::DateTimeOrDuration;
use crate::{
    base::{
        clock::Instant,
        error::{Error, Refusal, Result},
        id::{AnyId, Id, Kind},
        policy::Permission,
    },
    data::db::{
        OrgScope,
        filter::{contains, everything, fold_part, nothing, present, starts_with},
        page::PageStart,
        search::Terms,
    },
};

/// Nested filters below each other.
const MAX_DEPTH: u32 = 5;
/// Filters within a filter, itself included.
const MAX_NESTED: u32 = 100;
/// Values of one list in a filter.
const MAX_VALUES: usize = 500;
/// Comparisons of one filter.
pub const MAX_CONDITIONS: u32 = 50;
/// Full texts of one filter: each may match every row.
const MAX_TEXTS: u32 = 5;

/// What a filter is resolved against, and how much of it is left.
pub struct Filtering<'s> {
    pub scope: &'s OrgScope,
    now: Instant,
    has_used_now: bool,
    conditions: u32,
    nested: u32,
    texts: u32,
}

impl<'s> Filtering<'s> {
    pub fn new(scope: &'s OrgScope, now: Instant) -> Self {
        Self { scope, now, has_used_now: false, conditions: 0, nested: 0, texts: 0 }
    }

    /// What relative times are relative to.
    pub fn now(&mut self) -> Instant {
        self.scope.note_time();
        self.has_used_now = true;
        self.now
    }

    /// The instant that a comparison means.
    fn resolve(&mut self, when: DateTimeOrDuration) -> Option<Instant> {
        match when {
            DateTimeOrDuration::At(instant) => Some(instant),
            relative @ DateTimeOrDuration::FromNow { .. } => relative.resolve(self.now()),
        }
    }

    /// A filter sees what its caller may read, and nothing else: refuses a comparison with what needs a permission that
    /// the caller lacks.
    pub fn needs(&self, permission: Permission, what: &str) -> Result<()> {
        if self.scope.allows(permission) {
            return Ok(());
        }
        Err(bad(format!("Filtering by {what} needs the permission {}.", permission.name())))
    }

    /// Whether nothing has been compared: the filter says nothing.
    pub fn is_empty(&self) -> bool {
        self.conditions == 0
    }

    /// Counts one comparison.
    pub fn spend(&mut self) -> Result<()> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(bad(format!("A filter has at most {MAX_CONDITIONS} conditions.")));
        }
        Ok(())
    }

    /// Counts one comparison with a list of values.
    pub fn spend_list<T>(&mut self, values: &[T]) -> Result<()> {
        self.spend()?;
        check_list(values)
    }

    /// Whether the item that `id` names has the words of a text.
    pub fn text(&mut self, text: &str, id: impl ColumnTrait) -> Result<Condition> {
        self.spend()?;
        self.texts += 1;
        if self.texts > MAX_TEXTS {
            return Err(bad(format!("A filter has at most {MAX_TEXTS} full texts.")));
        }
        // Rows from before search was are found as a job gets to them: without a change in the ledger.
        self.scope.note_time();
        let Some(terms) = Terms::parse(text)? else { return Ok(nothing()) };
        Ok(everything().add(id.in_subquery(self.scope.items_with(&terms))))
    }

    /// `depth` of the nested filter about to be resolved; the outermost is 1.
    pub fn descend(&mut self, depth: u32) -> Result<()> {
        self.nested += 1;
        if self.nested > MAX_NESTED {
            return Err(bad(format!("A filter has at most {MAX_NESTED} filters within it.")));
        }
        if depth > MAX_DEPTH {
            return Err(bad(format!("A filter is at most {MAX_DEPTH} deep.")));
        }
        Ok(())
    }
}

/// The condition of a list's filter; the list's cursors carry its time where it has relative times.
pub fn list_condition<C>(
    scope: &OrgScope,
    start: &mut PageStart,
    resolve: impl FnOnce(&mut Filtering<'_>) -> Result<C>,
) -> Result<C> {
    let mut filtering = Filtering::new(scope, start.now);
    let condition = resolve(&mut filtering)?;
    start.depends_on_time = filtering.has_used_now;
    Ok(condition)
}

/// Both databases limit the values of a statement.
fn check_list<T>(values: &[T]) -> Result<()> {
    if values.len() > MAX_VALUES {
        return Err(bad(format!("A list in a filter has at most {MAX_VALUES} values.")));
    }
    Ok(())
}

pub fn bad(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Refusal::bad_request(message).into()
}

/// A value within a filter that is null, or a variable that is null or not set. `path`: `filter.or.0.title`.
pub fn null_in_filter(path: impl Display) -> Error {
    let path = path.to_string();
    let message =
        format!("`{path}` is null or an unset variable: a filter would silently widen. Leave it out instead.");
    Refusal::bad_request(message).details(json!({ "argument": path })).into()
}

fn empty(name: &str) -> Error {
    bad(format!("An empty {name} compares nothing: leave it out, or say what to compare."))
}

/// All of the conditions that are there; an error when none is.
fn all(name: &str, conditions: impl IntoIterator<Item = Option<Condition>>) -> Result<Condition> {
    let found: Vec<Condition> = conditions.into_iter().flatten().collect();
    if found.is_empty() {
        return Err(empty(name));
    }
    Ok(found.into_iter().fold(everything(), Condition::add))
}

/// Comparison with an id; all that is given must hold, and something must be given. An id of another kind is
/// BAD_REQUEST.
#[derive(InputObject, Clone, Debug, Default)]
pub struct IdFilter {
    /// Is this one.
    pub eq: Option<AnyId>,
    /// Is another one, or absent.
    pub neq: Option<AnyId>,
    /// Is one of these; 500 at most, in an empty list nothing is.
    pub r#in: Option<Vec<AnyId>>,
    /// Is none of these, or absent; 500 at most.
    pub not_in: Option<Vec<AnyId>>,
}

impl IdFilter {
    /// The only id that it matches, where it asks for one and nothing else.
    pub fn only<K: Kind>(&self) -> Option<Id<K>> {
        match self {
            Self { eq: Some(id), neq: None, r#in: None, not_in: None } => id.typed().ok(),
            Self { eq: None, neq: None, r#in: Some(ids), not_in: None } if ids.len() == 1 => ids[0].typed().ok(),
            _ => None,
        }
    }

    /// The comparison with a column that holds ids of kind `K`.
    pub fn condition<K: Kind>(&self, f: &mut Filtering<'_>, column: impl ColumnTrait) -> Result<Condition> {
        f.spend()?;
        let typed = |id: &AnyId| id.typed::<K>().map_err(|error| bad(format!("In a filter: {error}.")));
        for list in [&self.r#in, &self.not_in].into_iter().flatten() {
            check_list(list)?;
        }
        let many = |ids: &Vec<AnyId>| ids.iter().map(typed).collect::<Result<Vec<Id<K>>>>();
        all(
            "IdFilter",
            [
                self.eq.as_ref().map(typed).transpose()?.map(|id| present(column, column.eq(id))),
                self.neq.as_ref().map(typed).transpose()?.map(|id| present(column, column.eq(id)).not()),
                self.r#in.as_ref().map(many).transpose()?.map(|ids| is_in(column, ids)),
                self.not_in.as_ref().map(many).transpose()?.map(|ids| is_in(column, ids).not()),
            ],
        )
    }
}

/// Membership in a list; in none, never.
fn is_in<V: Into<Value>>(column: impl ColumnTrait, values: Vec<V>) -> Condition {
    if values.is_empty() { nothing() } else { present(column, column.is_in(values)) }
}

/// Comparison with a text; all that is given must hold, and something must be given.
#[derive(InputObject, Clone, Debug)]
pub struct StringFilter {
    /// Is this text.
    pub eq: Option<String>,
    /// Is another text, or absent.
    pub neq: Option<String>,
    /// Is one of these; 500 at most, in an empty list nothing is.
    pub r#in: Option<Vec<String>>,
    /// Is none of these, or absent; 500 at most.
    pub not_in: Option<Vec<String>>,
    /// Has this within it. There are no wildcards.
    pub contains: Option<String>,
    /// Begins with this. There are no wildcards.
    pub starts_with: Option<String>,
    /// Whether case, and how accents were typed, is all one: Unicode's full case folding. Otherwise texts are compared
    /// as they were given.
    #[graphql(default = true)]
    pub ignore_case: bool,
}

impl StringFilter {
    /// The comparison with a text column, or with its folded form where case doesn't matter.
    pub fn condition<C: ColumnTrait>(&self, f: &mut Filtering<'_>, exact: C, folded: C) -> Result<Condition> {
        f.spend()?;
        let lists = [&self.r#in, &self.not_in].into_iter().flatten();
        let texts = [&self.eq, &self.neq, &self.contains, &self.starts_with].into_iter().flatten();
        for list in lists.clone() {
            check_list(list)?;
        }
        if texts.chain(lists.flatten()).any(|text| text.contains('\0')) {
            return Err(bad("A text in a filter can't hold the NUL character."));
        }
        let column = if self.ignore_case { folded } else { exact };
        let form = |text: &String| if self.ignore_case { fold_part(text) } else { text.clone() };
        let many = |texts: &Vec<String>| texts.iter().map(form).collect::<Vec<_>>();
        all(
            "StringFilter",
            [
                self.eq.as_ref().map(|text| present(column, column.eq(form(text)))),
                self.neq.as_ref().map(|text| present(column, column.eq(form(text))).not()),
                self.r#in.as_ref().map(|texts| is_in(column, many(texts))),
                self.not_in.as_ref().map(|texts| is_in(column, many(texts)).not()),
                self.contains.as_ref().map(|text| present(column, contains(f.scope, column, &form(text)))),
                self.starts_with.as_ref().map(|text| present(column, starts_with(column, &form(text)))),
            ],
        )
    }
}

impl StringFilter {
    /// What it asks for, and what it rules out: of several columns, one must have the first, none the second. An empty
    /// filter is in the first half, so that it is still refused.
    pub fn halves(&self) -> (Option<Self>, Option<Self>) {
        let wanted = Self { neq: None, not_in: None, ..self.clone() };
        let unwanted = Self { eq: None, r#in: None, contains: None, starts_with: None, ..self.clone() };
        let asks = self.eq.is_some() || self.r#in.is_some() || self.contains.is_some() || self.starts_with.is_some();
        let rules_out = self.neq.is_some() || self.not_in.is_some();
        ((asks || !rules_out).then_some(wanted), rules_out.then_some(unwanted))
    }
}

/// Comparison with a number; all that is given must hold, and something must be given. No comparison holds of an
/// absent number, but `isNull: true`.
#[derive(InputObject, Clone, Debug, Default)]
pub struct NumberFilter {
    /// Equal to this.
    pub eq: Option<f64>,
    /// Greater than this.
    pub gt: Option<f64>,
    /// This or greater.
    pub gte: Option<f64>,
    /// Less than this.
    pub lt: Option<f64>,
    /// This or less.
    pub lte: Option<f64>,
    /// Whether it is absent.
    pub is_null: Option<bool>,
}

impl NumberFilter {
    pub fn condition(&self, f: &mut Filtering<'_>, column: impl ColumnTrait) -> Result<Condition> {
        f.spend()?;
        let Self { eq, gt, gte, lt, lte, is_null } = self;
        compare("NumberFilter", column, *eq, [*gt, *gte, *lt, *lte], *is_null)
    }
}

/// Comparison with an instant; all that is given must hold, and something must be given. Relative times are resolved
/// for the first page and stay the same for the following ones.
#[derive(InputObject, Clone, Debug, Default)]
pub struct DateTimeFilter {
    /// After this.
    pub gt: Option<DateTimeOrDuration>,
    /// At this or after.
    pub gte: Option<DateTimeOrDuration>,
    /// Before this.
    pub lt: Option<DateTimeOrDuration>,
    /// At this or before.
    pub lte: Option<DateTimeOrDuration>,
    /// Whether it is absent. No other comparison holds of an absent instant.
    pub is_null: Option<bool>,
}

impl DateTimeFilter {
    pub fn condition(&self, f: &mut Filtering<'_>, column: impl ColumnTrait) -> Result<Condition> {
        f.spend()?;
        let mut resolve = |when: Option<DateTimeOrDuration>| -> Result<Option<Instant>> {
            when.map(|when| f.resolve(when).ok_or_else(|| bad("A time beyond the calendar."))).transpose()
        };
        let Self { gt, gte, lt, lte, is_null } = *self;
        let bounds = [resolve(gt)?, resolve(gte)?, resolve(lt)?, resolve(lte)?];
        compare("DateTimeFilter", column, None, bounds, is_null)
    }

    /// [`Self::condition`] of a value at hand.
    pub fn matches(&self, value: Instant, now: Instant) -> bool {
        let Self { gt, gte, lt, lte, is_null } = *self;
        // What can't be resolved was refused by `condition`.
        let holds = |bound: Option<DateTimeOrDuration>, test: fn(&Instant, &Instant) -> bool| {
            bound.is_none_or(|bound| bound.resolve(now).is_some_and(|bound| test(&value, &bound)))
        };
        holds(gt, |value, bound| value > bound)
            && holds(gte, |value, bound| value >= bound)
            && holds(lt, |value, bound| value < bound)
            && holds(lte, |value, bound| value <= bound)
            && is_null != Some(true)
    }
}

fn compare<V: Into<Value>>(
    name: &str,
    column: impl ColumnTrait,
    eq: Option<V>,
    [gt, gte, lt, lte]: [Option<V>; 4],
    is_null: Option<bool>,
) -> Result<Condition> {
    let expression = || column.into_simple_expr();
    all(
        name,
        [
            eq.map(|value| present(column, expression().eq(value.into()))),
            gt.map(|value| present(column, expression().gt(value.into()))),
            gte.map(|value| present(column, expression().gte(value.into()))),
            lt.map(|value| present(column, expression().lt(value.into()))),
            lte.map(|value| present(column, expression().lte(value.into()))),
            is_null.map(|null| null_is(column, null)),
        ],
    )
}

/// Whether a column has no value, as wanted.
pub fn null_is(column: impl ColumnTrait, wanted: bool) -> Condition {
    everything().add(if wanted { column.is_null() } else { column.is_not_null() })
}

/// A filter of an enumeration: `eq`, `neq`, `in`, `notIn`.
macro_rules! enum_filter {
    ($($name:ident of $values:ty;)*) => {$(
        /// Comparison with a value; all that is given must hold, and something must be given.
        #[derive(async_graphql::InputObject, Clone, Debug, Default)]
        pub struct $name {
            /// Is this one.
            pub eq: Option<$values>,
            /// Is another one.
            pub neq: Option<$values>,
            /// Is one of these; in an empty list nothing is.
            pub r#in: Option<Vec<$values>>,
            /// Is none of these.
            pub not_in: Option<Vec<$values>>,
        }

        impl $name {
            pub fn condition(
                &self,
                f: &mut $crate::graphql::filter::Filtering<'_>,
                column: impl sea_orm::ColumnTrait,
            ) -> $crate::base::error::Result<sea_orm::Condition> {
                $crate::graphql::filter::compare_values(
                    f, stringify!($name), column, self.eq, self.neq, self.r#in.clone(), self.not_in.clone(),
                )
            }
        }
    )*};
}
pub(crate) use enum_filter;

/// The comparison of an enumeration's column.
pub fn compare_values<V: Into<Value>>(
    f: &mut Filtering<'_>,
    name: &str,
    column: impl ColumnTrait,
    eq: Option<V>,
    neq: Option<V>,
    within: Option<Vec<V>>,
    without: Option<Vec<V>>,
) -> Result<Condition> {
    f.spend()?;
    all(
        name,
        [
            eq.map(|value| is_in(column, vec![value])),
            neq.map(|value| is_in(column, vec![value]).not()),
            within.map(|values| is_in(column, values)),
            without.map(|values| is_in(column, values).not()),
        ],
    )
}
