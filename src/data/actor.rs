//! Who is asking, and from where.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use crate::{
    base::id::SessionId,
    data::{db::idempotency::Idempotency, entity::user},
};

/// A signed-in person.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: Arc<user::Model>,
    pub session_id: SessionId,
}

/// What an address counts as wherever callers are told apart by it: an IPv4 address itself, of IPv6 the network that one
/// customer has (/64).
pub fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}

/// Where a request came from; recorded with every event it causes.
#[derive(Clone, Debug)]
pub struct Origin {
    pub request_id: Arc<str>,
    pub ip: Option<IpAddr>,
    pub user_agent: Option<Arc<str>>,
    /// Claimed by each mutation's own write.
    pub idempotency: Option<Arc<Idempotency>>,
}

impl Origin {
    /// Of a command run on the server itself.
    pub fn command(name: &str) -> Self {
        Self { request_id: name.into(), ip: None, user_agent: None, idempotency: None }
    }

    /// The same for bookkeeping that is not a mutation's main write (the throttle's, a log's, work done after the
    /// answer): a transaction begun with it does not take the request's idempotency key for its own.
    pub fn unclaimed(&self) -> Self {
        Self { idempotency: None, ..self.clone() }
    }
}
