use sea_orm::entity::prelude::*;

use crate::base::{
    clock::Instant,
    id::{SessionId, UserId},
};

/// A sign-in: the family of its refresh tokens.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    pub user_id: UserId,
    pub user_agent: Option<String>,
    pub ip: Option<String>,
    pub created_at: Instant,
    pub last_seen_at: Instant,
    /// Moves with each refresh, never past `absolute_expires_at`.
    pub expires_at: Instant,
    pub absolute_expires_at: Instant,
    pub revoked_at: Option<Instant>,
}

table!(global);
