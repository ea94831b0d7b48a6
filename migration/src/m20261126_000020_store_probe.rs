//! A table to find out by whether the store takes writes.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("store_probe")
                .col(uuid("id"))
                .col(ColumnDef::new("filler").binary().not_null())
                .primary_key(&mut primary_key(&["id"]))
                .take(),
        )
        .await
}
