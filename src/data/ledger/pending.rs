//! The ledger's write side: what a transaction is about to add, and the units of a plan that it takes.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{
    ActiveModelTrait as _, EntityTrait, ExprTrait as _, IntoActiveModel as _, QueryFilter,
    prelude::{ColumnTrait, Expr},
};

use super::{NewEvent, deliveries};
use crate::{
    base::{
        clock::Clock,
        enums::{Feature, QuotaResource},
        error::{Error, Result},
        id::{EventId, OrganizationId},
        plan::{self, Plan},
    },
    data::{
        actor::Origin,
        db::{Transaction, fail},
        entity::{ActorRef, event, ledger_head},
    },
};

/// Events of one transaction, by organization, in the order they were recorded.
#[derive(Debug, Default)]
pub struct PendingEvents {
    by_organization: BTreeMap<OrganizationId, Batch>,
}

#[derive(Debug, Default)]
struct Batch {
    events: Vec<(EventId, NewEvent, Author)>,
    /// What the head doesn't know yet.
    wants: Wants,
    /// Sequences already taken for this transaction, `(first, count)`, and the head as it then stood.
    reserved: Option<(i64, i64, ledger_head::Model)>,
}

/// Who did it, and from where, if that is not who writes.
type Author = Option<(ActorRef, Origin)>;

/// What a write takes of its organization's plan.
#[derive(Debug, Default)]
struct Wants {
    /// Units taken, or given back.
    units: BTreeMap<QuotaResource, i64>,
    features: BTreeSet<Feature>,
}

impl Wants {
    fn is_empty(&self) -> bool {
        self.units.is_empty() && self.features.is_empty()
    }
}

impl PendingEvents {
    /// How many events there are so far.
    pub fn recorded(&self) -> usize {
        self.by_organization.values().map(|batch| batch.events.len()).sum()
    }

    /// Takes (or gives back) units of what the plan limits. They are taken under the head's lock, with the numbers and
    /// sequences, so that two writes can't both have the last one.
    pub fn count(&mut self, organization_id: OrganizationId, resource: QuotaResource, units: i64) {
        let batch = self.by_organization.entry(organization_id).or_default();
        *batch.wants.units.entry(resource).or_default() += units;
    }

    /// Asks that the plan still has a feature once the head is locked: it may have changed since the request began.
    pub fn require(&mut self, organization_id: OrganizationId, feature: Feature) {
        self.by_organization.entry(organization_id).or_default().wants.features.insert(feature);
    }

    /// `id` is what the event will have.
    pub fn record(&mut self, organization_id: OrganizationId, id: EventId, event: NewEvent) {
        self.record_by(organization_id, id, event, None);
    }

    /// [`record`](Self::record), as done by `author`.
    pub fn record_by(&mut self, organization_id: OrganizationId, id: EventId, event: NewEvent, author: Author) {
        self.by_organization.entry(organization_id).or_default().events.push((id, event, author));
    }

    /// The last event recorded for an organization.
    pub fn last(&self, organization_id: OrganizationId) -> Option<EventId> {
        self.by_organization.get(&organization_id)?.events.last().map(|(id, ..)| *id)
    }

