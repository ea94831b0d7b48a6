//! Enumerations that are both columns and GraphQL enums.

use async_graphql::Enum;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What a member may do here; see `auth::policy`. In rising order of rights.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    Viewer,
    Member,
    Admin,
    Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MembershipStatus {
    Active,
    Suspended,
}

/// What an organization has subscribed to, in rising order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanTier {
    Free,
    Starter,
    Professional,
    Enterprise,
}

/// Stored by its place, so that it sorts in declaration order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemStatus {
    #[sea_orm(num_value = 0)]
    Todo,
    #[sea_orm(num_value = 1)]
    InProgress,
    #[sea_orm(num_value = 2)]
    InReview,
    #[sea_orm(num_value = 3)]
    Done,
    #[sea_orm(num_value = 4)]
    Archived,
}

/// Stored by its place, so that it sorts in declaration order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    #[sea_orm(num_value = 0)]
    Low,
    #[sea_orm(num_value = 1)]
    Medium,
    #[sea_orm(num_value = 2)]
    High,
    #[sea_orm(num_value = 3)]
    Urgent,
}

/// Who did something, beside an id: `(actor_kind, actor_id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum ActorKind {
    #[sea_orm(num_value = 0)]
    System,
    #[sea_orm(num_value = 1)]
    User,
    #[sea_orm(num_value = 2)]
    ApiKey,
    #[sea_orm(num_value = 3)]
    InboundHook,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WebhookState {
    Enabled,
    Paused,
    /// By the server, after days of failure, or when the receiver said that it is gone (410).
    Disabled,
}

/// How far a delivery has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum DeliveryStatus {
    /// Not tried yet.
    #[sea_orm(num_value = 0)]
    Pending,
    /// The receiver answered 2xx.
    #[sea_orm(num_value = 1)]
    Delivered,
    /// Failed, and will be tried again.
    #[sea_orm(num_value = 2)]
    Retrying,
    /// Given up.
    #[sea_orm(num_value = 3)]
    Dead,
}

/// Who sends, and how it proves that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundProvider {
    /// Signs as Standard Webhooks has it.
    Generic,
    Github,
    Gitlab,
}

/// What a callback does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundAction {
    ItemCreate,
    ItemUpdate,
    CommentCreate,
}

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundOutcome {
    Applied,
    /// It had been dealt with before.
    Duplicate,
    /// Nothing that the hook acts on.
    Ignored,
    /// Not from the sender, or not now.
    Rejected,
    /// It could not be done; the sender may send it again.
    Failed,
}

/// How much time a row of usage sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum UsageSpan {
    #[sea_orm(num_value = 0)]
    Hour,
    #[sea_orm(num_value = 1)]
    Day,
}

/// Entries of a person's own security log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecurityEventKind {
    SignedIn,
    SignInFailed,
    SignedOut,
    /// A refresh token came twice; its session was ended.
    RefreshReused,
    PasswordChanged,
    PasswordResetRequested,
    PasswordReset,
    EmailChangeRequested,
    EmailVerified,
    SessionsRevoked,
}

/// What a mailed token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TokenPurpose {
    /// Proves the address of a new account.
    EmailVerification,
    /// Proves another address, which then becomes the account's.
    EmailChange,
    PasswordReset,
}

/// What a plan may include beyond items and comments; see `auth::plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter)]
pub enum Feature {
    Teams,
    Tags,
    Webhooks,
    InboundHooks,
    ApiKeys,
    Analytics,
    AuditLog,
    Exports,
    Attachments,
}

/// What a plan limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter)]
pub enum QuotaResource {
    /// Members, active and suspended.
    Members,
    /// Items outside the trash.
    Items,
    StorageBytes,
    /// API keys that are not revoked.
    ApiKeys,
    Webhooks,
    AuditRetentionDays,
    CostPerMinute,
}
