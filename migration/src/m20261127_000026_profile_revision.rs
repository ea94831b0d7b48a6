//! How often what people show of themselves has changed, on this server: with an organization's ledger it says whether an
//! answer with people in it still holds. Counted by the database, so that no write can leave it out.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// What others may see of a person, and what they may filter by.
const SHOWN: [&str; 5] = ["username", "full_name", "avatar_url", "time_zone", "email"];

const TABLE: &str = "CREATE TABLE profile_revision (id smallint NOT NULL PRIMARY KEY, revision bigint NOT NULL)";

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let changed = |differs: &str| {
        let columns: Vec<String> = SHOWN.iter().map(|name| format!("OLD.{name} {differs} NEW.{name}")).collect();
        columns.join(" OR ")
    };
    let count = "UPDATE profile_revision SET revision = revision + 1 WHERE id = 1";
    let connection = manager.get_connection();
    connection.execute_unprepared(TABLE).await?;
    connection.execute_unprepared("INSERT INTO profile_revision (id, revision) VALUES (1, 0)").await?;
    let steps = if manager.get_database_backend() == DbBackend::Postgres {
        // Deferred: the one row is locked by the commit alone, so that nobody waits in turn for it and for a ledger.
        let trigger = |name: &str, event: &str, when: &str| {
            format!(
                "CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON \"user\" DEFERRABLE INITIALLY DEFERRED \
                 FOR EACH ROW {when} EXECUTE FUNCTION profile_changed()"
            )
        };
        vec![
            format!(
                "CREATE FUNCTION profile_changed() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN {count}; RETURN NULL; END $$"
            ),
            trigger("profile_updated", "UPDATE", &format!("WHEN ({})", changed("IS DISTINCT FROM"))),
            trigger("profile_deleted", "DELETE", ""),
        ]
    } else {
        let trigger = |name: &str, event: &str, when: &str| {
            format!("CREATE TRIGGER {name} AFTER {event} ON \"user\" FOR EACH ROW {when} BEGIN {count}; END")
        };
        vec![
            trigger("profile_updated", "UPDATE", &format!("WHEN {}", changed("IS NOT"))),
            trigger("profile_deleted", "DELETE", ""),
        ]
    };
    for step in steps {
        connection.execute_unprepared(&step).await?;
    }
    Ok(())
}
