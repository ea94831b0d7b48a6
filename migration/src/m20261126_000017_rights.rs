//! What the rights of people and keys stand on: the mailed token of an invitation apart from the shown one, the API key
//! that made an API key, and how many letters a mailbox has had.

use sea_orm_migration::prelude::*;

use crate::columns::{index, instant, ordinal, primary_key, sort_key, unique, uuid, uuid_null};

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    // Null on invitations of before: their one token may have been shown, so it proves nothing.
    let mut mailed = ColumnDef::new("mailed_token_hash");
    manager.alter_table(Table::alter().table("invitation").add_column(mailed.binary().null()).take()).await?;
    manager.create_index(unique("invitation", &["mailed_token_hash"])).await?;

    manager.alter_table(Table::alter().table("api_key").add_column(uuid_null("created_by_key_id")).take()).await?;
    manager.create_index(index("api_key", &["organization_id", "created_by_key_id"])).await?;

    manager
        .create_table(
            Table::create()
                .table("mailed_letter")
                .col(uuid("id"))
                .col(sort_key(manager, "mailbox_key"))
                .col(ordinal("budget"))
                .col(instant("created_at"))
                .primary_key(&mut primary_key(&["id"]))
                .take(),
        )
        .await?;
    manager.create_index(index("mailed_letter", &["mailbox_key", "budget", "created_at"])).await?;
    manager.create_index(index("mailed_letter", &["created_at"])).await
}
