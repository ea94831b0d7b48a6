//! Any object by its id. An object that the caller may not see is null, like one that isn't there.

use async_graphql::{Context, Object};

use crate::{
    base::{
        error::{Refusal, Result},
        id::{AnyId, Kind, kind},
        policy::{Access, access},
    },
    domains::{Node, find_by_prefix},
    graphql::context::ContextExt,
};

/// Objects that one `nodes` or `_entities` may name.
pub const MAX_NODES: usize = 100;

/// Declares the interface of those types, and finds an object by its id's prefix.
macro_rules! nodes {
    ($($domain:ident :: $type:ident),* $(,)?) => {
        /// Anything with a global id: a typed prefix and a sortable UUIDv7, e.g. `itm_01jd…`.
        #[derive(async_graphql::Interface, Clone, Debug)]
        #[graphql(field(
            name = "id",
            ty = "async_graphql::ID",
            desc = "Global id: a prefix that says the kind, `_`, and 26 characters.",
            tag = "same-for-all"
        ))]
        pub enum Node {
            $($type($domain::types::$type),)*
        }

        async fn find_by_prefix(
            ctx: &async_graphql::Context<'_>,
            id: $crate::base::id::AnyId,
        ) -> $crate::base::error::Result<Option<Node>> {
            use $crate::{base::id::Kind, graphql::node::{NodeType, find}};

            Ok(match id.prefix() {
                $(<<$domain::types::$type as NodeType>::Kind as Kind>::PREFIX => {
                    find::<$domain::types::$type>(ctx, id).await?.map(Node::$type)
                })*
                _ => None,
            })
        }
    };
}
pub(super) use nodes;

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by id; null when absent or not visible (the two are not told apart).
    #[graphql(directive = access::apply(Access::Member))]
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "Id of any kind.")] id: AnyId) -> Result<Option<Node>> {
        load(ctx, id).await
    }

    /// Up to 100 objects, in the order asked; null in the place of those absent.
    #[graphql(directive = access::apply(Access::Member))]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids of any kinds, 100 at most.")] ids: Vec<AnyId>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MAX_NODES {
            return Err(Refusal::bad_request(format!("At most {MAX_NODES} ids.")).into());
        }
        futures_util::future::try_join_all(ids.into_iter().map(|id| load(ctx, id))).await
    }
}

/// One object, when the caller may see it.
pub async fn load(ctx: &Context<'_>, id: AnyId) -> Result<Option<Node>> {
    // Oneself is there before any organization is.
    if id.prefix() != kind::User::PREFIX {
        ctx.scope()?;
    }
    find_by_prefix(ctx, id).await
}
