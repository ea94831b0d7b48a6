//! Callbacks that prove nothing are counted, not kept: whoever knows a hook's address may send any number of them. A hook
//! gets one receipt of them a minute, which says how many there were since the last one.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::TimeDelta;

use crate::base::{
    clock::Instant,
    id::{InboundHookId, OrganizationId},
};

/// Between two receipts of refused callbacks, of one hook and one instance of the server.
const EVERY: TimeDelta = TimeDelta::minutes(1);
/// Hooks that are remembered; of those beyond, what was counted is dropped.
const MOST_HOOKS: usize = 10_000;

/// Counts by hook.
#[derive(Debug, Default)]
pub struct RefusedCallbacks(Mutex<HashMap<(OrganizationId, InboundHookId), Counted>>);

#[derive(Debug)]
struct Counted {
    /// When the last receipt was left.
    since: Instant,
    /// How many were refused after it.
    more: u64,
}

impl RefusedCallbacks {
    /// Counts one. With a number it is time for a receipt: so many were refused since the last one.
    pub fn count(&self, organization_id: OrganizationId, hook_id: InboundHookId, now: Instant) -> Option<u64> {
        let mut hooks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counted) = hooks.get_mut(&(organization_id, hook_id)) {
            if now - counted.since < EVERY {
                counted.more += 1;
                return None;
            }
            counted.since = now;
            return Some(std::mem::take(&mut counted.more));
        }
        if hooks.len() >= MOST_HOOKS {
            hooks.retain(|_, counted| now - counted.since < EVERY);
        }
        if hooks.len() < MOST_HOOKS {
            hooks.insert((organization_id, hook_id), Counted { since: now, more: 0 });
            return Some(0);
        }
        None
    }
}
