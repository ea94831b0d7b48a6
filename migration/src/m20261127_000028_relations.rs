//! Relations between items: what blocks what, what duplicates what, what has to do with what.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let to_item = |column| tenant_reference("item_relation", column, "item", "id", ForeignKeyAction::Cascade);
    manager
        .create_table(
            tenant_objects("item_relation")
                .col(uuid("item_id"))
                .col(uuid("related_item_id"))
                .col(ordinal("kind"))
                .col(instant("created_at"))
                .foreign_key(&mut to_item("item_id"))
                .foreign_key(&mut to_item("related_item_id"))
                .take(),
        )
        .await?;
    let pair = ["organization_id", "item_id", "related_item_id", "kind"];
    manager.create_index(unique("item_relation", &pair)).await?;
    manager.create_index(index("item_relation", &["organization_id", "related_item_id", "kind", "item_id"])).await
}
