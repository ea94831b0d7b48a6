use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{ActorKind, Role},
    id::{InvitationId, OrganizationId},
};

/// An open invitation; accepting or revoking removes it, the ledger remembers.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "invitation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InvitationId,
    pub email: String,
    pub email_key: String,
    pub role: Role,
    /// Of the token that whoever invited is shown: it lets somebody in and proves nothing.
    pub token_hash: Vec<u8>,
    /// Of the token in the e-mail, which proves the address; none of before there were two.
    pub mailed_token_hash: Option<Vec<u8>>,
    /// Whoever made it or mailed it last: it is worth what they may grant.
    pub invited_by_kind: ActorKind,
    pub invited_by_id: Uuid,
    pub created_at: Instant,
    pub expires_at: Instant,
}

table!(tenant);
keyed!(Invitation, "invitation");
