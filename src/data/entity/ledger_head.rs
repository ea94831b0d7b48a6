use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    enums::{PlanTier, QuotaResource},
    id::OrganizationId,
};

/// Gives an organization's events their order, its items their numbers and what its plan limits its units; one narrow
/// row, locked late.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "ledger_head")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    /// The newest event's sequence; 0 before the first.
    pub sequence: i64,
    /// The number of the next item.
    pub next_number: i64,
    /// The plan that is enforced: a copy of `organization.plan_tier` that changes under this row's lock.
    pub plan_tier: PlanTier,
    /// Members, active and suspended.
    pub member_count: i64,
    /// Items outside the trash.
    pub item_count: i64,
    /// API keys that are not revoked.
    pub api_key_count: i64,
    /// Webhooks, whatever their state.
    pub webhook_count: i64,
    /// How often tags and teams have changed, or gone: the database's own triggers raise it.
    pub reference_revision: i64,
}

table!(tenant);

impl Model {
    /// How much of a resource the organization uses; 0 of what is not counted.
    pub const fn used(&self, resource: QuotaResource) -> i64 {
        match resource {
            QuotaResource::Members => self.member_count,
            QuotaResource::Items => self.item_count,
            QuotaResource::ApiKeys => self.api_key_count,
            QuotaResource::Webhooks => self.webhook_count,
            QuotaResource::StorageBytes | QuotaResource::AuditRetentionDays | QuotaResource::CostPerMinute => 0,
        }
    }
}
