//! The job that makes documents of rows that were there before search was.

use crate::{
    base::error::Result,
    data::db::{AccountTx, search::SearchFill},
};

/// Its kind. The schema step that brings search leaves it, where there is anything to do.
pub const FILL: &str = "search.fill";

/// The next chunk; what is left to do.
pub async fn fill_more(tx: AccountTx, at: SearchFill) -> Result<(AccountTx, Option<SearchFill>)> {
    let rest = tx.fill_search(at).await?;
    Ok((tx, rest))
}
