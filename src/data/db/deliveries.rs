//! Deliveries to webhooks as the workers see them: which webhooks have something due, who sends for which, what is to be
//! sent, and the outcome.
//!
//! Whoever sends for a webhook holds its queue: one row a webhook, with a lease by the database's clock and a fencing token
//! that rises with each holder. So one webhook's deliveries are sent by one worker at a time, which alone knows how many
//! are in flight; a dead worker's queues are free once the lease is over; and what a stopped one still wants to write is
//! recognized by its old token.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{
    ActiveModelTrait as _, Condition, DatabaseBackend, ExprTrait as _, FromQueryResult, IntoActiveModel as _,
    QueryOrder, QuerySelect, QueryTrait,
    prelude::*,
    sea_query::{
        Alias, Func, LockBehavior, LockType, OnConflict, Order, Query, SelectStatement, SimpleExpr, WindowStatement,
    },
};

use super::{Db, Scoped, Transaction, fail, filter::among};
use crate::{
    base::{
        clock::{Clock, Instant},
        enums::{DeliveryStatus, WebhookState},
        error::Result,
        id::{EventId, OrganizationId, WebhookDeliveryId, WebhookId},
    },
    data::entity::{event, webhook, webhook_attempt, webhook_delivery, webhook_queue},
};

/// A webhook that this process sends for, as long as the lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryQueue {
    pub organization_id: OrganizationId,
    pub webhook_id: WebhookId,
    lease: i64,
}

/// What came of one attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub queue: DeliveryQueue,
    pub attempt: webhook_attempt::Model,
    pub next: Next,
    /// When the attempt ended.
    pub at: Instant,
    /// Whether it says something of the receiver.
    pub was_sent: bool,
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing was sent, for a reason on this server's side: again at this time, and no attempt is written.
    Postponed(Instant),
    Delivered,
    /// Failed; again at this time.
    Retry(Instant),
    /// Failed for good.
    Dead,
}

impl Next {
    /// For metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postponed(_) => "postponed",
            Self::Delivered => "delivered",
            Self::Retry(_) => "retrying",
            Self::Dead => "dead",
        }
    }

    /// `None`: as it was.
    const fn status(self) -> Option<DeliveryStatus> {
        match self {
            Self::Postponed(_) => None,
            Self::Delivered => Some(DeliveryStatus::Delivered),
            Self::Retry(_) => Some(DeliveryStatus::Retrying),
            Self::Dead => Some(DeliveryStatus::Dead),
        }
    }

    /// By the database's clock.
    fn at(self, clock: &Clock) -> Option<Instant> {
        match self {
            Self::Retry(at) | Self::Postponed(at) => Some(clock.by_database(at)),
            Self::Delivered | Self::Dead => None,
        }
    }
}

/// Queues that are held, and since when each has been failing; a queue that is missing was lost.
pub type FailingSince = HashMap<DeliveryQueue, Option<Instant>>;

/// A queue that nobody holds, of a webhook with something due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromQueryResult)]
pub struct FreeQueue {
    pub organization_id: OrganizationId,
    pub webhook_id: WebhookId,
}

impl Db {
    /// Queues to choose from, `each` of an organization and `limit` in all at most: first one of each organization, then
    /// a second one of each, and of an organization the longest without a holder first. None of the organizations `except`.
    pub async fn free_queues(&self, except: Vec<OrganizationId>, each: u64, limit: u64) -> Result<Vec<FreeQueue>> {
        use webhook_queue::Column;
        let [place, free] = ["place", "free"].map(Alias::new);
        let mut turns = WindowStatement::partition_by(Column::OrganizationId);
        turns.order_by(Column::LeasedUntil, Order::Asc).order_by(Column::WebhookId, Order::Asc);
        let mut queues = self.due_queues().select_only();
        for column in [Column::OrganizationId, Column::WebhookId, Column::LeasedUntil] {
            queues = queues.column(column);
        }
        if !except.is_empty() {
            queues = queues.filter(among(self, Column::OrganizationId, except).not());
        }
        let mut queues = QueryTrait::into_query(queues);
        queues.expr_window_as(Func::cust("ROW_NUMBER"), turns, place.clone());
        let query = Query::select()
            .columns([Column::OrganizationId, Column::WebhookId])
            .from_subquery(queues, free)
            .and_where(Expr::col(place.clone()).lte(each))
            .order_by(place, Order::Asc)
            .order_by(Column::LeasedUntil, Order::Asc)
            .limit(limit)
            .take();
        FreeQueue::find_by_statement(self.backend().build(&query)).all(self.reader()).await.map_err(fail)
    }

