//! A request's JSON, read part by part: what is wrong has a name, and values are counted before anything is built of them.

use async_graphql::{Request, Value, Variables};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{json, value::RawValue};

use crate::{
    api::validation::registered::DOCUMENT_ID,
    base::error::{Code, Refusal},
};

/// The parts of a request, unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'t> {
    #[serde(borrow, default)]
    query: Option<&'t RawValue>,
    #[serde(borrow, default)]
    document_id: Option<&'t RawValue>,
    #[serde(borrow, default)]
    operation_name: Option<&'t RawValue>,
    #[serde(borrow, default)]
    variables: Option<&'t RawValue>,
    #[serde(borrow, default)]
    extensions: Option<&'t RawValue>,
}

/// What a socket's `subscribe` says of its operation: its message has been read, and counted, as a whole.
#[derive(Deserialize)]
pub struct InMessage {
    #[serde(flatten)]
    request: Request,
    #[serde(default, rename = "documentId")]
    document_id: Option<String>,
}

impl From<InMessage> for Request {
    fn from(message: InMessage) -> Self {
        let mut request = message.request;
        name_document(&mut request, message.document_id);
        request
    }
}

/// Whether a request says what to run: a text, or one that is known by its hash or its id.
pub fn names_document(request: &Request) -> bool {
    let is_named = |part: &&str| request.extensions.contains_key(*part);
    !request.query.trim().is_empty() || ["persistedQuery", DOCUMENT_ID].iter().any(is_named)
}

/// The operations of a body: one, or a batch.
pub enum Operations {
    One(Box<Request>),
    Batch(Vec<Request>),
}

/// Reads a body of one operation, or of a batch of at most `batch_limit`. `values`: those of one request's variables at
/// most. BAD_REQUEST names the part that can't be read, QUERY_TOO_COMPLEX the place of too many values.
pub fn read(body: &[u8], batch_limit: usize, values: usize) -> Result<Operations, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::bad_request("The body is not UTF-8."))?;
    if !text.trim_start().starts_with('[') {
        return Ok(Operations::One(Box::new(request(text, values)?)));
    }
    let operations: Vec<&RawValue> = serde_json::from_str(text).map_err(no_request)?;
    if operations.is_empty() || operations.len() > batch_limit || batch_limit == 1 {
        return Err(Refusal::bad_request(match batch_limit {
            1 => "Batches are off: send one operation a request.".to_owned(),
            _ => format!("A batch has 1 to {batch_limit} operations."),
        }));
    }
    let requests = operations.iter().map(|operation| request(operation.get(), values));
    requests.collect::<Result<_, _>>().map(Operations::Batch)
}

/// What a GET says of its operation; an empty part is as one left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InQuery {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl InQuery {
    /// [`read`] of a query string.
    pub fn request(self, values: usize) -> Result<Request, Refusal> {
        let json = |name, text: Option<String>| match text.filter(|text| !text.trim().is_empty()) {
            None => Ok(None),
            Some(text) => object(name, &text, values),
        };
        let mut request = Request::new(self.query.unwrap_or_default());
        request.operation_name = self.operation_name;
        request.variables = variables(json("variables", self.variables)?);
        request.extensions.0.extend(json("extensions", self.extensions)?.unwrap_or_default());
        name_document(&mut request, self.document_id);
        Ok(request)
    }
}

fn request(text: &str, values: usize) -> Result<Request, Refusal> {
    // An array would be taken for the fields in order.
    if !text.trim_start().starts_with('{') {
        // What is no JSON at all is said so.
        serde_json::from_str::<&RawValue>(text).map_err(no_request)?;
        return Err(Refusal::bad_request("The body is no GraphQL request: it is no object."));
    }
    let parts: Parts<'_> = serde_json::from_str(text).map_err(no_request)?;
    let of = |name, part: Option<&RawValue>| part.map_or(Ok(None), |part| object(name, part.get(), values));
    let mut request = Request::new(text_of("query", parts.query)?.unwrap_or_default());
    request.operation_name = text_of("operationName", parts.operation_name)?;
    request.variables = variables(of("variables", parts.variables)?);
    request.extensions.0.extend(of("extensions", parts.extensions)?.unwrap_or_default());
    name_document(&mut request, text_of(DOCUMENT_ID, parts.document_id)?);
    Ok(request)
}

/// The library's request has no place for it but the extensions.
fn name_document(request: &mut Request, id: Option<String>) {
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        request.extensions.insert(DOCUMENT_ID.to_owned(), Value::String(id));
    }
}

fn no_request(cause: impl std::fmt::Display) -> Refusal {
    Refusal::bad_request(format!("The body is no GraphQL request: {cause}."))
}

fn text_of(name: &str, part: Option<&RawValue>) -> Result<Option<String>, Refusal> {
    part.map_or(Ok(None), |part| part_of(name, part.get(), "a string"))
}

type Object = std::collections::HashMap<String, Value>;

/// An object of at most so many values; `None` for null.
fn object(name: &str, text: &str, values: usize) -> Result<Option<Object>, Refusal> {
    count(name, text, values)?;
    part_of(name, text, "an object")
}

fn variables(object: Option<Object>) -> Variables {
    Variables::from_value(Value::Object(
        object.unwrap_or_default().into_iter().map(|(name, value)| (async_graphql::Name::new(name), value)).collect(),
    ))
}

fn part_of<T: DeserializeOwned>(name: &str, text: &str, expected: &str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let why = match (error.is_data(), kind_of(text)) {
            // The library's words for it speak of its own types.
            (true, Some(found)) if expected != found => format!("must be {expected}, and is {found}"),
            _ => format!("can't be read: {error}"),
        };
        Refusal::bad_request(format!("`{name}` {why}.")).details(json!({ "field": name }))
    })
}

/// The JSON type of a text.
fn kind_of(text: &str) -> Option<&'static str> {
    match text.trim_start().bytes().next()? {
        b'{' => Some("an object"),
        b'[' => Some("a list"),
        b'"' => Some("a string"),
        b't' | b'f' => Some("a boolean"),
        b'0'..=b'9' | b'-' => Some("a number"),
        _ => None,
    }
}

/// Refuses a JSON text of more than `limit` values, by its characters alone.
fn count(name: &str, text: &str, limit: usize) -> Result<(), Refusal> {
    let bytes = text.as_bytes();
    // The names of the lists and objects around the present place; empty for an entry of a list.
    let mut around: Vec<&str> = Vec::new();
    let (mut at, mut values, mut key, mut is_first) = (0, 1_usize, "", false);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        if byte.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(byte, b'}' | b']');
        values += usize::from(byte == b',' || is_first && !closes);
        is_first = matches!(byte, b'{' | b'[');
        if values > limit {
            let path: Vec<&str> =
                [name].into_iter().chain(around.into_iter().filter(|name| !name.is_empty())).collect();
            let path = path.join(".");
            let message = format!("At most {limit} values in the variables of a request; `{path}` is beyond that.");
            let details = json!({ "limit": limit, "argument": path });
            return Err(Refusal::new(Code::QueryTooComplex, message).details(details));
        }
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                key = text.get(start + 1..at.saturating_sub(1)).unwrap_or_default();
            }
            _ if is_first => around.push(std::mem::take(&mut key)),
            b',' => key = "",
            _ if closes => drop(around.pop()),
            _ => {}
        }
    }
    Ok(())
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    bytes.len()
}
