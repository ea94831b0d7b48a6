//! The ledger as it is read: where it ends, where it begins, and what lies between; and how its old end goes.

use sea_orm::{
    ActiveValue::{Set, Unchanged},
    ExprTrait as _, Order, QuerySelect,
    prelude::*,
    sea_query::{Alias, Query, SimpleExpr},
};

use super::{Db, OrgScope, Scoped, fail, filter::among};
use crate::{
    base::{
        clock::Instant,
        enums::PlanTier,
        error::{Code, Error, Refusal, Result},
        id::{AnyId, OrganizationId},
    },
    data::{
        entity::{event, ledger_epoch, ledger_head, profile_revision},
        ledger::LedgerCursor,
    },
};

/// How far an organization's ledger has got, and how often profiles have changed: while neither moves, what was read by
/// them alone still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadVersion {
    epoch: u32,
    sequence: i64,
    profiles: i64,
}

impl ReadVersion {
    /// Whether everything of another is in this one.
    pub(super) fn covers(self, other: Self) -> bool {
        self.sequence >= other.sequence && self.profiles >= other.profiles
    }
}

impl OrgScope {
    /// The version of what is read from now on, in one statement: read it first.
    pub async fn read_version(&self) -> Result<ReadVersion> {
        let profiles = Query::select().column(profile_revision::Column::Revision).from(profile_revision::Entity).take();
        let heads = self.find::<ledger_head::Entity>();
        let both: Option<(i64, i64)> = heads
            .columns_with(ledger_head::Column::Sequence, SimpleExpr::SubQuery(None, Box::new(profiles.into())))
            .await?;
        let (sequence, profiles) = both.unwrap_or_default();
        Ok(ReadVersion { epoch: self.db().epoch(), sequence, profiles })
    }

    /// A position of this ledger.
    pub fn cursor(&self, sequence: i64) -> LedgerCursor {
        self.db().cursor(self.organization_id(), sequence)
    }

    /// The newest event's sequence; 0 before the first.
    pub async fn ledger_head(&self) -> Result<i64> {
        let heads = self.find::<ledger_head::Entity>().column(ledger_head::Column::Sequence).await?;
        Ok(heads.first().copied().unwrap_or_default())
    }

    /// The newest sequence that is no longer kept; 0 while all are. `head` is the newest of all, read before.
    pub async fn ledger_floor(&self, head: i64) -> Result<i64> {
        let oldest = self.find::<event::Entity>().order_by_asc(event::Column::Sequence).limit(1);
        let oldest: Vec<i64> = oldest.column(event::Column::Sequence).await?;
        Ok(oldest.first().map_or(head, |sequence| sequence - 1))
    }

    /// The sequence that a client's ledger cursor stands at. INVALID_CURSOR for one that this ledger never gave out (of
    /// another organization, of before a restore, beyond its end, or made up), CURSOR_EXPIRED for one from before what is kept.
    pub async fn ledger_position(&self, cursor: &str) -> Result<i64> {
        let head = self.ledger_head().await?;
        let sequence = self.decode_position(cursor, head)?;
        self.refuse_expired(sequence, head).await?;
        Ok(sequence)
    }

    /// [`OrgScope::ledger_position`] by a head read before, without a look at what is still kept.
    pub fn decode_position(&self, cursor: &str, head: i64) -> Result<i64> {
        let cursor = LedgerCursor::decode(cursor).ok_or_else(invalid_cursor)?;
        self.check_position(cursor, head)?;
        Ok(cursor.sequence)
    }

    /// INVALID_CURSOR for a position of another organization, of before a restore, or beyond the end. `head` is the newest,
    /// read before.
    pub fn check_position(&self, cursor: LedgerCursor, head: i64) -> Result<()> {
        let is_own = cursor.organization_id == self.organization_id() && cursor.epoch == self.db().epoch();
        if is_own && cursor.sequence <= head {
            return Ok(());
        }
        Err(invalid_cursor().into())
    }

    /// CURSOR_EXPIRED unless every event after `sequence` is kept. `head` is the newest of all, read before.
    pub async fn refuse_expired(&self, sequence: i64, head: i64) -> Result<()> {
        if sequence < head && sequence < self.ledger_floor(head).await? {
            let message = "Events after this cursor are no longer kept; start again with `sync` without a cursor.";
            return Err(Refusal::new(Code::CursorExpired, message).into());
        }
        Ok(())
    }

    /// Subjects of these kinds with events after `sequence`, each with the sequence of its latest, in that order.
    pub async fn latest_events(
        &self,
        sequence: i64,
        kinds: impl IntoIterator<Item = &'static str>,
        limit: usize,
    ) -> Result<Vec<(i64, AnyId)>> {
        use event::Column;
        let later = Alias::new("later");
        let same = |column: Column| Expr::col((later.clone(), column)).equals((event::Entity, column));
        let later_ones = Query::select()
            .expr(Expr::val(1))
            .from_as(event::Entity, later.clone())
            .and_where(same(Column::OrganizationId))
            .and_where(same(Column::SubjectId))
            // Ids are made by clients, too: a tag may have an item's.
            .and_where(same(Column::SubjectKind))
            .and_where(Expr::col((later.clone(), Column::Sequence)).gt(Expr::col((event::Entity, Column::Sequence))))
            .take();
        let (connection, _, select) = self
            .find::<event::Entity>()
            .filter(Column::Sequence.gt(sequence))
            .filter(Column::SubjectKind.is_in(kinds))
            .filter(Expr::exists(later_ones).not())
            .order_by_asc(Column::Sequence)
            .limit(limit as u64)
            .into_parts();
        let rows: Vec<(i64, String, Uuid)> = select
            .select_only()
            .columns([Column::Sequence, Column::SubjectKind, Column::SubjectId])
            .into_tuple()
            .all(connection)
            .await
            .map_err(fail)?;
        let subject = |(sequence, kind, id): (i64, String, Uuid)| Some((sequence, AnyId::new(&kind, id)?));
        Ok(rows.into_iter().filter_map(subject).collect())
    }
}

