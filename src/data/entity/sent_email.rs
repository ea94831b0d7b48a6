use sea_orm::entity::prelude::*;

use crate::base::clock::Instant;

/// An e-mail of the last hour, for the limit of each mailbox.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "mailed_letter")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub mailbox_key: String,
    /// See `mail::Budget`.
    pub budget: i16,
    pub created_at: Instant,
}

table!(global);
