//! What organizations use: requests by hour and, later, by day.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let sum = |name: &'static str| ColumnDef::new(name).big_integer().not_null().take();
    manager
        .create_table(
            tenant_table("usage")
                .col(ordinal("span"))
                .col(instant("start"))
                .col(sort_key(manager, "operation"))
                .col(ordinal("actor_kind"))
                .col(uuid("actor_id"))
                // Place on the logarithmic scale of latencies.
                .col(ordinal("bucket"))
                .col(sum("requests"))
                .col(sum("errors"))
                .col(sum("cost"))
                .col(sum("micros"))
                .primary_key(&mut primary_key(&[
                    "organization_id",
                    "span",
                    "start",
                    "operation",
                    "actor_kind",
                    "actor_id",
                    "bucket",
                ]))
                .take(),
        )
        .await
}
