//! Writes: [`WriteTx`] within an organization, and what it shares with [`AccountTx`](super::AccountTx). Both end with `commit`, which writes the
//! recorded events after everything else and only then commits; dropping one rolls everything back.

use std::{
    future::Future,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backon::{ExponentialBuilder, Retryable as _};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, Condition, DatabaseBackend, EntityTrait, ExprTrait as _, IdenStatic,
    IntoActiveModel, Iterable as _, PrimaryKeyToColumn, QueryFilter, Statement,
    prelude::*,
    sea_query::{IntoCondition, IntoIden, OnConflict, Query, SimpleExpr},
};
use serde_json::Value as Json;

use super::{
    AccountTx, Db, OrgScope, Scoped, Transaction, fail,
    groups::Handover,
    idempotency::{Claim, Recorded},
};
use crate::{
    base::{
        enums::{Feature, PlanTier, QuotaResource},
        error::{Error, Problem, ProblemCode, Result},
        id::{AnyId, EventId, Id, OrganizationId},
    },
    data::{
        entity::{EventType, Findable, Global, Keyed, Row, Tenant, event, ledger_head, organization},
        ledger::{LedgerCursor, NewEvent, PendingEvents, Written},
    },
};

/// What a write gave, and the ledger's position just after it.
#[derive(Clone, Debug)]
pub struct Committed<T> {
    pub value: T,
    pub cursor: Option<LedgerCursor>,
}

impl<T> Committed<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Committed<U> {
        Committed { value: f(self.value), cursor: self.cursor }
    }
}

/// Runs a whole write again after a conflict with another one: three tries in all, with a short pause of chance
/// length before each, so that two that met don't meet again.
pub async fn retrying<T, E, F>(mut attempt: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: AsRef<Error>,
{
    let pauses =
        ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_factor(4.0).with_max_times(2).with_jitter();
    // On the heap: the state of a whole write is large, and the thread's stack is not.
    let attempt = || Box::pin(attempt());
    attempt.retry(pauses).when(|error| is_transient(error.as_ref())).await
}

/// Before the second try of a write; jitter adds up to as much again. A write takes a few milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(3);

/// Also a unique key that the checks before it did not see: the next try finds out what took it, and whether that is a
/// repeat of the very same create.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Retry(_) => true,
        Error::Invalid(problems) => {
            matches!(&problems[..], [problem] if problem.code == ProblemCode::Taken && problem.path.is_empty())
        }
        _ => false,
    }
}

impl AsRef<Error> for Error {
    fn as_ref(&self) -> &Error {
        self
    }
}

/// Rows of one statement: SQLite refuses one with more than 32,766 values, and no table has more than 32 columns.
const MAX_ROWS: usize = 1000;

/// The first number of the advisory locks of organizations' trees of items.
const TREE_LOCK: i32 = 0x7472_6565;

/// A write within one organization. No network call may happen while one is open.
pub struct WriteTx {
    scope: OrgScope,
    tx: Transaction,
    events: PendingEvents,
    claim: Option<Claim>,
    /// Whether it queues something for webhooks besides its own events.
    queues: bool,
    /// Whether it leaves a job.
    has_jobs: bool,
    /// Dropped once nothing but the commit is left.
    handover: Option<Handover>,
    /// Whether it has changed anything.
    has_written: AtomicBool,
}

impl WriteTx {
    pub(super) async fn begin(scope: OrgScope) -> Result<Self> {
        let (tx, claim) = Box::pin(Claim::begin(scope.db(), scope.origin().idempotency.as_ref())).await?;
        Ok(Self::over(scope, tx, PendingEvents::default(), claim))
    }

    pub(super) fn over(scope: OrgScope, tx: Transaction, events: PendingEvents, claim: Option<Claim>) -> Self {
        let has_written = AtomicBool::new(false);
        Self { scope, tx, events, claim, queues: false, has_jobs: false, handover: None, has_written }
    }

    pub fn scope(&self) -> &OrgScope {
        &self.scope
    }

    fn note_written(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }

    /// Events that the write has recorded so far, in all organizations.
    pub fn recorded(&self) -> usize {
        self.events.recorded()
    }

    pub fn organization_id(&self) -> OrganizationId {
        self.scope.organization_id()
    }

