//! Tags, items, and what people say about them.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            tenant_objects("tag")
                .col(text("name"))
                .col(sort_key(manager, "name_key"))
                .col(text("color"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(version())
                .take(),
        )
        .await?;
    manager.create_index(unique("tag", &["organization_id", "name_key"])).await?;

    manager
        .create_table(
            tenant_objects("item")
                .col(ColumnDef::new("number").big_integer().not_null())
                .col(text("title"))
                .col(sort_key(manager, "title_key"))
                .col(text_null("description"))
                .col(ordinal("status"))
                .col(ColumnDef::new("status_before_archive").small_integer().null())
                .col(ordinal("priority"))
                .col(instant_null("due_at"))
                .col(ColumnDef::new("estimated_hours").double().null())
                .col(ColumnDef::new("actual_hours").double().null())
                .col(uuid_null("team_id"))
                .col(uuid_null("parent_id"))
                .col(count("subtask_count"))
                .col(count("subtask_done_count"))
                .col(count("comment_count"))
                .col(ordinal("created_by_kind"))
                .col(uuid("created_by_id"))
                .col(instant("created_at"))
                .col(instant("updated_at"))
                .col(instant_null("started_at"))
                .col(instant_null("completed_at"))
                .col(instant_null("archived_at"))
                .col(instant_null("deleted_at"))
                .col(uuid_null("deletion_id"))
                .col(version())
                .foreign_key(&mut tenant_reference("item", "team_id", "team", "id", ForeignKeyAction::NoAction))
                .foreign_key(&mut tenant_reference("item", "parent_id", "item", "id", ForeignKeyAction::NoAction))
                .take(),
        )
        .await?;
    manager.create_index(unique("item", &["organization_id", "number"])).await?;
    manager.create_index(index("item", &["organization_id", "created_at", "id"])).await?;
    manager.create_index(index("item", &["organization_id", "updated_at", "id"])).await?;
    manager.create_index(index("item", &["organization_id", "due_at", "id"])).await?;
    manager.create_index(index("item", &["organization_id", "priority", "id"])).await?;
    manager.create_index(index("item", &["organization_id", "team_id", "created_at", "id"])).await?;
    manager.create_index(index("item", &["organization_id", "parent_id"])).await?;

    for (table, column, target, target_column) in
        [("item_assignee", "user_id", "membership", "user_id"), ("item_tag", "tag_id", "tag", "id")]
    {
        manager
            .create_table(
                tenant_table(table)
                    .col(uuid("item_id"))
                    .col(uuid(column))
                    .primary_key(&mut primary_key(&["organization_id", "item_id", column]))
                    .foreign_key(&mut tenant_reference(table, "item_id", "item", "id", ForeignKeyAction::Cascade))
                    .foreign_key(&mut tenant_reference(
                        table,
                        column,
                        target,
                        target_column,
                        ForeignKeyAction::NoAction,
                    ))
                    .take(),
            )
            .await?;
        manager.create_index(index(table, &["organization_id", column, "item_id"])).await?;
    }

    manager
        .create_table(
            tenant_objects("comment")
                .col(uuid("item_id"))
                .col(uuid_null("parent_id"))
                .col(text("body"))
                .col(ordinal("author_kind"))
                .col(uuid("author_id"))
                .col(instant("created_at"))
                .col(instant_null("edited_at"))
                .col(version())
                .foreign_key(&mut tenant_reference("comment", "item_id", "item", "id", ForeignKeyAction::Cascade))
                .foreign_key(&mut tenant_reference("comment", "parent_id", "comment", "id", ForeignKeyAction::NoAction))
                .take(),
        )
        .await?;
    manager.create_index(index("comment", &["organization_id", "item_id", "created_at", "id"])).await?;
    manager.create_index(index("comment", &["organization_id", "parent_id", "created_at", "id"])).await
}
