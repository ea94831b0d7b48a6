use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::id::{DocumentSetId, OrganizationId};

/// A document of a set, under the id that the application sends.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "trusted_document")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub set_id: DocumentSetId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub document_id: String,
    pub text: String,
    /// SHA-256.
    pub text_hash: Vec<u8>,
}

table!(tenant);
