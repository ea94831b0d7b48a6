use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::{
    base::{
        clock::Instant,
        enums::DeliveryStatus,
        id::{EventId, OrganizationId, WebhookDeliveryId, WebhookId},
    },
    data::entity::EventType,
};

/// One event on its way to one webhook; a test's `ping` has no event.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "webhook_delivery")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    /// The header `webhook-id` of every attempt.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookDeliveryId,
    pub webhook_id: WebhookId,
    pub event_id: Option<EventId>,
    pub event_type: Option<EventType>,
    /// The event's place in the ledger.
    pub sequence: Option<i64>,
    /// What an ordered webhook's deliveries wait for each other by: the event's item, else its subject.
    pub ordering_id: Option<Uuid>,
    pub status: DeliveryStatus,
    pub attempt_count: i32,
    /// `None` once nothing will be tried any more.
    pub next_attempt_at: Option<Instant>,
    pub created_at: Instant,
}

table!(tenant);
keyed!(WebhookDelivery, "delivery");
