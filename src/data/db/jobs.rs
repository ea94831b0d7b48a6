//! The queue of durable jobs: rows that a change leaves in its own transaction, worked off in chunks.
//!
//! Whoever works on a job holds its lease, by the database's clock, with a fencing token that rises with each holder. Each
//! chunk is one transaction that first renews the lease under that token, so a holder that was too slow writes nothing. Of
//! one organization one job runs at a time, the oldest first: jobs about the same object follow each other, and one
//! organization can't keep all workers busy. Jobs of the server itself follow each other by their object.

use std::{collections::HashSet, time::Duration};

use sea_orm::{
    ActiveValue::Set,
    Condition, ExprTrait as _, QueryOrder as _, QuerySelect as _, Select,
    prelude::*,
    sea_query::{Alias, LockBehavior, LockType, Query},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{AccountTx, Db, OrgScope, Transaction, WriteTx, fail, filter::among_uuids};
use crate::{
    base::{
        clock::Instant,
        error::{Error, Result},
        id::OrganizationId,
    },
    data::{
        actor::Origin,
        entity::{
            ActorRef,
            job::{ActiveModel, Column, Entity, Model},
        },
    },
};

/// How long a job is leased, and each chunk renews it: many times what a chunk takes.
pub const LEASE: Duration = Duration::from_secs(30);

/// A job that this process holds.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: Uuid,
    pub organization_id: Option<OrganizationId>,
    pub kind: String,
    payload: serde_json::Value,
    actor: ActorRef,
    /// Failures in a row so far.
    pub attempts: i32,
    lease: i64,
}

impl Job {
    /// What the kind reads.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.payload.clone()).map_err(Error::internal)
    }

    pub fn actor(&self) -> ActorRef {
        self.actor
    }

    pub fn origin(&self) -> Origin {
        Origin::command(&format!("job-{}", self.id))
    }

    fn held(&self) -> Condition {
        Condition::all().add(Column::Id.eq(self.id)).add(Column::Lease.eq(self.lease))
    }
}

impl From<Model> for Job {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            organization_id: row.organization_id,
            kind: row.kind,
            payload: row.payload,
            actor: ActorRef { kind: row.actor_kind, id: row.actor_id },
            attempts: row.attempts,
            lease: row.lease,
        }
    }
}

impl Db {
    /// Takes the job that has waited longest, of those that are due, that nobody holds, and that are the oldest of their
    /// organization. When there is none, that is one statement, which writes nothing.
    pub async fn claim_job(&self) -> Result<Option<Job>> {
        let free = self.free_jobs().limit(1);
        if free.clone().one(self.reader()).await.map_err(fail)?.is_none() {
            return Ok(None);
        }
        let tx = self.begin().await?;
        // Two workers that look at the same time take different ones.
        let free = free.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let Some(free) = free.one(&tx).await.map_err(fail)? else { return Ok(None) };
        let taken = self.take(&tx, free.into()).await?;
        tx.commit().await?;
        Ok(Some(taken))
    }

    /// Takes a job of a kind about this object, if there is one that nobody holds; out of turn, for whoever waits for it.
    pub async fn claim_job_about(&self, kind: &str, subject_id: Uuid) -> Result<Option<Job>> {
        let tx = self.begin().await?;
        #[allow(clippy::disallowed_methods, reason = "what the operator does")]
        let free = Entity::find()
            .filter(Column::Kind.eq(kind))
            .filter(Column::SubjectId.eq(subject_id))
            .filter(Column::FailedAt.is_null())
            .filter(Expr::col((Entity, Column::LeasedUntil)).lt(self.database_time()))
            .limit(1)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let Some(free) = free.one(&tx).await.map_err(fail)? else { return Ok(None) };
        let taken = self.take(&tx, free.into()).await?;
        tx.commit().await?;
        Ok(Some(taken))
    }

    /// Makes this process the holder of a job that is locked.
    async fn take(&self, tx: &Transaction, mut job: Job) -> Result<Job> {
        let held = job.held();
        job.lease += 1;
        #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
        Entity::update_many()
            .col_expr(Column::Lease, Expr::value(job.lease))
            .col_expr(Column::LeasedUntil, self.leased_until())
            .filter(held)
            .exec(tx)
            .await
            .map_err(fail)?;
        Ok(job)
    }

