//! When an organization's plan is paid for again, as the payment provider says.

use sea_orm_migration::prelude::*;

use crate::columns::instant_null;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let renewal = instant_null("plan_renews_at");
        manager.alter_table(Table::alter().table("organization").add_column(renewal).take()).await
    }
}
