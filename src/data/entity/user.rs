use sea_orm::entity::prelude::*;

use crate::base::{clock::Instant, id::UserId};

/// A person. The `…_key` columns are the folded forms that must be unique.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    pub email: String,
    pub email_key: String,
    pub username: String,
    pub username_key: String,
    pub full_name: Option<String>,
    pub full_name_key: Option<String>,
    pub avatar_url: Option<String>,
    pub time_zone: String,
    pub email_verified_at: Option<Instant>,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub version: i32,
}

table!(
    global;
    id, email, email_key, username, username_key, full_name nullable, full_name_key nullable, avatar_url nullable,
    time_zone, email_verified_at nullable, created_at, updated_at, version
);
versioned!(updated_at);
