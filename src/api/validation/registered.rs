//! Documents that the operator has registered (`TODO_SERVER_DOCUMENTS`): read and validated at the start, kept for good, and
//! known by their ids. With `TODO_SERVER_DOCUMENTS_ONLY` nothing else runs.
//!
//! Manifests are those that tools write: graphql-codegen and Relay an object of texts by id, Apollo a list of operations.

use std::{collections::HashMap, path::Path, sync::Arc};

use async_graphql::{Request, Value};

use crate::{
    api::document::{Document, Validator},
    base::{
        config::LimitsConfig,
        error::{Code, Error, Refusal, Result},
    },
    domains::document_sets::manifest::Manifest,
};

/// Bytes of a manifest: some ten thousand documents.
const MAX_BYTES: u64 = 32 << 20;

/// The documents by id and by text.
#[derive(Clone, Debug, Default)]
pub struct Registered(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<String, Arc<str>>,
    by_text: HashMap<Arc<str>, Arc<Document>>,
    /// Whether nothing else runs.
    only: bool,
}

impl Registered {
    /// Reads manifests. INTERNAL, with the file and the document, for what can't be read or is not valid: a server that
    /// started without some of its documents would refuse its own clients.
    pub fn read(files: &[impl AsRef<Path>], only: bool, validator: &Validator, limits: &LimitsConfig) -> Result<Self> {
        let mut inner = Inner { only, ..Inner::default() };
        for file in files {
            let file = file.as_ref();
            let fault = |what: String| Error::internal(format!("TODO_SERVER_DOCUMENTS: {}: {what}", file.display()));
            let size = std::fs::metadata(file).map_err(|error| fault(error.to_string()))?.len();
            if size > MAX_BYTES {
                return Err(fault(format!("it has {size} bytes; at most {MAX_BYTES} are read")));
            }
            let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
            let manifest: Manifest = serde_json::from_str(&text).map_err(|_| {
                fault("it is no manifest: expected an object of texts by id, or Apollo's list of operations".to_owned())
            })?;
            for (id, text) in manifest.documents() {
                let text: Arc<str> = text.into();
                if !inner.by_text.contains_key(&text) {
                    let document = validator.document(&text, limits);
                    let document = document.map_err(|error| fault(format!("document {id}: {}", error.describe())))?;
                    inner.by_text.insert(text.clone(), Arc::new(document));
                }
                if inner.by_id.insert(id.clone(), text.clone()).is_some_and(|other| other != text) {
                    return Err(fault(format!("document {id} is there twice, with different texts")));
                }
            }
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Puts the text of the document that a request names by its id in the request: `documentId`, or the hash of a
    /// persisted query; whether it names one. PERSISTED_QUERY_NOT_FOUND for an id that is not registered.
    pub fn recall(&self, request: &mut Request) -> Result<bool> {
        let found = match request.extensions.get(DOCUMENT_ID) {
            // The form of the GraphQL-over-HTTP specification, and the bare one.
            Some(Value::String(id)) => self.text_of(id),
            Some(_) => return Err(Refusal::bad_request("`documentId` must be a string.").into()),
            None => match hash_of(request).and_then(|hash| self.text_of(hash)) {
                None => return Ok(false),
                registered => registered,
            },
        };
        let Some(text) = found else {
            return Err(Refusal::new(Code::PersistedQueryNotFound, "No document of this id is registered.").into());
        };
        if !request.query.is_empty() && request.query != **text {
            return Err(Refusal::bad_request("Send `documentId` or `query`, not both.").into());
        }
        request.query = text.to_string();
        Ok(true)
    }

    /// The id by which a request names a document that is not registered: `documentId`, or the hash of a persisted query.
    pub fn other_id<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let named = match request.extensions.get(DOCUMENT_ID) {
            Some(Value::String(id)) => Some(id.as_str()),
            _ => hash_of(request),
        };
        named.filter(|_| request.query.is_empty()).filter(|id| self.text_of(id).is_none())
    }

    fn text_of(&self, id: &str) -> Option<&Arc<str>> {
        self.0.by_id.get(id).or_else(|| self.0.by_id.get(id.strip_prefix("sha256:")?))
    }

    /// The registered document of a text. FORBIDDEN for any other where nothing else runs.
    pub fn document(&self, text: &str) -> Result<Option<Arc<Document>>> {
        match self.0.by_text.get(text) {
            Some(document) => Ok(Some(document.clone())),
            None if self.0.only => {
                let message = "Only registered documents run on this server: send one's `documentId`.";
                Err(Refusal::new(Code::Forbidden, message).into())
            }
            None => Ok(None),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.by_id.len()
    }
}

/// The part of a request that names a document; kept among its extensions.
pub const DOCUMENT_ID: &str = "documentId";

/// Of a persisted query, as Apollo's clients name it.
fn hash_of(request: &Request) -> Option<&str> {
    match request.extensions.get("persistedQuery")? {
        Value::Object(named) => match named.get("sha256Hash")? {
            Value::String(hash) => Some(hash),
            _ => None,
        },
        _ => None,
    }
}
