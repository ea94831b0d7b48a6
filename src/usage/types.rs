use async_graphql::{Object, SimpleObject};
use tokio::sync::OnceCell;

use super::service::{self, Figures, Range};
use crate::{
    db::{OrgScope, page::PageArgs},
    error::Result,
    graphql::{
        range::{DateRange, Interval},
        scalars::{BigInt, Date},
    },
};

/// Requests of an organization within a range.
#[derive(Clone, Debug)]
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

#[Object]
impl Usage {
    async fn requests(&self) -> Result<BigInt> {
        Ok(BigInt(self.totals().await?.requests))
    }

    async fn errors(&self) -> Result<BigInt> {
        Ok(BigInt(self.totals().await?.errors))
    }

    async fn error_rate(&self) -> Result<f64> {
        Ok(self.totals().await?.error_rate())
    }

    async fn average_ms(&self) -> Result<f64> {
        Ok(self.totals().await?.average_ms())
    }

    async fn p95_ms(&self) -> Result<f64> {
        Ok(self.totals().await?.p95_ms())
    }

    async fn cost(&self) -> Result<BigInt> {
        Ok(BigInt(self.totals().await?.cost))
    }

    async fn operations(&self, #[graphql(default = 20)] first: i32) -> Result<Vec<OperationUsage>> {
        let first = PageArgs::forward(Some(first), None).limit()?;
        let operations = service::operations(&self.scope, self.range, first).await?;
        Ok(operations.into_iter().map(OperationUsage::from).collect())
    }

    async fn series(&self, #[graphql(default_with = "Interval::Day")] interval: Interval) -> Result<Vec<UsagePoint>> {
        let points = service::series(&self.scope, self.range, interval).await?;
        Ok(points.into_iter().map(UsagePoint::from).collect())
    }
}

// Requests of one operation.
#[derive(SimpleObject)]
pub struct OperationUsage {
    operation: String,
    requests: BigInt,
    errors: BigInt,
    average_ms: f64,
    p95_ms: f64,
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
#[derive(SimpleObject)]
pub struct UsagePoint {
    start: Date,
    requests: BigInt,
    errors: BigInt,
}

impl From<service::Point> for UsagePoint {
    fn from(point: service::Point) -> Self {
        Self { start: Date(point.start), requests: BigInt(point.requests), errors: BigInt(point.errors) }
    }
}