    fn free_jobs(&self) -> Select<Entity> {
        let earlier = Alias::new("earlier");
        let of_earlier = |column: Column| Expr::col((earlier.clone(), column));
        let waits_for = Query::select()
            .expr(Expr::val(1))
            .from_as(Entity, earlier.clone())
            .cond_where(
                Condition::any()
                    .add(of_earlier(Column::OrganizationId).equals((Entity, Column::OrganizationId)))
                    // Of the server's own jobs, those about the same object.
                    .add(
                        of_earlier(Column::OrganizationId)
                            .is_null()
                            .and(Expr::col((Entity, Column::OrganizationId)).is_null())
                            .and(of_earlier(Column::SubjectId).equals((Entity, Column::SubjectId))),
                    ),
            )
            .and_where(of_earlier(Column::Id).lt(Expr::col((Entity, Column::Id))))
            .and_where(of_earlier(Column::FailedAt).is_null())
            .take();
        #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
        let jobs = Entity::find();
        jobs.filter(Column::FailedAt.is_null())
            .filter(Column::RunAt.lte(self.clock().now_by_database()))
            .filter(Expr::col((Entity, Column::LeasedUntil)).lt(self.database_time()))
            .filter(Expr::exists(waits_for).not())
            // Who was worked on last comes last.
            .order_by_asc(Column::LeasedUntil)
            .order_by_asc(Column::Id)
    }

    fn leased_until(&self) -> sea_orm::sea_query::SimpleExpr {
        self.database_time().add(i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX))
    }

    /// Gives a job back for the next in turn, unless somebody else holds it by now. It keeps the time of its release, which
    /// puts it behind those that wait longer.
    pub async fn release_job(&self, job: &Job) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
        Entity::update_many()
            .col_expr(Column::LeasedUntil, self.database_time().sub(1))
            .filter(job.held())
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(())
    }

    /// Notes that a chunk failed. `next`: when to try again; never, when it is given up.
    pub async fn fail_job(&self, job: &Job, error: &str, next: Option<Instant>) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
        Entity::update_many()
            .col_expr(Column::Attempts, Expr::value(job.attempts + 1))
            .col_expr(Column::LastError, Expr::value(error.chars().take(2000).collect::<String>()))
            .col_expr(Column::RunAt, Expr::value(self.clock().by_database(next.unwrap_or(self.clock().now()))))
            .col_expr(Column::FailedAt, Expr::value(next.is_none().then(|| self.clock().now())))
            .col_expr(Column::LeasedUntil, Expr::value(0))
            .filter(job.held())
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(())
    }

    /// Jobs that are not done, oldest first, `limit` at most; for the operator.
    pub async fn jobs(&self, limit: u64) -> Result<Vec<Model>> {
        #[allow(clippy::disallowed_methods, reason = "what the operator sees")]
        Entity::find().order_by_asc(Column::Id).limit(limit).all(self.reader()).await.map_err(fail)
    }

    /// Lets jobs that were given up (all, or one) be tried again; says how many.
    pub async fn retry_jobs(&self, id: Option<Uuid>) -> Result<u64> {
        let these = Condition::all().add(Column::FailedAt.is_not_null()).add_option(id.map(|id| Column::Id.eq(id)));
        #[allow(clippy::disallowed_methods, reason = "what the operator does")]
        let done = Entity::update_many()
            .col_expr(Column::FailedAt, Expr::value(None::<Instant>))
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::RunAt, Expr::value(self.clock().now_by_database()))
            .filter(these)
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(done.rows_affected)
    }

    /// Renews the lease within a chunk's transaction; false when somebody else holds the job, or it is gone.
    async fn fence(&self, tx: &Transaction, job: &Job) -> Result<bool> {
        #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
        let done = Entity::update_many()
            .col_expr(Column::LeasedUntil, self.leased_until())
            .col_expr(Column::Attempts, Expr::value(0))
            .filter(job.held())
            .exec(tx)
            .await
            .map_err(fail)?;
        Ok(done.rows_affected == 1)
    }

    /// Leaves a job, as part of a write.
    async fn insert_job(&self, tx: &Transaction, row: NewJob<impl Serialize>) -> Result<()> {
        let now = self.clock().now();
        let row = ActiveModel {
            id: Set(self.clock().new_uuid()),
            organization_id: Set(row.organization_id),
            kind: Set(row.kind.to_owned()),
            payload: Set(serde_json::to_value(row.payload).map_err(Error::internal)?),
            subject_id: Set(row.subject_id),
            actor_kind: Set(row.actor.kind),
            actor_id: Set(row.actor.id),
            created_at: Set(now),
            run_at: Set(self.clock().by_database(now)),
            attempts: Set(0),
            last_error: Set(None),
            failed_at: Set(None),
            lease: Set(0),
            leased_until: Set(0),
        };
        #[allow(clippy::disallowed_methods, reason = "the one place that queues jobs")]
        Entity::insert(row).exec_without_returning(tx).await.map_err(fail)?;
        Ok(())
    }
}

