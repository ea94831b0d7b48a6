//! Doors for other systems, and what came through them; what a payment provider has said of an organization.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_objects("inbound_hook")
                .col(text("token"))
                .col(text("name"))
                .col(text("provider"))
                .col(text_null("action"))
                .col(ColumnDef::new("mapping").json().null())
                .col(ColumnDef::new("is_enabled").boolean().not_null())
                .col(ColumnDef::new("secret").binary().not_null())
                .col(ColumnDef::new("previous_secret").binary().null())
                .col(instant_null("previous_until"))
                // No reference: the person may be gone while the ledger still names the hook.
                .col(uuid("created_by_id"))
                .col(instant("created_at"))
                .col(version())
                .take(),
        )
        .await?;
    // Looked up before the tenant is known.
    manager.create_index(unique("inbound_hook", &["token"])).await?;

    manager
        .create_table(
            tenant_objects("inbound_receipt")
                .col(uuid("hook_id"))
                .col(text("outcome"))
                .col(text_null("delivery_id"))
                // What may not come twice; absent of what had no effect, so that it may be sent again.
                .col(text_null("delivery_key"))
                .col(text_null("body_key"))
                .col(uuid_null("event_id"))
                .col(text_null("error"))
                .col(instant("received_at"))
                .foreign_key(&mut tenant_reference(
                    "inbound_receipt",
                    "hook_id",
                    "inbound_hook",
                    "id",
                    ForeignKeyAction::Cascade,
                ))
                .take(),
        )
        .await?;
    for key in ["delivery_key", "body_key"] {
        manager.create_index(unique("inbound_receipt", &["organization_id", "hook_id", key])).await?;
    }
    let log = ["organization_id", "hook_id", "received_at", "id"];
    manager.create_index(index("inbound_receipt", &log)).await?;
    // For forgetting old ones.
    manager.create_index(index("inbound_receipt", &["received_at"])).await?;

    manager
        .create_table(
            tenant_table("billing_event")
                .col(text("id"))
                .col(instant("occurred_at"))
                .col(text("subscription_id"))
                .col(ColumnDef::new("is_over").boolean().not_null())
                .primary_key(&mut primary_key(&["organization_id", "id"]))
                .take(),
        )
        .await
}
