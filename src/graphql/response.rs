//! Responses as transports write them.

use std::collections::BTreeMap;

use async_graphql::{Response, ServerError, Value};
use serde::Serialize;

use super::error::code_of;
use crate::base::error::Code;

/// A response as the specification wants it: without `data` when nothing ran.
#[derive(Serialize)]
pub struct ResponseBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: &'a BTreeMap<String, Value>,
}

impl<'a> From<&'a Response> for ResponseBody<'a> {
    fn from(response: &'a Response) -> Self {
        Self {
            data: has_data(response).then_some(&response.data),
            errors: &response.errors,
            extensions: &response.extensions,
        }
    }
}

/// Whether the operation ran: a failed validation leaves neither data nor an error with a path.
pub fn has_data(response: &Response) -> bool {
    response.data != Value::Null || response.errors.iter().any(|error| !error.path.is_empty())
}

pub fn has_code(response: &Response, code: Code) -> bool {
    response.errors.iter().any(|error| code_of(error) == Some(code.as_str()))
}

/// When the caller may try again, where an error says so.
pub fn retry_after(response: &Response) -> Option<u64> {
    response.errors.iter().find_map(|error| match error.extensions.as_ref()?.get("retryAfterSeconds")? {
        Value::Number(seconds) => seconds.as_u64(),
        _ => None,
    })
}

/// The JSON text of a response.
pub fn text_of(response: &Response) -> String {
    serde_json::to_string(&ResponseBody::from(response)).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer could not be written");
        r#"{"errors":[{"message":"Something went wrong on our side.","extensions":{"code":"INTERNAL"}}]}"#.to_owned()
    })
}
