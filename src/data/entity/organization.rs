use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{clock::Instant, enums::PlanTier, id::OrganizationId};

/// A tenant.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "organization")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OrganizationId,
    pub name: String,
    pub slug: String,
    pub item_prefix: String,
    pub time_zone: String,
    pub plan_tier: PlanTier,
    /// When it is paid for again; `None` without billing, and where it will not be.
    pub plan_renews_at: Option<Instant>,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub version: i32,
}

table!(global);
versioned!(updated_at);
