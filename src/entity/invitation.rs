use sea_orm::entity::prelude::*;

use super::enums::{ActorKind, Role};
use crate::{
    clock::Instant,
    id::{InvitationId, OrganizationId},
};

/// An open invitation; accepting or revoking removes it, the ledger remembers.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "invitation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    pub email: String,
    pub email_key: String,
    pub role: Role,
    pub token_hash: Vec<u8>,
    pub invited_by_kind: ActorKind,
    pub invited_by_id: Uuid,
    pub created_at: Instant,
    pub expires_at: Instant,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
