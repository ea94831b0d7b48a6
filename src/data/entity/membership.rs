use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{MembershipStatus, Role},
    id::{MembershipId, OrganizationId, UserId},
};

/// A person in an organization.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "membership")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: MembershipId,
    pub user_id: UserId,
    pub role: Role,
    pub status: MembershipStatus,
    pub joined_at: Instant,
    pub last_active_at: Option<Instant>,
    pub version: i32,
    /// Gone for everybody since then; the row stays until a job has taken it off what refers to it.
    pub removed_at: Option<Instant>,
}

table!(tenant, removable);
keyed!(Membership, "member");
versioned!();
