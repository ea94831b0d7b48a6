//! Who did something, as rows name them.

use uuid::Uuid;

use crate::base::{
    enums::ActorKind,
    id::{AnyId, ApiKeyId, Id, InboundHookId, UserId, kind},
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
