use async_graphql::{Context, Object};

use super::{
    query::{self, Search},
    types::{SearchHit, SearchType},
};
use crate::{
    base::{
        error::Result,
        policy::{Permission, requires},
    },
    domains::items::input::ItemFilter,
};

#[derive(Default)]
pub struct SearchQuery;

#[Object]
impl SearchQuery {
    /// Full-text search over items and comments, best first; at most 50. What is in the trash is left out. An item whose
    /// identifier or number the query is comes first.
    #[graphql(directive = requires::apply(Permission::ItemRead))]
    async fn search(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Words that must all be there, 16 and 256 characters at most; the last one may be the beginning \
                          of a word. Words within quotation marks follow each other."
        )]
        query: String,
        #[graphql(desc = "Of these kinds alone; all when left out.")] types: Option<Vec<SearchType>>,
        #[graphql(desc = "What must hold of the item, or of the comment's; null or left out: everything.")]
        filter: Option<Box<ItemFilter>>,
        #[graphql(default = 20, desc = "How many, 0 to 50.")] first: i32,
    ) -> Result<Vec<SearchHit>> {
        query::search(ctx, &Search { query, types, filter, first }).await
    }
}
