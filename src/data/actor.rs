//! Who is asking, and from where.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    base::{
        enums::ActorKind,
        id::{AnyId, ApiKeyId, Id, InboundHookId, SessionId, UserId, kind},
    },
    data::{db::idempotency::Idempotency, entity::user},
};

/// Whoever did something, as rows name them: `(…_kind, …_id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActorRef {
    pub kind: ActorKind,
    pub id: Uuid,
}

impl ActorRef {
    /// The server acting by itself.
    pub const SYSTEM: Self = Self { kind: ActorKind::System, id: Uuid::nil() };

    pub fn user(id: UserId) -> Self {
        Self { kind: ActorKind::User, id: id.uuid() }
    }

    pub fn api_key(id: ApiKeyId) -> Self {
        Self { kind: ActorKind::ApiKey, id: id.uuid() }
    }

    pub fn inbound_hook(id: InboundHookId) -> Self {
        Self { kind: ActorKind::InboundHook, id: id.uuid() }
    }

    /// The inbound hook, when it is one.
    pub fn inbound_hook_id(self) -> Option<InboundHookId> {
        (self.kind == ActorKind::InboundHook).then(|| InboundHookId::from_uuid(self.id))
    }

    /// The API key, when it is one.
    pub fn api_key_id(self) -> Option<ApiKeyId> {
        (self.kind == ActorKind::ApiKey).then(|| ApiKeyId::from_uuid(self.id))
    }

    /// The person, when it is one.
    pub fn user_id(self) -> Option<UserId> {
        (self.kind == ActorKind::User).then(|| UserId::from_uuid(self.id))
    }

    /// The id that the API shows.
    pub fn any_id(self) -> AnyId {
        match self.kind {
            ActorKind::System => Id::<kind::System>::from_uuid(self.id).any(),
            ActorKind::User => UserId::from_uuid(self.id).any(),
            ActorKind::ApiKey => ApiKeyId::from_uuid(self.id).any(),
            ActorKind::InboundHook => InboundHookId::from_uuid(self.id).any(),
        }
    }
}

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
