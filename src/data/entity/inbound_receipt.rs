use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::InboundOutcome,
    id::{EventId, InboundHookId, InboundReceiptId, OrganizationId},
};

/// What came through an inbound hook, and what became of it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "inbound_receipt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InboundReceiptId,
    pub hook_id: InboundHookId,
    pub outcome: InboundOutcome,
    /// As the sender gave it.
    pub delivery_id: Option<String>,
    /// The same, of what was dealt with: unique for the hook.
    pub delivery_key: Option<String>,
    /// SHA-256 of the body, where the delivery's id is not signed: unique for the hook.
    pub body_key: Option<String>,
    /// The last event that it caused.
    pub event_id: Option<EventId>,
    pub error: Option<String>,
    pub received_at: Instant,
}

table!(tenant);
keyed!(InboundReceipt, "receipt");