fn invalid_cursor() -> Refusal {
    Refusal::new(Code::InvalidCursor, "The cursor is not one of this organization's ledger.")
}

impl Db {
    /// A position of an organization's ledger, as this life of the database has it.
    pub fn cursor(&self, organization_id: OrganizationId, sequence: i64) -> LedgerCursor {
        LedgerCursor { organization_id, epoch: self.epoch(), sequence }
    }

    /// Reads the database's epoch, once, before any cursor is read or given out.
    pub async fn read_epoch(&self) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "one row, of no tenant")]
        let row = ledger_epoch::Entity::find().one(self.reader()).await.map_err(fail)?;
        let epoch = row.map_or(0, |row| row.epoch);
        self.remember_epoch(u32::try_from(epoch).map_err(Error::internal)?);
        Ok(())
    }

    /// Begins another life of a database that was put back to an earlier state: ledger cursors given out so far are refused
    /// from now on, by servers that start after this. The new epoch is drawn by lot, as nobody knows which ones the database
    /// had after the state that it was put back to; once in eight million it is one of those.
    pub async fn begin_epoch(&self) -> Result<()> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        let drawn = u32::from_be_bytes(bytes) & LedgerCursor::MAX_EPOCH;
        let is_new = drawn > 0 && drawn != self.epoch();
        let epoch = if is_new { drawn } else { self.epoch() % LedgerCursor::MAX_EPOCH + 1 };
        let tx = self.begin().await?;
        let row = ledger_epoch::ActiveModel { id: Unchanged(1), epoch: Set(epoch.into()) };
        #[allow(clippy::disallowed_methods, reason = "one row, of no tenant")]
        ledger_epoch::Entity::update(row).exec(&tx).await.map_err(fail)?;
        tx.commit().await?;
        self.remember_epoch(epoch);
        Ok(())
    }

    /// Newest sequences of several ledgers, in one statement; organizations that are gone are left out.
    pub async fn ledger_heads(&self, ids: Vec<OrganizationId>) -> Result<Vec<(OrganizationId, i64)>> {
        use ledger_head::{Column, Entity};
        #[allow(clippy::disallowed_methods, reason = "the server's own look at all the ledgers that it follows")]
        let heads = Entity::find().filter(among(self, Column::OrganizationId, ids));
        let heads = heads.all(self.reader()).await.map_err(fail)?;
        Ok(heads.into_iter().map(|head| (head.organization_id, head.sequence)).collect())
    }

    /// The first `limit` events after a sequence, oldest first. The commit order is the order of sequences, so whoever
    /// sees one event sees all before it, and there are no gaps but those that a purge left.
    pub async fn events_after(
        &self,
        organization_id: OrganizationId,
        sequence: i64,
        limit: u64,
    ) -> Result<Vec<event::Model>> {
        Scoped::<event::Entity, _>::new(self.reader(), organization_id)
            .filter(event::Column::Sequence.gt(sequence))
            .order_by_asc(event::Column::Sequence)
            .limit(limit)
            .all()
            .await
    }

    /// Organizations on a plan whose oldest event is from before `before`.
    pub async fn ledgers_older_than(&self, tier: PlanTier, before: Instant) -> Result<Vec<OrganizationId>> {
        use ledger_head::Column;
        // A look into the primary key for each organization, instead of an index that every write would have to keep.
        let oldest = Query::select()
            .column(event::Column::OccurredAt)
            .from(event::Entity)
            .and_where(
                Expr::col((event::Entity, event::Column::OrganizationId))
                    .equals((ledger_head::Entity, Column::OrganizationId)),
            )
            .order_by(event::Column::Sequence, Order::Asc)
            .limit(1)
            .take();
        #[allow(clippy::disallowed_methods, reason = "the server's own look at all the ledgers that it keeps")]
        let heads = ledger_head::Entity::find()
            .filter(Column::PlanTier.eq(tier))
            .filter(Expr::SubQuery(None, Box::new(oldest.into())).lt(before));
        heads.select_only().column(Column::OrganizationId).into_tuple().all(self.reader()).await.map_err(fail)
    }

    /// The first `limit` events that an organization's ledger still has: their sequences and times.
    pub async fn oldest_events(&self, organization_id: OrganizationId, limit: u64) -> Result<Vec<(i64, Instant)>> {
        Scoped::<event::Entity, _>::new(self.reader(), organization_id)
            .order_by_asc(event::Column::Sequence)
            .limit(limit)
            .columns(event::Column::Sequence, event::Column::OccurredAt)
            .await
    }

    /// Deletes an organization's events up to a sequence. Never others: what is kept has no gaps.
    pub async fn delete_events(&self, organization_id: OrganizationId, sequence: i64) -> Result<()> {
        #[allow(clippy::disallowed_methods, reason = "retention; the organization is named")]
        event::Entity::delete_many()
            .filter(event::Column::OrganizationId.eq(organization_id))
            .filter(event::Column::Sequence.lte(sequence))
            .exec(self.writer())
            .await
            .map_err(fail)?;
        Ok(())
    }
}
