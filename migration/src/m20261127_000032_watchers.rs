//! Who watches which item.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = "item_watcher";
    let of_item = &mut tenant_reference(table, "item_id", "item", "id", ForeignKeyAction::Cascade);
    let of_member = &mut tenant_reference(table, "user_id", "membership", "user_id", ForeignKeyAction::Cascade);
    manager
        .create_table(
            tenant_table(table)
                .col(uuid("item_id"))
                .col(uuid("user_id"))
                .primary_key(&mut primary_key(&["organization_id", "item_id", "user_id"]))
                .foreign_key(of_item)
                .foreign_key(of_member)
                .take(),
        )
        .await?;
    manager.create_index(index(table, &["organization_id", "user_id", "item_id"])).await
}