    /// Whether any of the events may change who may do what.
    pub fn change_rights(&self) -> bool {
        self.by_organization.values().flat_map(|batch| &batch.events).any(|(_, event, _)| event.r#type.changes_rights())
    }

    /// Takes `numbers` item numbers, sequences for `events` and the units counted so far, in one statement. Locks the organization's head until
    /// the transaction ends, so it belongs right before the inserts that need the numbers. Returns the first number, and
    /// the head.
    pub async fn reserve(
        &mut self,
        tx: &Transaction,
        organization_id: OrganizationId,
        numbers: i64,
        events: i64,
    ) -> Result<(i64, ledger_head::Model)> {
        let batch = self.by_organization.entry(organization_id).or_default();
        let head = raise(tx, organization_id, numbers, events, std::mem::take(&mut batch.wants)).await?;
        let first_number = head.next_number - numbers;
        batch.reserved = Some((head.sequence - events + 1, events, head.clone()));
        Ok((first_number, head))
    }

    /// Writes all events and what goes to webhooks, the heads in ascending order of organization. Last thing before the
    /// commit: the lock on a head makes commit order the order of sequences.
    pub async fn write(self, tx: &Transaction, clock: &Clock, actor: ActorRef, origin: &Origin) -> Result<Written> {
        let mut written = Written::default();
        for (organization_id, batch) in self.by_organization {
            let wanted = i64::try_from(batch.events.len()).map_err(Error::internal)?;
            let (first, head) = match batch.reserved {
                Some((first, reserved, head)) if reserved == wanted => {
                    // Said after the reservation.
                    let said_later = !batch.wants.is_empty();
                    (first, if said_later { raise(tx, organization_id, 0, 0, batch.wants).await? } else { head })
                }
                Some((_, reserved, _)) => {
                    return Err(Error::internal(format!("{reserved} sequences reserved for {wanted} events")));
                }
                // What takes a feature is told in events; without any, nothing took it.
                None if wanted == 0 && batch.wants.units.is_empty() => continue,
                None => {
                    let head = raise(tx, organization_id, 0, wanted, batch.wants).await?;
                    (head.sequence - wanted + 1, head)
                }
            };
            // Read with the head locked, so that time follows the order of sequences.
            let now = clock.now();
            let rows: Vec<event::Model> = (first..)
                .zip(batch.events)
                .map(|(sequence, (id, event, author))| {
                    let (actor, origin) = author.as_ref().map_or((actor, origin), |(actor, origin)| (*actor, origin));
                    row(organization_id, sequence, id, event, now, actor, origin)
                })
                .collect::<Result<_>>()?;
            // SQLite refuses a statement with more than 32,766 values.
            for chunk in rows.chunks(1000) {
                let chunk = chunk.iter().cloned().map(|row| row.into_active_model().reset_all());
                #[allow(clippy::disallowed_methods, reason = "the one place that writes events")]
                event::Entity::insert_many(chunk).exec_without_returning(tx).await.map_err(fail)?;
            }
            written.deliveries |= deliveries::insert(tx, organization_id, &head, &rows, clock, now).await?;
            written.sequences.insert(organization_id, first + wanted - 1);
        }
        Ok(written)
    }
}

/// What a transaction has added.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Each ledger's new position.
    pub sequences: BTreeMap<OrganizationId, i64>,
    /// Whether something is to be sent to webhooks.
    pub deliveries: bool,
    /// Whether a job was left.
    pub jobs: bool,
}

/// Raises an organization's head and returns it as it then stands. A plan that is in the way fails the write: the head
/// as it was goes back with the transaction.
async fn raise(
    tx: &Transaction,
    organization_id: OrganizationId,
    numbers: i64,
    events: i64,
    wants: Wants,
) -> Result<ledger_head::Model> {
    use ledger_head::Column;
    let raised = |column: Column, by: i64| (column, Expr::col(column).add(by));
    let mut columns = vec![raised(Column::Sequence, events), raised(Column::NextNumber, numbers)];
    for (resource, units) in &wants.units {
        let column = match resource {
            QuotaResource::Members => Column::MemberCount,
            QuotaResource::Items => Column::ItemCount,
            QuotaResource::ApiKeys => Column::ApiKeyCount,
            QuotaResource::Webhooks => Column::WebhookCount,
            _ => return Err(Error::internal(format!("nothing counts {resource:?}"))),
        };
        columns.push(raised(column, *units));
    }
    #[allow(clippy::disallowed_methods, reason = "the one place that moves a ledger's head")]
    let mut update = ledger_head::Entity::update_many();
    for (column, value) in columns {
        update = update.col_expr(column, value);
    }
    let heads =
        update.filter(Column::OrganizationId.eq(organization_id)).exec_with_returning(tx).await.map_err(fail)?;
    let head = heads.into_iter().next().ok_or_else(|| Error::internal("the organization has no ledger head"))?;
    for feature in &wants.features {
        plan::require(head.plan_tier, *feature)?;
    }
    let limits = Plan::of(head.plan_tier);
    let too_many: Vec<_> = wants
        .units
        .into_iter()
        // Whatever gives units back, or takes none, may do so beyond the limit.
        .filter(|(resource, units)| {
            *units > 0 && limits.limit(*resource).is_some_and(|limit| head.used(*resource) > limit)
        })
        .map(|(resource, units)| {
            plan::exceeded(head.plan_tier, resource, head.used(resource) - units, units, &["input"])
        })
        .collect();
    if too_many.is_empty() { Ok(head) } else { Err(Error::Invalid(too_many)) }
}

fn row(
    organization_id: OrganizationId,
    sequence: i64,
    id: EventId,
    new: NewEvent,
    now: crate::base::clock::Instant,
    actor: ActorRef,
    origin: &Origin,
) -> Result<event::Model> {
    Ok(event::Model {
        organization_id,
        sequence,
        id,
        r#type: new.r#type,
        occurred_at: now,
        actor_kind: actor.kind,
        actor_id: actor.id,
        subject_kind: new.subject.prefix().to_owned(),
        subject_id: new.subject.uuid(),
        item_id: new.item_id,
        team_id: new.team_id,
        changes: serde_json::to_value(new.changes).map_err(Error::internal)?,
        request_id: origin.request_id.to_string(),
        ip: origin.ip.map(|ip| ip.to_string()),
    })
}
