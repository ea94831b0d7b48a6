//! Rows that link an item to a tag or a person repeat when the item was created, which never changes: so an index gives the
//! items of one tag or person newest first.
//!
//! The index takes the place of the one that ends with the item, and begins like it. The previous release goes on without
//! the column: a trigger writes it then; this release gives it, and pays for no trigger. The rows from before are written
//! once each, while `migrate` holds their table: on PostgreSQL some 18 s per million of them.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

use crate::columns::*;

const LINKS: [(&str, &str); 2] = [("item_assignee", "user_id"), ("item_tag", "tag_id")];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
    if is_postgres {
        connection.execute_unprepared(FUNCTION).await?;
    }
    for (table, other) in LINKS {
        manager.alter_table(Table::alter().table(table).add_column(instant_null("item_created_at")).take()).await?;
        let before = format!("ix_{table}_organization_id_{other}_item_id");
        // Before the rows are written: their entries in it would be written, too.
        manager.drop_index(Index::drop().name(before).table(table).to_owned()).await?;
        connection
            .execute_unprepared(&format!(
                "UPDATE {table} SET item_created_at = item.created_at FROM item \
                 WHERE item.organization_id = {table}.organization_id AND item.id = {table}.item_id"
            ))
            .await?;
        // By all of its columns it would be called longer than PostgreSQL takes.
        let mut newest = index(table, &["organization_id", other, "item_created_at", "item_id"]);
        newest.name(format!("ix_{table}_{other}_item_created_at"));
        manager.create_index(newest).await?;
        let trigger = if is_postgres {
            format!(
                "CREATE TRIGGER {table}_created BEFORE INSERT ON {table} FOR EACH ROW \
                 WHEN (NEW.item_created_at IS NULL) EXECUTE FUNCTION item_link_created()"
            )
        } else {
            format!(
                "CREATE TRIGGER {table}_created AFTER INSERT ON {table} FOR EACH ROW \
                 WHEN NEW.item_created_at IS NULL BEGIN UPDATE {table} SET item_created_at = (SELECT created_at \
                 FROM item WHERE organization_id = NEW.organization_id AND id = NEW.item_id) \
                 WHERE organization_id = NEW.organization_id AND item_id = NEW.item_id AND {other} = NEW.{other}; END"
            )
        };
        connection.execute_unprepared(&trigger).await?;
        if is_postgres {
            // Links to the same item agree in its id and in its time. PostgreSQL takes the two for independent, expects that
            // next to no links meet, and reads all of them for a page. Told that the time tells nothing apart, it counts by
            // the id alone. Partitions do not inherit that.
            connection
                .execute_unprepared(&format!(
                    "DO $$ DECLARE part regclass; BEGIN FOR part IN SELECT '{table}'::regclass UNION \
                     SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = '{table}'::regclass LOOP \
                     EXECUTE format('ALTER TABLE %s ALTER COLUMN item_created_at \
                     SET (n_distinct = 1, n_distinct_inherited = 1)', part); END LOOP; END $$"
                ))
                .await?;
            connection.execute_unprepared(&format!("ANALYZE {table}")).await?;
        }
    }
    Ok(())
}

const FUNCTION: &str = "CREATE FUNCTION item_link_created() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    SELECT created_at INTO NEW.item_created_at FROM item \
    WHERE organization_id = NEW.organization_id AND id = NEW.item_id; RETURN NEW; END $$";
