//! Custom scalars. `Color`, `Markdown` and `Url` are strings on the wire; what they must look like is checked with the
//! rest of an input, so that a mistake is a `userError` with a path.

use std::fmt;

use async_graphql::{InputType, InputValueError, InputValueResult, Pos, Scalar, ScalarType, Value};
use chrono::{DateTime as ChronoDateTime, Duration, Months, NaiveDate, SubsecRound, Utc};

use crate::{
    base::{
        clock::{Instant, format_instant, in_calendar, is_leap_second},
        error::Result,
        id::AnyId,
    },
    data::ledger::LedgerCursor,
};
use async_graphql::{Name, indexmap::IndexMap};

/// RFC 3339 instant, UTC, millisecond precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub Instant);

impl From<Instant> for DateTime {
    fn from(instant: Instant) -> Self {
        Self(instant)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_instant(self.0))
    }
}

/// `None` for what is no instant at all; an error says why one is not taken.
fn parse_instant(text: &str) -> Option<Result<Instant, &'static str>> {
    let instant = ChronoDateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
    if is_leap_second(instant) {
        return Some(Err("leap seconds are not taken: the last second of a minute is 59"));
    }
    let instant = instant.trunc_subsecs(3);
    Some(if in_calendar(instant) { Ok(instant) } else { Err("only the years 1 to 9999 in UTC are taken") })
}

/// RFC 3339 instant. Answers are in UTC with milliseconds; any offset is taken, finer digits are cut off.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => parse_instant(text)
                .unwrap_or(Err("expected an RFC 3339 instant such as 2026-01-31T09:30:00Z"))
                .map(Self)
                .map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// RFC 3339 instant, or an ISO 8601 duration relative to now such as `-P7D`. Input only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DateTimeOrDuration {
    At(Instant),
    /// Calendar months, then a fixed span, both signed.
    FromNow {
        months: i32,
        span: Duration,
    },
}

impl DateTimeOrDuration {
    /// The instant meant, seen from `now`; `None` beyond the calendar.
    pub fn resolve(self, now: Instant) -> Option<Instant> {
        match self {
            Self::At(instant) => Some(instant),
            Self::FromNow { months, span } => {
                let distance = Months::new(months.unsigned_abs());
                let moved =
                    if months < 0 { now.checked_sub_months(distance) } else { now.checked_add_months(distance) };
                moved?.checked_add_signed(span).filter(|instant| in_calendar(*instant))
            }
        }
    }
}

fn parse_duration(text: &str) -> Option<DateTimeOrDuration> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    // `iso8601::duration` would overlook what follows one.
    let (rest, duration) = iso8601::parsers::parse_duration(text.as_bytes()).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let parts = match duration {
        iso8601::Duration::Weeks(weeks) => (0, Duration::try_weeks(i64::from(weeks))?),
        iso8601::Duration::YMDHMS { year, month, day, hour, minute, second, millisecond } => (
            i32::try_from(u64::from(year) * 12 + u64::from(month)).ok()?,
            Duration::try_days(i64::from(day))?
                + Duration::try_hours(i64::from(hour))?
                + Duration::try_minutes(i64::from(minute))?
                + Duration::try_seconds(i64::from(second))?
                + Duration::try_milliseconds(i64::from(millisecond))?,
        ),
    };
    Some(DateTimeOrDuration::FromNow { months: parts.0 * sign, span: parts.1 * sign })
}

/// RFC 3339 instant, or an ISO 8601 duration relative to now such as `-P7D`. Input only.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339#appendix-A")]
impl ScalarType for DateTimeOrDuration {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => parse_instant(text)
                .map(|instant| instant.map(Self::At))
                .or_else(|| parse_duration(text).map(Ok))
                .unwrap_or(Err("expected an RFC 3339 instant or an ISO 8601 duration such as -P7D"))
                .map_err(InputValueError::custom),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        // Only used to tell one filter from another, in cursors.
        Value::String(match self {
            Self::At(instant) => instant.to_rfc3339(),
            Self::FromNow { months, span } => format!("P{months}M{}ms", span.num_milliseconds()),
        })
    }
}

/// Calendar date without time, `YYYY-MM-DD`, read in the organization's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub NaiveDate);

/// Calendar date without time, `YYYY-MM-DD`, read in the organization's time zone.
#[Scalar(specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339#section-5.6")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => {
                text.parse().map(Self).map_err(|_| InputValueError::custom("expected a date such as 2026-01-31"))
            }
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Opaque position. A list cursor belongs to one ordering and filter; a ledger cursor to one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

