//! Webhooks: where events go, what goes there, what came of it. A lane is what a worker holds while it sends for one
//! webhook.

use sea_orm_migration::prelude::*;

use crate::columns::*;

/// What waits has a time for its next attempt, what is done has none: these indexes hold what waits alone.
const WAITING: [&str; 2] = [
    "CREATE INDEX ix_webhook_delivery_due ON webhook_delivery (organization_id, webhook_id, next_attempt_at)
     WHERE next_attempt_at IS NOT NULL",
    "CREATE INDEX ix_webhook_delivery_order ON webhook_delivery (organization_id, webhook_id, ordering_id, sequence)
     WHERE next_attempt_at IS NOT NULL",
];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_objects("webhook")
                .col(text_null("name"))
                .col(text("url"))
                .col(ColumnDef::new("event_types").json().null())
                .col(ColumnDef::new("team_ids").json().null())
                .col(text("state"))
                .col(text_null("disabled_reason"))
                .col(ColumnDef::new("stopped_at").big_integer().null())
                .col(ColumnDef::new("is_ordered").boolean().not_null())
                .col(ColumnDef::new("secret").binary().not_null())
                .col(ColumnDef::new("previous_secret").binary().null())
                .col(instant_null("previous_until"))
                .col(ordinal("created_by_kind"))
                .col(uuid("created_by_id"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(version())
                .take(),
        )
        .await?;

    let of_webhook = |table| tenant_reference(table, "webhook_id", "webhook", "id", ForeignKeyAction::Cascade);
    manager
        .create_table(
            tenant_table("webhook_lane")
                .col(uuid("webhook_id"))
                // Rises with each worker that takes the lane: what a former one still writes is recognized by it.
                .col(ColumnDef::new("lease").big_integer().not_null().default(0))
                // Milliseconds since 1970, by the database's clock, which all instances share.
                .col(ColumnDef::new("leased_until").big_integer().not_null().default(0))
                .col(instant_null("failing_since"))
                .foreign_key(&mut of_webhook("webhook_lane"))
                .primary_key(&mut primary_key(&["organization_id", "webhook_id"]))
                .take(),
        )
        .await?;

    manager
        .create_table(
            tenant_objects("webhook_delivery")
                .col(uuid("webhook_id"))
                // No reference: the ledger's old end goes, its deliveries stay a while.
                .col(uuid_null("event_id"))
                .col(text_null("event_type"))
                .col(ColumnDef::new("sequence").big_integer().null())
                .col(uuid_null("ordering_id"))
                .col(ordinal("status"))
                .col(count("attempt_count"))
                .col(instant_null("next_attempt_at"))
                .col(instant("created_at"))
                .foreign_key(&mut of_webhook("webhook_delivery"))
                .take(),
        )
        .await?;
    for waiting in WAITING {
        manager.get_connection().execute_unprepared(waiting).await?;
    }
    let log = ["organization_id", "webhook_id", "created_at", "id"];
    manager.create_index(index("webhook_delivery", &log)).await?;

    manager
        .create_table(
            tenant_table("webhook_attempt")
                .col(uuid("delivery_id"))
                .col(ColumnDef::new("number").integer().not_null())
                .col(instant("started_at"))
                .col(ColumnDef::new("duration_ms").integer().not_null())
                .col(ColumnDef::new("response_status").integer().null())
                .col(text_null("response_body"))
                .col(text_null("error"))
                .foreign_key(&mut tenant_reference(
                    "webhook_attempt",
                    "delivery_id",
                    "webhook_delivery",
                    "id",
                    ForeignKeyAction::Cascade,
                ))
                .primary_key(&mut primary_key(&["organization_id", "delivery_id", "number"]))
                .take(),
        )
        .await?;

    let webhooks = ColumnDef::new("webhook_count").big_integer().not_null().default(0).take();
    manager.alter_table(Table::alter().table("ledger_head").add_column(webhooks).take()).await
}
