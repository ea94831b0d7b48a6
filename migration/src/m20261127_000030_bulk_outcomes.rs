//! What became of each of the many items of a bulk mutation, for whoever sends it again under its idempotency key.

use sea_orm_migration::prelude::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let outcomes = ColumnDef::new("outcomes").json().null().take();
    manager.alter_table(Table::alter().table("idempotency").add_column(outcomes).take()).await
}
