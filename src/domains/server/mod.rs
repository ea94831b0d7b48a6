//! What a client would otherwise find out by failing: versions and limits.

use async_graphql::{Context, Object, SimpleObject};
use chrono::Duration;

use crate::{
    base::{
        clock::Instant,
        policy::{Access, access},
    },
    data::{
        db::{
            idempotency,
            page::{DEFAULT_PAGE, MAX_PAGE},
        },
        ledger::retention,
    },
    graphql::{
        context::{Charge, ContextExt},
        scalars::DateTime,
    },
    platform::rate_limit::bucket::Level,
};
use std::sync::{Arc, OnceLock};

/// What a client should know of this server.
#[derive(SimpleObject)]
pub struct ServerInfo {
    /// Version of its program.
    version: &'static str,
    /// Hash of the schema; changes when it does.
    schema_hash: String,
    /// What its clock says; what is due or overdue goes by it.
    time: DateTime,
    /// How much it takes and gives at most.
    limits: ServerLimits,
}

/// The numbers a client would otherwise find out by failing.
#[derive(SimpleObject)]
pub struct ServerLimits {
    /// Entries of a page at most.
    max_page_size: u64,
    /// Entries of a page when neither `first` nor `last` is given.
    default_page_size: u64,
    /// Fields below each other at most.
    max_depth: usize,
    /// Points that one operation may cost.
    max_cost: u64,
    /// Bytes of a request's body at most.
    max_request_bytes: usize,
    /// Days that the organization's events are kept; null when unlimited. Without an organization, of any.
    event_retention_days: Option<i64>,
    /// Hours that an idempotency key holds.
    idempotency_hours: i64,
}

/// A leaky bucket of cost points per organization and caller; the same numbers are in the headers of every response.
#[derive(SimpleObject)]
pub struct RateLimit {
    /// Points that the bucket holds; 2,147,483,647 without a limit.
    limit: u32,
    /// Points left, while all that this request asked for is still taken.
    remaining: u32,
    /// Points restored per second.
    restore_rate: f64,
    /// When the bucket is full again.
    reset_at: DateTime,
    /// What this request asked for; the unused part is given back after it ran.
    requested_cost: u64,
}

impl RateLimit {
    fn new(charge: Charge, now: Instant) -> Self {
        // Without a limit, as much as `Int` can say.
        let unlimited = Level::new(i32::MAX.unsigned_abs(), 0);
        let level = charge.level.unwrap_or(unlimited);
        Self {
            limit: level.capacity,
            remaining: level.remaining(),
            restore_rate: level.restore_rate(),
            reset_at: (now + Duration::milliseconds(level.full_in())).into(),
            requested_cost: charge.requested,
        }
    }
}

#[derive(Default)]
pub struct ServerQuery;

#[Object]
impl ServerQuery {
    /// The caller's points a minute, as they stand now.
    #[graphql(directive = access::apply(Access::User))]
    async fn rate_limit(&self, ctx: &Context<'_>) -> RateLimit {
        RateLimit::new(ctx.request().charge, ctx.state().clock().now())
    }

    /// The server's version, time and limits.
    #[graphql(directive = access::apply(Access::Public))]
    async fn server(&self, ctx: &Context<'_>) -> ServerInfo {
        let state = ctx.state();
        let limits = &state.config.limits;
        let tier = ctx.scope().ok().map(|scope| scope.organization().plan_tier);
        let kept = retention::kept(tier, state.config.ledger.retention);
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
                event_retention_days: kept.map(|kept| kept.num_days()),
                idempotency_hours: idempotency::HOURS,
            },
        }
    }
}

/// Changes when the schema does; clients may cache under it.
#[derive(Clone, Debug, Default)]
pub struct SchemaHash(pub Arc<OnceLock<String>>);

impl SchemaHash {
    pub fn get(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }
}
