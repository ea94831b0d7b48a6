//! Sets of documents that an application has registered, and which of them an API key is bound to.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_objects("document_set")
                .col(text("name"))
                .col(count("document_count"))
                .col(ColumnDef::new("manifest_hash").binary().not_null())
                // No reference: the person may be gone while the set is in use.
                .col(uuid("created_by_id"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(version())
                .take(),
        )
        .await?;
    manager
        .create_table(
            tenant_table("trusted_document")
                .col(uuid("set_id"))
                // The client's name for it, most often a hash of its text.
                .col(sort_key(manager, "document_id"))
                .col(text("text"))
                .col(ColumnDef::new("text_hash").binary().not_null())
                .foreign_key(&mut tenant_reference(
                    "trusted_document",
                    "set_id",
                    "document_set",
                    "id",
                    ForeignKeyAction::Cascade,
                ))
                .primary_key(&mut primary_key(&["organization_id", "set_id", "document_id"]))
                .take(),
        )
        .await?;
    for columns in [["organization_id", "set_id", "text_hash"], ["organization_id", "document_id", "set_id"]] {
        manager.create_index(index("trusted_document", &columns)).await?;
    }
    // No reference: SQLite adds none to a table that is there. A set is not deleted while a key is bound to it.
    let mut set = uuid_null("document_set_id");
    manager.alter_table(Table::alter().table("api_key").add_column(&mut set).take()).await?;
    manager.create_index(index("api_key", &["organization_id", "document_set_id"])).await
}
