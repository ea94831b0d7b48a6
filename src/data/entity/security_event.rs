use sea_orm::entity::prelude::*;

use crate::base::{
    clock::Instant,
    enums::SecurityEventKind,
    id::{SecurityEventId, UserId},
};

/// An entry of a person's own security log; in no organization's ledger.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "security_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SecurityEventId,
    pub user_id: UserId,
    pub kind: SecurityEventKind,
    pub ip: Option<String>,
    pub user_agent: Option<String>,
    pub created_at: Instant,
}

table!(global);
