//! Idempotency keys: a mutation that is sent again answers with what it did the first time.
//!
//! The key of a root field is (organization or none, actor, the client's key, response path). It is claimed by an insert
//! at the beginning of the field's own write, and its outcome is written with that write's commit: both are there or
//! neither, so a crash between commit and answer can't run it twice. A concurrent repeat waits for its turn, without a
//! connection; if the first is with another instance, it looks again and again whether the primary key is free.
//!
//! A refused write rolls back with its claim; claim and problems are then committed together. Two repeats that run at once
//! may both be refused, but at most one of all tries ever takes effect, and all answer with the one outcome on record.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, DatabaseBackend, EntityTrait, ExprTrait as _, QueryFilter,
    prelude::{ColumnTrait, Expr, Uuid},
    sea_query::OnConflict,
};
use serde_json::Value as Json;

use super::{Db, Transaction, fail, keyed_locks::KeyedLock, sql_state};
use crate::{
    base::{
        error::{Code, Error, Problem, Refusal, Result},
        id::{AnyId, OrganizationId},
    },
    data::{
        entity::{
            ActorRef,
            idempotency::{ActiveModel, Column, Entity, Model},
        },
        ledger::LedgerCursor,
    },
};

/// How long a key is remembered.
pub const HOURS: i64 = 24;

/// How long a repeat waits for the first.
pub const WAIT: Duration = Duration::from_secs(5);

/// Repeats of one request that wait in one instance at once.
const WAITING: usize = 100;

/// How long a statement waits for the claim of another instance, and how soon it is looked at again. Only the statement
/// holds a connection.
const LOCK_WAIT: Duration = Duration::from_millis(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Characters of a key at most.
pub const MAX_KEY: usize = 255;

/// The idempotency key of one request, and the root field that runs.
#[derive(Debug)]
pub struct Idempotency {
    key: String,
    fingerprint: Vec<u8>,
    /// Known once the caller is.
    owner: OnceLock<(Option<OrganizationId>, ActorRef)>,
    /// The running root field, until its write has committed.
    field: Mutex<Option<Field>>,
}

#[derive(Clone, Debug)]
struct Field {
    /// Its name or alias in the answer.
    path: Arc<str>,
    /// Whether it acts within the request's organization, rather than for the caller alone.
    in_organization: bool,
}

/// What a root field did under this key.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub object: Option<AnyId>,
    pub problems: Option<Vec<Problem>>,
    /// What became of each item of a bulk mutation.
    pub outcomes: Option<Json>,
    pub cursor: Option<LedgerCursor>,
}

impl Idempotency {
    /// A key of 1 to [`MAX_KEY`] visible ASCII characters, and the fingerprint of the request it came with.
    pub fn new(key: &str, fingerprint: Vec<u8>) -> Result<Self> {
        if !(1..=MAX_KEY).contains(&key.len())
            || !key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
            || key.trim().is_empty()
        {
            let message = format!("An idempotency key has 1 to {MAX_KEY} visible ASCII characters.");
            return Err(Refusal::bad_request(message).into());
        }
        Ok(Self { key: key.to_owned(), fingerprint, owner: OnceLock::new(), field: Mutex::default() })
    }

    /// Whose key it is.
    pub fn belongs_to(&self, organization_id: Option<OrganizationId>, actor: ActorRef) {
        let _ = self.owner.set((organization_id, actor));
    }

    /// The root field that runs from now on has no replay.
    pub fn leave(&self) {
        *self.field.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The root field that runs from now on. One that acts for the caller alone (founding an organization, joining one)
    /// has the same key whatever organization the request is in: doing it changes that.
    pub fn enter(&self, path: &str, in_organization: bool) {
        let field = Field { path: path.into(), in_organization };
        *self.field.lock().unwrap_or_else(PoisonError::into_inner) = Some(field);
    }

    /// The row's key, unless nothing is to be claimed (any more).
    fn place(&self) -> Option<Place> {
        let (organization_id, actor) = *self.owner.get()?;
        let Field { path, in_organization } = self.field.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let organization_id = organization_id.filter(|_| in_organization);
        let organization_id = organization_id.unwrap_or(OrganizationId::from_uuid(Uuid::nil()));
        Some(Place { organization_id, actor, key: self.key.clone(), path })
    }
}

/// The primary key of one outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    organization_id: OrganizationId,
    actor: ActorRef,
    key: String,
    path: Arc<str>,
}

