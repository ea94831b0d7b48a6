use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    id::{ItemId, OrganizationId, TagId},
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "item_tag")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub item_id: ItemId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub tag_id: TagId,
    /// The item's, so that an index gives the items of one in their order.
    pub item_created_at: Instant,
}

table!(tenant);
