//! Keys that integrations call with.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_objects("api_key")
                .col(text("name"))
                .col(text("lookup"))
                .col(ColumnDef::new("secret_hash").binary().not_null())
                .col(ColumnDef::new("previous_hash").binary().null())
                .col(instant_null("previous_until"))
                .col(ColumnDef::new("scopes").json().not_null())
                .col(ColumnDef::new("ip_allowlist").json().not_null())
                // No reference: the person may be gone while the ledger still names the key.
                .col(uuid("created_by_id"))
                .col(instant("created_at"))
                .col(instant_null("last_used_at"))
                .col(instant_null("expires_at"))
                .col(instant_null("revoked_at"))
                .col(version())
                .take(),
        )
        .await?;
    // Looked up before the tenant is known.
    manager.create_index(unique("api_key", &["lookup"])).await?;
    manager.create_index(index("api_key", &["organization_id", "created_by_id"])).await
}
