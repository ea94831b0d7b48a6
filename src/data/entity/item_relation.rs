use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::ItemRelationKind,
    id::{ItemId, ItemRelationId, OrganizationId},
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "item_relation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ItemRelationId,
    /// What blocks, duplicates or relates to the other.
    pub item_id: ItemId,
    pub related_item_id: ItemId,
    pub kind: ItemRelationKind,
    pub created_at: Instant,
}

table!(tenant);
keyed!(ItemRelation, "relation");
