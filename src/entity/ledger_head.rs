use sea_orm::entity::prelude::*;

use crate::id::OrganizationId;

/// Gives an organization's events their order and its items their numbers; one narrow row, locked late.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger_head")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    /// The newest event's sequence; 0 before the first.
    pub sequence: i64,
    /// The number of the next item.
    pub next_number: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
