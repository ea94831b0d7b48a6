//! The ledger's write side: what a transaction is about to add.

use std::collections::BTreeMap;

use sea_orm::{
    ActiveValue::Set,
    DatabaseTransaction, EntityTrait, ExprTrait as _, QueryFilter,
    prelude::{ColumnTrait, Expr},
};

use super::NewEvent;
use crate::{
    auth::actor::{ActorRef, Origin},
    clock::Clock,
    db::fail,
    entity::{event, ledger_head},
    error::{Error, Result},
    id::OrganizationId,
};

/// Events of one transaction, by organization, in the order they were recorded.
#[derive(Debug, Default)]
pub struct PendingEvents {
    by_organization: BTreeMap<OrganizationId, Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    events: Vec<NewEvent>,
    /// Sequences already taken for this transaction, `(first, count)`.
    reserved: Option<(i64, i64)>,
}

impl PendingEvents {
    pub fn record(&mut self, organization_id: OrganizationId, event: NewEvent) {
        self.by_organization.entry(organization_id).or_default().events.push(event);
    }

    /// Whether any of the events may change who may do what.
    pub fn change_rights(&self) -> bool {
        self.by_organization.values().flat_map(|batch| &batch.events).any(|event| event.r#type.changes_rights())
    }

    /// Takes `numbers` item numbers, and sequences for `events`, in one statement. Locks the organization's head until
    /// the transaction ends, so it belongs right before the inserts that need the numbers. Returns the first number.
    pub async fn reserve(
        &mut self,
        tx: &DatabaseTransaction,
        organization_id: OrganizationId,
        numbers: i64,
        events: i64,
    ) -> Result<i64> {
        let head = raise(tx, organization_id, numbers, events).await?;
        self.by_organization.entry(organization_id).or_default().reserved = Some((head.sequence - events + 1, events));
        Ok(head.next_number - numbers)
    }

    /// Writes all events, the heads in ascending order of organization, and returns each head's new sequence. Last
    /// thing before the commit: the lock on a head makes commit order the order of sequences.
    pub async fn write(
        self,
        tx: &DatabaseTransaction,
        clock: &Clock,
        actor: ActorRef,
        origin: &Origin,
    ) -> Result<BTreeMap<OrganizationId, i64>> {
        let mut sequences = BTreeMap::new();
        for (organization_id, batch) in self.by_organization {
            let wanted = i64::try_from(batch.events.len()).map_err(Error::internal)?;
            let first = match batch.reserved {
                Some((first, reserved)) if reserved == wanted => first,
                Some((_, reserved)) => {
                    return Err(Error::internal(format!("{reserved} sequences reserved for {wanted} events")));
                }
                None if wanted == 0 => continue,
                None => raise(tx, organization_id, 0, wanted).await?.sequence - wanted + 1,
            };
            // Read with the head locked, so that time follows the order of sequences.
            let now = clock.now();
            let rows: Vec<_> = (first..)
                .zip(batch.events)
                .map(|(sequence, event)| row(organization_id, sequence, event, clock, now, actor, origin))
                .collect::<Result<_>>()?;
            // SQLite refuses a statement with more than 32,766 values.
            for chunk in rows.chunks(1000) {
                #[allow(clippy::disallowed_methods, reason = "the one place that writes events")]
                event::Entity::insert_many(chunk.to_vec()).exec_without_returning(tx).await.map_err(fail)?;
            }
            sequences.insert(organization_id, first + wanted - 1);
        }
        Ok(sequences)
    }
}

/// Raises an organization's head and returns it as it then stands.
async fn raise(
    tx: &DatabaseTransaction,
    organization_id: OrganizationId,
    numbers: i64,
    events: i64,
) -> Result<ledger_head::Model> {
    use ledger_head::Column;
    #[allow(clippy::disallowed_methods, reason = "the one place that moves a ledger's head")]
    let heads = ledger_head::Entity::update_many()
        .col_expr(Column::Sequence, Expr::col(Column::Sequence).add(events))
        .col_expr(Column::NextNumber, Expr::col(Column::NextNumber).add(numbers))
        .filter(Column::OrganizationId.eq(organization_id))
        .exec_with_returning(tx)
        .await
        .map_err(fail)?;
    heads.into_iter().next().ok_or_else(|| Error::internal("the organization has no ledger head"))
}

fn row(
    organization_id: OrganizationId,
    sequence: i64,
    new: NewEvent,
    clock: &Clock,
    now: crate::clock::Instant,
    actor: ActorRef,
    origin: &Origin,
) -> Result<event::ActiveModel> {
    Ok(event::ActiveModel {
        organization_id: Set(organization_id),
        sequence: Set(sequence),
        id: Set(clock.new_id()),
        r#type: Set(new.r#type),
        occurred_at: Set(now),
        actor_kind: Set(actor.kind),
        actor_id: Set(actor.id),
        subject_kind: Set(new.subject.prefix().to_owned()),
        subject_id: Set(new.subject.uuid()),
        item_id: Set(new.item_id),
        team_id: Set(new.team_id),
        changes: Set(serde_json::to_value(new.changes).map_err(Error::internal)?),
        request_id: Set(origin.request_id.to_string()),
        ip: Set(origin.ip.map(|ip| ip.to_string())),
    })
}