impl Place {
    fn condition(&self) -> sea_orm::Condition {
        sea_orm::Condition::all()
            .add(Column::OrganizationId.eq(self.organization_id))
            .add(Column::ActorKind.eq(self.actor.kind))
            .add(Column::ActorId.eq(self.actor.id))
            .add(Column::Key.eq(self.key.as_str()))
            .add(Column::Path.eq(&*self.path))
    }
}

/// A claim held by an open transaction.
#[derive(Debug)]
pub(super) struct Claim {
    idempotency: Arc<Idempotency>,
    place: Place,
    /// Others of this instance wait for it.
    _turn: KeyedLock<Place>,
}

impl Claim {
    /// Begins a transaction that has taken the running root field's place; [`Error::Repeated`] when an outcome is on record
    /// there. While another request has it, this one waits without a connection.
    pub(super) async fn begin(db: &Db, idempotency: Option<&Arc<Idempotency>>) -> Result<(Transaction, Option<Self>)> {
        let Some((idempotency, place)) = idempotency.and_then(|claimed| Some((claimed.clone(), claimed.place()?)))
        else {
            return Ok((db.begin().await?, None));
        };
        let begun = Instant::now();
        let turn = db.claims().take(&place, WAITING, WAIT).await.ok_or_else(in_progress)?;
        while begun.elapsed() < WAIT {
            let tx = db.begin().await?;
            if Box::pin(take(db, &tx, &idempotency.fingerprint, &place)).await? {
                return Ok((tx, Some(Self { idempotency, place, _turn: turn })));
            }
            // Another instance has it.
            drop(tx);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Err(in_progress())
    }

    /// The organization of the request; nil for none.
    pub(super) const fn organization_id(&self) -> OrganizationId {
        self.place.organization_id
    }

    /// Writes the outcome, as part of the write itself.
    pub(super) async fn record(&self, tx: &Transaction, outcome: &Recorded) -> Result<()> {
        let problems = outcome.problems.as_ref().map(serde_json::to_value).transpose().map_err(Error::internal)?;
        let cursor = outcome.cursor;
        #[allow(clippy::disallowed_methods, reason = "the one place that keeps outcomes")]
        Entity::update_many()
            .col_expr(Column::ObjectId, Expr::value(outcome.object.map(|id| id.to_string())))
            .col_expr(Column::Problems, Expr::value(problems))
            .col_expr(Column::Outcomes, Expr::value(outcome.outcomes.clone()))
            .col_expr(Column::CursorOrganizationId, Expr::value(cursor.map(|cursor| cursor.organization_id.uuid())))
            .col_expr(Column::CursorSequence, Expr::value(cursor.map(|cursor| cursor.sequence)))
            .filter(self.place.condition())
            .exec(tx)
            .await
            .map_err(fail)?;
        Ok(())
    }

    /// After the commit: whatever else the field writes is no second claim.
    pub(super) fn settle(self) {
        self.idempotency.leave();
    }
}

/// Takes a place in a transaction; false when another one has it that is still open.
async fn take(db: &Db, tx: &Transaction, fingerprint: &[u8], place: &Place) -> Result<bool> {
    let now = db.clock().now();
    let Place { organization_id, actor, key, path } = place.clone();
    let row = ActiveModel {
        organization_id: Set(organization_id),
        actor_kind: Set(actor.kind),
        actor_id: Set(actor.id),
        key: Set(key),
        path: Set(path.to_string()),
        fingerprint: Set(fingerprint.to_vec()),
        object_id: Set(None),
        problems: Set(None),
        outcomes: Set(None),
        cursor_organization_id: Set(None),
        cursor_sequence: Set(None),
        created_at: Set(now),
        expires_at: Set(now + chrono::Duration::hours(HOURS)),
    };
    // One that has expired, and waits to be purged, gives way.
    let over_expired =
        OnConflict::columns([Column::OrganizationId, Column::ActorKind, Column::ActorId, Column::Key, Column::Path])
            .update_columns([
                Column::Fingerprint,
                Column::ObjectId,
                Column::Problems,
                Column::Outcomes,
                Column::CursorOrganizationId,
                Column::CursorSequence,
                Column::CreatedAt,
                Column::ExpiresAt,
            ])
            .action_and_where(Expr::col((Entity, Column::ExpiresAt)).lte(now))
            .to_owned();
    // On SQLite the wait is for the one writer, when the transaction begins.
    let on_postgres = db.backend() == DatabaseBackend::Postgres;
    if on_postgres {
        let limit = format!("SET LOCAL lock_timeout = {}", LOCK_WAIT.as_millis());
        tx.execute_unprepared(&limit).await.map_err(fail)?;
    }
    #[allow(clippy::disallowed_methods, reason = "the one place that claims keys")]
    let inserted = Entity::insert(row).on_conflict(over_expired).exec_without_returning(tx).await;
    match inserted {
        Ok(0) => return Err(Error::Repeated),
        Ok(_) => {}
        Err(error) if sql_state(&error).as_deref() == Some(LOCK_NOT_AVAILABLE) => return Ok(false),
        Err(error) => return Err(fail(error)),
    }
    if on_postgres {
        tx.execute_unprepared("SET LOCAL lock_timeout = 0").await.map_err(fail)?;
    }
    Ok(true)
}

/// PostgreSQL's code for a lock that was not had in time; only the claim sets a limit.
const LOCK_NOT_AVAILABLE: &str = "55P03";

fn in_progress() -> Error {
    Refusal::new(Code::IdempotencyInProgress, "The first request with this idempotency key is still running.")
        .details(serde_json::json!({ "retryAfterSeconds": 1 }))
        .into()
}

impl Db {
    /// What the running root field did under its key, if it did; IDEMPOTENCY_KEY_REUSED when that was another request.
    pub async fn recorded(&self, idempotency: &Idempotency) -> Result<Option<Recorded>> {
        let Some(place) = idempotency.place() else { return Ok(None) };
        let live = Column::ExpiresAt.gt(self.clock().now());
        let Some(row) = self.find_global::<Entity>(place.condition().add(live)).await?.pop() else { return Ok(None) };
        if row.fingerprint != idempotency.fingerprint {
            let message = "This idempotency key came with another document or other variables before; use a new one.";
            return Err(Refusal::new(Code::IdempotencyKeyReused, message).into());
        }
        let Model { object_id, problems, outcomes, cursor_organization_id, cursor_sequence, .. } = row;
        let problems = problems.map(serde_json::from_value).transpose().map_err(Error::internal)?;
        Ok(Some(Recorded {
            object: object_id.and_then(|id| id.parse().ok()),
            problems,
            outcomes,
            cursor: cursor_organization_id
                .zip(cursor_sequence)
                .map(|(organization_id, sequence)| self.cursor(organization_id, sequence)),
        }))
    }

    /// Keeps the problems of a write that was refused; [`Error::Repeated`] when a repeat was faster.
    pub async fn record_refusal(
        &self,
        idempotency: &Arc<Idempotency>,
        problems: &[Problem],
        object: Option<AnyId>,
        outcomes: Option<Json>,
    ) -> Result<()> {
        let (tx, claim) = Box::pin(Claim::begin(self, Some(idempotency))).await?;
        let Some(claim) = claim else { return Ok(()) };
        let outcome = Recorded { object, problems: Some(problems.to_vec()), outcomes, cursor: None };
        claim.record(&tx, &outcome).await?;
        tx.commit().await?;
        claim.settle();
        Ok(())
    }
}
