use async_graphql::{Context, Object};

use super::{input::EventFilter, query, types::Event};
use crate::{
    auth::policy::{Access, access},
    error::Result,
    graphql::{
        connection::{Connection, page_args},
        scalars::Cursor,
    },
};

#[derive(Default)]
pub struct EventQuery;

#[Object]
impl EventQuery {
    /// The ledger, oldest first; `last: 50` is the newest fifty. Members see work events, AUDIT_READ sees all.
    #[graphql(directive = access::apply(Access::Member))]
    async fn events(
        &self,
        ctx: &Context<'_>,
        filter: Option<EventFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Event>> {
        query::events(ctx, filter.as_ref(), &page_args(first, after, last, before)).await
    }
}
