//! A verified callback, done: the effect and its receipt in one transaction, as the hook, with what its creator may do now.
//! What came before is a duplicate; what could not be done leaves a receipt that says why, and may come again.

use async_graphql::MaybeUndefined;
use sea_orm::{ColumnTrait as _, Condition};
use serde_json::Value as Json;

use super::{
    mapping::{self, Change, explain},
    presets::{self, Ask, Finished, MAX_COMMITS, MAX_IDENTIFIERS},
    verify::Verified,
};
use crate::{
    base::{
        enums::{InboundOutcome, ItemStatus},
        error::{Code, Error, Problem, ProblemCode, Rejected, Result},
        id::InboundReceiptId,
    },
    data::{
        db::{OrgScope, WriteTx, retrying},
        entity::{inbound_hook, inbound_receipt, item},
    },
    domains::{
        comments,
        items::{
            self,
            input::{ItemPatch, ItemUpdateInput},
        },
    },
};

/// Characters of a receipt's reason.
const MAX_REASON: usize = 1000;

/// What became of a callback.
#[derive(Clone, Debug)]
pub struct Receipted {
    pub outcome: InboundOutcome,
    /// Of a duplicate: the first one's.
    pub receipt_id: InboundReceiptId,
    /// `ACME-42`, of each item that was touched.
    pub items: Vec<String>,
    pub reason: Option<String>,
}

/// What an effect came to.
#[derive(Default)]
struct Effect {
    items: Vec<String>,
    reason: Option<String>,
}

/// Does what a callback asks for, once.
pub async fn receive(
    scope: &OrgScope,
    hook: &inbound_hook::Model,
    verified: &Verified,
    body: &Json,
) -> Result<Receipted> {
    let attempt = retrying(|| attempt(scope, hook, verified, body)).await;
    let reason = match attempt {
        Ok(Ok(receipted)) => return Ok(receipted),
        Ok(Err(known)) => {
            let reason = format!("Dealt with before, as {known}.");
            note(scope, hook, InboundOutcome::Duplicate, verified.delivery_id.as_deref(), &reason).await?;
            return Ok(Receipted {
                outcome: InboundOutcome::Duplicate,
                receipt_id: known,
                items: Vec::new(),
                reason: Some(reason),
            });
        }
        Err(Error::Invalid(problems)) => problems.iter().map(explain).collect::<Vec<_>>().join("; "),
        Err(Error::Refused(refusal)) if refusal.code != Code::Unavailable => refusal.message.into_owned(),
        Err(error) => return Err(error),
    };
    let outcome = InboundOutcome::Failed;
    let receipt_id = note(scope, hook, outcome, verified.delivery_id.as_deref(), &reason).await?;
    Ok(Receipted { outcome, receipt_id, items: Vec::new(), reason: Some(reason) })
}

/// Leaves a receipt of what had no effect.
pub async fn note(
    scope: &OrgScope,
    hook: &inbound_hook::Model,
    outcome: InboundOutcome,
    delivery_id: Option<&str>,
    reason: &str,
) -> Result<InboundReceiptId> {
    let receipt = async || {
        let tx = scope.write_as_member().await?;
        let receipt = inbound_receipt::Model {
            organization_id: scope.organization_id(),
            id: scope.clock().new_id(),
            hook_id: hook.id,
            outcome,
            delivery_id: delivery_id.map(str::to_owned),
            delivery_key: None,
            body_key: None,
            event_id: None,
            error: Some(mapping::cut(reason, MAX_REASON)),
            received_at: scope.clock().now(),
        };
        let receipt = tx.insert(receipt).await?;
        tx.commit_unrecorded(receipt.id, "a receipt of what had no effect").await
    };
    Ok(retrying(receipt).await?.value)
}

/// One try; `Err` with the first receipt of what was dealt with before.
async fn attempt(
    scope: &OrgScope,
    hook: &inbound_hook::Model,
    verified: &Verified,
    body: &Json,
) -> Result<Result<Receipted, InboundReceiptId>> {
    use inbound_receipt::Column;
    let mut tx = scope.write_as_member().await?;
    let keys = [(Column::DeliveryKey, &verified.delivery_id), (Column::BodyKey, &verified.body_key)];
    let same = keys.iter().filter_map(|(column, key)| Some(column.eq(key.as_ref()?.as_str())));
    let same = same.fold(Condition::any(), Condition::add);
    if !same.is_empty() {
        let known = tx.find::<inbound_receipt::Entity>().filter(Column::HookId.eq(hook.id)).filter(same).one().await?;
        if let Some(known) = known {
            return Ok(Err(known.id));
        }
    }
    let effect = perform(&mut tx, hook, &verified.event, body).await?;
    let outcome = if effect.items.is_empty() { InboundOutcome::Ignored } else { InboundOutcome::Applied };
    let receipt = inbound_receipt::Model {
        organization_id: scope.organization_id(),
        id: scope.clock().new_id(),
        hook_id: hook.id,
        outcome,
        delivery_id: verified.delivery_id.clone(),
        delivery_key: verified.delivery_id.clone(),
        body_key: verified.body_key.clone(),
        event_id: tx.last_event(),
        error: effect.reason.as_deref().map(|reason| mapping::cut(reason, MAX_REASON)),
        received_at: scope.clock().now(),
    };
    // Last: one that came at the same time waits here, fails by its key, and finds this one with the next try.
    let receipt = tx.insert(receipt).await?;
    let receipt_id = tx.commit_unrecorded(receipt.id, "a callback may change nothing").await?.value;
    Ok(Ok(Receipted { outcome, receipt_id, items: effect.items, reason: effect.reason }))
}

