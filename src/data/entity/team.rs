use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{OrganizationId, TeamId},
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "team")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TeamId,
    pub name: String,
    pub name_key: String,
    pub description: Option<String>,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub version: i32,
    /// Gone for everybody since then; the row stays until a job has taken it off what refers to it.
    pub removed_at: Option<Instant>,
}

table!(
    tenant, removable;
    organization_id, id, name, name_key, description nullable, created_at, updated_at, version, removed_at nullable
);
keyed!(Team, "team");
versioned!(updated_at);
