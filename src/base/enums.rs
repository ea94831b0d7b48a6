//! Enumerations that are both columns and GraphQL enums.

use async_graphql::Enum;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// What a member may do here, in rising order of rights; each holds what those before it do. `Organization.roles` has
/// the whole matrix.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also writes items, comments and new tags.
    Member,
    /// Also manages tags, teams, members, API keys, webhooks and the organization, purges, moderates, and sees all
    /// events and the usage.
    Admin,
    /// Also decides on the plan, and deletes the organization.
    Owner,
}

/// Whether a member may do anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MembershipStatus {
    /// May do what their role holds.
    Active,
    /// Is still a member and counts for the plan, but may do nothing here; nor may the API keys they made.
    Suspended,
}

/// What an organization has subscribed to, in rising order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanTier {
    /// Few members and items; API keys.
    Free,
    /// More of each; teams and tags.
    Starter,
    /// More again; webhooks and inbound hooks.
    Professional,
    /// Everything, without a limit on what is kept.
    Enterprise,
}

/// How far an item has got. Sorts in the order given here.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemStatus {
    /// Not begun; clears `startedAt` and `completedAt`.
    #[sea_orm(num_value = 0)]
    Todo,
    /// Being worked on; sets `startedAt`, unless it is set.
    #[sea_orm(num_value = 1)]
    InProgress,
    /// Being looked at by others; sets `startedAt`, unless it is set.
    #[sea_orm(num_value = 2)]
    InReview,
    /// Finished; sets `completedAt`.
    #[sea_orm(num_value = 3)]
    Done,
    /// Put away: in lists only where `scope` asks, and among subtasks. `itemUnarchive` brings back the status before.
    #[sea_orm(num_value = 4)]
    Archived,
}

/// How urgent an item is. Sorts in the order given here, the least first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    /// Can wait.
    #[sea_orm(num_value = 0)]
    Low,
    /// The usual one, and the default.
    #[sea_orm(num_value = 1)]
    Medium,
    /// Before the usual ones.
    #[sea_orm(num_value = 2)]
    High,
    /// Before everything else.
    #[sea_orm(num_value = 3)]
    Urgent,
}

/// How one item relates to another. Read with the item first: it blocks, duplicates or relates to the other.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemRelationKind {
    /// The other can't go on before it is finished: done, archived, or in the trash. Never in a circle.
    #[sea_orm(num_value = 0)]
    Blocks,
    /// It asks for the same as the other.
    #[sea_orm(num_value = 1)]
    Duplicates,
    /// It has to do with the other; the direction says nothing.
    #[sea_orm(num_value = 2)]
    RelatesTo,
}

/// Who did something, beside an id: `(actor_kind, actor_id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
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

/// Whether a webhook sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WebhookState {
    /// Events are sent.
    Enabled,
    /// Nothing is sent, and what happens is not queued.
    Paused,
    /// As PAUSED, by the server: after days of failure, or when the receiver said that it is gone (410). What waited
    /// was given up.
    Disabled,
}

/// How far a delivery has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundProvider {
    /// Anybody who signs as [Standard Webhooks](https://www.standardwebhooks.com) has it.
    Generic,
    /// GitHub, by `X-Hub-Signature-256`.
    Github,
    /// GitLab, by its signing token or `X-Gitlab-Token`.
    Gitlab,
}

/// What a callback does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundAction {
    /// Creates an item. The mapping must have `title`.
    ItemCreate,
    /// Changes an item; a field whose pointer leads nowhere stays as it is. The mapping must have `item`, an id or an
    /// identifier.
    ItemUpdate,
    /// Comments on an item. The mapping must have `item` and `body`.
    CommentCreate,
}

/// What became of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum InboundOutcome {
    /// It was done.
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

/// How far an import has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ImportStatus {
    /// For its file, for an hour at most.
    Waiting,
    /// The file is there: it is read, checked and written.
    Running,
    /// Everything good was written.
    Finished,
    /// It was only checked: nothing was written.
    Checked,
    /// Something is bad, or not allowed: nothing was written.
    Refused,
    /// It could not be read, or stopped half-way: `failure` says why. What was written stays; the same file goes on where it
    /// stopped.
    Failed,
    /// Somebody cancelled it, or its file never came. What was written stays.
    Cancelled,
}

/// How much time a row of usage sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum UsageSpan {
    #[sea_orm(num_value = 0)]
    Hour,
    #[sea_orm(num_value = 1)]
    Day,
}

/// Entries of a person's own security log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SecurityEventKind {
    /// A session began: by a password, a registration or a reset.
    SignedIn,
    /// Somebody tried to sign in with a wrong password.
    SignInFailed,
    /// The session that asked for it was ended.
    SignedOut,
    /// A refresh token came twice; its session was ended.
    RefreshReused,
    /// The password was changed by whoever knew it.
    PasswordChanged,
    /// A token to set another password was mailed.
    PasswordResetRequested,
    /// The password was set with a mailed token.
    PasswordReset,
    /// A token was mailed to another address, to prove it.
    EmailChangeRequested,
    /// The address was proven, or became another.
    EmailVerified,
    /// Another session was ended, or all of them.
    SessionsRevoked,
}

/// What a mailed token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TokenPurpose {
    /// Proves the address of a new account.
    EmailVerification,
    /// Proves another address, which then becomes the account's.
    EmailChange,
    PasswordReset,
}

/// What a plan may include beyond items and comments. A field that takes one says so: `@inPlan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter)]
pub enum Feature {
    /// Making and changing teams.
    Teams,
    /// Making and changing tags.
    Tags,
    /// Webhooks: events sent to other systems.
    Webhooks,
    /// Inbound hooks: callbacks from other systems.
    InboundHooks,
    /// Keys that programs call the API with.
    ApiKeys,
    /// Statistics of items. No field takes it yet.
    Analytics,
    /// The ledger of what happened; every plan includes it.
    AuditLog,
    /// Exports. No field takes it yet.
    Exports,
    /// Attachments. No field takes it yet.
    Attachments,
}

/// What a plan limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enum, EnumIter)]
pub enum QuotaResource {
    /// Members, active and suspended.
    Members,
    /// Items outside the trash.
    Items,
    /// Bytes of storage. Nothing takes any yet.
    StorageBytes,
    /// API keys that are not revoked.
    ApiKeys,
    /// Webhooks, whatever their state.
    Webhooks,
    /// Days that events are kept; the server's configuration may make it fewer.
    AuditRetentionDays,
    /// Points a minute for each caller of the organization.
    CostPerMinute,
}
