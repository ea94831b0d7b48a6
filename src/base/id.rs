//! Typed ids: 16 bytes inside (UUIDv7), a TypeID outside (`itm_01jd…`, <https://github.com/jetify-com/typeid>).
//!
//! To add a kind: one line in [`ids!`] below; the prefix is part of the public contract and never changes.

use std::{borrow::Cow, fmt, marker::PhantomData, str::FromStr};

use async_graphql::{CustomValidator, InputValueError, InputValueResult, Scalar, ScalarType, Value};
use sea_orm::{
    ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable,
    sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr},
};
use type_safe_id::{DynamicType, TypeSafeId};
use uuid::{Uuid, Variant, Version};

/// What an id names: decides its prefix, and keeps an item's id from being passed for a tag's.
pub trait Kind: Copy + Send + Sync + 'static {
    /// Three letters in front of the `_`.
    const PREFIX: &'static str;
}

/// The id of one kind of object.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

macro_rules! ids {
    ($($(#[$doc:meta])* $kind:ident $alias:ident $prefix:literal;)*) => {
        /// Marker types, one for each kind of id.
        pub mod kind {
            $(#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub enum $kind {}
            impl super::Kind for $kind { const PREFIX: &'static str = $prefix; })*
        }
        $($(#[$doc])* pub type $alias = Id<kind::$kind>;)*

        /// Every prefix in use.
        pub const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

ids! {
    User UserId "usr";
    Organization OrganizationId "org";
    Membership MembershipId "mbr";
    Invitation InvitationId "inv";
    Team TeamId "tem";
    Tag TagId "tag";
    Item ItemId "itm";
    ItemRelation ItemRelationId "rel";
    Comment CommentId "cmt";
    Event EventId "evt";
    ApiKey ApiKeyId "key";
    Webhook WebhookId "whk";
    WebhookDelivery WebhookDeliveryId "whd";
    DocumentSet DocumentSetId "dst";
    Import ImportId "imp";
    InboundHook InboundHookId "hok";
    InboundReceipt InboundReceiptId "rcp";
    Session SessionId "ses";
    SecurityEvent SecurityEventId "sev";
    /// The server itself, as an actor.
    System SystemId "sys";
}

impl<K: Kind> Id<K> {
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    pub const fn uuid(self) -> Uuid {
        self.0
    }

    pub fn any(self) -> AnyId {
        AnyId { prefix: K::PREFIX, uuid: self.0 }
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.any().fmt(f)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a string is not an id of the kind wanted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdError {
    #[error("not an id: expected `{expected}_` and 26 characters")]
    Malformed { expected: Cow<'static, str> },
    #[error("an id of another kind: expected `{expected}_…`")]
    WrongKind { expected: &'static str },
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::Malformed { expected: K::PREFIX.into() };
        let id: AnyId = text.parse().map_err(|_| malformed())?;
        id.typed()
    }
}

impl<K: Kind> serde::Serialize for Id<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> serde::Deserialize<'de> for Id<K> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// GraphQL's `ID`. A wrong prefix fails while arguments are read, with the argument's path.
#[Scalar(name = "ID")]
impl<K: Kind> ScalarType for Id<K> {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => text.parse().map_err(InputValueError::custom),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// What an id must be that a client made: a UUIDv7 (RFC 9562), for ids are read as times, and sorted by them.
pub struct ClientMade;

impl<K: Kind> CustomValidator<Id<K>> for ClientMade {
    fn check(&self, id: &Id<K>) -> Result<(), InputValueError<Id<K>>> {
        if id.0.get_version() == Some(Version::SortRand) && id.0.get_variant() == Variant::RFC4122 {
            return Ok(());
        }
        Err(InputValueError::custom("`id`: an id that you make holds a UUIDv7; or leave it out"))
    }
}

/// An id whose kind is known only at run time: `node(id:)`, event subjects, filters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnyId {
    prefix: &'static str,
    uuid: Uuid,
}

impl AnyId {
    /// `None` for a prefix that no kind has.
    pub fn new(prefix: &str, uuid: Uuid) -> Option<Self> {
        let prefix = PREFIXES.iter().find(|known| **known == prefix)?;
        Some(Self { prefix, uuid })
    }

    pub const fn prefix(self) -> &'static str {
        self.prefix
    }

    pub const fn uuid(self) -> Uuid {
        self.uuid
    }

    /// The id as one of kind `K`.
    pub fn typed<K: Kind>(self) -> Result<Id<K>, IdError> {
        if self.prefix == K::PREFIX {
            Ok(Id::from_uuid(self.uuid))
        } else {
            Err(IdError::WrongKind { expected: K::PREFIX })
        }
    }
}

impl fmt::Display for AnyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = DynamicType::new(self.prefix).map_err(|_| fmt::Error)?;
        TypeSafeId::from_type_and_uuid(tag, self.uuid).fmt(f)
    }
}

impl fmt::Debug for AnyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AnyId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let malformed = || IdError::Malformed { expected: "prefix".into() };
        let id: TypeSafeId<DynamicType> = text.parse().map_err(|_| malformed())?;
        Self::new(id.type_prefix(), id.uuid()).ok_or_else(malformed)
    }
}

#[Scalar(name = "ID")]
impl ScalarType for AnyId {
    fn parse(value: Value) -> InputValueResult<Self> {
        match value {
            Value::String(text) => text.parse().map_err(InputValueError::custom),
            other => Err(InputValueError::expected_type(other)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

// ── columns: stored as the bare UUID ──

impl<K: Kind> From<Id<K>> for sea_orm::Value {
    fn from(id: Id<K>) -> Self {
        id.0.into()
    }
}

impl<K: Kind> TryGetable for Id<K> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        Uuid::try_get_by(row, index).map(Self::from_uuid)
    }
}

impl<K: Kind> ValueType for Id<K> {
    fn try_from(value: sea_orm::Value) -> Result<Self, ValueTypeErr> {
        <Uuid as ValueType>::try_from(value).map(Self::from_uuid)
    }

    fn type_name() -> String {
        "Id".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::Uuid
    }

    fn column_type() -> ColumnType {
        ColumnType::Uuid
    }
}

impl<K: Kind> Nullable for Id<K> {
    fn null() -> sea_orm::Value {
        <Uuid as Nullable>::null()
    }
}

impl<K: Kind> TryFromU64 for Id<K> {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("Id"))
    }
}
