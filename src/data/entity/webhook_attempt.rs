use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{OrganizationId, WebhookDeliveryId},
};

/// One try to deliver, and the outcome: an answer's status and beginning, or why there was none.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "webhook_attempt")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub delivery_id: WebhookDeliveryId,
    /// From 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    pub started_at: Instant,
    pub duration_ms: i32,
    pub response_status: Option<i32>,
    /// The first 4 KiB.
    pub response_body: Option<String>,
    pub error: Option<String>,
}

table!(tenant);
