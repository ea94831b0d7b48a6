use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{ApiKeyId, DocumentSetId, OrganizationId, UserId},
};

/// A key that an integration calls with. Its secret is kept as a keyed hash alone.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    pub name: String,
    /// The middle part of the key, made by the server: finds it without a tenant.
    pub lookup: String,
    pub secret_hash: Vec<u8>,
    /// Which of the server's secrets the hash is under; none of before that was kept.
    pub hash_secret_id: Option<Vec<u8>>,
    /// The secret before the last rotation, while it still works.
    pub previous_hash: Option<Vec<u8>>,
    pub previous_until: Option<Instant>,
    /// Names of permissions.
    pub scopes: Json,
    /// Networks it may be used from, as CIDR; empty: from anywhere.
    pub ip_allowlist: Json,
    /// The key's rights never exceed this member's present ones.
    pub created_by_id: UserId,
    /// The key that made this one: it ends with it.
    pub created_by_key_id: Option<ApiKeyId>,
    /// The documents that it may run alone; none: any.
    pub document_set_id: Option<DocumentSetId>,
    pub created_at: Instant,
    /// To the minute.
    pub last_used_at: Option<Instant>,
    pub expires_at: Option<Instant>,
    pub revoked_at: Option<Instant>,
    pub version: i32,
}

table!(tenant);
keyed!(ApiKey, "API key");
versioned!();
