//! Sums of usage over a range: in all, by operation, by day, week or month. A statement each, whatever the range.

use std::collections::{BTreeMap, HashMap};

use chrono::{Days, NaiveDate, TimeDelta};

use crate::{
    base::error::Result,
    data::db::{
        OrgScope,
        usage::{BucketSums, Period},
    },
    graphql::range::{DateRange, Interval},
    platform::metering::{buckets::Latencies, calendar::Zone},
};

/// Days that are shown when no range is given, today included.
const DAYS: u64 = 30;

/// A range of time with its dates.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    period: Period,
    zone: Zone,
    first: NaiveDate,
    last: NaiveDate,
}

/// The range asked for, widened to whole hours and, where those are days by now, to whole days. Without one the last 30
/// days.
pub fn range(scope: &OrgScope, asked: Option<&DateRange>) -> Result<Range> {
    let zone = Zone::named(&scope.organization().time_zone);
    let now = scope.clock().now();
    let (from, to) = match asked {
        Some(asked) => asked.resolve(now)?,
        None => {
            let today = zone.date_of(now);
            let first = today.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(today);
            (zone.beginning_of(first), now + TimeDelta::milliseconds(1))
        }
    };
    let (first, last) = (zone.date_of(from), zone.date_of(to - TimeDelta::milliseconds(1)));
    let period = Period { hours_after: from - TimeDelta::hours(1), days_from: zone.beginning_of(first), to };
    Ok(Range { period, zone, first, last })
}

/// Sums of some requests.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub requests: i64,
    /// Requests whose answer had a top-level error.
    pub errors: i64,
    /// Points.
    pub cost: i64,
    micros: i64,
    latencies: Latencies,
}

impl Figures {
    fn add(&mut self, sums: BucketSums) {
        let BucketSums { bucket, requests, errors, cost, micros } = sums;
        self.requests += requests;
        self.errors += errors;
        self.cost += cost;
        self.micros += micros;
        self.latencies.add(bucket, requests);
    }

    /// Errors among requests, 0 to 1; 0 without requests.
    pub fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }

    /// Milliseconds; 0 without requests.
    pub fn average_ms(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.micros as f64 / self.requests as f64 / 1000.0 }
    }

    /// Milliseconds, to within 9.1 %; 0 without requests.
    pub fn p95_ms(&self) -> f64 {
        self.latencies.p95() / 1000.0
    }
}

/// All requests.
pub async fn totals(scope: &OrgScope, range: Range) -> Result<Figures> {
    let mut totals = Figures::default();
    for sums in scope.usage_by_bucket(range.period).await? {
        totals.add(sums);
    }
    Ok(totals)
}

/// The `first` operations with the most requests, those first.
pub async fn operations(scope: &OrgScope, range: Range, first: u64) -> Result<Vec<(String, Figures)>> {
    let mut operations: HashMap<String, Figures> = HashMap::new();
    for (operation, sums) in scope.usage_by_operation(range.period, first).await? {
        operations.entry(operation).or_default().add(sums);
    }
    let mut operations: Vec<_> = operations.into_iter().collect();
    operations.sort_unstable_by(|(a_name, a), (b_name, b)| b.requests.cmp(&a.requests).then(a_name.cmp(b_name)));
    Ok(operations)
}

/// One step of a series.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub start: NaiveDate,
    pub requests: i64,
    pub errors: i64,
}

/// Requests and errors by day, week or month of the organization's calendar, those without any included.
pub async fn series(scope: &OrgScope, range: Range, interval: Interval) -> Result<Vec<Point>> {
    let points = interval.points(range.first, range.last)?;
    let mut points: BTreeMap<NaiveDate, Point> =
        points.into_iter().map(|start| (start, Point { start, requests: 0, errors: 0 })).collect();
    for (start, requests, errors) in scope.usage_by_start(range.period).await? {
        // An hour that began before the first date lies in it still; one of another zone, from before that was changed,
        // may lie beyond either end.
        let date = range.zone.date_of(start).clamp(range.first, range.last);
        if let Some(point) = points.get_mut(&interval.beginning_of(date)) {
            point.requests += requests;
            point.errors += errors;
        }
    }
    Ok(points.into_values().collect())
}