    /// Takes these queues, each for `term`, but for those that somebody else has taken meanwhile.
    pub async fn claim_queues(&self, free: &[FreeQueue], term: std::time::Duration) -> Result<FailingSince> {
        if free.is_empty() {
            return Ok(FailingSince::new());
        }
        let these = |queues: &mut dyn Iterator<Item = (OrganizationId, WebhookId)>| {
            queues.fold(Condition::any(), |any, (organization, webhook)| any.add(is(organization, webhook)))
        };
        let tx = self.begin().await?;
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        let free: Vec<webhook_queue::Model> = webhook_queue::Entity::find()
            .filter(these(&mut free.iter().map(|queue| (queue.organization_id, queue.webhook_id))))
            .filter(Expr::col(webhook_queue::Column::LeasedUntil).lte(self.database_time()))
            // Two workers that look at the same time take different ones.
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
            .all(&tx)
            .await
            .map_err(fail)?;
        if free.is_empty() {
            return Ok(FailingSince::new());
        }
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        let taken = webhook_queue::Entity::update_many()
            .col_expr(webhook_queue::Column::Lease, Expr::col(webhook_queue::Column::Lease).add(1))
            .col_expr(webhook_queue::Column::LeasedUntil, self.database_time().add(millis(term)))
            .filter(these(&mut free.iter().map(|queue| (queue.organization_id, queue.webhook_id))))
            .exec_with_returning(&tx)
            .await
            .map_err(fail)?;
        tx.commit().await?;
        Ok(taken.into_iter().map(|row| (DeliveryQueue::from(&row), row.failing_since)).collect())
    }

    /// Queues of enabled webhooks with something due, held by nobody.
    fn due_queues(&self) -> Select<webhook_queue::Entity> {
        use webhook_queue::{Column, Entity};
        let of_queue = |column: Column| Expr::col((Entity, column));
        let delivery = |column: webhook_delivery::Column| Expr::col((webhook_delivery::Entity, column));
        let of_webhook = delivery(webhook_delivery::Column::OrganizationId)
            .equals((webhook::Entity, webhook::Column::OrganizationId))
            .and(delivery(webhook_delivery::Column::WebhookId).equals((webhook::Entity, webhook::Column::Id)));
        let is_due = Query::select()
            .expr(Expr::val(1))
            .from(webhook::Entity)
            .inner_join(webhook_delivery::Entity, of_webhook)
            .and_where(of_queue(Column::OrganizationId).equals((webhook::Entity, webhook::Column::OrganizationId)))
            .and_where(of_queue(Column::WebhookId).equals((webhook::Entity, webhook::Column::Id)))
            .and_where(webhook::Column::State.eq(WebhookState::Enabled))
            .and_where(webhook_delivery::Column::NextAttemptAt.lte(self.clock().now_by_database()))
            .and_where(webhook::Column::IsOrdered.eq(false).or(Expr::exists(waited_for()).not()))
            .take();
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        let queues = Entity::find();
        queues.filter(of_queue(Column::LeasedUntil).lte(self.database_time())).filter(Expr::exists(is_due))
    }

