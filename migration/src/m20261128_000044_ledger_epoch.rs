//! Which life of the database this is. A restore begins another one, in which ledger cursors of the one before do not hold:
//! the same sequences then stand for other events.

use sea_orm_migration::prelude::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    connection
        .execute_unprepared("CREATE TABLE ledger_epoch (id smallint NOT NULL PRIMARY KEY, epoch bigint NOT NULL)")
        .await?;
    connection.execute_unprepared("INSERT INTO ledger_epoch (id, epoch) VALUES (1, 0)").await.map(drop)
}
