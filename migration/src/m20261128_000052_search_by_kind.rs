//! An index of its own for the documents of items and for those of comments. In one for both, a beginning of words that is
//! frequent in titles was gathered whole (260,000 places took 30 ms) to find that no comment has it. PostgreSQL's alone.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// What has documents, and its number in them.
const KINDS: [(&str, i16); 2] = [("item", 0), ("comment", 1)];

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    if manager.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let connection = manager.get_connection();
    for (name, number) in KINDS {
        // What waits to be put into the index is read by each search: little of it.
        connection
            .execute_unprepared(&format!(
                "CREATE INDEX ix_search_document_{name} ON search_document USING gin (vector) \
                 WITH (gin_pending_list_limit = 256) WHERE kind = {number}"
            ))
            .await?;
    }
    connection.execute_unprepared("DROP INDEX ix_search_document_vector").await?;
    Ok(())
}
