//! Tokens that a person gets by mail.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("account_token")
                .col(ColumnDef::new("hash").binary().not_null().primary_key())
                .col(uuid("user_id"))
                .col(text("purpose"))
                .col(text("email"))
                .col(sort_key(manager, "email_key"))
                .col(instant("created_at"))
                .col(instant("expires_at"))
                .col(instant_null("used_at"))
                .foreign_key(
                    ForeignKey::create()
                        .name("fk_account_token_user")
                        .from("account_token", "user_id")
                        .to("user", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .take(),
        )
        .await?;
    manager.create_index(index("account_token", &["user_id"])).await
}
