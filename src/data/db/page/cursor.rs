//! What a cursor holds: values of a row's keys, as text that clients hand back.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use sea_orm::{
    ColumnType, Value,
    prelude::{ColumnTrait, Uuid},
};
use serde_json::Value as Json;

use crate::base::clock::in_calendar;

/// The instant in cursors of lists that don't depend on it.
pub(super) const TIMELESS: i64 = 0;

/// Fingerprint, the instant of relative times, the values of the keys.
pub(super) type Cursor = (u64, i64, Vec<Json>);

pub(super) fn encode(cursor: &Cursor) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

pub(super) fn decode(text: &str) -> Option<Cursor> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

pub(super) fn to_json(value: &Value) -> Json {
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
pub(super) fn from_json<C: ColumnTrait>(column: C, json: &Json) -> Option<Value> {
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