    /// Gives a queue back, unless somebody else holds it by now.
    pub async fn release_queue(&self, queue: DeliveryQueue) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        webhook_queue::Entity::update_many()
            // Not 0: the longest without a holder comes first.
            .col_expr(webhook_queue::Column::LeasedUntil, self.database_time())
            .filter(held(&queue))
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(())
    }

    /// The webhook of a queue, unless it is gone or not enabled any more.
    pub async fn webhook_of(&self, queue: DeliveryQueue) -> Result<Option<webhook::Model>> {
        Scoped::<webhook::Entity, _>::new(self.reader(), queue.organization_id)
            .filter(webhook::Column::Id.eq(queue.webhook_id))
            .filter(webhook::Column::State.eq(WebhookState::Enabled))
            .one()
            .await
    }

    /// Deliveries of a webhook that are due, the longest due first. Of an ordered one, only those that wait for no earlier
    /// one of the same item.
    pub async fn due_deliveries(
        &self,
        webhook: &webhook::Model,
        except: Vec<WebhookDeliveryId>,
        limit: u64,
    ) -> Result<Vec<webhook_delivery::Model>> {
        use webhook_delivery::{Column, Entity};
        let mut due = Scoped::<Entity, _>::new(self.reader(), webhook.organization_id)
            .filter(Column::WebhookId.eq(webhook.id))
            .filter(Column::NextAttemptAt.lte(self.clock().now_by_database()))
            .order_by_asc(Column::NextAttemptAt)
            .order_by_asc(Column::Sequence)
            .limit(limit);
        if !except.is_empty() {
            due = due.filter(among(self, Column::Id, except).not());
        }
        if webhook.is_ordered {
            due = due.filter(Expr::exists(waited_for()).not());
        }
        due.all().await
    }

    /// Events by their ids; those that are no longer kept are missing.
    pub async fn events_of(
        &self,
        organization_id: OrganizationId,
        ids: Vec<EventId>,
    ) -> Result<HashMap<EventId, event::Model>> {
        let events = Scoped::<event::Entity, _>::new(self.reader(), organization_id)
            .filter(among(self, event::Column::Id, ids))
            .all()
            .await?;
        Ok(events.into_iter().map(|event| (event.id, event)).collect())
    }

    /// Writes what came of attempts, of several queues in one transaction. Outcomes of a queue that has been lost are not
    /// written: whoever holds it now makes attempts of its own.
    pub async fn record_outcomes(&self, outcomes: &[Outcome]) -> Result<FailingSince> {
        let tx = self.begin().await?;
        let queues = outcomes.iter().fold(Condition::any(), |any, outcome| any.add(held(&outcome.queue)));
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        let rows = webhook_queue::Entity::find()
            .filter(queues)
            .order_by_asc(webhook_queue::Column::WebhookId)
            .lock(LockType::NoKeyUpdate)
            .all(&tx)
            .await
            .map_err(fail)?;
        let before: FailingSince = rows.into_iter().map(|row| (DeliveryQueue::from(&row), row.failing_since)).collect();
        let mut kept: Vec<Outcome> =
            outcomes.iter().filter(|outcome| before.contains_key(&outcome.queue)).cloned().collect();
        give_up_disabled(&tx, &mut kept).await?;
        number(&tx, &mut kept).await?;
        write_outcomes(&tx, &kept, self.clock()).await?;

        let mut after = before.clone();
        for outcome in kept.iter().filter(|outcome| outcome.was_sent) {
            if let Some(failing_since) = after.get_mut(&outcome.queue) {
                *failing_since = match outcome.next {
                    Next::Delivered => None,
                    Next::Retry(_) | Next::Dead => failing_since.or(Some(outcome.at)),
                    Next::Postponed(_) => *failing_since,
                };
            }
        }
        for (queue, failing_since) in after.iter().filter(|(queue, since)| before.get(queue) != Some(since)) {
            #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
            webhook_queue::Entity::update_many()
                .col_expr(webhook_queue::Column::FailingSince, Expr::value(*failing_since))
                .filter(is(queue.organization_id, queue.webhook_id))
                .exec(&tx)
                .await
                .map_err(fail)?;
        }
        tx.commit().await?;
        Ok(after)
    }

    /// Writes what came of the one attempt of a test, which needs no queue; false when a worker was faster.
    pub async fn record_test(&self, attempt: webhook_attempt::Model, next: Next) -> Result<bool> {
        use webhook_delivery::Column;
        let tx = self.begin().await?;
        #[allow(clippy::disallowed_methods, reason = "the delivery's organization is named")]
        let done = webhook_delivery::Entity::update_many()
            .col_expr(Column::Status, Expr::value(next.status().unwrap_or(DeliveryStatus::Dead)))
            .col_expr(Column::AttemptCount, Expr::value(attempt.number))
            .col_expr(Column::NextAttemptAt, Expr::value(next.at(self.clock())))
            .filter(Column::OrganizationId.eq(attempt.organization_id))
            .filter(Column::Id.eq(attempt.delivery_id))
            .filter(Column::AttemptCount.eq(attempt.number - 1))
            .exec(&tx)
            .await
            .map_err(fail)?;
        if done.rows_affected == 0 {
            return Ok(false);
        }
        #[allow(clippy::disallowed_methods, reason = "the delivery's organization is named")]
        attempt.into_active_model().reset_all().insert(&tx).await.map_err(fail)?;
        tx.commit().await?;
        Ok(true)
    }

    /// Milliseconds since 1970 by the database's own clock, which all instances share.
    pub(super) fn database_time(&self) -> SimpleExpr {
        Expr::cust(self.database_time_sql())
    }

    /// [`Db::database_time`] as text.
    pub(super) fn database_time_sql(&self) -> &'static str {
        match self.backend() {
            DatabaseBackend::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            _ => "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
        }
    }
}

