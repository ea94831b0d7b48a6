use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{clock::Instant, enums::PlanTier, id::OrganizationId};

/// What the payment provider has said of an organization, by the id of its event.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "billing_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// By the provider's clock.
    pub occurred_at: Instant,
    /// Of which subscription, by the provider's id.
    pub subscription_id: String,
    /// Whether the subscription was over with it.
    pub is_over: bool,
    /// Among events of the same second: 0 for the subscription's beginning, 1 for a change, 2 for its end.
    pub precedence: i16,
    /// What it paid for; `None` when the subscription was over, and of events from before this was kept.
    pub tier: Option<PlanTier>,
    pub renews_at: Option<Instant>,
}

table!(tenant);
