use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::ActorKind,
    id::{CommentId, ItemId, OrganizationId},
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "comment")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: CommentId,
    pub item_id: ItemId,
    /// The top of the thread; null there.
    pub parent_id: Option<CommentId>,
    pub body: String,
    pub author_kind: ActorKind,
    pub author_id: Uuid,
    pub created_at: Instant,
    pub edited_at: Option<Instant>,
    pub version: i32,
}

table!(
    tenant;
    organization_id, id, item_id, parent_id nullable, body, author_kind, author_id, created_at, edited_at nullable,
    version
);
keyed!(Comment, "comment");
versioned!(edited_at);