/// Deliveries to the same webhook, of earlier events of the same item, that are not done.
fn waited_for() -> SelectStatement {
    use webhook_delivery::{Column, Entity};
    let earlier = Alias::new("earlier");
    let same = |column: Column| Expr::col((earlier.clone(), column)).equals((Entity, column));
    Query::select()
        .expr(Expr::val(1))
        .from_as(Entity, earlier.clone())
        .and_where(same(Column::OrganizationId))
        .and_where(same(Column::WebhookId))
        .and_where(same(Column::OrderingId))
        .and_where(Expr::col((earlier.clone(), Column::Sequence)).lt(Expr::col((Entity, Column::Sequence))))
        .and_where(Expr::col((earlier.clone(), Column::NextAttemptAt)).is_not_null())
        .take()
}

impl From<&webhook_queue::Model> for DeliveryQueue {
    fn from(row: &webhook_queue::Model) -> Self {
        Self { organization_id: row.organization_id, webhook_id: row.webhook_id, lease: row.lease }
    }
}

fn is(organization_id: OrganizationId, webhook_id: WebhookId) -> Condition {
    use webhook_queue::{Column, Entity};
    Condition::all()
        .add(Expr::col((Entity, Column::OrganizationId)).eq(organization_id))
        .add(Expr::col((Entity, Column::WebhookId)).eq(webhook_id))
}

fn held(queue: &DeliveryQueue) -> Condition {
    is(queue.organization_id, queue.webhook_id).add(webhook_queue::Column::Lease.eq(queue.lease))
}

fn millis(term: std::time::Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX)
}

/// What failed under way while its webhook was disabled is given up with the rest. The webhooks stay as they are until the
/// outcomes are written: one that is being disabled is waited for.
async fn give_up_disabled(tx: &Transaction, outcomes: &mut [Outcome]) -> Result<()> {
    let is_retried = |outcome: &&mut Outcome| matches!(outcome.next, Next::Retry(_));
    let these = |any: Condition, outcome: &mut Outcome| {
        let DeliveryQueue { organization_id, webhook_id, .. } = outcome.queue;
        let this = webhook::Column::OrganizationId.eq(organization_id).and(webhook::Column::Id.eq(webhook_id));
        any.add(this)
    };
    let retried = outcomes.iter_mut().filter(is_retried).fold(Condition::any(), these);
    if retried.is_empty() {
        return Ok(());
    }
    #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
    let webhooks = webhook::Entity::find().filter(retried).lock(LockType::Share).all(tx).await.map_err(fail)?;
    for outcome in outcomes.iter_mut().filter(is_retried) {
        let own = |webhook: &&webhook::Model| {
            (webhook.organization_id, webhook.id) == (outcome.queue.organization_id, outcome.queue.webhook_id)
        };
        if webhooks.iter().find(own).is_some_and(|webhook| webhook.state == WebhookState::Disabled) {
            outcome.next = Next::Dead;
        }
    }
    Ok(())
}