struct NewJob<P> {
    organization_id: Option<OrganizationId>,
    kind: &'static str,
    payload: P,
    subject_id: Option<Uuid>,
    actor: ActorRef,
}

/// Deletes what waits to be done in an organization that ends.
pub(super) async fn cancel(tx: &Transaction, organization_id: OrganizationId) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "the organization is named")]
    Entity::delete_many().filter(Column::OrganizationId.eq(organization_id)).exec(tx).await.map_err(fail)?;
    Ok(())
}

async fn delete_job(tx: &Transaction, job: &Job) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
    Entity::delete_many().filter(job.held()).exec(tx).await.map_err(fail)?;
    Ok(())
}

impl WriteTx {
    /// Leaves a job about `subject_id` in this organization: it is there with this write's commit, or not at all.
    pub async fn enqueue(&mut self, kind: &'static str, subject_id: Uuid, payload: impl Serialize) -> Result<()> {
        let (organization_id, actor) = (Some(self.organization_id()), self.scope().actor());
        let row = NewJob { organization_id, kind, payload, subject_id: Some(subject_id), actor };
        self.scope().db().insert_job(self.transaction(), row).await?;
        self.wake_job_workers();
        Ok(())
    }

    /// [`WriteTx::enqueue`], but work on the whole server, that outlives the organization.
    pub async fn enqueue_global(
        &mut self,
        kind: &'static str,
        subject_id: Uuid,
        payload: impl Serialize,
    ) -> Result<()> {
        let actor = self.scope().actor();
        let row = NewJob { organization_id: None, kind, payload, subject_id: Some(subject_id), actor };
        self.scope().db().insert_job(self.transaction(), row).await?;
        self.wake_job_workers();
        Ok(())
    }

    /// Whether a job about this object is waiting or running.
    pub async fn has_job(&self, subject_id: Uuid) -> Result<bool> {
        let these = Condition::all()
            .add(Column::OrganizationId.eq(self.organization_id()))
            .add(Column::SubjectId.eq(subject_id))
            .add(Column::FailedAt.is_null());
        #[allow(clippy::disallowed_methods, reason = "the organization is named")]
        let found = Entity::find().filter(these).limit(1).one(self.transaction()).await.map_err(fail)?;
        Ok(found.is_some())
    }

