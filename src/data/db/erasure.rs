//! What an organization's deletion leaves behind for a while, and whether anything of it is left.

use sea_orm::{
    ConnectionTrait as _, DatabaseBackend, ExprTrait as _, QuerySelect as _, QueryTrait as _, Statement, prelude::*,
};

use super::{AccountTx, Db, fail, jobs};
use crate::{
    base::{error::Result, id::OrganizationId},
    data::entity::idempotency::{Column, Entity},
};

/// Rows that one transaction deletes at most.
const CHUNK: u64 = 1000;

impl AccountTx {
    /// Deletes what hangs on an organization by its id alone: jobs in it, and the next answers that are kept for repeats of its
    /// requests. Whether none are left.
    pub async fn delete_traces_of(&self, organization_id: OrganizationId) -> Result<bool> {
        jobs::cancel(self.transaction(), organization_id).await?;
        let (keys, paths) = ([Column::OrganizationId, Column::ActorKind, Column::ActorId], [Column::Key, Column::Path]);
        let key = || keys.into_iter().chain(paths).map(Expr::col);
        let its = Column::OrganizationId
            .eq(organization_id)
            // Of whoever founded it: that answer is of no organization, and tells this one's id.
            .or(Column::CursorOrganizationId.eq(organization_id))
            .or(Column::ObjectId.eq(organization_id.to_string()));
        #[allow(clippy::disallowed_methods, reason = "an organization that is gone; it is named")]
        let some = Entity::find().select_only().columns(keys).columns(paths).filter(its).limit(CHUNK).into_query();
        #[allow(clippy::disallowed_methods, reason = "an organization that is gone; it is named")]
        let done = Entity::delete_many()
            .filter(Expr::tuple(key()).in_subquery(some))
            .exec(self.transaction())
            .await
            .map_err(fail)?;
        Ok(done.rows_affected < CHUNK)
    }
}

impl Db {
    /// Tables that have a row of an organization, of all that name organizations: asked of the database itself, so that none
    /// is forgotten.
    pub async fn tables_with(&self, organization_id: OrganizationId) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for table in self.tables_of_organizations().await? {
            let ask = format!("SELECT 1 FROM \"{table}\" WHERE organization_id = $1 LIMIT 1");
            let ask = Statement::from_sql_and_values(self.backend(), ask, [organization_id.into()]);
            if self.reader().query_one_raw(ask).await.map_err(fail)?.is_some() {
                found.push(table);
            }
        }
        Ok(found)
    }

    /// Every table with a column that names an organization, by name.
    pub async fn tables_of_organizations(&self) -> Result<Vec<String>> {
        let ask = match self.backend() {
            DatabaseBackend::Postgres => {
                "SELECT table_name::text AS name FROM information_schema.columns \
                 WHERE table_schema = current_schema() AND column_name = 'organization_id' ORDER BY 1"
            }
            _ => {
                "SELECT m.name AS name FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND c.name = 'organization_id' ORDER BY 1"
            }
        };
        let rows = self.reader().query_all_raw(Statement::from_string(self.backend(), ask)).await.map_err(fail)?;
        rows.iter().map(|row| row.try_get("", "name").map_err(fail)).collect()
    }
}
