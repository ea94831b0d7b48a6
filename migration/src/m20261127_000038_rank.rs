//! The place of items in the manual order. Rows from before have none until a job gives them the one that their number
//! stands for; the previous release writes none either.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let rank = sort_key(manager, "rank").default("").take();
    manager.alter_table(Table::alter().table("item").add_column(rank).take()).await?;
    manager.create_index(index("item", &["organization_id", "rank", "id"])).await?;
    let unplaced = Index::create()
        .name("ix_item_unplaced")
        .table("item")
        .col("organization_id")
        .col("id")
        .and_where(Expr::col("rank").eq(""))
        .take();
    manager.create_index(unplaced).await
}
