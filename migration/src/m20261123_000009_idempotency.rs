//! What came of requests with an idempotency key, by root field.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("idempotency")
                // No reference: nil stands for none, and NULL can't be part of a primary key.
                .col(uuid("organization_id"))
                .col(ordinal("actor_kind"))
                .col(uuid("actor_id"))
                .col(text("key"))
                .col(text("path"))
                .col(ColumnDef::new("fingerprint").binary().not_null())
                .col(text_null("object_id"))
                .col(ColumnDef::new("problems").json().null())
                .col(uuid_null("cursor_organization_id"))
                .col(ColumnDef::new("cursor_sequence").big_integer().null())
                .col(instant("created_at"))
                .col(instant("expires_at"))
                .primary_key(&mut primary_key(&["organization_id", "actor_kind", "actor_id", "key", "path"]))
                .take(),
        )
        .await?;
    manager.create_index(index("idempotency", &["expires_at"])).await
}
