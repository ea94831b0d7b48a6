//! Making, changing, testing and replaying webhooks.
//!
//! A webhook belongs to the organization and outlives whoever made it. Nobody sends events elsewhere that they may not
//! read themselves: an API key's scopes decide what it may subscribe to.

use std::collections::{BTreeSet, HashSet};

use chrono::Duration;
use sea_orm::{ExprTrait as _, Iterable as _, prelude::*};
use serde_json::json;

use super::{
    input::{WebhookCreateInput, WebhookReplayInput, WebhookRotateSecretInput, WebhookUpdateInput, types_json},
    sending::place,
};
use crate::{
    base::{
        clock::Instant,
        enums::{DeliveryStatus, Feature, MembershipStatus, QuotaResource, Role, WebhookState},
        error::{Code, Error, Problem, ProblemCode, Refusal, Rejected, Result},
        id::{TeamId, UserId, WebhookDeliveryId, WebhookId},
        policy::Permission,
        secret::{ServerSecret, WEBHOOK, WEBHOOK_PREVIOUS},
        signature::SharedSecret,
    },
    data::{
        db::{Committed, Db, OrgScope, WriteTx, filter::among},
        entity::{EventType, event, membership, user, webhook, webhook_delivery, webhook_queue},
        ledger::{
            Fields, NewEvent, changes,
            deliveries::{Route, named_teams, named_types},
        },
    },
    platform::outgoing::{Outgoing, Refused},
};

/// A webhook with its secret, where that has just been made.
pub type Shown = (webhook::Model, Option<String>);

/// Deliveries that one replay makes at most.
pub const MAX_REPLAY: usize = 10_000;
/// Positions of the ledger that a replay reads at once.
const PAGE: i64 = 1000;
/// Attempts of one delivery, those asked for by hand included.
pub const MAX_ATTEMPTS: i32 = 20;
/// When a worker takes a test over that was never finished: whoever ran it is gone.
const TEST_TAKEN_OVER_AFTER: Duration = Duration::seconds(60);

/// What is needed besides the database.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    pub outgoing: &'a Outgoing,
    pub secret: &'a ServerSecret,
}

/// The fields that events show.
fn fields(row: &webhook::Model) -> Fields {
    let webhook::Model {
        organization_id: _,
        id: _,
        name,
        url,
        event_types,
        team_ids,
        state,
        disabled_reason: _,
        stopped_at: _,
        is_ordered,
        secret: _,
        previous_secret: _,
        previous_until: _,
        created_by_kind: _,
        created_by_id: _,
        created_at: _,
        updated_at: _,
        version: _,
    } = row;
    vec![
        ("name", name.as_deref().into()),
        ("url", url.as_str().into()),
        ("eventTypes", json!(event_types)),
        ("teamIds", json!(team_ids)),
        ("state", json!(state.to_value())),
        ("isOrdered", (*is_ordered).into()),
    ]
}

