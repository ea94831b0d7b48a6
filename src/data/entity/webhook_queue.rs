use sea_orm::entity::prelude::*;

use crate::base::{
    clock::Instant,
    id::{OrganizationId, WebhookId},
};

/// What a worker holds while it sends a webhook's deliveries; one row a webhook. See `db::deliveries`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_lane")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub webhook_id: WebhookId,
    /// The fencing token: rises with each worker that takes the queue.
    pub lease: i64,
    /// Milliseconds since 1970 by the database's clock; whoever holds it later than that holds it no more.
    pub leased_until: i64,
    /// The first failure since the last success.
    pub failing_since: Option<Instant>,
}

table!(tenant);
