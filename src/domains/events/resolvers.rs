use async_graphql::{Context, Object};

use super::{input::EventFilter, query, types::Event};
use crate::{
    base::{
        error::Result,
        policy::{Access, access},
    },
    graphql::{
        connection::{Connection, page_args},
        scalars::Cursor,
    },
};

#[derive(Default)]
pub struct EventQuery;

#[Object]
impl EventQuery {
    /// The ledger, oldest first; `last: 50` is the newest fifty. Members see the work, AUDIT_READ sees all.
    #[graphql(directive = access::apply(Access::Member))]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<EventFilter>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Event>> {
        query::events(ctx, filter.as_ref(), &page_args(first, after, last, before)).await
    }
}
