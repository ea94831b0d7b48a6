use sea_orm::entity::prelude::*;

use crate::base::{clock::Instant, id::SessionId};

/// A refresh token, by its SHA-256.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: Vec<u8>,
    pub session_id: SessionId,
    pub issued_at: Instant,
    pub used_at: Option<Instant>,
}

table!(global);
