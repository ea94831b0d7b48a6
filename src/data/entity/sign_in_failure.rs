use sea_orm::entity::prelude::*;

use crate::base::clock::Instant;

/// A failed sign-in, for the throttle; purged after its window.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "sign_in_failure")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub account_key: String,
    pub ip: String,
    pub created_at: Instant,
}

table!(global);
