//! What the server counts of itself, for Prometheus. No label says anything of a tenant. A registry for each server, so
//! that several in one process count apart.

mod snapshot;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Upper bounds of the latencies' classes, in seconds.
const LATENCIES: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

pub use self::snapshot::Snapshot;

/// Operations that are told apart by name; what more there are is counted together, as `other`.
const OPERATIONS: usize = 1_000;

/// The format that [`Metrics::text`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    began: Instant,
    /// Names of operations that have been counted.
    operation_names: Mutex<HashSet<String>>,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<KindLabel, Histogram>,
    operations: Family<OperationLabels, Counter>,
    operation_times: Family<OperationLabel, Histogram>,
    refusals: Family<BucketLabel, Counter>,
    fallbacks: Counter,
    database_writable: Gauge,
    clock_skew: Family<SourceLabel, Gauge<f64, AtomicU64>>,
    redis_up: Gauge,
    instances: Gauge,
    subscribers: Gauge,
    sockets: Gauge,
    lag: Histogram,
    wake_ups: Family<SourceLabel, Counter>,
    polls: Counter,
    ended: Family<ReasonLabel, Counter>,
    deliveries: Family<OutcomeLabel, Counter>,
    delivery_times: Histogram,
    lanes: Gauge,
    callbacks_refused: Family<ReasonLabel, Counter>,
    jobs: Family<OutcomeLabel, Counter>,
    background: Counter,
    answer_cache: Family<OutcomeLabel, Counter>,
    replica: Family<OutcomeLabel, Counter>,
    emails: Family<OutcomeLabel, Counter>,
    emails_waiting: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// `query`, `mutation`, `subscription`; `other` for what was refused before it was known, or is no GraphQL.
    kind: &'static str,
    /// `2xx` and so on.
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BucketLabel {
    bucket: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabel {
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Metrics {
    /// `with_redis`: whether one is configured; without, nothing is said of it.
    pub fn new(with_redis: bool) -> Self {
        let mut registry = Registry::with_prefix("todo");
        let requests = Family::default();
        registry.register("http_requests", "HTTP requests by kind of operation and class of status", requests.clone());
        let latencies = Family::new_with_constructor((|| Histogram::new(LATENCIES)) as fn() -> Histogram);
        let help = "Time from a request's head to its answer's head";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, latencies.clone());
        let operations = Family::default();
        registry.register("operations", "Operations of registered documents, by outcome", operations.clone());
        let operation_times = Family::new_with_constructor((|| Histogram::new(LATENCIES)) as fn() -> Histogram);
        let help = "Time that an operation of a registered document took";
        registry.register_with_unit("operation_duration", help, Unit::Seconds, operation_times.clone());
        let refusals = Family::default();
        let help = "Requests refused by RATE_LIMITED, by whose bucket was used up";
        registry.register("rate_limit_refusals", help, refusals.clone());
        let (fallbacks, redis_up, instances) = (Counter::default(), Gauge::default(), Gauge::default());
        if with_redis {
            let help = "Takes from this instance's own share, because Redis was away";
            registry.register("rate_limit_fallbacks", help, fallbacks.clone());
            registry.register("redis_up", "Whether Redis answers", redis_up.clone());
            registry.register("instances", "Instances that share Redis, as last seen", instances.clone());
        }
        let database_writable = Gauge::default();
        let help = "Whether the database takes writes, as the last one found";
        registry.register("database_writable", help, database_writable.clone());
        let clock_skew = Family::default();
        let help = "How far another machine's clock is ahead of this one's";
        registry.register_with_unit("clock_skew", help, Unit::Seconds, clock_skew.clone());
        let (subscribers, sockets, polls) = (Gauge::default(), Gauge::default(), Counter::default());
        registry.register("subscribers", "Subscriptions to ledgers, now", subscribers.clone());
        registry.register("sockets", "WebSockets, now", sockets.clone());
        let lag = Histogram::new(LATENCIES);
        let help = "Time from an event to its being handed to subscribers";
        registry.register_with_unit("ledger_lag", help, Unit::Seconds, lag.clone());
        let wake_ups = Family::default();
        registry.register("ledger_wake_ups", "Readers woken, by who had the news", wake_ups.clone());
        registry.register("ledger_polls", "Statements that asked how far ledgers have got", polls.clone());
        let ended = Family::default();
        registry.register("subscriptions_ended", "Subscriptions that the server ended, by why", ended.clone());
        let deliveries = Family::default();
        registry.register(
            "webhook_attempts",
            "Attempts to deliver to webhooks, by what came of them",
            deliveries.clone(),
        );
        let delivery_times = Histogram::new(LATENCIES);
        let help = "Time of an attempt to deliver to a webhook";
        registry.register_with_unit("webhook_attempt_duration", help, Unit::Seconds, delivery_times.clone());
        let lanes = Gauge::default();
        registry.register("webhook_lanes", "Webhooks that this instance sends for, now", lanes.clone());
        let callbacks_refused = Family::default();
        let help = "Callbacks to an inbound hook that proved nothing, by why";
        registry.register("callbacks_refused", help, callbacks_refused.clone());
        let jobs = Family::default();
        registry.register("jobs", "Durable jobs that ended, or a chunk of which failed, by outcome", jobs.clone());
        let background = Counter::default();
        let help = "Operations that went on in the background, because they are heavy, or others of the same caller";
        registry.register("background_operations", help, background.clone());
        let answer_cache = Family::default();
        let help = "Looks into the cache of answers, by outcome: hit, stale, kept";
        registry.register("answer_cache", help, answer_cache.clone());
        let replica = Family::default();
        let help = "Queries that a replica could answer, by outcome: replica, behind, away, failed";
        registry.register("replica_queries", help, replica.clone());
        let (emails, emails_waiting) = (Family::default(), Gauge::default());
        registry.register("emails", "E-mails, by what became of them: sent, written, failed", emails.clone());
        let help = "E-mails that the SMTP server has not taken yet";
        registry.register("emails_waiting", help, emails_waiting.clone());
        Self(Arc::new(Inner {
            registry,
            began: Instant::now(),
            operation_names: Mutex::default(),
            requests,
            latencies,
            operations,
            operation_times,
            refusals,
            fallbacks,
            database_writable,
            clock_skew,
            redis_up,
            instances,
            subscribers,
            sockets,
            lag,
            wake_ups,
            polls,
            ended,
            deliveries,
            delivery_times,
            lanes,
            callbacks_refused,
            jobs,
            background,
            answer_cache,
            replica,
            emails,
            emails_waiting,
        }))
    }

    /// What has been counted, as [`CONTENT_TYPE`] says.
    pub fn text(&self) -> String {
        written(&[&self.0.registry])
    }

    /// [`Metrics::text`] with how things are now.
    pub fn text_with(&self, snapshot: &Snapshot) -> String {
        written(&[&self.0.registry, &snapshot.registry(), &snapshot::process()])
    }

    /// Since when it counts.
    pub fn uptime(&self) -> Duration {
        self.0.began.elapsed()
    }

    pub fn answered(&self, kind: Option<&'static str>, status: u16, elapsed: Duration) {
        let kind = kind.unwrap_or("other");
        let status = ["1xx", "2xx", "3xx", "4xx"].get(usize::from(status / 100).wrapping_sub(1)).unwrap_or(&"5xx");
        self.0.requests.get_or_create(&RequestLabels { kind, status }).inc();
        self.0.latencies.get_or_create(&KindLabel { kind }).observe(elapsed.as_secs_f64());
    }

    /// An operation of a registered document, of which there are so many as the operator has registered.
    pub fn operated(&self, operation: &str, failed: bool, elapsed: Duration) {
        let outcome = if failed { "failed" } else { "ok" };
        let operation = self.label_of(operation);
        self.0.operations.get_or_create(&OperationLabels { operation: operation.to_owned(), outcome }).inc();
        let times = self.0.operation_times.get_or_create(&OperationLabel { operation: operation.to_owned() });
        times.observe(elapsed.as_secs_f64());
    }

    fn label_of<'n>(&self, operation: &'n str) -> &'n str {
        let mut names = self.0.operation_names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(operation) {
            return operation;
        }
        if names.len() >= OPERATIONS {
            return "other";
        }
        names.insert(operation.to_owned());
        operation
    }

    /// `bucket`: `caller` or `address`.
    pub fn refused(&self, bucket: &'static str) {
        self.0.refusals.get_or_create(&BucketLabel { bucket }).inc();
    }

    pub fn fell_back(&self) {
        self.0.fallbacks.inc();
    }

    /// Subscriptions that came, or went.
    pub fn subscribed(&self, by: i64) {
        self.0.subscribers.inc_by(by);
    }

    /// Sockets that came, or went.
    pub fn connected(&self, by: i64) {
        self.0.sockets.inc_by(by);
    }

    /// A ledger's reader woke: by a `commit` on this instance, by `redis`, by a `poll`.
    pub fn woken(&self, source: &'static str) {
        self.0.wake_ups.get_or_create(&SourceLabel { source }).inc();
    }

    pub fn polled(&self) {
        self.0.polls.inc();
    }

    /// Events went to subscribers, the last of them so long after it happened.
    pub fn handed_out(&self, after: chrono::Duration) {
        self.0.lag.observe(after.as_seconds_f64().max(0.0));
    }

    /// The server ended a subscription: it was `slow`, `withdrawn`, or something `failed`.
    pub fn ended(&self, reason: &'static str) {
        self.0.ended.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// An attempt to deliver was made: `delivered`, `retrying` or `dead` is what the delivery then is;
    /// `postponed`, when this server had no room to send it.
    pub fn attempted(&self, outcome: &'static str, took: Duration) {
        self.0.deliveries.get_or_create(&OutcomeLabel { outcome }).inc();
        self.0.delivery_times.observe(took.as_secs_f64());
    }

    /// A job is `done`, will be tried again (`retrying`), or was given up (`failed`).
    pub fn job_ended(&self, outcome: &'static str) {
        self.0.jobs.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub fn sent_to_background(&self) {
        self.0.background.inc();
    }

    /// `hit`, `stale`, `kept`.
    pub fn answer_cache(&self, outcome: &'static str) {
        self.0.answer_cache.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// `replica`: it read from there; `behind`, `away`: from the database itself; `failed`: from both.
    pub fn replica_query(&self, outcome: &'static str) {
        self.0.replica.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// An e-mail was `sent` to the SMTP server; `written` as a file, where none is configured; `failed`, and was written.
    pub fn emailed(&self, outcome: &'static str) {
        self.0.emails.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// E-mails that the SMTP server has to take, more or fewer.
    pub fn emails_wait(&self, by: i64) {
        self.0.emails_waiting.inc_by(by);
    }

    /// Webhooks that are sent for here, more or fewer.
    pub fn took_webhooks(&self, by: i64) {
        self.0.lanes.inc_by(by);
    }

    pub fn database_is_writable(&self, is_writable: bool) {
        self.0.database_writable.set(is_writable.into());
    }

    /// The clock of the `database`, or of `redis`, is so far ahead of this machine's.
    pub fn clock_skew(&self, source: &'static str, ahead: chrono::Duration) {
        self.0.clock_skew.get_or_create(&SourceLabel { source }).set(ahead.as_seconds_f64());
    }

    /// A callback proved nothing: its `signature` was wrong, or its `time`.
    pub fn refused_callback(&self, reason: &'static str) {
        self.0.callbacks_refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub fn redis_is_up(&self, is_up: bool, instances: u32) {
        self.0.redis_up.set(is_up.into());
        self.0.instances.set(instances.into());
    }
}

fn written(registries: &[&Registry]) -> String {
    let mut text = String::new();
    // Writing into a string doesn't fail.
    for registry in registries {
        let _ = encode_registry(&mut text, registry);
    }
    let _ = encode_eof(&mut text);
    text
}
