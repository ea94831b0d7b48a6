//! Which of the server's secrets an API key's hash is under, so that `SECRET_KEY` can be changed.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut secret = ColumnDef::new("hash_secret_id");
        manager.alter_table(Table::alter().table("api_key").add_column(secret.binary().null()).take()).await
    }
}
