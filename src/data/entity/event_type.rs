//! What events are of, and what follows from it.

use async_graphql::Enum;
use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::policy::Permission;

/// What happened. Webhook name: lower case, a dot for the last underscore: `item.created`. New values may be added;
/// treat unknown ones as no-ops.
///
/// Every member sees events of items, comments, tags and teams, of members who join, change or leave, and of changes
/// of the organization; the others need AUDIT_READ. An API key also needs ITEM_READ or MEMBER_READ.
///
/// Not in the ledger on purpose: sessions and other security events, usage, receipts, deliveries, imports (what they make is).
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventType {
    /// An item was created; with subtasks one event each.
    ItemCreated,
    /// An item was changed.
    ItemUpdated,
    /// An item was archived.
    ItemArchived,
    /// An item was taken out of the archive.
    ItemUnarchived,
    /// An item went to the trash; with subtasks one event each.
    ItemDeleted,
    /// An item came back from the trash; with subtasks one event each.
    ItemRestored,
    /// An item was deleted for good; with subtasks one event each.
    ItemPurged,
    /// Two items were related.
    ItemRelationCreated,
    /// Two items are related no more: somebody said so, or one of them was deleted for good.
    ItemRelationDeleted,
    /// Somebody commented on an item.
    CommentCreated,
    /// A comment was changed.
    CommentUpdated,
    /// A comment was deleted; with replies one event each.
    CommentDeleted,
    /// A tag was created.
    TagCreated,
    /// A tag was changed.
    TagUpdated,
    /// A tag was deleted, or merged into another.
    TagDeleted,
    /// A team was created.
    TeamCreated,
    /// A team was changed, or who is in it.
    TeamUpdated,
    /// A team was deleted.
    TeamDeleted,
    /// Somebody was invited, or an invitation was sent again. Needs AUDIT_READ.
    MemberInvited,
    /// An invitation was taken back. Needs AUDIT_READ.
    InvitationRevoked,
    /// Somebody became a member.
    MemberJoined,
    /// A member's role, status or teams were changed, or the person's profile.
    MemberUpdated,
    /// A member left or was removed.
    MemberRemoved,
    /// The organization was founded. Needs AUDIT_READ.
    OrganizationCreated,
    /// The organization was changed.
    OrganizationUpdated,
    /// The organization's plan, or when it renews, was changed. Needs AUDIT_READ.
    PlanChanged,
    /// An API key was made. Needs AUDIT_READ.
    ApiKeyCreated,
    /// An API key was changed. Needs AUDIT_READ.
    ApiKeyUpdated,
    /// An API key got a new secret. Needs AUDIT_READ.
    ApiKeyRotated,
    /// An API key was ended. Needs AUDIT_READ.
    ApiKeyRevoked,
    /// A document set was registered. Needs AUDIT_READ.
    DocumentSetCreated,
    /// A document set was renamed, or got other documents. Needs AUDIT_READ.
    DocumentSetUpdated,
    /// A document set was deleted. Needs AUDIT_READ.
    DocumentSetDeleted,
    /// A webhook was made. Needs AUDIT_READ.
    WebhookCreated,
    /// A webhook was changed, paused or enabled. Needs AUDIT_READ.
    WebhookUpdated,
    /// A webhook got a new secret. Needs AUDIT_READ.
    WebhookSecretRotated,
    /// The server disabled a webhook. Needs AUDIT_READ.
    WebhookDisabled,
    /// A webhook was ended. Needs AUDIT_READ.
    WebhookDeleted,
    /// An inbound hook was made. Needs AUDIT_READ.
    InboundHookCreated,
    /// An inbound hook was changed, closed or opened. Needs AUDIT_READ.
    InboundHookUpdated,
    /// An inbound hook got a new secret. Needs AUDIT_READ.
    InboundHookSecretRotated,
    /// An inbound hook was deleted. Needs AUDIT_READ.
    InboundHookDeleted,
}

impl EventType {
    /// The name that webhooks use: `item.created`, `webhook_secret.rotated`: a dot for the last underscore.
    pub fn wire_name(self) -> String {
        let name = self.to_value().to_ascii_lowercase();
        let (subject, verb) = name.rsplit_once('_').unwrap_or((&name, ""));
        format!("{subject}.{verb}")
    }

    /// What it takes to see it, besides belonging to the organization; AUDIT_READ sees all. Every role holds the read
    /// permissions, so they matter to API keys alone.
    pub const fn seen_with(self) -> Option<Permission> {
        match self {
            Self::ItemCreated
            | Self::ItemUpdated
            | Self::ItemArchived
            | Self::ItemUnarchived
            | Self::ItemDeleted
            | Self::ItemRestored
            | Self::ItemPurged
            | Self::ItemRelationCreated
            | Self::ItemRelationDeleted
            | Self::CommentCreated
            | Self::CommentUpdated
            | Self::CommentDeleted
            | Self::TagCreated
            | Self::TagUpdated
            | Self::TagDeleted
            | Self::TeamCreated
            | Self::TeamUpdated
            | Self::TeamDeleted => Some(Permission::ItemRead),
            Self::MemberJoined | Self::MemberUpdated | Self::MemberRemoved => Some(Permission::MemberRead),
            Self::OrganizationUpdated => None,
            Self::MemberInvited
            | Self::InvitationRevoked
            | Self::OrganizationCreated
            | Self::PlanChanged
            | Self::ApiKeyCreated
            | Self::ApiKeyUpdated
            | Self::ApiKeyRotated
            | Self::ApiKeyRevoked
            | Self::DocumentSetCreated
            | Self::DocumentSetUpdated
            | Self::DocumentSetDeleted
            | Self::WebhookCreated
            | Self::WebhookUpdated
            | Self::WebhookSecretRotated
            | Self::WebhookDisabled
            | Self::WebhookDeleted
            | Self::InboundHookCreated
            | Self::InboundHookUpdated
            | Self::InboundHookSecretRotated
            | Self::InboundHookDeleted => Some(Permission::AuditRead),
        }
    }

    /// Whether it may change who may do what, so that identities read before are old.
    pub const fn changes_rights(self) -> bool {
        match self {
            Self::MemberJoined
            | Self::MemberUpdated
            | Self::MemberRemoved
            | Self::OrganizationCreated
            | Self::OrganizationUpdated
            | Self::PlanChanged
            | Self::ApiKeyCreated
            | Self::ApiKeyUpdated
            | Self::ApiKeyRotated
            | Self::ApiKeyRevoked => true,
            Self::ItemCreated
            | Self::ItemUpdated
            | Self::ItemArchived
            | Self::ItemUnarchived
            | Self::ItemDeleted
            | Self::ItemRestored
            | Self::ItemPurged
            | Self::ItemRelationCreated
            | Self::ItemRelationDeleted
            | Self::CommentCreated
            | Self::CommentUpdated
            | Self::CommentDeleted
            | Self::TagCreated
            | Self::TagUpdated
            | Self::TagDeleted
            | Self::TeamCreated
            | Self::TeamUpdated
            | Self::TeamDeleted
            | Self::MemberInvited
            | Self::InvitationRevoked
            | Self::DocumentSetCreated
            | Self::DocumentSetUpdated
            | Self::DocumentSetDeleted
            | Self::WebhookCreated
            | Self::WebhookUpdated
            | Self::WebhookSecretRotated
            | Self::WebhookDisabled
            | Self::WebhookDeleted
            | Self::InboundHookCreated
            | Self::InboundHookUpdated
            | Self::InboundHookSecretRotated
            | Self::InboundHookDeleted => false,
        }
    }
}
