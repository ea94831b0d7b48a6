use sea_orm::entity::prelude::*;

/// Which life of the database this is: one row, 0 until the first restore. See `ledger::LedgerCursor`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger_epoch")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i16,
    pub epoch: i64,
}

table!();