async fn perform(tx: &mut WriteTx, hook: &inbound_hook::Model, event: &str, body: &Json) -> Result<Effect> {
    let Some(action) = hook.action else {
        return match presets::read(hook.provider, event, body) {
            Ask::Create { title, description } => {
                let input = mapping::item(&title, &description);
                create(tx, &input).await
            }
            Ask::Finish { items, is_cut } => finish(tx, items, is_cut).await,
            Ask::Nothing(reason) => Ok(Effect { items: Vec::new(), reason: Some(format!("Ignored: {reason}.")) }),
        };
    };
    let mapping = hook.mapping.as_ref().unwrap_or(&Json::Null);
    match mapping::apply(action, mapping, body).map_err(failed)? {
        Change::Create(input) => create(tx, &input).await,
        Change::Update { item, patch } => {
            let item = find(tx, &item).await?;
            let input = ItemUpdateInput { id: item.id, if_version: None, patch: *patch };
            items::service::update_in(tx, &input).await.map_err(error_of)?;
            Ok(touched(tx, &item))
        }
        Change::Comment { item, body } => {
            let item = find(tx, &item).await?;
            comments::service::create_in(tx, &mapping::comment(item.id, &body)).await?;
            Ok(touched(tx, &item))
        }
    }
}

async fn create(tx: &mut WriteTx, input: &items::input::ItemCreateInput) -> Result<Effect> {
    let item = items::create::create_in(tx, input).await.map_err(error_of)?;
    Ok(touched(tx, &item))
}

/// Moves each item to DONE and says by what. What is done already, or archived, stays as it is; what is not there is said.
async fn finish(tx: &mut WriteTx, items: Vec<Finished>, is_cut: bool) -> Result<Effect> {
    let mut effect = Effect::default();
    let mut left: Vec<String> = Vec::new();
    if is_cut {
        left.push(format!("what goes beyond {MAX_COMMITS} commits and {MAX_IDENTIFIERS} items"));
    }
    for Finished { identifier, comment } in items {
        let item = items::service::find_in(tx, &identifier).await?;
        match item {
            Some(item) if item.deleted_at.is_none() => match item.status {
                ItemStatus::Done => left.push(format!("{identifier} is done already")),
                ItemStatus::Archived => left.push(format!("{identifier} is archived")),
                ItemStatus::Todo | ItemStatus::InProgress | ItemStatus::InReview => {
                    let patch = ItemPatch { status: MaybeUndefined::Value(ItemStatus::Done), ..ItemPatch::default() };
                    let input = ItemUpdateInput { id: item.id, if_version: None, patch };
                    items::service::update_in(tx, &input).await.map_err(error_of)?;
                    comments::service::create_in(tx, &mapping::comment(item.id, &comment)).await?;
                    effect.items.push(identifier);
                }
            },
            Some(_) | None => left.push(format!("no such item: {identifier}")),
        }
    }
    effect.reason = (!left.is_empty()).then(|| format!("Left out: {}.", left.join("; ")));
    Ok(effect)
}

fn touched(tx: &WriteTx, item: &item::Model) -> Effect {
    let identifier = format!("{}-{}", tx.scope().organization().item_prefix, item.number);
    Effect { items: vec![identifier], reason: None }
}

/// The item that a mapping names.
async fn find(tx: &WriteTx, reference: &str) -> Result<item::Model> {
    let found = items::service::find_in(tx, reference).await?;
    found.ok_or_else(|| failed(format!("item: no such item: {}", mapping::cut(reference, 60))))
}

/// A reason, as problems of an input are.
fn failed(reason: String) -> Error {
    Problem::new(ProblemCode::Invalid, &["input"], reason).into()
}

fn error_of<T>(rejected: Rejected<T>) -> Error {
    rejected.error
}
