//! Usage in the database: sums added, hours merged into days, sums read back; and when keys were last used. None of it is
//! a change that a ledger records, and none of it raises a version.

use sea_orm::{
    EntityTrait, ExprTrait as _, IntoActiveModel, Order, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
    prelude::*,
    sea_query::{Condition, OnConflict, Query, SelectStatement, SimpleExpr},
};

use super::{Db, OrgScope, Transaction, fail, filter::among};
use crate::{
    base::{
        clock::Instant,
        enums::UsageSpan,
        error::Result,
        id::{ApiKeyId, OrganizationId},
    },
    data::entity::{
        api_key, organization,
        usage::{self, Column},
    },
};

/// Rows of one statement at most: SQLite refuses one with more than 32,766 values, and a row has 11.
const ROWS: usize = 2048;

impl Db {
    /// Time zones by organization; those that are gone are left out.
    pub async fn time_zones(&self, ids: Vec<OrganizationId>) -> Result<Vec<(OrganizationId, String)>> {
        self.find::<organization::Entity>()
            .select_only()
            .columns([organization::Column::Id, organization::Column::TimeZone])
            .filter(among(self, organization::Column::Id, ids))
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(fail)
    }

    /// Adds sums to those that are there: all of them or, on failure, none. The rows are in the order of their keys, each
    /// key once: two instances that add at the same time then take the rows' locks in the same order.
    pub async fn add_usage(&self, rows: &[usage::Model]) -> Result<()> {
        let tx = self.begin().await?;
        add(&tx, rows).await?;
        tx.commit().await
    }

    /// Organizations, with their time zones, that have rows of this span from before `before`.
    pub async fn organizations_with_usage(
        &self,
        span: UsageSpan,
        before: Instant,
    ) -> Result<Vec<(OrganizationId, String)>> {
        // A look into the primary key for each organization, instead of an index that every flush would have to keep.
        let rows = Query::select()
            .expr(Expr::val(1))
            .from(usage::Entity)
            .and_where(
                Expr::col((usage::Entity, Column::OrganizationId))
                    .equals((organization::Entity, organization::Column::Id)),
            )
            .and_where(Column::Span.eq(span))
            .and_where(Column::Start.lt(before))
            .take();
        self.find::<organization::Entity>()
            .select_only()
            .columns([organization::Column::Id, organization::Column::TimeZone])
            .filter(Expr::exists(rows))
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(fail)
    }

    /// Hours before `before` that an organization has rows of, oldest first.
    pub async fn usage_hours(&self, organization_id: OrganizationId, before: Instant) -> Result<Vec<Instant>> {
        of(organization_id)
            .select_only()
            .column(Column::Start)
            .distinct()
            .filter(Column::Span.eq(UsageSpan::Hour))
            .filter(Column::Start.lt(before))
            .order_by_asc(Column::Start)
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(fail)
    }

    /// Merges an hour into the day that began at `day`. What is added is exactly what was deleted, so that it doesn't
    /// matter who else merges or adds at the same time.
    pub async fn merge_usage_hour(&self, organization_id: OrganizationId, hour: Instant, day: Instant) -> Result<()> {
        let tx = self.begin().await?;
        #[allow(clippy::disallowed_methods, reason = "the one place that merges usage; the organization is named")]
        let deleted = usage::Entity::delete_many()
            .filter(Column::OrganizationId.eq(organization_id))
            .filter(Column::Span.eq(UsageSpan::Hour))
            .filter(Column::Start.eq(hour))
            .exec_with_returning(&tx)
            .await
            .map_err(fail)?;
        let mut rows: Vec<usage::Model> =
            deleted.into_iter().map(|row| usage::Model { span: UsageSpan::Day, start: day, ..row }).collect();
        rows.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        add(&tx, &rows).await?;
        tx.commit().await
    }

    /// Deletes an organization's days that began before `before`.
    pub async fn delete_usage_days(&self, organization_id: OrganizationId, before: Instant) -> Result<u64> {
        #[allow(clippy::disallowed_methods, reason = "retention; the organization is named")]
        let done = usage::Entity::delete_many()
            .filter(Column::OrganizationId.eq(organization_id))
            .filter(Column::Span.eq(UsageSpan::Day))
            .filter(Column::Start.lt(before))
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(done.rows_affected)
    }

    /// Notes that keys of an organization were used at `at`, unless a use no more than `apart` earlier is noted already,
    /// by whichever instance.
    pub async fn note_key_use(
        &self,
        organization_id: OrganizationId,
        keys: Vec<ApiKeyId>,
        at: Instant,
        apart: chrono::Duration,
    ) -> Result<()> {
        use api_key::Column;
        let stale = Condition::any().add(Column::LastUsedAt.is_null()).add(Column::LastUsedAt.lte(at - apart));
        #[allow(clippy::disallowed_methods, reason = "no change of the key: no version, no event")]
        api_key::Entity::update_many()
            .col_expr(Column::LastUsedAt, Expr::value(at))
            .filter(Column::OrganizationId.eq(organization_id))
            .filter(among(self, Column::Id, keys))
            .filter(stale)
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(())
    }
}

/// What tells rows of one organization, span and start apart, in the order in which locks are taken.
pub fn key(row: &usage::Model) -> (&str, i16, Uuid, i16) {
    (&row.operation, row.actor_kind.to_value(), row.actor_id, row.bucket)
}

