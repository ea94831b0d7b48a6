//! What a reader hands out: events that follow each other, and what was made of them for those who asked the same.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::OnceCell;

use crate::entity::event;

/// Events after a position, up to another, without gaps; none for a heartbeat.
#[derive(Debug)]
pub struct Batch {
    /// The sequence before the first event.
    pub after: i64,
    /// The sequence of the last event; `after` without any.
    pub last: i64,
    pub events: Vec<event::Model>,
    rendered: Mutex<HashMap<u128, Arc<OnceCell<Bytes>>>>,
}

impl Batch {
    pub fn new(after: i64, events: Vec<event::Model>) -> Self {
        let last = events.last().map_or(after, |event| event.sequence);
        Self { after, last, events, rendered: Mutex::default() }
    }

    /// The text that `make` makes of the batch, once for all who share `key`; whoever comes second waits for the first.
    /// What fails is not shared.
    pub async fn shared<E>(&self, key: u128, make: impl Future<Output = Result<Bytes, E>>) -> Result<Bytes, E> {
        let cell = {
            let mut rendered = self.rendered.lock().unwrap_or_else(PoisonError::into_inner);
            rendered.entry(key).or_default().clone()
        };
        cell.get_or_try_init(|| make).await.cloned()
    }
}
