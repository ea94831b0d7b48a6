//! The ledger as it is read: where it ends, where it begins, and what lies between.

use sea_orm::prelude::*;

use super::{Db, OrgScope, Scoped, filter::among};
use crate::{
    entity::{event, ledger_head},
    error::{Code, Refusal, Result},
    id::OrganizationId,
    ledger::LedgerCursor,
};

impl OrgScope {
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
    /// another organization, beyond its end, or made up), CURSOR_EXPIRED for one from before what is kept.
    pub async fn ledger_position(&self, cursor: &str) -> Result<i64> {
        let invalid = || Refusal::new(Code::InvalidCursor, "The cursor is not one of this organization's ledger.");
        let cursor = LedgerCursor::decode(cursor)
            .filter(|cursor| cursor.organization_id == self.organization_id())
            .ok_or_else(invalid)?;
        let head = self.ledger_head().await?;
        if cursor.sequence > head {
            return Err(invalid().into());
        }
        self.refuse_expired(cursor.sequence, head).await?;
        Ok(cursor.sequence)
    }

    /// CURSOR_EXPIRED unless every event after `sequence` is kept. `head` is the newest of all, read before.
    pub async fn refuse_expired(&self, sequence: i64, head: i64) -> Result<()> {
        if sequence < head && sequence < self.ledger_floor(head).await? {
            let message = "Events after this cursor are no longer kept; start again with `sync` without a cursor.";
            return Err(Refusal::new(Code::CursorExpired, message).into());
        }
        Ok(())
    }
}

impl Db {
    /// Newest sequences of several ledgers, in one statement; organizations that are gone are left out.
    pub async fn ledger_heads(&self, ids: Vec<OrganizationId>) -> Result<Vec<(OrganizationId, i64)>> {
        use ledger_head::{Column, Entity};
        #[allow(clippy::disallowed_methods, reason = "the server's own look at all the ledgers that it follows")]
        let heads = Entity::find().filter(among(self, Column::OrganizationId, ids));
        let heads = heads.all(self.reader()).await.map_err(super::fail)?;
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
}
