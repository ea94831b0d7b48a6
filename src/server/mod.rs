//! What a client would otherwise find out by failing: versions and limits.

use async_graphql::{Context, Object, SimpleObject};

use crate::{
    auth::policy::{Access, access},
    db::page::{DEFAULT_PAGE, MAX_PAGE},
    graphql::{context::ContextExt, scalars::DateTime, schema::SchemaHash},
};

#[derive(SimpleObject)]
pub struct ServerInfo {
    version: &'static str,
    /// Hash of the schema; changes when it does.
    schema_hash: String,
    time: DateTime,
    limits: ServerLimits,
}

/// The numbers a client would otherwise find out by failing.
#[derive(SimpleObject)]
pub struct ServerLimits {
    max_page_size: u64,
    default_page_size: u64,
    max_depth: usize,
    max_cost: u64,
    max_request_bytes: usize,
}

#[derive(Default)]
pub struct ServerQuery;

#[Object]
impl ServerQuery {
    #[graphql(directive = access::apply(Access::Public))]
    async fn server(&self, ctx: &Context<'_>) -> ServerInfo {
        let state = ctx.state();
        let limits = &state.config.limits;
        ServerInfo {
            version: env!("CARGO_PKG_VERSION"),
            schema_hash: ctx.data_unchecked::<SchemaHash>().get().to_owned(),
            time: state.clock().now().into(),
            limits: ServerLimits {
                max_page_size: MAX_PAGE,
                default_page_size: DEFAULT_PAGE,
                max_depth: limits.depth,
                max_cost: limits.cost,
                max_request_bytes: limits.body_bytes,
            },
        }
    }
}
