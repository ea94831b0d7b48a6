//! What a reader hands out: events that follow each other, and what was made of them for those who asked the same.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::data::entity::event;

/// Bytes of one batch at most, where it has more than one event. Events are cut before they get there.
pub const BATCH_BYTES: usize = 1 << 20;
/// Bytes of the texts that a batch keeps for those who ask the same; what is more is made for each.
const TEXT_BYTES: usize = 4 << 20;
/// What an event weighs beside its changes.
const EVENT_BYTES: usize = 400;

/// What an event takes in memory, roughly.
pub fn weight(event: &event::Model) -> usize {
    EVENT_BYTES + json_weight(&event.changes)
}

fn json_weight(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(json_weight).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + json_weight(value)).sum(),
    };
    inside + size_of::<Value>()
}

/// Bytes of all batches in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Scale(Arc<AtomicUsize>);

impl Scale {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Events after a position, up to another, without gaps; none for a heartbeat.
#[derive(Debug)]
pub struct Batch {
    /// The sequence before the first event.
    pub after: i64,
    /// The sequence of the last event; `after` without any.
    pub last: i64,
    pub events: Vec<event::Model>,
    rendered: Mutex<HashMap<u128, Arc<OnceCell<Bytes>>>>,
    /// Of the rendered texts.
    text_bytes: AtomicUsize,
    /// Of all: events and texts.
    bytes: AtomicUsize,
    scale: Scale,
}

impl Batch {
    pub fn new(after: i64, events: Vec<event::Model>, scale: &Scale) -> Self {
        let last = events.last().map_or(after, |event| event.sequence);
        let batch = Self {
            after,
            last,
            rendered: Mutex::default(),
            text_bytes: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            scale: scale.clone(),
            events,
        };
        batch.grow(batch.events.iter().map(weight).sum());
        batch
    }

    /// What it takes in memory, roughly.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The text that `make` makes of the batch, once for all who share `key`; whoever comes second waits for the first.
    /// What fails is not shared, nor what is too large to be kept.
    pub async fn shared<E>(&self, key: u128, make: impl Future<Output = Result<Bytes, E>>) -> Result<Bytes, E> {
        let cell = {
            let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
            rendered.entry(key).or_default().clone()
        };
        if let Some(text) = cell.get() {
            return Ok(text.clone());
        }
        let mut is_own = false;
        let text = cell
            .get_or_try_init(|| {
                is_own = true;
                make
            })
            .await?
            .clone();
        if is_own && self.text_bytes.fetch_add(text.len(), Ordering::Relaxed) + text.len() > TEXT_BYTES {
            self.text_bytes.fetch_sub(text.len(), Ordering::Relaxed);
            self.rendered.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        } else if is_own {
            self.grow(text.len());
        }
        Ok(text)
    }

    fn grow(&self, by: usize) {
        self.bytes.fetch_add(by, Ordering::Relaxed);
        self.scale.0.fetch_add(by, Ordering::Relaxed);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.scale.0.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}
