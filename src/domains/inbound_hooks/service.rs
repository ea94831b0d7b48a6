//! Making, changing and deleting inbound hooks.
//!
//! A hook acts with its creator's present rights, cut down to writing items and comments; whoever makes one must hold
//! what it needs.

use chrono::Duration;
use sea_orm::prelude::*;
use serde_json::json;

use super::input::{InboundHookCreateInput, InboundHookRotateSecretInput, InboundHookUpdateInput};
use crate::{
    base::{
        clock::Instant,
        enums::{Feature, InboundAction},
        error::{Problem, ProblemCode, Rejected, Result},
        id::{InboundHookId, OrganizationId},
        policy::Permission,
        secret::{INBOUND_HOOK, INBOUND_HOOK_PREVIOUS, Place, SealedColumn, ServerSecret, new_token},
        signature::SharedSecret,
    },
    data::{
        db::{Committed, Db, OrgScope},
        entity::{EventType, inbound_hook},
        ledger::{Fields, NewEvent, changes},
    },
};

/// Where a hook's secret is kept, and the one before its last rotation.
fn place(column: SealedColumn, organization: OrganizationId, id: InboundHookId) -> Place {
    Place::new(column, Some(organization), id)
}

/// A hook with its secret, where that has just been made.
pub type Shown = (inbound_hook::Model, Option<String>);

/// The fields that events show.
fn fields(row: &inbound_hook::Model) -> Fields {
    let inbound_hook::Model {
        organization_id: _,
        id: _,
        token: _,
        name,
        provider,
        action,
        mapping,
        is_enabled,
        secret: _,
        previous_secret: _,
        previous_until: _,
        created_by_id: _,
        created_at: _,
        version: _,
    } = row;
    vec![
        ("name", name.as_str().into()),
        ("provider", json!(provider.to_value())),
        ("action", json!(action.map(|action| action.to_value()))),
        ("mapping", json!(mapping)),
        ("isEnabled", (*is_enabled).into()),
    ]
}

/// The secrets that are good now.
pub fn secrets(row: &inbound_hook::Model, server: &ServerSecret, now: Instant) -> Result<Vec<SharedSecret>> {
    let open = |column, sealed: &[u8]| SharedSecret::open(server, &place(column, row.organization_id, row.id), sealed);
    let mut secrets = vec![open(INBOUND_HOOK, &row.secret)?];
    if let Some(previous) = row.previous_secret.as_ref().filter(|_| row.previous_until.is_some_and(|until| until > now))
    {
        secrets.push(open(INBOUND_HOOK_PREVIOUS, previous)?);
    }
    Ok(secrets)
}

pub async fn create(
    scope: &OrgScope,
    server: &ServerSecret,
    input: &InboundHookCreateInput,
) -> Result<Committed<Shown>> {
    input.validate()?;
    within_rights(scope, input.action, &["input", "action"])?;
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let is_same = async |present: &inbound_hook::Model| {
        Ok(present.name == input.name.trim()
            && present.provider == input.provider
            && present.action == input.action
            && present.mapping.as_ref() == input.mapping())
    };
    if let Some(present) = tx.made_before::<inbound_hook::Entity>(input.id, is_same).await? {
        return tx.commit((present, None)).await;
    }
    let id = input.id.unwrap_or_else(|| scope.clock().new_id());
    let secret = SharedSecret::new()?;
    let row = inbound_hook::Model {
        organization_id: scope.organization_id(),
        id,
        token: new_token()?,
        name: input.name.trim().to_owned(),
        provider: input.provider,
        action: input.action,
        mapping: input.mapping().cloned(),
        is_enabled: true,
        secret: secret.seal(server, &place(INBOUND_HOOK, scope.organization_id(), id))?,
        previous_secret: None,
        previous_until: None,
        created_by_id: scope.responsible()?,
        created_at: scope.clock().now(),
        version: 1,
    };
    tx.require_feature(Feature::InboundHooks);
    let event = |row: &inbound_hook::Model| {
        NewEvent::new(EventType::InboundHookCreated, id.any(), changes(None, Some(&fields(row))))
    };
    let row = tx.create(row, event).await?;
    tx.commit((row, Some(secret.text()))).await
}

