//! What a payment provider's event said of the plan, so that events in any order come to the same.

use sea_orm_migration::prelude::*;

use crate::columns::{instant_null, text_null};

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    // 1 is a change: what is not known of the events that are there counts as one.
    let precedence = ColumnDef::new("precedence").small_integer().not_null().default(1).take();
    for column in [precedence, text_null("tier"), instant_null("renews_at")] {
        let add = Table::alter().table("billing_event").add_column(column).take();
        manager.alter_table(add).await?;
    }
    Ok(())
}
