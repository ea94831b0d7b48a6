//! Which of the server's secrets an API key's hash is under, so that `SECRET_KEY` can be changed.

use sea_orm_migration::prelude::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut secret = ColumnDef::new("hash_secret_id");
    manager.alter_table(Table::alter().table("api_key").add_column(secret.binary().null()).take()).await
}