impl From<LedgerCursor> for Cursor {
    fn from(cursor: LedgerCursor) -> Self {
        Self(cursor.encode())
    }
}

/// CommonMark text. `@[name](usr_…)` is a mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markdown(pub String);

/// `#RRGGBB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Color(pub String);

/// Absolute URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

/// Whether a value is one of a custom scalar; the message says why it is none. What is checked with the rest of an input
/// (`Color`, `Url`) is any string here.
pub fn check(scalar: &str, value: &Value) -> Result<(), String> {
    fn of<T: ScalarType + InputType>(value: &Value) -> Result<(), String> {
        let parsed = <T as ScalarType>::parse(value.clone());
        let message = |error: InputValueError<T>| error.into_server_error(Pos::default()).message;
        parsed.map(drop).map_err(message)
    }
    match scalar {
        "DateTime" => of::<DateTime>(value),
        "DateTimeOrDuration" => of::<DateTimeOrDuration>(value),
        "Date" => of::<Date>(value),
        "Cursor" => of::<Cursor>(value),
        "Markdown" => of::<Markdown>(value),
        "Color" => of::<Color>(value),
        "Url" => of::<Url>(value),
        "BigInt" => of::<BigInt>(value),
        "_Any" => of::<Representation>(value),
        "JSON" => Ok(()),
        // None has been forgotten: a test goes through the schema's.
        _ => Err(format!("{scalar} takes no value.")),
    }
}

macro_rules! text_scalars {
    ($($name:ident $url:literal $doc:literal)*) => {$(
        #[doc = $doc]
        #[Scalar(specified_by_url = $url)]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                match value {
                    Value::String(text) => Ok(Self(text)),
                    other => Err(InputValueError::expected_type(other)),
                }
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    )*};
}

text_scalars! {
    Cursor "https://relay.dev/graphql/connections.htm#sec-Cursor"
        "Opaque position. A list cursor belongs to one ordering and filter; a ledger cursor to one organization."
    Markdown "https://spec.commonmark.org/"
        "CommonMark text. `@[name](usr_…)` is a mention."
    Color "https://www.w3.org/TR/css-color-4/#hex-notation"
        "Color as six hexadecimal digits, `#RRGGBB`."
    Url "https://www.rfc-editor.org/rfc/rfc3986"
        "Absolute URL."
}

/// 64-bit integer, serialized as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BigInt(pub i64);

/// Integer of 64 bits, a string in answers, since not every client holds one in a number. Taken as a string or an integer.
#[Scalar(specified_by_url = "https://scalars.graphql.org/jakobmerrild/long.html")]
impl ScalarType for BigInt {
    fn parse(value: Value) -> InputValueResult<Self> {
        let number = match &value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        number.map(Self).ok_or_else(|| InputValueError::expected_type(value))
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// Any JSON value. The library's own scalar can't say where it is specified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(pub serde_json::Value);

/// Any JSON value: null, a boolean, a number, a string, a list, or an object.
#[Scalar(name = "JSON", specified_by_url = "https://www.rfc-editor.org/rfc/rfc8259")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(async_graphql::from_value(value)?))
    }

    fn to_value(&self) -> Value {
        async_graphql::to_value(&self.0).unwrap_or_default()
    }
}

/// What names an entity of a federated graph.
#[derive(Clone, Debug)]
pub struct Representation {
    pub type_name: String,
    pub id: AnyId,
}

/// Names an object: its `__typename`, and its `id`. Whatever else a router sends along is ignored.
#[Scalar(
    name = "_Any",
    specified_by_url = "https://www.apollographql.com/docs/graphos/schema-design/federated-schemas/reference/subgraph-spec"
)]
impl ScalarType for Representation {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::Object(members) = value else {
            return Err(InputValueError::custom("expected an object with `__typename` and `id`"));
        };
        let text = |name: &str| match members.get(name) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(InputValueError::custom(format!("`{name}` must be there, and a string"))),
        };
        let type_name = text("__typename")?.to_owned();
        let id = text("id")?.parse().map_err(|error| InputValueError::custom(format!("`id`: {error}")))?;
        Ok(Self { type_name, id })
    }

    fn to_value(&self) -> Value {
        let member = |name: &str, text: String| (Name::new(name), Value::String(text));
        let members = [member("__typename", self.type_name.clone()), member("id", self.id.to_string())];
        Value::Object(IndexMap::from(members))
    }
}