async fn add(tx: &Transaction, mut rows: &[usage::Model]) -> Result<()> {
    while !rows.is_empty() {
        // Each number of rows is another statement to prepare; powers of two keep them to a dozen.
        let (chunk, rest) = rows.split_at(1 << rows.len().min(ROWS).ilog2());
        #[allow(clippy::disallowed_methods, reason = "the one place that adds usage; each row names its organization")]
        usage::Entity::insert_many(chunk.iter().cloned().map(IntoActiveModel::into_active_model))
            .on_conflict(adding())
            .exec_without_returning(tx)
            .await
            .map_err(fail)?;
        rows = rest;
    }
    Ok(())
}

/// Where the key is there, its sums rise.
fn adding() -> OnConflict {
    let mut conflict = OnConflict::columns([
        Column::OrganizationId,
        Column::Span,
        Column::Start,
        Column::Operation,
        Column::ActorKind,
        Column::ActorId,
        Column::Bucket,
    ]);
    for sum in [Column::Requests, Column::Errors, Column::Cost, Column::Micros] {
        conflict.value(sum, Expr::col((usage::Entity, sum)).add(Expr::col(("excluded", sum))));
    }
    conflict
}

fn of(organization_id: OrganizationId) -> Select<usage::Entity> {
    #[allow(clippy::disallowed_methods, reason = "the organization is added here")]
    usage::Entity::find().filter(Column::OrganizationId.eq(organization_id))
}

// ── reading ──

/// Which rows a range takes in: hours and days that it has a part in.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// Hours that began after this.
    pub hours_after: Instant,
    /// Days from this one on.
    pub days_from: Instant,
    /// Before this.
    pub to: Instant,
}

impl Period {
    fn condition(&self) -> Condition {
        let hours = Condition::all().add(Column::Span.eq(UsageSpan::Hour)).add(Column::Start.gt(self.hours_after));
        let days = Condition::all().add(Column::Span.eq(UsageSpan::Day)).add(Column::Start.gte(self.days_from));
        Condition::all()
            // Implied by the rest: what the primary key can look for.
            .add(Column::Span.is_in([UsageSpan::Hour, UsageSpan::Day]))
            .add(Column::Start.gte(Ord::min(self.days_from, self.hours_after)))
            .add(Column::Start.lt(self.to))
            .add(Condition::any().add(hours).add(days))
    }
}

/// Sums of the requests in one bucket of latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSums {
    pub bucket: i16,
    pub requests: i64,
    pub errors: i64,
    pub cost: i64,
    pub micros: i64,
}

impl OrgScope {
    /// Sums of a period by bucket.
    pub async fn usage_by_bucket(&self, period: Period) -> Result<Vec<BucketSums>> {
        let select =
            with_sums(of(self.organization_id()).filter(period.condition()).select_only().column(Column::Bucket));
        let rows = select
            .group_by(Column::Bucket)
            .into_tuple::<(i16, i64, i64, i64, i64)>()
            .all(self.db().reader())
            .await
            .map_err(fail)?;
        Ok(rows
            .into_iter()
            .map(|(bucket, requests, errors, cost, micros)| BucketSums { bucket, requests, errors, cost, micros })
            .collect())
    }

    /// Sums of a period by operation and bucket, of the `first` operations with the most requests.
    pub async fn usage_by_operation(&self, period: Period, first: u64) -> Result<Vec<(String, BucketSums)>> {
        let most: SelectStatement = of(self.organization_id())
            .filter(period.condition())
            .select_only()
            .column(Column::Operation)
            .group_by(Column::Operation)
            .order_by(Column::Requests.sum(), Order::Desc)
            .order_by_asc(Column::Operation)
            .limit(first)
            .into_query();
        let select = of(self.organization_id())
            .filter(period.condition())
            .filter(Column::Operation.in_subquery(most))
            .select_only()
            .column(Column::Operation)
            .column(Column::Bucket);
        let rows = with_sums(select)
            .group_by(Column::Operation)
            .group_by(Column::Bucket)
            .into_tuple::<(String, i16, i64, i64, i64, i64)>()
            .all(self.db().reader())
            .await
            .map_err(fail)?;
        Ok(rows
            .into_iter()
            .map(|(operation, bucket, requests, errors, cost, micros)| {
                (operation, BucketSums { bucket, requests, errors, cost, micros })
            })
            .collect())
    }

    /// `(start, requests, errors)` of each hour and day of a period.
    pub async fn usage_by_start(&self, period: Period) -> Result<Vec<(Instant, i64, i64)>> {
        of(self.organization_id())
            .filter(period.condition())
            .select_only()
            .column(Column::Start)
            .column_as(total(Column::Requests), "requests")
            .column_as(total(Column::Errors), "errors")
            .group_by(Column::Start)
            .into_tuple()
            .all(self.db().reader())
            .await
            .map_err(fail)
    }
}

fn with_sums(select: Select<usage::Entity>) -> Select<usage::Entity> {
    select
        .column_as(total(Column::Requests), "requests")
        .column_as(total(Column::Errors), "errors")
        .column_as(total(Column::Cost), "cost")
        .column_as(total(Column::Micros), "micros")
}

/// A sum of integers as an integer: PostgreSQL's is a decimal.
fn total(column: Column) -> SimpleExpr {
    column.sum().cast_as("bigint")
}
