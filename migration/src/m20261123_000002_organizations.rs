//! Organizations and who belongs to them.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("organization")
                .col(uuid("id").primary_key())
                .col(text("name"))
                .col(text("slug"))
                .col(text("item_prefix"))
                .col(text("time_zone"))
                .col(text("plan_tier"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(version())
                .take(),
        )
        .await?;
    manager.create_index(unique("organization", &["slug"])).await?;

    manager
        .create_table(
            tenant_objects("membership")
                .col(uuid("user_id"))
                .col(text("role"))
                .col(text("status"))
                .col(instant("joined_at"))
                .col(instant_null("last_active_at"))
                .col(version())
                .foreign_key(
                    ForeignKey::create()
                        .name("fk_membership_user")
                        .from("membership", "user_id")
                        .to("user", "id")
                        .on_delete(ForeignKeyAction::NoAction),
                )
                .take(),
        )
        .await?;
    manager.create_index(unique("membership", &["organization_id", "user_id"])).await?;
    manager.create_index(index("membership", &["user_id"])).await?;

    manager
        .create_table(
            tenant_objects("team")
                .col(text("name"))
                .col(sort_key(manager, "name_key"))
                .col(text_null("description"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(version())
                .take(),
        )
        .await?;
    manager.create_index(unique("team", &["organization_id", "name_key"])).await?;

    manager
        .create_table(
            tenant_table("team_member")
                .col(uuid("team_id"))
                .col(uuid("user_id"))
                .primary_key(&mut primary_key(&["organization_id", "team_id", "user_id"]))
                .foreign_key(&mut tenant_reference("team_member", "team_id", "team", "id", ForeignKeyAction::Cascade))
                .foreign_key(&mut tenant_reference(
                    "team_member",
                    "user_id",
                    "membership",
                    "user_id",
                    ForeignKeyAction::NoAction,
                ))
                .take(),
        )
        .await?;
    manager.create_index(index("team_member", &["organization_id", "user_id"])).await?;

    manager
        .create_table(
            tenant_objects("invitation")
                .col(text("email"))
                .col(sort_key(manager, "email_key"))
                .col(text("role"))
                .col(ColumnDef::new("token_hash").binary().not_null())
                .col(ordinal("invited_by_kind"))
                .col(uuid("invited_by_id"))
                .col(instant("created_at"))
                .col(instant("expires_at"))
                .take(),
        )
        .await?;
    manager.create_index(unique("invitation", &["organization_id", "email_key"])).await?;
    manager.create_index(unique("invitation", &["token_hash"])).await?;
    manager.create_index(index("invitation", &["email_key"])).await?;

    manager
        .create_table(
            tenant_table("invitation_team")
                .col(uuid("invitation_id"))
                .col(uuid("team_id"))
                .primary_key(&mut primary_key(&["organization_id", "invitation_id", "team_id"]))
                .foreign_key(&mut tenant_reference(
                    "invitation_team",
                    "invitation_id",
                    "invitation",
                    "id",
                    ForeignKeyAction::Cascade,
                ))
                .foreign_key(&mut tenant_reference(
                    "invitation_team",
                    "team_id",
                    "team",
                    "id",
                    ForeignKeyAction::Cascade,
                ))
                .take(),
        )
        .await
}
