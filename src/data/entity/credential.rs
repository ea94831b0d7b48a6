use sea_orm::entity::prelude::*;

use crate::base::{clock::Instant, id::UserId};

/// How a person proves who they are: apart from the person, so that whatever reads people can't read it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "credential")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    /// A PHC string.
    pub password_hash: String,
    pub updated_at: Instant,
}

table!(global);
