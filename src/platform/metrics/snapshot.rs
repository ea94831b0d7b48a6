//! What is looked up when Prometheus asks: how things are at that moment, in the database, in caches, in this process.

use std::{fs, sync::atomic::AtomicU64, sync::atomic::Ordering, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};
use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use crate::{
    base::{cache_use::CacheUse, trace::COUNTS},
    data::db::inspection::{Backlog, PoolUse},
};

type Number = Gauge<f64, AtomicU64>;
type Total = Counter<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabel {
    cache: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LookLabels {
    cache: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// How things are.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub pools: Vec<PoolUse>,
    /// What waits in the database; `None` where it did not say in time.
    pub backlog: Option<Backlog>,
    pub caches: Vec<CacheUse>,
    /// Since the server began.
    pub uptime: Duration,
}

impl Snapshot {
    /// Under names that begin with `todo_`.
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("todo");
        self.add_pools(&mut registry);
        if let Some(backlog) = &self.backlog {
            add_backlog(&mut registry, backlog);
        }
        self.add_caches(&mut registry);
        let spans = Family::<OutcomeLabel, Counter>::default();
        for (outcome, count) in [("exported", &COUNTS.exported), ("dropped", &COUNTS.dropped)] {
            spans.get_or_create(&OutcomeLabel { outcome }).inc_by(count.load(Ordering::Relaxed));
        }
        registry.register("trace_spans", "Spans for the collector of traces, by what became of them", spans);
        let uptime = Number::default();
        uptime.set(self.uptime.as_secs_f64());
        registry.register_with_unit("uptime", "Time since the server began", Unit::Seconds, uptime);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What this server is", build);
        registry
    }

    fn add_caches(&self, registry: &mut Registry) {
        let (entries, sizes) = (Family::<CacheLabel, Number>::default(), Family::<CacheLabel, Number>::default());
        let looks = Family::<LookLabels, Counter>::default();
        for CacheUse { name: cache, entries: count, bytes, hits, misses } in self.caches.iter().copied() {
            entries.get_or_create(&CacheLabel { cache }).set(count as f64);
            if let Some(bytes) = bytes {
                sizes.get_or_create(&CacheLabel { cache }).set(bytes as f64);
            }
            for (outcome, count) in [("hit", hits), ("miss", misses)] {
                looks.get_or_create(&LookLabels { cache, outcome }).inc_by(count);
            }
        }
        registry.register("cache_entries", "Entries of a cache", entries);
        registry.register_with_unit("cache_size", "Size of a cache whose entries are weighed", Unit::Bytes, sizes);
        registry.register("cache_looks", "Looks into a cache, by whether they found what could be used", looks);
    }

    fn add_pools(&self, registry: &mut Registry) {
        let gauges = |of: fn(&PoolUse) -> usize| {
            let family = Family::<PoolLabel, Gauge>::default();
            for pool in &self.pools {
                let value = i64::try_from(of(pool)).unwrap_or(i64::MAX);
                family.get_or_create(&PoolLabel { pool: pool.name }).set(value);
            }
            family
        };
        registry.register("database_connections_limit", "Connections of a pool at most", gauges(|pool| pool.limit));
        registry.register("database_connections_open", "Connections that are open", gauges(|pool| pool.open));
        registry.register("database_connections_in_use", "Connections that are in use", gauges(|pool| pool.in_use));
        registry.register("database_waiting", "Statements that wait for a connection", gauges(|pool| pool.waiting));
        let (waits, times) = (Family::<PoolLabel, Counter>::default(), Family::<PoolLabel, Total>::default());
        for pool in &self.pools {
            let label = PoolLabel { pool: pool.name };
            waits.get_or_create(&label).inc_by(pool.waits);
            times.get_or_create(&label).inc_by(pool.waited.as_secs_f64());
        }
        registry.register("database_waits", "Statements that had to wait for a connection", waits);
        let help = "Time that statements have waited for a connection";
        registry.register_with_unit("database_wait", help, Unit::Seconds, times);
    }
}

fn add_backlog(registry: &mut Registry, backlog: &Backlog) {
    let jobs = Family::<StateLabel, Gauge>::default();
    let states =
        [("waiting", backlog.jobs_waiting), ("running", backlog.jobs_running), ("failed", backlog.jobs_failed)];
    for (state, count) in states {
        jobs.get_or_create(&StateLabel { state }).set(count);
    }
    registry.register("jobs_present", "Durable jobs that are not done, of all instances", jobs);
    let waiting = Gauge::<i64>::default();
    waiting.set(backlog.deliveries_waiting);
    let help = "Deliveries to webhooks that are not done, of all instances";
    registry.register("webhook_deliveries_waiting", help, waiting);
}

/// Of the process, under the names that other servers give the same. Memory, files and threads are known on Linux alone.
pub(super) fn process() -> Registry {
    let mut registry = Registry::with_prefix("process");
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let total = Total::default();
    total.inc_by(cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9);
    registry.register_with_unit("cpu", "Time of processors that the process has used", Unit::Seconds, total);
    let mut gauge = |name: &str, help: &str, value: Option<u64>| {
        if let Some(value) = value {
            let gauge = Number::default();
            gauge.set(value as f64);
            registry.register(name, help, gauge);
        }
    };
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    gauge("resident_memory_bytes", "Memory that the process has", line("VmRSS:").map(|kibibytes| kibibytes * 1024));
    gauge("threads", "Threads of the process", line("Threads:"));
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
    gauge("open_fds", "Files that the process has open", open);
    gauge("max_fds", "Files that the process may have open", getrlimit(Resource::Nofile).current);
    registry
}
