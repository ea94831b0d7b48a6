//! How often what rows of an organization refer to has changed: its tags and teams, beside the profiles of people
//! (`profile_revision`). With both, what is cached of them is known to hold. Counted by the database, so that no write can
//! leave it out, the previous release's neither.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// Tables whose rows are cached as others refer to them.
const TABLES: [&str; 2] = ["tag", "team"];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
    connection
        .execute_unprepared("ALTER TABLE ledger_head ADD COLUMN reference_revision bigint NOT NULL DEFAULT 0")
        .await?;
    let count = "UPDATE ledger_head SET reference_revision = reference_revision + 1 \
                 WHERE organization_id = OLD.organization_id";
    if is_postgres {
        let function = format!(
            "CREATE FUNCTION reference_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {count}; RETURN NULL; END $$"
        );
        connection.execute_unprepared(&function).await?;
    }
    for table in TABLES {
        for (done, event) in [("updated", "UPDATE"), ("deleted", "DELETE")] {
            let trigger = if is_postgres {
                // Deferred: whoever writes locks the ledger's head last, so this must not be earlier.
                format!(
                    "CREATE CONSTRAINT TRIGGER {table}_{done} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED \
                     FOR EACH ROW EXECUTE FUNCTION reference_changed()"
                )
            } else {
                format!("CREATE TRIGGER {table}_{done} AFTER {event} ON {table} FOR EACH ROW BEGIN {count}; END")
            };
            connection.execute_unprepared(&trigger).await?;
        }
    }
    // Whatever of a person is read from there, and not only what others are shown.
    let changed = |differs: &str| {
        format!("OLD.version {differs} NEW.version OR OLD.email_verified_at {differs} NEW.email_verified_at")
    };
    let trigger = if is_postgres {
        format!(
            "CREATE CONSTRAINT TRIGGER account_updated AFTER UPDATE ON \"user\" DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW WHEN ({}) EXECUTE FUNCTION profile_changed()",
            changed("IS DISTINCT FROM")
        )
    } else {
        format!(
            "CREATE TRIGGER account_updated AFTER UPDATE ON \"user\" FOR EACH ROW WHEN {} \
             BEGIN UPDATE profile_revision SET revision = revision + 1 WHERE id = 1; END",
            changed("IS NOT")
        )
    };
    connection.execute_unprepared(&trigger).await?;
    Ok(())
}
