//! People and how they sign in: what no organization owns.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("user")
                .col(uuid("id").primary_key())
                .col(text("email"))
                .col(sort_key(manager, "email_key"))
                .col(text("username"))
                .col(sort_key(manager, "username_key"))
                .col(text_null("full_name"))
                .col(text_null("full_name_key"))
                .col(text_null("avatar_url"))
                .col(text("time_zone"))
                .col(instant_null("email_verified_at"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(version())
                .take(),
        )
        .await?;
    manager.create_index(unique("user", &["email_key"])).await?;
    manager.create_index(unique("user", &["username_key"])).await?;

    // Apart from the person, so that whatever reads people can't read it.
    manager
        .create_table(
            Table::create()
                .table("credential")
                .col(uuid("user_id").primary_key())
                .col(text("password_hash"))
                .col(instant("updated_at"))
                .foreign_key(&mut of_user("credential"))
                .take(),
        )
        .await?;

    manager
        .create_table(
            Table::create()
                .table("session")
                .col(uuid("id").primary_key())
                .col(uuid("user_id"))
                .col(text_null("user_agent"))
                .col(text_null("ip"))
                .col(instant("created_at"))
                .col(instant("last_seen_at"))
                .col(instant("expires_at"))
                .col(instant("absolute_expires_at"))
                .col(instant_null("revoked_at"))
                .foreign_key(&mut of_user("session"))
                .take(),
        )
        .await?;
    manager.create_index(index("session", &["user_id", "created_at"])).await?;

    // Every refresh token ever issued to a session stays until the session goes: a used one that comes back is
    // how a stolen one is noticed.
    manager
        .create_table(
            Table::create()
                .table("refresh_token")
                .col(ColumnDef::new("hash").binary().not_null().primary_key())
                .col(uuid("session_id"))
                .col(instant("issued_at"))
                .col(instant_null("used_at"))
                .foreign_key(
                    ForeignKey::create()
                        .name("fk_refresh_token_session")
                        .from("refresh_token", "session_id")
                        .to("session", "id")
                        .on_delete(ForeignKeyAction::Cascade),
                )
                .take(),
        )
        .await?;
    manager.create_index(index("refresh_token", &["session_id"])).await?;

    manager
        .create_table(
            Table::create()
                .table("security_event")
                .col(uuid("id").primary_key())
                .col(uuid("user_id"))
                .col(text("kind"))
                .col(text_null("ip"))
                .col(text_null("user_agent"))
                .col(instant("created_at"))
                .foreign_key(&mut of_user("security_event"))
                .take(),
        )
        .await?;
    manager.create_index(index("security_event", &["user_id", "created_at"])).await?;

    // Failed sign-ins, counted by account and by address: shared, so that a second instance is no way around.
    manager
        .create_table(
            Table::create()
                .table("sign_in_failure")
                .col(uuid("id").primary_key())
                .col(text("account_key"))
                .col(text("ip"))
                .col(instant("created_at"))
                .take(),
        )
        .await?;
    manager.create_index(index("sign_in_failure", &["ip"])).await?;
    manager.create_index(index("sign_in_failure", &["created_at"])).await?;

    manager
        .create_table(
            Table::create()
                .table("signing_key")
                .col(text("id").primary_key())
                .col(ColumnDef::new("secret").binary().not_null())
                .col(instant("created_at"))
                .col(instant_null("retired_at"))
                .take(),
        )
        .await
}

fn of_user(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("fk_{table}_user"))
        .from(table, "user_id")
        .to("user", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .take()
}