/// Numbers the attempts where their deliveries are locked: a test's own attempt may have been written since they were read.
/// What is of a delivery that is gone is left out.
async fn number(tx: &Transaction, outcomes: &mut Vec<Outcome>) -> Result<()> {
    use webhook_delivery::{Column, Entity};
    if outcomes.is_empty() {
        return Ok(());
    }
    let these = outcomes.iter().fold(Condition::any(), |any, Outcome { attempt, .. }| {
        any.add(Column::OrganizationId.eq(attempt.organization_id).and(Column::Id.eq(attempt.delivery_id)))
    });
    #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
    let rows: Vec<(OrganizationId, WebhookDeliveryId, i32)> = Entity::find()
        .select_only()
        .columns([Column::OrganizationId, Column::Id, Column::AttemptCount])
        .filter(these)
        .order_by_asc(Column::OrganizationId)
        .order_by_asc(Column::Id)
        .lock(LockType::NoKeyUpdate)
        .into_tuple()
        .all(tx)
        .await
        .map_err(fail)?;
    let mut made: HashMap<_, i32> =
        rows.into_iter().map(|(organization, id, made)| ((organization, id), made)).collect();
    outcomes.retain_mut(|Outcome { attempt, next, .. }| {
        let Some(made) = made.get_mut(&(attempt.organization_id, attempt.delivery_id)) else { return false };
        if !matches!(next, Next::Postponed(_)) {
            *made += 1;
            attempt.number = *made;
        }
        true
    });
    Ok(())
}

/// Attempts and their deliveries. What was delivered is one statement an organization, what failed one each.
async fn write_outcomes(tx: &Transaction, outcomes: &[Outcome], clock: &Clock) -> Result<()> {
    use webhook_delivery::Column;
    let is_made = |outcome: &&Outcome| !matches!(outcome.next, Next::Postponed(_));
    let attempts: Vec<_> = outcomes
        .iter()
        .filter(is_made)
        .map(|outcome| outcome.attempt.clone().into_active_model().reset_all())
        .collect();
    if !attempts.is_empty() {
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        webhook_attempt::Entity::insert_many(attempts)
            // Numbered under a lock: one that is there all the same must not take the others' with it.
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(tx)
            .await
            .map_err(fail)?;
    }

    let mut delivered: BTreeMap<OrganizationId, Vec<WebhookDeliveryId>> = BTreeMap::new();
    let mut updates: Vec<(Condition, Next)> = Vec::new();
    for Outcome { attempt, next, .. } in outcomes {
        if *next == Next::Delivered {
            delivered.entry(attempt.organization_id).or_default().push(attempt.delivery_id);
        } else {
            let this = Column::Id.eq(attempt.delivery_id);
            updates.push((Condition::all().add(Column::OrganizationId.eq(attempt.organization_id)).add(this), *next));
        }
    }
    for (organization_id, ids) in delivered {
        let these = Condition::all().add(Column::OrganizationId.eq(organization_id)).add(Column::Id.is_in(ids));
        updates.push((these, Next::Delivered));
    }
    for (these, next) in updates {
        #[allow(clippy::disallowed_methods, reason = "workers send for all organizations")]
        let mut update =
            webhook_delivery::Entity::update_many().col_expr(Column::NextAttemptAt, Expr::value(next.at(clock)));
        if let Some(status) = next.status() {
            update = update
                .col_expr(Column::Status, Expr::value(status))
                .col_expr(Column::AttemptCount, Expr::col(Column::AttemptCount).add(1));
        }
        update.filter(these).exec(tx).await.map_err(fail)?;
    }
    Ok(())
}
