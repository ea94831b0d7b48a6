//! The ledger: one row per change, in gapless order within an organization, and the narrow head that gives the order.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_table("ledger_head")
                .col(ColumnDef::new("sequence").big_integer().not_null().default(0))
                .col(ColumnDef::new("next_number").big_integer().not_null().default(1))
                .primary_key(&mut primary_key(&["organization_id"]))
                .take(),
        )
        .await?;

    manager
        .create_table(
            tenant_table("event")
                .col(ColumnDef::new("sequence").big_integer().not_null())
                .col(uuid("id"))
                .col(text("type"))
                .col(instant("occurred_at"))
                .col(ordinal("actor_kind"))
                .col(uuid("actor_id"))
                .col(text("subject_kind"))
                .col(uuid("subject_id"))
                .col(uuid_null("item_id"))
                .col(uuid_null("team_id"))
                .col(ColumnDef::new("changes").json().not_null())
                .col(text("request_id"))
                .col(text_null("ip"))
                .primary_key(&mut primary_key(&["organization_id", "sequence"]))
                .take(),
        )
        .await?;
    manager.create_index(unique("event", &["organization_id", "id"])).await?;
    manager.create_index(index("event", &["organization_id", "item_id", "sequence"])).await?;
    manager.create_index(index("event", &["organization_id", "subject_id", "sequence"])).await
}
