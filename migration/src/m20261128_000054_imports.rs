//! Imports over the API, and the parts of a file until it has been imported.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_objects("import")
                .col(text("file_name"))
                .col(ColumnDef::new("check_only").boolean().not_null())
                .col(ColumnDef::new("skip_bad").boolean().not_null())
                .col(ColumnDef::new("options").json().not_null())
                .col(text("status"))
                .col(ColumnDef::new("size").big_integer().null())
                .col(ColumnDef::new("report").json().null())
                .col(text_null("failure_code"))
                .col(text_null("failure_message"))
                .col(count("item_count"))
                .col(count("comment_count"))
                .col(count("tag_count"))
                .col(count("team_count"))
                // No reference: whoever asked may be gone.
                .col(ordinal("created_by_kind"))
                .col(uuid("created_by_id"))
                .col(instant("created_at"))
                .col(instant("upload_until"))
                .col(uuid_null("attempt"))
                .col(instant_null("finished_at"))
                .take(),
        )
        .await?;
    manager.create_index(index("import", &["organization_id", "created_at", "id"])).await?;
    // For forgetting old ones.
    manager.create_index(index("import", &["created_at"])).await?;
    manager
        .create_table(
            tenant_table("import_part")
                .col(uuid("import_id"))
                .col(ColumnDef::new("number").integer().not_null())
                .col(ColumnDef::new("bytes").binary().not_null())
                .col(instant("created_at"))
                .foreign_key(&mut tenant_reference(
                    "import_part",
                    "import_id",
                    "import",
                    "id",
                    ForeignKeyAction::Cascade,
                ))
                .primary_key(&mut primary_key(&["organization_id", "import_id", "number"]))
                .take(),
        )
        .await?;
    manager.create_index(index("import_part", &["created_at"])).await
}
