//! Documents that are kept: parsed ones by their text, because clients send the same few again and again, and texts by
//! their hash, for automatic persisted queries.

use std::sync::Arc;

use async_graphql::{Request, Value, parser::types::ExecutableDocument};
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::error::{Code, Refusal, Result};

/// Bytes of texts kept for automatic persisted queries.
const PERSISTED_BYTES: u64 = 16 << 20;
/// Bytes of parsed documents kept.
const PARSED_BYTES: u64 = 16 << 20;
/// Bytes that a token of a parsed document takes at most: small selections within each other are the dearest, about 420.
const TOKEN_BYTES: usize = 512;

/// A parsed document and its size.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub document: Arc<ExecutableDocument>,
    pub tokens: usize,
}

/// A document that is not kept yet.
#[derive(Clone, Debug)]
pub struct New {
    pub text: String,
    /// Its hash, where the client sent one to be remembered.
    pub hash: Option<String>,
    pub parsed: Parsed,
}

/// Shared by all tenants: whoever knows a hash knows the document.
#[derive(Clone)]
pub struct Documents {
    persisted: Cache<String, Arc<str>>,
    parsed: Cache<String, Parsed>,
}

impl Default for Documents {
    fn default() -> Self {
        let weight =
            |hash: &String, document: &Arc<str>| u32::try_from(hash.len() + document.len()).unwrap_or(u32::MAX);
        let persisted = Cache::builder().weigher(weight).max_capacity(PERSISTED_BYTES).build();
        let weight = |text: &String, parsed: &Parsed| {
            u32::try_from(text.len() + parsed.tokens.saturating_mul(TOKEN_BYTES)).unwrap_or(u32::MAX)
        };
        let parsed = Cache::builder().weigher(weight).max_capacity(PARSED_BYTES).build();
        Self { persisted, parsed }
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
            request.query = self.persisted.get(&hash).ok_or_else(unknown)?.to_string();
            return Ok(None);
        }
        let digest = Sha256::digest(request.query.as_bytes());
        let actual: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if actual != hash {
            return Err(Refusal::bad_request("`sha256Hash` is not the hash of the document.").into());
        }
        Ok(Some(hash).filter(|hash| !self.persisted.contains_key(hash)))
    }

    pub fn parsed(&self, text: &str) -> Option<Parsed> {
        self.parsed.get(text)
    }

    pub fn remember(&self, new: &New) {
        if let Some(hash) = &new.hash {
            self.persisted.insert(hash.clone(), new.text.as_str().into());
        }
        if !self.parsed.contains_key(&new.text) {
            self.parsed.insert(new.text.clone(), new.parsed.clone());
        }
    }

    /// Bytes of what is kept.
    pub fn bytes(&self) -> u64 {
        self.persisted.run_pending_tasks();
        self.parsed.run_pending_tasks();
        self.persisted.weighted_size() + self.parsed.weighted_size()
    }
}
