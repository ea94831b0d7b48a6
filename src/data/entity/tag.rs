use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{OrganizationId, TagId},
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "tag")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TagId,
    pub name: String,
    pub name_key: String,
    pub color: String,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub version: i32,
    /// Gone for everybody since then; the row stays until a job has taken it off what refers to it.
    pub removed_at: Option<Instant>,
}

table!(
    tenant, removable;
    organization_id, id, name, name_key, color, created_at, updated_at, version, removed_at nullable
);
keyed!(Tag, "tag");
versioned!(updated_at);