pub async fn create(scope: &OrgScope, tools: Tools<'_>, input: &WebhookCreateInput) -> Result<Committed<Shown>> {
    input.validate()?;
    let url = input.url.0.trim();
    within_rights(scope, input.types().as_ref(), &["input", "eventTypes"])?;
    // Before the transaction: names are resolved.
    check_url(scope, tools.outgoing, url, &["input", "url"]).await?;
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let (types, teams) = (input.types().as_ref().map(types_json), input.teams());
    let name = input.name.as_deref().map(|name| name.trim().to_owned());
    let is_same = async |present: &webhook::Model| {
        Ok(present.name == name
            && present.url == url
            && present.event_types == types
            && present.team_ids == teams.as_ref().map(|teams| json!(teams))
            && present.is_ordered == input.is_ordered)
    };
    if let Some(present) = tx.made_before::<webhook::Entity>(input.id, is_same).await? {
        return tx.commit((present, None)).await;
    }
    check_teams(&tx, teams.iter().flatten().copied().collect(), &["input", "teamIds"]).await?;
    let (now, actor) = (scope.clock().now(), scope.actor());
    let id = input.id.unwrap_or_else(|| scope.clock().new_id());
    let secret = SharedSecret::new()?;
    let organization_id = scope.organization_id();
    let row = webhook::Model {
        organization_id,
        id,
        name,
        url: url.to_owned(),
        event_types: types,
        team_ids: teams.map(|teams| json!(teams)),
        state: WebhookState::Enabled,
        disabled_reason: None,
        stopped_at: None,
        is_ordered: input.is_ordered,
        secret: secret.seal(tools.secret, &place(WEBHOOK, organization_id, id))?,
        previous_secret: None,
        previous_until: None,
        created_by_kind: actor.kind,
        created_by_id: actor.id,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    tx.require_feature(Feature::Webhooks);
    tx.count(QuotaResource::Webhooks, 1);
    let event = |row: &webhook::Model| {
        NewEvent::new(EventType::WebhookCreated, row.id.any(), changes(None, Some(&fields(row))))
    };
    let row = tx.create(row, event).await?;
    let queue =
        webhook_queue::Model { organization_id, webhook_id: id, lease: 0, leased_until: 0, failing_since: None };
    tx.insert(queue).await?;
    tx.commit((row, Some(secret.text()))).await
}

pub async fn update(
    scope: &OrgScope,
    tools: Tools<'_>,
    input: &WebhookUpdateInput,
) -> Result<Committed<Shown>, Rejected<Shown>> {
    input.patch.validate()?;
    if let Some(url) = input.patch.url.value() {
        check_url(scope, tools.outgoing, url.0.trim(), &["input", "patch", "url"]).await?;
    }
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let opened = tx.open::<webhook::Entity>(input.id, input.if_version).await;
    let before = opened.map_err(|rejected| rejected.map(|row| (row, None)))?;
    let mut after = before.clone();
    input.patch.apply(&mut after)?;
    match input.patch.is_enabled.value() {
        Some(true) => {
            after.state = WebhookState::Enabled;
            (after.disabled_reason, after.stopped_at) = (None, None);
        }
        // What the server has disabled is stopped already.
        Some(false) if before.state == WebhookState::Enabled => {
            after.state = WebhookState::Paused;
            // With the event of this change, which it does not get itself.
            after.stopped_at = Some(tx.lock_head().await?.sequence);
        }
        Some(false) | None => {}
    }
    let goes_elsewhere =
        (&before.url, &before.event_types, &before.team_ids) != (&after.url, &after.event_types, &after.team_ids);
    if goes_elsewhere {
        let types = after.event_types.as_ref().map(|types| named_types(types).collect());
        within_rights(scope, types.as_ref(), &["input", "patch"])?;
    }
    if after.team_ids != before.team_ids {
        let named = |row: &webhook::Model| row.team_ids.iter().flat_map(named_teams).collect::<BTreeSet<TeamId>>();
        // A team that is gone may stay where it was.
        let added = named(&after).difference(&named(&before)).copied().collect();
        check_teams(&tx, added, &["input", "patch", "teams"]).await?;
    }
    if after.state == WebhookState::Enabled && before.state != WebhookState::Enabled {
        tx.require_feature(Feature::Webhooks);
        // It begins anew: what failed before is no reason to disable it again.
        let of = webhook_queue::Column::WebhookId.eq(after.id);
        let cleared = Expr::value(Option::<Instant>::None);
        tx.update_where::<webhook_queue::Entity>(of, vec![(webhook_queue::Column::FailingSince, cleared)]).await?;
        tx.wake_workers();
    }
    let event = |row: &webhook::Model, changed| NewEvent::new(EventType::WebhookUpdated, row.id.any(), changed);
    let after = tx.save(before, after, fields, event).await?;
    Ok(tx.commit((after, None)).await?)
}

/// Gives the webhook a new secret; deliveries are signed with the old one, too, for the grace. A second rotation ends the
/// first one's grace.
pub async fn rotate_secret(
    scope: &OrgScope,
    tools: Tools<'_>,
    input: &WebhookRotateSecretInput,
) -> Result<Committed<Shown>> {
    input.validate()?;
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let before: webhook::Model = tx.locked::<webhook::Entity>(input.id, &["input", "id"]).await?;
    let (now, grace) = (scope.clock().now(), Duration::hours(input.grace_hours.into()));
    let secret = SharedSecret::new()?;
    let mut after = before.clone();
    let place = |column| place(column, before.organization_id, before.id);
    after.previous_secret = match grace.is_zero() {
        true => None,
        false => {
            let previous = SharedSecret::open(tools.secret, &place(WEBHOOK), &before.secret)?;
            Some(previous.seal(tools.secret, &place(WEBHOOK_PREVIOUS))?)
        }
    };
    after.previous_until = after.previous_secret.as_ref().map(|_| now + grace);
    after.secret = secret.seal(tools.secret, &place(WEBHOOK))?;
    let event = |row: &webhook::Model| NewEvent::new(EventType::WebhookSecretRotated, row.id.any(), Vec::new());
    let after = tx.write_next(after, event).await?;
    tx.commit((after, Some(secret.text()))).await
}

/// Ends a webhook with everything that was to be sent. Repeating is harmless.
pub async fn delete(scope: &OrgScope, id: WebhookId) -> Result<Committed<WebhookId>> {
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let path = ["input", "id"];
    let Some(row) = tx.locked_or_gone::<webhook::Entity>(id, &path, EventType::WebhookDeleted).await? else {
        return tx.commit(id).await;
    };
    tx.count(QuotaResource::Webhooks, -1);
    tx.record(NewEvent::new(EventType::WebhookDeleted, id.any(), changes(Some(&fields(&row)), None)));
    // First the head: a writer that holds it may be about to insert deliveries of this very webhook.
    tx.reserve(0, 1).await?;
    tx.delete_where::<webhook::Entity>(webhook::Column::Id.eq(id)).await?;
    tx.commit(id).await
}

/// Begins a test: a `ping` to be sent at once, whatever the webhook's state.
pub async fn begin_test(scope: &OrgScope, id: WebhookId) -> Result<Committed<webhook_delivery::Model>> {
    let tx = scope.write(Permission::WebhookManage).await?;
    tx.locked::<webhook::Entity>(id, &["input", "id"]).await?;
    let now = scope.clock().now();
    let row = webhook_delivery::Model {
        organization_id: scope.organization_id(),
        id: scope.clock().new_id(),
        webhook_id: id,
        event_id: None,
        event_type: None,
        sequence: None,
        ordering_id: None,
        status: DeliveryStatus::Pending,
        attempt_count: 0,
        next_attempt_at: Some(scope.clock().by_database(now + TEST_TAKEN_OVER_AFTER)),
        created_at: now,
    };
    let row = tx.insert(row).await?;
    tx.commit_unrecorded(row, "a delivery changes nothing").await
}

/// Makes a delivery due now: one that waits for its next attempt, or one that is done, once more.
pub async fn retry(scope: &OrgScope, id: WebhookDeliveryId) -> Result<Committed<webhook_delivery::Model>> {
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let path = ["input", "id"];
    let row: webhook_delivery::Model = tx.locked::<webhook_delivery::Entity>(id, &path).await?;
    let own = webhook::Column::Id.eq(row.webhook_id);
    let webhook = tx.find::<webhook::Entity>().filter(own).one().await?;
    must_be_enabled(webhook.as_ref().map(|webhook| webhook.state), &path)?;
    // Its one attempt is being made, by whoever began it.
    if row.event_id.is_none()
        && row.attempt_count == 0
        && row.next_attempt_at.is_some_and(|at| at > scope.clock().now_by_database())
    {
        let message = "The test is under way; it is done within a minute.";
        return Err(Problem::new(ProblemCode::InvalidState, &path, message).into());
    }
    if row.attempt_count >= MAX_ATTEMPTS {
        let message = format!("It has been tried {MAX_ATTEMPTS} times; use webhookReplay for a new delivery.");
        return Err(Problem::new(ProblemCode::InvalidState, &path, message).into());
    }
    let status = if row.attempt_count == 0 { DeliveryStatus::Pending } else { DeliveryStatus::Retrying };
    let due = webhook_delivery::Model { status, next_attempt_at: Some(scope.clock().now_by_database()), ..row };
    let due = tx.update_whole(due).await?;
    tx.wake_workers();
    tx.commit_unrecorded(due, "a delivery changes nothing").await
}

/// Queues the events between two positions of the ledger anew, those that the webhook wants. New deliveries with ids of
/// their own; the events in them are the same.
pub async fn replay(scope: &OrgScope, input: &WebhookReplayInput) -> Result<Committed<Shown>> {
    input.validate()?;
    scope.require(Permission::WebhookManage)?;
    let head = scope.ledger_head().await?;
    let after = scope.ledger_position(&input.after.0).await?;
    let before = match &input.before {
        Some(before) => scope.decode_position(&before.0, head)?,
        None => head + 1,
    };
    let own = scope.find::<webhook::Entity>().filter(webhook::Column::Id.eq(input.id));
    let seen = own.one().await?.ok_or_else(|| Problem::not_found(&["input", "id"], "webhook"))?;
    must_be_enabled(Some(seen.state), &["input", "id"])?;
    // Before the write, so that nobody waits for a reader of a long ledger.
    let deliveries = wanted(scope, &Route::of(&seen), after, before, input.event_types.as_deref()).await?;
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let row: webhook::Model = tx.locked::<webhook::Entity>(input.id, &["input", "id"]).await?;
    if row.version != seen.version {
        return Err(Error::retry("the webhook was changed while the ledger was read"));
    }
    tx.require_feature(Feature::Webhooks);
    tx.insert_many(deliveries).await?;
    tx.wake_workers();
    tx.commit_unrecorded((row, None), "deliveries change nothing").await
}

/// The deliveries of the events between two positions of the ledger. Each statement reads [`PAGE`] positions of it at most,
/// whatever is found there.
async fn wanted(
    scope: &OrgScope,
    route: &Route,
    after: i64,
    before: i64,
    types: Option<&[EventType]>,
) -> Result<Vec<webhook_delivery::Model>> {
    use event::Column;
    let now = scope.clock().now();
    let mut deliveries = Vec::new();
    let mut position = after;
    while position + 1 < before {
        let end = Ord::min(before, position + 1 + PAGE);
        let mut page = scope
            .find::<event::Entity>()
            .filter(Column::Sequence.gt(position))
            .filter(Column::Sequence.lt(end))
            .order_by_asc(Column::Sequence);
        if let Some(types) = types {
            page = page.filter(Column::Type.is_in(types.iter().copied()));
        }
        let page = page.all().await?;
        let wanted = page.iter().filter(|event| route.wants(event));
        deliveries.extend(wanted.map(|event| route.delivery(event, scope.clock(), now)));
        if deliveries.len() > MAX_REPLAY {
            let message = format!("A replay makes at most {MAX_REPLAY} deliveries; choose `before` nearer to `after`.");
            let problem = Problem::new(ProblemCode::TooMany, &["input", "before"], message);
            return Err(problem.details(json!({ "limit": MAX_REPLAY })).into());
        }
        position = end - 1;
    }
    Ok(deliveries)
}

/// Disables a webhook in the server's own name and gives up what waits; `None` when it is not enabled any more. The
/// caller tells the owners.
pub async fn disable(scope: &OrgScope, id: WebhookId, reason: &str) -> Result<Option<webhook::Model>> {
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let own = webhook::Column::Id.eq(id);
    let row = tx.find::<webhook::Entity>().filter(own).for_update().one().await?;
    let Some(before) = row.filter(|row| row.state == WebhookState::Enabled) else { return Ok(None) };
    let waiting = webhook_delivery::Column::WebhookId.eq(id).and(webhook_delivery::Column::NextAttemptAt.is_not_null());
    let given_up = vec![
        (webhook_delivery::Column::Status, Expr::value(DeliveryStatus::Dead)),
        (webhook_delivery::Column::NextAttemptAt, Expr::value(Option::<Instant>::None)),
    ];
    let unfinished = tx.find::<webhook_delivery::Entity>().filter(waiting.clone());
    let oldest = unfinished.order_by_asc(webhook_delivery::Column::Sequence).limit(1);
    let oldest: Vec<Option<i64>> = oldest.column(webhook_delivery::Column::Sequence).await?;
    tx.update_where::<webhook_delivery::Entity>(waiting, given_up).await?;
    let head = tx.lock_head().await?.sequence;
    let mut after = before.clone();
    after.state = WebhookState::Disabled;
    after.disabled_reason = Some(reason.to_owned());
    // Where a replay makes up for all that was given up here.
    after.stopped_at = Some(oldest.into_iter().flatten().next().map_or(head, |sequence| sequence - 1));
    let mut changed = changes(Some(&fields(&before)), Some(&fields(&after)));
    changed.push(crate::data::ledger::Change {
        field: "disabledReason".to_owned(),
        before: serde_json::Value::Null,
        after: reason.into(),
    });
    let event = |row: &webhook::Model| NewEvent::new(EventType::WebhookDisabled, row.id.any(), changed);
    let after = tx.write_next(after, event).await?;
    Ok(Some(tx.commit((after, ())).await?.value.0))
}

/// The organization's active owners.
pub async fn owners(scope: &OrgScope) -> Result<Vec<user::Model>> {
    use membership::Column;
    let owners = Column::Role.eq(Role::Owner).and(Column::Status.eq(MembershipStatus::Active));
    let owners: Vec<UserId> = scope.find::<membership::Entity>().filter(owners).column(Column::UserId).await?;
    scope.db().find_global::<user::Entity>(among(scope.db(), user::Column::Id, owners)).await
}

fn must_be_enabled(state: Option<WebhookState>, path: &[&str]) -> Result<()> {
    match state {
        Some(WebhookState::Enabled) => Ok(()),
        Some(WebhookState::Paused | WebhookState::Disabled) | None => {
            let message = "The webhook is not enabled; enable it first (isEnabled).";
            Err(Problem::new(ProblemCode::InvalidState, path, message).into())
        }
    }
}

async fn check_url(scope: &OrgScope, outgoing: &Outgoing, url: &str, path: &[&str]) -> Result<()> {
    match outgoing.check(scope.organization_id(), url).await {
        Ok(_) => Ok(()),
        Err(Refused::Busy) => Err(Refusal::new(Code::Unavailable, format!("{}.", Refused::Busy)).into()),
        Err(refused) => {
            let mut message = format!("{refused}.");
            message[..1].make_ascii_uppercase();
            Err(Problem::new(ProblemCode::Invalid, path, message).into())
        }
    }
}

async fn check_teams(tx: &WriteTx, teams: Vec<TeamId>, path: &[&str]) -> Result<()> {
    use crate::data::entity::team;
    if teams.is_empty() {
        return Ok(());
    }
    let found: HashSet<TeamId> = tx
        .find::<team::Entity>()
        .filter(team::Column::Id.is_in(teams.iter().copied()))
        .column(team::Column::Id)
        .await?
        .into_iter()
        .collect();
    if teams.iter().all(|team| found.contains(team)) {
        return Ok(());
    }
    Err(Problem::not_found(path, "team").into())
}

/// FORBIDDEN unless the caller may read all events of these types (`None`: of every type).
fn within_rights(scope: &OrgScope, types: Option<&HashSet<EventType>>, path: &[&str]) -> Result<()> {
    if scope.allows(Permission::AuditRead) {
        return Ok(());
    }
    let wanted = EventType::iter().filter(|kind| types.is_none_or(|types| types.contains(kind)));
    let missing: BTreeSet<String> = wanted
        .filter_map(EventType::seen_with)
        .filter(|permission| !scope.allows(*permission))
        .map(Permission::name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(String::as_str).collect();
    let message =
        format!("You can't have events sent that you may not read yourself; that takes {}.", names.join(", "));
    Err(Error::from(Problem::new(ProblemCode::Forbidden, path, message).details(json!({ "permissions": names }))))
}

/// Deletes deliveries that are done and older than `kept`, organization by organization.
pub async fn purge(db: &Db, kept: std::time::Duration) -> Result<()> {
    let Some(before) = Duration::from_std(kept).ok().and_then(|kept| db.clock().ago(kept)) else { return Ok(()) };
    for organization_id in db.organizations_with_webhooks().await? {
        db.delete_deliveries(organization_id, before).await?;
    }
    Ok(())
}