    /// Reads within the transaction.
    pub fn find<E: Tenant>(&self) -> Scoped<'_, E, Transaction> {
        Scoped::new(&self.tx, self.organization_id())
    }

    /// One row by its id, locked until the transaction ends; a NOT_FOUND problem at `path` without one.
    pub async fn locked<E: Keyed>(&self, id: Id<E::Kind>, path: &[&str]) -> Result<E::Model> {
        let row = self.find::<E>().filter(E::ID.eq(id)).for_update().one().await?;
        row.ok_or_else(|| Problem::not_found(path, E::WHAT).into())
    }

    /// One row to be deleted, locked; `None` when the ledger says that it was deleted before: repeating is harmless.
    pub async fn locked_or_gone<E: Keyed>(
        &self,
        id: Id<E::Kind>,
        path: &[&str],
        deleted: EventType,
    ) -> Result<Option<E::Model>> {
        if let Some(row) = self.find::<E>().filter(E::ID.eq(id)).for_update().one().await? {
            return Ok(Some(row));
        }
        let gone = event::Column::SubjectId.eq(id.uuid()).and(event::Column::Type.eq(deleted));
        match self.find::<event::Entity>().filter(gone).limit(1).one().await? {
            Some(_) => Ok(None),
            None => Err(Problem::not_found(path, E::WHAT).into()),
        }
    }

    /// Whether a matching row is gone for everybody although a job has still to do with it.
    pub async fn is_being_removed<E: Tenant>(&self, condition: impl IntoCondition) -> Result<bool> {
        let Some(removed_at) = E::REMOVED else { return Ok(false) };
        #[allow(clippy::disallowed_methods, reason = "past what `Scoped` hides; the organization is named")]
        let rows = E::find().filter(E::ORGANIZATION.eq(self.organization_id())).filter(removed_at.is_not_null());
        let found = rows.filter(condition.into_condition()).one(&self.tx).await.map_err(fail)?;
        Ok(found.is_some())
    }

    /// Reads a table that no organization owns, within the transaction.
    pub async fn find_global<E: Global>(&self, condition: impl IntoCondition) -> Result<Vec<E::Model>> {
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        E::find().filter(condition.into_condition()).all(&self.tx).await.map_err(fail)
    }

    /// A row with all its columns, of this organization, whatever organization it names.
    fn whole<M: Row>(&self, row: M) -> <M::Entity as EntityTrait>::ActiveModel {
        let mut row = row.into_active_model().reset_all();
        row.set(M::Entity::ORGANIZATION, self.organization_id().into());
        row
    }

    /// Inserts a row of this organization.
    pub async fn insert<M: Row>(&self, row: M) -> Result<M> {
        self.note_written();
        #[allow(clippy::disallowed_methods, reason = "the one way; the organization is set in `whole`")]
        self.whole(row).insert(&self.tx).await.map_err(fail)
    }

    /// Inserts many rows of this organization, in as few statements as the databases allow.
    pub async fn insert_many<M: Row>(&self, rows: Vec<M>) -> Result<()> {
        let rows: Vec<_> = rows.into_iter().map(|row| self.whole(row)).collect();
        if !rows.is_empty() {
            self.note_written();
        }
        for chunk in rows.chunks(MAX_ROWS) {
            #[allow(clippy::disallowed_methods, reason = "the one way; the organization is set above")]
            M::Entity::insert_many(chunk.to_vec()).exec_without_returning(&self.tx).await.map_err(fail)?;
        }
        Ok(())
    }

    /// [`insert_many`](Self::insert_many), with ids that PostgreSQL keeps beside each row, of which the entity knows nothing:
    /// the name of the column, and what each row has there. What keeps them would otherwise write each row twice.
    pub async fn insert_many_with<M: Row, const N: usize>(
        &self,
        rows: Vec<M>,
        kept: [(&'static str, Vec<Vec<Uuid>>); N],
    ) -> Result<()> {
        if self.tx.get_database_backend() != DatabaseBackend::Postgres {
            return self.insert_many(rows).await;
        }
        if !rows.is_empty() {
            self.note_written();
        }
        let columns: Vec<_> = <M::Entity as EntityTrait>::Column::iter().collect();
        let (names, mut kept) = (kept.each_ref().map(|(name, _)| *name), kept.map(|(_, ids)| ids.into_iter()));
        for chunk in rows.chunks(MAX_ROWS) {
            let mut insert = Query::insert();
            insert.into_table(M::Entity::default());
            insert.columns(columns.iter().map(|column| column.into_iden()).chain(names.map(IntoIden::into_iden)));
            for row in chunk {
                let row = self.whole(row.clone());
                let own = columns.iter().map(|column| {
                    let value = row.get(*column).into_value();
                    value
                        .map(|value| column.save_as(Expr::val(value)))
                        .ok_or_else(|| Error::internal("a row has no value"))
                });
                let mut values = own.collect::<Result<Vec<_>>>()?;
                values.extend(kept.iter_mut().map(|ids| Expr::val(ids.next().unwrap_or_default())));
                insert.values(values).map_err(Error::internal)?;
            }
            self.tx.execute(&insert).await.map_err(fail)?;
        }
        Ok(())
    }

    /// Updates one row of this organization: the columns that are set.
    pub async fn update<A>(&self, mut row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send + 'static,
        A::Entity: Tenant,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A> + Send + Sync,
    {
        self.note_written();
        // The organization is part of every tenant's primary key, so this also keeps the update inside it.
        row.set(<A::Entity as Tenant>::ORGANIZATION, self.organization_id().into());
        #[allow(clippy::disallowed_methods, reason = "the one way; the organization is set above")]
        row.update(&self.tx).await.map_err(fail)
    }

    /// Sets columns of all matching rows of this organization; says how many.
    pub async fn update_where<E: Tenant>(
        &self,
        condition: impl IntoCondition,
        columns: Vec<(E::Column, SimpleExpr)>,
    ) -> Result<u64> {
        #[allow(clippy::disallowed_methods, reason = "the one way; the organization is added below")]
        let mut update = E::update_many();
        for (column, value) in columns {
            update = update.col_expr(column, value);
        }
        let done = update
            .filter(E::ORGANIZATION.eq(self.organization_id()))
            .filter(Condition::all().add(condition.into_condition()))
            .exec(&self.tx)
            .await
            .map_err(fail)?;
        self.note_rows(done.rows_affected);
        Ok(done.rows_affected)
    }

    fn note_rows(&self, count: u64) {
        if count > 0 {
            self.note_written();
        }
    }

    /// Writes all columns of a row of this organization that is there.
    pub async fn update_whole<M: Row>(&self, row: M) -> Result<M> {
        self.update(self.whole(row)).await
    }

    /// Writes many rows of this organization, in as few statements as the databases allow: all columns but `kept`, which
    /// stay as they are, whatever the rows hold there. The rows must be there, locked in this transaction: one that is not
    /// would be inserted.
    pub async fn update_many<M: Row>(&self, rows: Vec<M>, kept: &[<M::Entity as EntityTrait>::Column]) -> Result<()> {
        let rows: Vec<_> = rows.into_iter().map(|row| self.whole(row)).collect();
        if !rows.is_empty() {
            self.note_written();
        }
        let keys: Vec<_> =
            <M::Entity as EntityTrait>::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
        let named: Vec<&str> = keys.iter().chain(kept).map(IdenStatic::as_str).collect();
        let others = <M::Entity as EntityTrait>::Column::iter().filter(|column| !named.contains(&column.as_str()));
        let present = OnConflict::columns(keys.clone()).update_columns(others).to_owned();
        for chunk in rows.chunks(MAX_ROWS) {
            #[allow(clippy::disallowed_methods, reason = "the one way; the organization is set above")]
            let update = M::Entity::insert_many(chunk.to_vec()).on_conflict(present.clone());
            update.exec_without_returning(&self.tx).await.map_err(fail)?;
        }
        Ok(())
    }

    /// Deletes all matching rows of this organization; says how many.
    pub async fn delete_where<E: Tenant>(&self, condition: impl IntoCondition) -> Result<u64> {
        #[allow(clippy::disallowed_methods, reason = "the one way; the organization is added below")]
        let done = E::delete_many()
            .filter(E::ORGANIZATION.eq(self.organization_id()))
            .filter(Condition::all().add(condition.into_condition()))
            .exec(&self.tx)
            .await
            .map_err(fail)?;
        self.note_rows(done.rows_affected);
        Ok(done.rows_affected)
    }

    /// Updates the organization itself.
    pub async fn update_organization(&self, mut row: organization::ActiveModel) -> Result<organization::Model> {
        self.note_written();
        row.id = sea_orm::ActiveValue::Unchanged(self.organization_id());
        #[allow(clippy::disallowed_methods, reason = "the one way; the id is set above")]
        row.update(&self.tx).await.map_err(fail)
    }

    /// The organization as it stands, locked until the transaction ends; rows that refer to it may still be inserted, as
    /// every event does.
    pub async fn lock_organization(&self) -> Result<organization::Model> {
        use sea_orm::{QuerySelect, sea_query::LockType};
        #[allow(clippy::disallowed_methods, reason = "this scope's own organization")]
        organization::Entity::find()
            .filter(organization::Column::Id.eq(self.organization_id()))
            .lock(LockType::NoKeyUpdate)
            .one(&self.tx)
            .await
            .map_err(fail)?
            .ok_or_else(|| Error::retry("the organization is gone"))
    }

    /// Makes those who move items about in this organization wait for each other until the end (PostgreSQL; SQLite has one
    /// writer anyway). Before any row is locked.
    pub async fn lock_tree(&self) -> Result<()> {
        if self.tx.get_database_backend() != DatabaseBackend::Postgres {
            return Ok(());
        }
        // Two organizations with one number merely wait for each other. The first number says what is locked.
        let number = (self.organization_id().uuid().as_u128() & 0xffff_ffff) as u32;
        let values = [TREE_LOCK.into(), number.cast_signed().into()];
        let sql = "SELECT pg_advisory_xact_lock($1, $2)";
        let lock = Statement::from_sql_and_values(DatabaseBackend::Postgres, sql, values);
        self.tx.query_one_raw(lock).await.map_err(fail)?;
        Ok(())
    }

    /// Updates a row that no organization owns, as part of this write (a person's address proven by an invitation).
    pub async fn update_global<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send + 'static,
        A::Entity: Global,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A> + Send + Sync,
    {
        self.note_written();
        #[allow(clippy::disallowed_methods, reason = "the way to tables without a tenant")]
        row.update(&self.tx).await.map_err(fail)
    }

    /// Adds an event to the organization's ledger; it gets its sequence at the commit.
    pub fn record(&mut self, event: NewEvent) {
        let id = self.scope.clock().new_id();
        self.events.record(self.organization_id(), id, event);
    }

    /// [`record`](Self::record) of what somebody else did, whose write this one makes together with others.
    pub fn record_by(&mut self, scope: &OrgScope, event: NewEvent) {
        let id = self.scope.clock().new_id();
        self.events.record_by(self.organization_id(), id, event, Some((scope.actor(), scope.origin().clone())));
    }

    /// The last event recorded, by the id that it will have.
    pub fn last_event(&self) -> Option<EventId> {
        self.events.last(self.organization_id())
    }

    /// Takes units of what the organization's plan limits, or gives them back (below 0). It happens with the events: at
    /// `reserve` or at the commit, which is QUOTA_EXCEEDED when there are not enough.
    pub fn count(&mut self, resource: QuotaResource, units: i64) {
        self.events.count(self.organization_id(), resource, units);
    }

    /// Lets the next group of writes begin once nothing but the commit is left of this one.
    pub fn hand_over(&mut self, handover: Handover) {
        self.handover = Some(handover);
    }

    /// Deliveries to webhooks that are there already are due: workers are woken at the commit.
    pub fn wake_workers(&mut self) {
        self.queues = true;
    }

    /// A job is due: workers are woken at the commit.
    pub(super) fn wake_job_workers(&mut self) {
        self.has_jobs = true;
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.tx
    }

    /// Asks that the organization's plan has a feature when the events are written; NOT_IN_PLAN otherwise. The guard has
    /// asked before, of the plan as it was when the request began.
    pub fn require_feature(&mut self, feature: Feature) {
        self.events.require(self.organization_id(), feature);
    }

    /// The organization's head, locked until the transaction ends: nobody takes a place or writes an event meanwhile. Lock
    /// everything else before.
    pub async fn lock_head(&self) -> Result<ledger_head::Model> {
        let head = self.find::<ledger_head::Entity>().for_update().one().await?;
        head.ok_or_else(|| Error::retry("the organization is gone"))
    }

    /// Puts the organization on a plan: what is shown, and the copy that is enforced. The head must be locked.
    pub async fn set_plan(&self, tier: PlanTier, row: organization::ActiveModel) -> Result<organization::Model> {
        use sea_orm::ActiveValue::Set;
        let head = ledger_head::ActiveModel { plan_tier: Set(tier), ..Default::default() };
        self.update(head).await?;
        self.update_organization(organization::ActiveModel { plan_tier: Set(tier), ..row }).await
    }

    /// Takes `numbers` item numbers and the sequences of the `events` this write will record, exactly. Holds the
    /// organization's head, which it gives with the first number, from here on: call it right before the inserts.
    pub async fn reserve(&mut self, numbers: i64, events: i64) -> Result<(i64, ledger_head::Model)> {
        let organization_id = self.organization_id();
        self.events.reserve(&self.tx, organization_id, numbers, events).await
    }

    /// Writes the events, then commits. INTERNAL for a write without one, which the ledger would never tell of: it is
    /// rolled back.
    pub async fn commit<T: Findable>(self, value: T) -> Result<Committed<T>> {
        if self.has_written.load(Ordering::Relaxed) && self.events.recorded() == 0 {
            return Err(Error::internal("a write without an event"));
        }
        self.finish(value).await
    }

    /// [`commit`](Self::commit) of a write that no event tells of, for a reason.
    pub async fn commit_unrecorded<T: Findable>(self, value: T, reason: &'static str) -> Result<Committed<T>> {
        tracing::trace!(reason, "a write without an event");
        self.finish(value).await
    }

    async fn finish<T: Findable>(self, value: T) -> Result<Committed<T>> {
        let Self { scope, tx, events, claim, queues, has_jobs, handover, has_written: _ } = self;
        let organization_id = scope.organization_id();
        let changes_rights = events.change_rights();
        let mut written = events.write(&tx, scope.clock(), scope.actor(), scope.origin()).await?;
        written.deliveries |= queues;
        written.jobs = has_jobs;
        let sequence = match written.sequences.get(&organization_id) {
            Some(sequence) => *sequence,
            None => head_sequence(&tx, organization_id).await?,
        };
        let cursor = Some(scope.cursor(sequence));
        let db = scope.db().clone();
        drop(handover);
        conclude(tx, claim, Again::of(&value)?, cursor, move || db.announce(&written, changes_rights)).await?;
        Ok(Committed { value, cursor })
    }

    /// Goes back to the write about the person that came in here; what was recorded is written by its commit.
    pub fn leave(self) -> AccountTx {
        let Self { scope, tx, events, claim, queues: _, has_jobs: _, handover: _, has_written: _ } = self;
        let changes_rights = AtomicBool::new(true);
        AccountTx { db: scope.db().clone(), origin: scope.origin().clone(), tx, events, changes_rights, claim }
    }

    /// Commits the end of the organization: there is no ledger any more to have a position in.
    pub(super) async fn commit_deletion(self) -> Result<()> {
        let id = self.organization_id().any();
        let db = self.scope.db().clone();
        let written = Written { jobs: self.has_jobs, ..Written::default() };
        conclude(self.tx, self.claim, Again { object: Some(id), outcomes: None }, None, move || {
            db.announce(&written, true);
        })
        .await
    }
}

/// What a repeat under an idempotency key is given again.
pub(super) struct Again {
    object: Option<AnyId>,
    outcomes: Option<Json>,
}

impl Again {
    pub(super) fn of(value: &impl Findable) -> Result<Self> {
        Ok(Self { object: value.any_id(), outcomes: value.outcomes()? })
    }
}

/// Commits, with the outcome under the request's idempotency key where it has one; then announces it.
pub(super) async fn conclude(
    tx: Transaction,
    claim: Option<Claim>,
    again: Again,
    cursor: Option<LedgerCursor>,
    announce: impl FnOnce() + Send + 'static,
) -> Result<()> {
    if let Some(claim) = &claim {
        let Again { object, outcomes } = again;
        claim.record(&tx, &Recorded { object, problems: None, outcomes, cursor }).await?;
    }
    tx.commit_then(move || {
        if let Some(claim) = claim {
            claim.settle();
        }
        announce();
    })
    .await
}

/// The newest sequence of an organization's ledger, as a transaction sees it.
pub(super) async fn head_sequence(tx: &Transaction, organization_id: OrganizationId) -> Result<i64> {
    let head = Scoped::<ledger_head::Entity, _>::new(tx, organization_id).one().await?;
    Ok(head.map_or(0, |head| head.sequence))
}

impl Db {
    /// After a commit: what was read of callers before is old if rights may have changed, and whoever follows the ledgers
    /// wakes, and so do the workers that send to webhooks.
    pub(super) fn announce(&self, written: &Written, changes_rights: bool) {
        if changes_rights {
            self.forget_identities();
            self.bus().rights_changed();
        }
        self.bus().committed(&written.sequences);
        if written.deliveries {
            self.bus().deliveries_made();
        }
        if written.jobs {
            self.bus().jobs_left();
        }
    }
}
