use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{DocumentSetId, OrganizationId, UserId},
};

/// Documents that one application sends.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "document_set")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DocumentSetId,
    pub name: String,
    pub document_count: i32,
    /// SHA-256 of the ids and texts: whether another manifest says the same.
    pub manifest_hash: Vec<u8>,
    pub created_by_id: UserId,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub version: i32,
}

table!(tenant);
keyed!(DocumentSet, "document set");
versioned!(updated_at);