pub async fn update(scope: &OrgScope, input: &InboundHookUpdateInput) -> Result<Committed<Shown>, Rejected<Shown>> {
    input.patch.validate()?;
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let opened = tx.open::<inbound_hook::Entity>(input.id, input.if_version).await;
    let before = opened.map_err(|rejected| rejected.map(|row| (row, None)))?;
    let mut after = before.clone();
    input.patch.apply(&mut after)?;
    // A mapping decides as much as the action on what is written. Anybody who manages hooks may close one.
    let opens = after.is_enabled && !before.is_enabled;
    if after.action != before.action {
        within_rights(scope, after.action, &["input", "patch", "action"])?;
    } else if after.mapping != before.mapping || opens {
        within_rights(scope, after.action, &["input", "id"])?;
    }
    let event =
        |row: &inbound_hook::Model, changed| NewEvent::new(EventType::InboundHookUpdated, row.id.any(), changed);
    let after = tx.save(before, after, fields, event).await?;
    Ok(tx.commit((after, None)).await?)
}

/// Gives the hook a new secret; the old one works on for the grace. A second rotation ends the first one's grace.
pub async fn rotate_secret(
    scope: &OrgScope,
    server: &ServerSecret,
    input: &InboundHookRotateSecretInput,
) -> Result<Committed<Shown>> {
    input.validate()?;
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let before: inbound_hook::Model = tx.locked::<inbound_hook::Entity>(input.id, &["input", "id"]).await?;
    // Who holds the secret does what the hook does.
    within_rights(scope, before.action, &["input", "id"])?;
    let grace = Duration::hours(input.grace_hours.into());
    let secret = SharedSecret::new()?;
    let mut after = before.clone();
    let place = |column| place(column, before.organization_id, before.id);
    after.previous_secret = match grace.is_zero() {
        true => None,
        false => Some(
            SharedSecret::open(server, &place(INBOUND_HOOK), &before.secret)?
                .seal(server, &place(INBOUND_HOOK_PREVIOUS))?,
        ),
    };
    after.previous_until = after.previous_secret.as_ref().map(|_| scope.clock().now() + grace);
    after.secret = secret.seal(server, &place(INBOUND_HOOK))?;
    let event =
        |row: &inbound_hook::Model| NewEvent::new(EventType::InboundHookSecretRotated, row.id.any(), Vec::new());
    let after = tx.write_next(after, event).await?;
    tx.commit((after, Some(secret.text()))).await
}

/// Closes the endpoint, and forgets what came through it. Repeating is harmless.
pub async fn delete(scope: &OrgScope, id: InboundHookId) -> Result<Committed<InboundHookId>> {
    let mut tx = scope.write(Permission::WebhookManage).await?;
    let path = ["input", "id"];
    if let Some(row) = tx.locked_or_gone::<inbound_hook::Entity>(id, &path, EventType::InboundHookDeleted).await? {
        tx.record(NewEvent::new(EventType::InboundHookDeleted, id.any(), changes(Some(&fields(&row)), None)));
        tx.delete_where::<inbound_hook::Entity>(inbound_hook::Column::Id.eq(id)).await?;
    }
    tx.commit(id).await
}

/// FORBIDDEN unless the caller holds what the hook will need.
fn within_rights(scope: &OrgScope, action: Option<InboundAction>, path: &[&str]) -> Result<()> {
    let needed: &[Permission] = match action {
        Some(InboundAction::ItemCreate | InboundAction::ItemUpdate) => &[Permission::ItemWrite],
        Some(InboundAction::CommentCreate) => &[Permission::CommentWrite],
        None => &[Permission::ItemWrite, Permission::CommentWrite],
    };
    let missing: Vec<String> =
        needed.iter().filter(|permission| !scope.allows(**permission)).map(|permission| permission.name()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "You can't make, change or renew a hook that does what you may not do yourself: {}.",
        missing.join(", ")
    );
    Err(Problem::new(ProblemCode::Forbidden, path, message).details(json!({ "permissions": missing })).into())
}

/// Deletes receipts that are older than `kept`, organization by organization.
pub async fn purge(db: &Db, kept: std::time::Duration) -> Result<()> {
    let Some(before) = Duration::from_std(kept).ok().and_then(|kept| db.clock().ago(kept)) else { return Ok(()) };
    for organization_id in db.organizations_with_inbound_hooks().await? {
        db.delete_receipts(organization_id, before).await?;
    }
    Ok(())
}
