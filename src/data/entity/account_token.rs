use sea_orm::entity::prelude::*;

use crate::base::{clock::Instant, enums::TokenPurpose, id::UserId};

/// A token that a person got by mail, by its SHA-256. A new one replaces those of the same purpose.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "account_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hash: Vec<u8>,
    pub user_id: UserId,
    pub purpose: TokenPurpose,
    /// Where it was mailed to, which is what it proves.
    pub email: String,
    pub email_key: String,
    pub created_at: Instant,
    pub expires_at: Instant,
    /// A used one works no more.
    pub used_at: Option<Instant>,
}

table!(global);
