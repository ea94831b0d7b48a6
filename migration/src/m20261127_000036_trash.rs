//! What is in the trash, by when it went there: few of all items.

use sea_orm_migration::prelude::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let trash = Index::create()
        .name("ix_item_deleted_at")
        .table("item")
        .col("deleted_at")
        .and_where(Expr::col("deleted_at").is_not_null())
        .take();
    manager.create_index(trash).await
}