    /// Which of these objects a job is waiting or running about.
    pub async fn have_jobs(&self, subjects: Vec<Uuid>) -> Result<HashSet<Uuid>> {
        let these = Condition::all()
            .add(Column::OrganizationId.eq(self.organization_id()))
            .add(among_uuids(self.scope().db(), Expr::col(Column::SubjectId), subjects))
            .add(Column::FailedAt.is_null());
        #[allow(clippy::disallowed_methods, reason = "the organization is named")]
        let found = Entity::find().filter(these).select_only().column(Column::SubjectId);
        let found: Vec<Option<Uuid>> = found.into_tuple().all(self.transaction()).await.map_err(fail)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// A job's next chunk in its organization, by whoever asked for the job, with all rights: that they may was checked
    /// then. `None` when the job is somebody else's by now, or gone with its organization.
    pub async fn of_job(db: &Db, job: &Job) -> Result<Option<Self>> {
        let Some(organization_id) = job.organization_id else { return Ok(None) };
        let Some(scope) = OrgScope::of_job(db, organization_id, job.actor, job.origin()).await? else {
            return Ok(None);
        };
        let tx = Self::begin(scope).await?;
        Ok(db.fence(tx.transaction(), job).await?.then_some(tx))
    }

    /// Commits a chunk; with the last one the job is done.
    pub async fn commit_chunk(self, job: &Job, is_last: bool) -> Result<()> {
        if is_last {
            delete_job(self.transaction(), job).await?;
        }
        self.commit(()).await.map(drop)
    }

    /// [`WriteTx::commit_chunk`] of one that no event tells of, for a reason.
    pub async fn commit_chunk_unrecorded(self, job: &Job, is_last: bool, reason: &'static str) -> Result<()> {
        if is_last {
            delete_job(self.transaction(), job).await?;
        }
        self.commit_unrecorded((), reason).await.map(drop)
    }
}

impl AccountTx {
    /// Leaves a job about a person.
    pub async fn enqueue(
        &mut self,
        kind: &'static str,
        subject_id: Uuid,
        actor: ActorRef,
        payload: impl Serialize,
    ) -> Result<()> {
        let row = NewJob { organization_id: None, kind, payload, subject_id: Some(subject_id), actor };
        self.db().insert_job(self.transaction(), row).await
    }

    /// Whether a job of this kind about a person is waiting or running.
    pub async fn has_job(&self, kind: &str, subject_id: Uuid) -> Result<bool> {
        let these = Condition::all()
            .add(Column::Kind.eq(kind))
            .add(Column::SubjectId.eq(subject_id))
            .add(Column::FailedAt.is_null());
        #[allow(clippy::disallowed_methods, reason = "the server's own jobs")]
        let found = Entity::find().filter(these).limit(1).one(self.transaction()).await.map_err(fail)?;
        Ok(found.is_some())
    }

    /// A job's next chunk on the whole server, with what the last chunk left for it to read; `None` when the job is
    /// somebody else's by now.
    pub async fn of_job(db: &Db, job: &Job) -> Result<Option<(Self, Job)>> {
        let tx = Self::begin(db, &job.origin()).await?;
        if !db.fence(tx.transaction(), job).await? {
            return Ok(None);
        }
        #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
        let row = Entity::find().filter(job.held()).one(tx.transaction()).await.map_err(fail)?;
        Ok(row.map(|row| (tx, row.into())))
    }

    /// Commits a chunk; with the last one the job is done.
    pub async fn commit_chunk(self, job: &Job, rest: Rest) -> Result<()> {
        match rest {
            Rest::Nothing => delete_job(self.transaction(), job).await?,
            Rest::Same => {}
            Rest::Now(payload) => {
                #[allow(clippy::disallowed_methods, reason = "workers work for all organizations")]
                let update = Entity::update_many().col_expr(Column::Payload, Expr::value(payload)).filter(job.held());
                update.exec(self.transaction()).await.map_err(fail)?;
            }
        }
        self.commit(job.actor, ()).await.map(drop)
    }
}

/// What a chunk leaves of a job.
#[derive(Debug)]
pub enum Rest {
    Nothing,
    /// The next chunk reads the same.
    Same,
    /// The next chunk reads this: how far the job has come is written with what it did.
    Now(serde_json::Value),
}

impl Rest {
    pub const fn unless(is_last: bool) -> Self {
        if is_last { Self::Nothing } else { Self::Same }
    }

    /// What the next chunk reads; `None` after the last.
    pub fn of(next: Option<impl Serialize>) -> Result<Self> {
        match next {
            Some(next) => serde_json::to_value(next).map(Self::Now).map_err(Error::internal),
            None => Ok(Self::Nothing),
        }
    }
}
