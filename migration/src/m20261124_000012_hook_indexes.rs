//! Deliveries of one time in the ledger's order: a replay makes thousands that are due at once, and without their
//! sequence in the index each fetch of a few sorted them all. Old receipts are found by their ids.

use sea_orm_migration::prelude::*;

/// The new one first, so that no moment is without.
const STEPS: [&str; 3] = [
    "CREATE INDEX ix_webhook_delivery_next ON webhook_delivery (organization_id, webhook_id, next_attempt_at, sequence)
     WHERE next_attempt_at IS NOT NULL",
    "DROP INDEX ix_webhook_delivery_due",
    "DROP INDEX ix_inbound_receipt_received_at",
];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for step in STEPS {
        manager.get_connection().execute_unprepared(step).await?;
    }
    Ok(())
}
