use sea_orm::entity::prelude::*;

use crate::base::clock::Instant;

/// A key of the ring that signs access tokens; `secret` is encrypted under `SECRET_KEY`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub secret: Vec<u8>,
    pub created_at: Instant,
    /// Accepted until then; none for the key that signs.
    pub retired_at: Option<Instant>,
}

table!(global);
