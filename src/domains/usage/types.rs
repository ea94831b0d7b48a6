use async_graphql::{Description, Object, SimpleObject};
use tokio::sync::OnceCell;

use super::service::{self, Figures, Range};
use crate::{
    base::error::Result,
    data::db::{OrgScope, page::PageArgs},
    graphql::{
        range::{DateRange, Interval},
        scalars::{BigInt, Date},
    },
};

/// Requests of an organization within a range. Every operation with a known caller counts, also one that fails.
#[derive(Clone, Debug, Description)]
pub struct Usage {
    scope: OrgScope,
    range: Range,
    /// Read once, for whichever of its fields comes first.
    totals: OnceCell<Figures>,
}

impl Usage {
    pub fn new(scope: &OrgScope, range: Option<&DateRange>) -> Result<Self> {
        Ok(Self { scope: scope.clone(), range: service::range(scope, range)?, totals: OnceCell::new() })
    }

    async fn totals(&self) -> Result<&Figures> {
        self.totals.get_or_try_init(|| service::totals(&self.scope, self.range)).await
    }
}

#[Object(use_type_description)]
impl Usage {
    /// How many there were.
    async fn requests(&self) -> Result<BigInt> {
        Ok(BigInt(self.totals().await?.requests))
    }

    /// Requests whose answer had top-level errors; `userErrors` are none.
    async fn errors(&self) -> Result<BigInt> {
        Ok(BigInt(self.totals().await?.errors))
    }

    /// Errors among requests, 0 to 1; 0 without requests.
    async fn error_rate(&self) -> Result<f64> {
        Ok(self.totals().await?.error_rate())
    }

    /// Average time to the answer, in milliseconds; 0 without requests.
    async fn average_ms(&self) -> Result<f64> {
        Ok(self.totals().await?.average_ms())
    }

    /// Time within which 95 of 100 were answered, in milliseconds, to within 9.1 %; 0 without requests.
    async fn p95_ms(&self) -> Result<f64> {
        Ok(self.totals().await?.p95_ms())
    }

    /// Points they cost.
    async fn cost(&self) -> Result<BigInt> {
        Ok(BigInt(self.totals().await?.cost))
    }

    /// Operations with the most requests, those first.
    async fn operations(
        &self,
        #[graphql(default = 20, desc = "How many, 0 to 100.")] first: i32,
    ) -> Result<Vec<OperationUsage>> {
        let first = PageArgs::forward(Some(first), None).limit()?;
        let operations = service::operations(&self.scope, self.range, first).await?;
        Ok(operations.into_iter().map(OperationUsage::from).collect())
    }

    /// Requests by day, week or month, those without any included; 366 steps at most, BAD_REQUEST beyond.
    async fn series(
        &self,
        #[graphql(default_with = "Interval::Day", desc = "Length of the steps.")] interval: Interval,
    ) -> Result<Vec<UsagePoint>> {
        let points = service::series(&self.scope, self.range, interval).await?;
        Ok(points.into_iter().map(UsagePoint::from).collect())
    }
}

// Requests of one operation.
/// Requests of one operation.
#[derive(SimpleObject)]
pub struct OperationUsage {
    /// Its name; without one its root fields, cut to 100 characters. `(other)` sums up names beyond 200 an hour.
    operation: String,
    /// How many there were.
    requests: BigInt,
    /// Requests whose answer had top-level errors.
    errors: BigInt,
    /// Average time to the answer, in milliseconds; 0 without requests.
    average_ms: f64,
    /// Time within which 95 of 100 were answered, in milliseconds, to within 9.1 %.
    p95_ms: f64,
    /// Points they cost.
    cost: BigInt,
}

impl From<(String, Figures)> for OperationUsage {
    fn from((operation, figures): (String, Figures)) -> Self {
        Self {
            operation,
            requests: BigInt(figures.requests),
            errors: BigInt(figures.errors),
            average_ms: figures.average_ms(),
            p95_ms: figures.p95_ms(),
            cost: BigInt(figures.cost),
        }
    }
}

// Requests of one day, week or month.
/// Requests of one day, week or month.
#[derive(SimpleObject)]
pub struct UsagePoint {
    /// Its first day, in the organization's time zone; it may be before the range.
    start: Date,
    /// How many there were.
    requests: BigInt,
    /// Requests whose answer had top-level errors.
    errors: BigInt,
}

impl From<service::Point> for UsagePoint {
    fn from(point: service::Point) -> Self {
        Self { start: Date(point.start), requests: BigInt(point.requests), errors: BigInt(point.errors) }
    }
}
