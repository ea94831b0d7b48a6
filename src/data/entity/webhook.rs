use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{ActorKind, WebhookState},
    id::{OrganizationId, WebhookId},
};

/// Where an organization's events are sent.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "webhook")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookId,
    pub name: Option<String>,
    pub url: String,
    /// Types of events by their names; `None`: every type.
    pub event_types: Option<Json>,
    /// Ids of teams; `None`: all. Teams that are gone stay in it.
    pub team_ids: Option<Json>,
    pub state: WebhookState,
    pub disabled_reason: Option<String>,
    /// The ledger's newest sequence when it was paused or disabled: later events are not queued.
    pub stopped_at: Option<i64>,
    /// Whether the deliveries of one item's events wait for each other.
    pub is_ordered: bool,
    /// Sealed.
    pub secret: Vec<u8>,
    /// The secret before the last rotation, while deliveries are signed with it, too. Sealed.
    pub previous_secret: Option<Vec<u8>>,
    pub previous_until: Option<Instant>,
    pub created_by_kind: ActorKind,
    pub created_by_id: Uuid,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub version: i32,
}

table!(tenant);
keyed!(Webhook, "webhook");
versioned!(updated_at);
