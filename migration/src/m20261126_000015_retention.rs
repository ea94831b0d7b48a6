//! Indexes by which rows that have expired are found without reading those that have not.

use sea_orm_migration::prelude::*;

use crate::columns::*;

pub async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.create_index(index("refresh_token", &["issued_at"])).await?;
    manager.create_index(index("session", &["revoked_at"])).await?;
    manager.create_index(index("session", &["expires_at"])).await?;
    manager.create_index(index("account_token", &["expires_at"])).await?;
    manager.create_index(index("invitation", &["expires_at"])).await
}
