use async_graphql::{Context, Object};

use super::{
    query,
    types::{SyncPage, SyncType},
};
use crate::{
    base::{
        error::Result,
        policy::{Access, access},
    },
    data::db::page::DEFAULT_SYNC_PAGE,
    graphql::scalars::Cursor,
};

#[derive(Default)]
pub struct SyncQuery;

#[Object]
impl SyncQuery {
    /// Delta sync: present state of whatever changed after the cursor, each object once, plus what disappeared. Without a
    /// cursor: a full snapshot.
    #[graphql(directive = access::apply(Access::Member))]
    async fn sync(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Cursor of the page before, or a ledger position; left out: a full snapshot.")] after: Option<
            Cursor,
        >,
        #[graphql(default_with = "DEFAULT_SYNC_PAGE.into()", desc = "Nodes and removed ids together, 1 to 500.")] first: i32,
        #[graphql(desc = "Of these kinds alone; all when left out. Keep to the same ones with a cursor.")]
        types: Option<Vec<SyncType>>,
    ) -> Result<SyncPage> {
        query::sync(ctx, after.as_ref().map(|cursor| cursor.0.as_str()), first, types.as_deref()).await
    }
}
