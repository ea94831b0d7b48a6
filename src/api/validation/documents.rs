//! Documents that are kept: valid ones by their text, because clients send the same few again and again, and texts by
//! their hash, for automatic persisted queries.

use std::sync::Arc;

use async_graphql::{Request, Value};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{
    api::document::Document,
    base::{
        cache_use::{CacheUse, Looks, Measure},
        error::{Code, Refusal, Result},
    },
};

/// Bytes of texts kept for automatic persisted queries.
const PERSISTED_BYTES: u64 = 16 << 20;
/// Bytes of valid documents kept.
const VALID_BYTES: u64 = 32 << 20;
/// Bytes that a token of a valid document takes at most, twice: as it is written, and as it runs. Small selections within
/// each other are the dearest, about 420 each.
const TOKEN_BYTES: usize = 2 * 512;

/// A document that is not kept yet.
#[derive(Clone, Debug)]
pub struct New {
    pub text: String,
    /// Its hash, where the client sent one to be remembered.
    pub hash: Option<String>,
    pub document: Arc<Document>,
}

/// Shared by all tenants: whoever knows a hash knows the document.
#[derive(Clone)]
pub struct Documents {
    persisted: Cache<String, Arc<str>>,
    valid: Cache<String, Arc<Document>>,
    looks: Arc<DocumentLooks>,
}

/// Looks into each of the two.
#[derive(Default)]
struct DocumentLooks {
    persisted: Looks,
    valid: Looks,
}

impl Default for Documents {
    fn default() -> Self {
        let weight =
            |hash: &String, document: &Arc<str>| u32::try_from(hash.len() + document.len()).unwrap_or(u32::MAX);
        let persisted = Cache::builder().weigher(weight).max_capacity(PERSISTED_BYTES).build();
        let weight = |text: &String, document: &Arc<Document>| {
            u32::try_from(text.len() + document.tokens.saturating_mul(TOKEN_BYTES)).unwrap_or(u32::MAX)
        };
        let valid = Cache::builder().weigher(weight).max_capacity(VALID_BYTES).build();
        Self { persisted, valid, looks: Arc::default() }
    }
}

impl Documents {
    /// Automatic persisted queries, as Apollo's clients speak them: a hash alone brings the document back, a hash with a
    /// document is checked, and returned to be remembered once the document has run.
    pub fn recall(&self, request: &mut Request) -> Result<Option<String>> {
        let Some(Value::Object(named)) = request.extensions.get("persistedQuery") else { return Ok(None) };
        let (Some(Value::String(hash)), Some(Value::Number(version))) = (named.get("sha256Hash"), named.get("version"))
        else {
            return Err(Refusal::bad_request("`persistedQuery` needs `version` and `sha256Hash`.").into());
        };
        if version.as_u64() != Some(1) {
            return Err(Refusal::bad_request("Only version 1 of `persistedQuery` is known.").into());
        }
        let hash = hash.to_ascii_lowercase();
        if request.query.trim().is_empty() {
            // The message is what clients look for; they then send the document along.
            let unknown = || Refusal::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound");
            request.query = self.looks.persisted.count(self.persisted.get(&hash)).ok_or_else(unknown)?.to_string();
            return Ok(None);
        }
        let digest = Sha256::digest(request.query.as_bytes());
        let actual = hex::encode(digest);
        if actual != hash {
            return Err(Refusal::bad_request("`sha256Hash` is not the hash of the document.").into());
        }
        Ok(Some(hash).filter(|hash| !self.persisted.contains_key(hash)))
    }

    pub fn valid(&self, text: &str) -> Option<Arc<Document>> {
        self.looks.valid.count(self.valid.get(text))
    }

    pub fn is_persisted(&self, hash: &str) -> bool {
        self.persisted.contains_key(&hash.to_ascii_lowercase())
    }

    pub fn has(&self, text: &str) -> bool {
        self.valid.contains_key(text)
    }

    pub fn remember(&self, new: &New) {
        if let Some(hash) = &new.hash {
            self.persisted.insert(hash.clone(), new.text.as_str().into());
        }
        if !self.valid.contains_key(&new.text) {
            self.valid.insert(new.text.clone(), new.document.clone());
        }
    }

    /// How they are used: valid documents, and texts by their hash.
    pub fn cache_uses(&self) -> [CacheUse; 2] {
        [
            self.looks.valid.with(&self.valid, "documents", Measure::Bytes),
            self.looks.persisted.with(&self.persisted, "persisted_texts", Measure::Bytes),
        ]
    }
}
