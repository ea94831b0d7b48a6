//! Answers given again while nothing they are made of has changed. Kept are those that depend on an organization's ledger,
//! on people's profiles, on the caller and on the arguments alone
//! ([`OF_LEDGER`](crate::graphql::field_tags::OF_LEDGER)), and have no errors. How far the ledger has got is read from the
//! database before each use, so no instance gives an old answer after a write that another has acknowledged.
//!
//! Nothing is read for what is asked once: an answer is kept when the same caller asks the same again. Where the
//! organization changes faster than its answers are asked for, that is tried ever more seldom.

use std::sync::Arc;

use async_graphql::Response;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{
    base::{
        cache_use::{CacheUse, Looks, Measure},
        error::Result,
    },
    data::db::{OrgScope, ledger::ReadVersion},
    graphql::response::text_of,
    platform::metrics::Metrics,
};

/// Bytes of the largest answer that is kept.
const MAX_ANSWER: usize = 256 << 10;
/// Bytes that an entry takes besides its text.
const OVERHEAD: usize = 256;
/// Askings left out at most before an answer is kept again.
const MAX_PAUSE: u8 = 32;

/// What an answer is kept under: SHA-256 of the organization as it was read, the caller with their rights, and the request.
type Key = [u8; 32];

#[derive(Clone)]
pub struct AnswerCache {
    /// `None`: switched off.
    entries: Option<Cache<Key, Entry>>,
    looks: Arc<Looks>,
    metrics: Metrics,
}

#[derive(Clone)]
enum Entry {
    /// Asked before. `left_out` more askings pass before the answer is kept.
    Asked {
        left_out: u8,
        pause: u8,
    },
    Kept {
        answer: Arc<KeptAnswer>,
        version: ReadVersion,
        pause: u8,
    },
}

/// An answer as it is sent.
pub struct KeptAnswer {
    pub text: Bytes,
    pub etag: ETag,
    /// Points that it cost when it was made.
    pub cost: u64,
}

/// The entity tag of an answer's text, weak since the text may be sent compressed or not
/// (<https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    pub fn of(text: &[u8]) -> Self {
        let digest = Sha256::digest(text);
        Self(format!("W/\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&digest[..16])))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an `If-None-Match` names it, by the weak comparison.
    pub fn is_in(&self, if_none_match: &str) -> bool {
        let own = self.0.trim_start_matches("W/");
        if_none_match.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == own)
    }
}

/// What the cache has for a request.
pub enum Found {
    /// Nothing, and the answer is not to be kept.
    Nothing,
    Answer(Arc<KeptAnswer>),
    /// The answer is to be kept.
    Place(Place),
}

/// Where an answer is to be kept that is about to be made.
pub struct Place {
    key: Key,
    version: ReadVersion,
    pause: u8,
}

impl AnswerCache {
    /// `capacity` in bytes; 0 switches it off.
    pub fn new(capacity: u64, metrics: Metrics) -> Self {
        let weigh = |_: &Key, entry: &Entry| {
            let text = match entry {
                Entry::Asked { .. } => 0,
                Entry::Kept { answer, .. } => answer.text.len(),
            };
            u32::try_from(text + OVERHEAD).unwrap_or(u32::MAX)
        };
        let entries = (capacity > 0).then(|| Cache::builder().max_capacity(capacity).weigher(weigh).build());
        Self { entries, looks: Arc::default(), metrics }
    }

    /// How it is used; `None` where it is switched off.
    pub fn cache_use(&self) -> Option<CacheUse> {
        Some(self.looks.with(self.entries.as_ref()?, "answers", Measure::Bytes))
    }

    /// Looks for the answer to a request whose answer is of the ledger. `request` is its fingerprint.
    pub async fn find(&self, scope: &OrgScope, request: &[u8]) -> Result<Found> {
        let Some(entries) = &self.entries else { return Ok(Found::Nothing) };
        let found = self.look(entries, scope, request).await?;
        self.looks.count(matches!(found, Found::Answer(_)).then_some(()));
        Ok(found)
    }

    async fn look(&self, entries: &Cache<Key, Entry>, scope: &OrgScope, request: &[u8]) -> Result<Found> {
        let key = key(scope, request);
        let (kept, pause) = match entries.get(&key) {
            None => {
                entries.insert(key, Entry::Asked { left_out: 0, pause: 0 });
                return Ok(Found::Nothing);
            }
            Some(Entry::Asked { left_out: 0, pause }) => (None, pause),
            Some(Entry::Asked { left_out, pause }) => {
                entries.insert(key, Entry::Asked { left_out: left_out - 1, pause });
                return Ok(Found::Nothing);
            }
            Some(Entry::Kept { answer, version, pause }) => (Some((answer, version)), pause),
        };
        let version = scope.read_version().await?;
        match kept {
            None => Ok(Found::Place(Place { key, version, pause })),
            Some((answer, read)) if read == version => {
                if pause > 0 {
                    entries.insert(key, Entry::Kept { answer: answer.clone(), version, pause: 0 });
                }
                self.metrics.answer_cache("hit");
                Ok(Found::Answer(answer))
            }
            Some(_) => {
                let pause = pause.saturating_mul(2).clamp(1, MAX_PAUSE);
                entries.insert(key, Entry::Asked { left_out: pause - 1, pause });
                self.metrics.answer_cache("stale");
                Ok(Found::Nothing)
            }
        }
    }

    /// Keeps an answer that was made after [`AnswerCache::find`]; `None` for one that may not be given again, for which
    /// nothing is looked up for a while.
    pub fn keep(&self, place: &Place, scope: &OrgScope, response: &Response, cost: u64) -> Option<Arc<KeptAnswer>> {
        let entries = self.entries.as_ref()?;
        let is_lasting = response.errors.is_empty() && response.extensions.is_empty() && !scope.depends_on_time();
        let text = is_lasting.then(|| Bytes::from(text_of(response))).filter(|text| text.len() <= MAX_ANSWER);
        let Some(text) = text else {
            entries.insert(place.key, Entry::Asked { left_out: MAX_PAUSE, pause: MAX_PAUSE });
            return None;
        };
        let answer = Arc::new(KeptAnswer { etag: ETag::of(&text), text, cost });
        let Place { key, version, pause } = *place;
        entries.insert(key, Entry::Kept { answer: answer.clone(), version, pause });
        self.metrics.answer_cache("kept");
        Some(answer)
    }
}

/// The key of a request in a scope. The organization's own row comes from the caller's identity, which may be a second old:
/// its version is in the key.
fn key(scope: &OrgScope, request: &[u8]) -> Key {
    let (organization, actor) = (scope.organization(), scope.actor());
    let mut digest = Sha256::new();
    digest.update(organization.id.uuid());
    digest.update(organization.version.to_be_bytes());
    digest.update(actor.any_id().to_string());
    digest.update(format!("{:?}{:?}", scope.role(), scope.permissions()));
    digest.update(request);
    digest.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_compared_weakly() {
        let (own, other) = (ETag::of(b"{}"), ETag::of(b"[]"));
        let strong = own.as_str().trim_start_matches("W/").to_owned();
        for named in [own.as_str(), &strong, "*", &format!("{} , {strong}", other.as_str())] {
            assert!(own.is_in(named), "{named}");
        }
        for named in ["", other.as_str(), "W/\"\"", strong.trim_matches('"')] {
            assert!(!own.is_in(named), "{named}");
        }
    }
}
