//! When an organization's plan is paid for again, as the payment provider says.

use sea_orm_migration::prelude::*;

use crate::columns::instant_null;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let renewal = instant_null("plan_renews_at");
    manager.alter_table(Table::alter().table("organization").add_column(renewal).take()).await
}
