//! Gives items of before there was a manual order the place that their number stands for.

use sea_orm::{ConnectionTrait as _, DatabaseBackend, Statement};

use super::{Db, fail};
use crate::base::error::Result;

/// Rows of one statement: a short transaction.
const CHUNK: i64 = 1_000;

impl Db {
    /// Gives all items a place that have none, chunk by chunk; says how many. It is the place that
    /// [`rank::of_number`](crate::base::rank::of_number) gives, which everybody is shown already: no event tells of it.
    pub async fn place_items(&self) -> Result<u64> {
        let (place, lock) = match self.backend() {
            DatabaseBackend::Postgres => ("lpad(to_hex(number), 10, '0') || 'V'", " FOR UPDATE SKIP LOCKED"),
            _ => ("printf('%010xV', number)", ""),
        };
        let next = format!("SELECT organization_id, id FROM item WHERE rank = '' LIMIT {CHUNK}{lock}");
        let sql = format!("UPDATE item SET rank = {place} WHERE (organization_id, id) IN ({next})");
        let mut placed = 0;
        loop {
            let statement = Statement::from_string(self.backend(), &sql);
            let rows = self.writer().execute_raw(statement).await.map_err(fail)?.rows_affected();
            placed += rows;
            if rows == 0 {
                return Ok(placed);
            }
        }
    }
}
