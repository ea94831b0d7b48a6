use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{ImportId, OrganizationId},
};

/// A part of a file that is to be imported; gone once that has ended.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "import_part")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub import_id: ImportId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    pub bytes: Vec<u8>,
    pub created_at: Instant,
}

table!(tenant);
