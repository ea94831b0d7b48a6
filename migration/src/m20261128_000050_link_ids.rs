//! The tags and assignees of an item beside it, so that a page of fifty reads them with its rows instead of by a hundred
//! look-ups. On PostgreSQL: SQLite has no arrays, and its look-ups are cheap. Kept by the database, so that no write can
//! leave them out, the previous release's neither.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// Tables of links of items, what each links to, and the item's column that has it all.
const LINKS: [(&str, &str, &str); 2] =
    [("item_assignee", "user_id", "assignee_ids"), ("item_tag", "tag_id", "tag_ids")];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let connection = manager.get_connection();
    for (table, to, kept) in LINKS {
        connection
            .execute_unprepared(&format!("ALTER TABLE item ADD COLUMN {kept} uuid[] NOT NULL DEFAULT '{{}}'"))
            .await?;
        let all =
            format!("SELECT organization_id, item_id, array_agg({to} ORDER BY {to}) AS ids FROM {table} GROUP BY 1, 2");
        connection
            .execute_unprepared(&format!(
                "UPDATE item SET {kept} = links.ids FROM ({all}) links \
                 WHERE item.organization_id = links.organization_id AND item.id = links.item_id"
            ))
            .await?;
        // First the items are locked, and only then their links are looked at: by a statement that sees what whoever held
        // them has committed. The settings: whatever the tables' sizes were when a session planned it, items and links are
        // found by their keys.
        let of_changed = "(SELECT DISTINCT organization_id, item_id FROM changed) c";
        connection
            .execute_unprepared(&format!(
                "CREATE FUNCTION {table}_changed() RETURNS trigger LANGUAGE plpgsql \
                 SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$ BEGIN \
                 PERFORM FROM item, {of_changed} WHERE item.organization_id = c.organization_id AND item.id = c.item_id \
                 ORDER BY item.id FOR NO KEY UPDATE OF item; \
                 UPDATE item SET {kept} = links.ids FROM (SELECT c.organization_id, c.item_id, ARRAY(\
                 SELECT l.{to} FROM {table} l WHERE l.organization_id = c.organization_id AND l.item_id = c.item_id \
                 ORDER BY l.{to}) AS ids FROM {of_changed}) links \
                 WHERE item.organization_id = links.organization_id AND item.id = links.item_id \
                 AND item.{kept} <> links.ids; \
                 RETURN NULL; END $$"
            ))
            .await?;
        for (done, event, rows) in [("added", "INSERT", "NEW"), ("deleted", "DELETE", "OLD")] {
            connection
                .execute_unprepared(&format!(
                    "CREATE TRIGGER {table}_{done} AFTER {event} ON {table} REFERENCING {rows} TABLE AS changed \
                     FOR EACH STATEMENT EXECUTE FUNCTION {table}_changed()"
                ))
                .await?;
        }
    }
    Ok(())
}
