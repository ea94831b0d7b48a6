//! Documents of rows that were there before search was: made by a job, chunk by chunk, newest first, once.
//!
//! Whatever is written meanwhile gets its document by the triggers, so a row that has one is passed over.

use sea_orm::{ConnectionTrait as _, DatabaseBackend, DbErr, Statement, Value, prelude::Uuid};
use serde::{Deserialize, Serialize};

use super::{
    super::{AccountTx, fail},
    Searched,
};
use crate::base::error::Result;

/// Rows that one transaction looks at: with the longest texts a second's work.
const CHUNK: usize = 200;

/// How far the job has come. It begins with the default.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SearchFill {
    /// Items are done; comments are under way.
    items_done: bool,
    /// Organization and id of the last row that was looked at.
    before: Option<(Uuid, Uuid)>,
}

impl AccountTx {
    /// Makes the documents of the next rows; how far it has come, `None` at the end.
    pub async fn fill_search(&self, at: SearchFill) -> Result<Option<SearchFill>> {
        let kind = if at.items_done { Searched::Comment } else { Searched::Item };
        let chunk = self.next_rows(kind, at.before).await.map_err(fail)?;
        let Some((first, last)) = chunk.first().zip(chunk.last()) else {
            return Ok((!at.items_done).then_some(SearchFill { items_done: true, before: None }));
        };
        self.add_documents(kind, *first, *last).await.map_err(fail)?;
        Ok(Some(SearchFill { before: Some(*last), ..at }))
    }

    /// Keys of the next rows, the highest first.
    async fn next_rows(&self, kind: Searched, before: Option<(Uuid, Uuid)>) -> Result<Vec<(Uuid, Uuid)>, DbErr> {
        let table = table(kind);
        let (condition, values): (_, Vec<Value>) = match before {
            Some((organization, id)) => {
                ("WHERE (organization_id, id) < ($1, $2)", vec![organization.into(), id.into()])
            }
            None => ("", Vec::new()),
        };
        let sql = format!(
            "SELECT organization_id, id FROM {table} {condition} ORDER BY organization_id DESC, id DESC LIMIT {CHUNK}"
        );
        let tx = self.transaction();
        let rows = tx.query_all_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
        rows.iter().map(|row| Ok((row.try_get("", "organization_id")?, row.try_get("", "id")?))).collect()
    }

    /// Documents of the rows between two keys, for those that have none. On PostgreSQL a row that is being deleted is
    /// waited for: its document must not outlive it.
    async fn add_documents(&self, kind: Searched, first: (Uuid, Uuid), last: (Uuid, Uuid)) -> Result<(), DbErr> {
        let tx = self.transaction();
        let backend = tx.get_database_backend();
        let (table, number) = (table(kind), kind.number());
        let (item, texts) = match kind {
            Searched::Item => ("id", "title, description"),
            Searched::Comment => ("item_id", "body, NULL"),
        };
        let these = "(s.organization_id, s.id) <= ($1, $2) AND (s.organization_id, s.id) >= ($3, $4)";
        let statements = if backend == DatabaseBackend::Postgres {
            vec![format!(
                "INSERT INTO search_document (organization_id, kind, subject_id, item_id, vector) \
                 SELECT organization_id, {number}, id, {item}, search_vector(organization_id, {number}::smallint, {texts}) \
                 FROM {table} s WHERE {these} FOR KEY SHARE ON CONFLICT DO NOTHING"
            )]
        } else {
            let base = format!("((t.number * 2 + {number}) << 40)");
            vec![
                format!(
                    "INSERT INTO search_tenant (organization_id) SELECT DISTINCT s.organization_id FROM {table} s \
                     WHERE {these} AND NOT EXISTS \
                     (SELECT 1 FROM search_tenant t WHERE t.organization_id = s.organization_id)"
                ),
                // Below all that are there: they are older.
                format!(
                    "INSERT INTO search_document (id, organization_id, kind, subject_id, item_id) SELECT \
                     coalesce((SELECT min(d.id) FROM search_document d WHERE d.id >= {base} \
                     AND d.id < {base} + (1 << 40)), {base} + (1 << 39)) \
                     - row_number() OVER (PARTITION BY s.organization_id ORDER BY s.id DESC), \
                     s.organization_id, {number}, s.id, s.{item} \
                     FROM {table} s JOIN search_tenant t ON t.organization_id = s.organization_id WHERE {these} \
                     AND NOT EXISTS (SELECT 1 FROM search_document d WHERE d.organization_id = s.organization_id \
                     AND d.kind = {number} AND d.subject_id = s.id)"
                ),
            ]
        };
        for sql in statements {
            let values = [first.0, first.1, last.0, last.1].map(Value::from);
            tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
        }
        Ok(())
    }
}

const fn table(kind: Searched) -> &'static str {
    match kind {
        Searched::Item => "item",
        Searched::Comment => "comment",
    }
}
