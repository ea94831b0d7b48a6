use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{ActorKind, UsageSpan},
    id::OrganizationId,
};

/// Requests of one caller and operation within one hour or day that took about as long: sums. See `metering`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "usage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub span: UsageSpan,
    /// When the hour or day began, by the organization's time zone.
    #[sea_orm(primary_key, auto_increment = false)]
    pub start: Instant,
    #[sea_orm(primary_key, auto_increment = false)]
    pub operation: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor_kind: ActorKind,
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor_id: Uuid,
    /// How long they took, on the scale of `metering::buckets`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub bucket: i16,
    pub requests: i64,
    /// Requests whose answer had a top-level error.
    pub errors: i64,
    /// Points.
    pub cost: i64,
    /// Microseconds, all requests together.
    pub micros: i64,
}

table!(tenant);
