//! Making, changing, rotating and revoking API keys.
//!
//! Nobody makes a key that may do more than they may themselves, and nobody widens or renews a key whose creator stands
//! above them: its rights would follow that creator's. A key makes, widens and renews no key that may do more, lives
//! longer or works from elsewhere than itself, and what it made ends when it is revoked.

use chrono::Duration;
use ipnet::IpNet;
use sea_orm::{ExprTrait as _, prelude::*};
use serde_json::json;

use super::input::{ApiKeyCreateInput, ApiKeyRotateInput, ApiKeyUpdateInput, scopes_json};
use crate::{
    base::{
        clock::{Instant, format_instant},
        enums::QuotaResource,
        error::{Error, Problem, ProblemCode, Refusal, Rejected, Result},
        id::{ApiKeyId, DocumentSetId, UserId},
        policy::{Permission, Permissions},
    },
    data::{
        db::{Committed, OrgScope, WriteTx, at_version},
        entity::{EventType, api_key, document_set, membership},
        ledger::{Change, Fields, NewEvent, changes},
    },
    platform::auth::api_key::KeyMint,
};

/// Live keys that were made by keys, in one organization: revoking one ends all that hang on it, in one transaction.
const MAX_MADE_BY_KEYS: u64 = 1000;

/// A key with its text, where that has just been made.
pub type Shown = (api_key::Model, Option<String>);

/// The fields that events show.
fn fields(row: &api_key::Model) -> Fields {
    let api_key::Model {
        organization_id: _,
        id: _,
        name,
        lookup: _,
        secret_hash: _,
        hash_secret_id: _,
        previous_hash: _,
        previous_until: _,
        scopes,
        ip_allowlist,
        created_by_id: _,
        created_by_key_id: _,
        document_set_id,
        created_at: _,
        last_used_at: _,
        expires_at,
        revoked_at: _,
        version: _,
    } = row;
    vec![
        ("name", name.as_str().into()),
        ("scopes", scopes.clone()),
        ("ipAllowlist", ip_allowlist.clone()),
        ("expiresAt", expires_at.map(format_instant).into()),
        ("documentSet", document_set_id.map(|id| id.to_string()).into()),
    ]
}

pub async fn create(scope: &OrgScope, mint: &KeyMint, input: &ApiKeyCreateInput) -> Result<Committed<Shown>> {
    input.validate()?;
    within_rights(scope, input.scopes(), Permissions::default(), &["input", "scopes"])?;
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    let networks = json!(input.networks());
    let expires_at = input.expires_at.map(|end| end.0);
    let is_same = async |present: &api_key::Model| {
        Ok(present.name == input.name.trim()
            && present.scopes == scopes_json(input.scopes())
            && present.ip_allowlist == networks
            && present.expires_at == expires_at
            && present.document_set_id == input.document_set)
    };
    if let Some(present) = tx.made_before::<api_key::Entity>(input.id, is_same).await? {
        return tx.commit((present, None)).await;
    }
    let now = scope.clock().now();
    in_the_future(expires_at, now, &["input", "expiresAt"])?;
    let maker = calling_key(&tx).await?;
    if let Some(maker) = &maker {
        let wanted =
            Reach { scopes: input.scopes(), expires_at, networks: input.networks(), document_set: input.document_set };
        let path = |field| ["input", field];
        Reach::of(maker).allows(&wanted).map_err(|field| beyond_the_caller(&path(field), field))?;
        check_number(&tx).await?;
    }
    bindable(&tx, input.document_set, &["input", "documentSet"]).await?;
    let minted = mint.mint()?;
    let row = api_key::Model {
        organization_id: scope.organization_id(),
        id: input.id.unwrap_or_else(|| scope.clock().new_id()),
        name: input.name.trim().to_owned(),
        lookup: minted.lookup,
        secret_hash: minted.hash,
        hash_secret_id: Some(mint.secret_id().to_vec()),
        previous_hash: None,
        previous_until: None,
        scopes: scopes_json(input.scopes()),
        ip_allowlist: networks,
        created_by_id: scope.responsible()?,
        created_by_key_id: maker.map(|maker| maker.id),
        document_set_id: input.document_set,
        created_at: now,
        last_used_at: None,
        expires_at,
        revoked_at: None,
        version: 1,
    };
    tx.count(QuotaResource::ApiKeys, 1);
    let event =
        |row: &api_key::Model| NewEvent::new(EventType::ApiKeyCreated, row.id.any(), changes(None, Some(&fields(row))));
    let row = tx.create(row, event).await?;
    tx.commit((row, Some(minted.text))).await
}

pub async fn update(scope: &OrgScope, input: &ApiKeyUpdateInput) -> Result<Committed<Shown>, Rejected<Shown>> {
    input.validate()?;
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    let opened = at_version(open(&tx, input.id).await?, input.if_version);
    let before = opened.map_err(|rejected| rejected.map(|row| (row, None)))?;
    let mut after = before.clone();
    input.patch.apply(&mut after);
    let (had, has) = (Permissions::named(&before.scopes), Permissions::named(&after.scopes));
    within_rights(scope, has, had, &["input", "patch", "scopes"])?;
    if after.expires_at != before.expires_at {
        in_the_future(after.expires_at, scope.clock().now(), &["input", "patch", "expiresAt"])?;
    }
    if after.document_set_id != before.document_set_id {
        bindable(&tx, after.document_set_id, &["input", "patch", "documentSet"]).await?;
    }
    if Reach::of(&before).allows(&Reach::of(&after)).is_err() {
        if let Some(caller) = calling_key(&tx).await? {
            let path = |field| ["input", "patch", field];
            Reach::of(&caller).allows(&Reach::of(&after)).map_err(|field| beyond_the_caller(&path(field), field))?;
        }
        below_creator(&tx, &before, &["input", "id"], "You can't widen a key of somebody above your own role.").await?;
    }
    let event = |row: &api_key::Model, changed| NewEvent::new(EventType::ApiKeyUpdated, row.id.any(), changed);
    let after = tx.save(before, after, fields, event).await?;
    Ok(tx.commit((after, None)).await?)
}

/// Gives the key a new secret; the old one works on for the grace. A second rotation ends the first one's grace.
pub async fn rotate(scope: &OrgScope, mint: &KeyMint, input: &ApiKeyRotateInput) -> Result<Committed<Shown>> {
    input.validate()?;
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    let before = open(&tx, input.id).await?;
    below_creator(&tx, &before, &["input", "id"], "You can't rotate a key of somebody above your own role.").await?;
    if let Some(caller) = calling_key(&tx).await? {
        // Whoever rotates a key is given it.
        let beyond = |field| beyond_the_caller(&["input", "id"], field);
        Reach::of(&caller).allows(&Reach::of(&before)).map_err(beyond)?;
    }
    let now = scope.clock().now();
    if before.expires_at.is_some_and(|end| end <= now) {
        let message = "The key has expired; give it a later end first.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "id"], message).into());
    }
    let minted = mint.mint_for(before.lookup.clone())?;
    let grace = Duration::hours(input.grace_hours.into());
    let mut after = before.clone();
    after.previous_hash = Some(before.secret_hash).filter(|_| !grace.is_zero());
    after.previous_until = after.previous_hash.as_ref().map(|_| now + grace);
    after.secret_hash = minted.hash;
    after.hash_secret_id = Some(mint.secret_id().to_vec());
    let event = |row: &api_key::Model| NewEvent::new(EventType::ApiKeyRotated, row.id.any(), Vec::new());
    let after = tx.write_next(after, event).await?;
    tx.commit((after, Some(minted.text))).await
}

/// Ends a key for good, with the keys that it made, and those that they made. Repeating is harmless.
pub async fn revoke(scope: &OrgScope, id: ApiKeyId) -> Result<Committed<ApiKeyId>> {
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    let row: api_key::Model = tx.locked::<api_key::Entity>(id, &["input", "id"]).await?;
    if row.revoked_at.is_none() {
        end(&mut tx, row).await?;
        end_made_by(&mut tx, id).await?;
    }
    tx.commit(id).await
}

/// Ends every key that a person made: they leave the organization, and the keys' rights with them.
pub async fn revoke_of(tx: &mut WriteTx, user_id: UserId) -> Result<()> {
    let live = api_key::Column::CreatedById.eq(user_id).and(api_key::Column::RevokedAt.is_null());
    for row in tx.find::<api_key::Entity>().filter(live).for_update().all().await? {
        end(tx, row).await?;
    }
    Ok(())
}

/// Ends the live keys that a key made, and those that they made; at most [`MAX_MADE_BY_KEYS`].
async fn end_made_by(tx: &mut WriteTx, id: ApiKeyId) -> Result<()> {
    let mut ended = vec![id];
    while !ended.is_empty() {
        let made = api_key::Column::CreatedByKeyId.is_in(ended).and(api_key::Column::RevokedAt.is_null());
        let made = tx.find::<api_key::Entity>().filter(made).for_update().all().await?;
        ended = made.iter().map(|row| row.id).collect();
        for row in made {
            end(tx, row).await?;
        }
    }
    Ok(())
}

/// NOT_FOUND for a document set that is not there. Locked, so that it isn't deleted meanwhile.
async fn bindable(tx: &WriteTx, set: Option<DocumentSetId>, path: &[&str]) -> Result<()> {
    if let Some(id) = set {
        tx.locked::<document_set::Entity>(id, path).await?;
    }
    Ok(())
}

/// The API key that calls, where it is one: locked, so that what it makes is there when it is revoked, or not made at all.
pub async fn calling_key(tx: &WriteTx) -> Result<Option<api_key::Model>> {
    let Some(id) = tx.scope().actor().api_key_id() else { return Ok(None) };
    let row: api_key::Model = tx.locked::<api_key::Entity>(id, &[]).await?;
    if row.revoked_at.is_some() {
        return Err(Refusal::unauthenticated().into());
    }
    Ok(Some(row))
}

/// TOO_MANY when keys have made as many keys as may live.
async fn check_number(tx: &WriteTx) -> Result<()> {
    let made = api_key::Column::CreatedByKeyId.is_not_null().and(api_key::Column::RevokedAt.is_null());
    if tx.find::<api_key::Entity>().filter(made).count().await? < MAX_MADE_BY_KEYS {
        return Ok(());
    }
    let message = format!("API keys may make {MAX_MADE_BY_KEYS} keys in one organization; revoke some first.");
    let details = json!({ "maximum": MAX_MADE_BY_KEYS });
    Err(Problem::new(ProblemCode::TooMany, &["input"], message).details(details).into())
}

fn beyond_the_caller(path: &[&str], field: &str) -> Error {
    let message = "An API key can't make or renew a key that may do more, lives longer, works from elsewhere or runs other \
         documents than itself.";
    Problem::new(ProblemCode::Forbidden, path, message).details(json!({ "field": field })).into()
}

async fn end(tx: &mut WriteTx, row: api_key::Model) -> Result<()> {
    let now = tx.scope().clock().now();
    let ended = api_key::Model { revoked_at: Some(now), ..row };
    tx.count(QuotaResource::ApiKeys, -1);
    let revoked = Change { field: "revokedAt".to_owned(), before: Json::Null, after: format_instant(now).into() };
    let event = |row: &api_key::Model| NewEvent::new(EventType::ApiKeyRevoked, row.id.any(), vec![revoked]);
    tx.write_next(ended, event).await?;
    Ok(())
}

/// A key to be changed, locked; a revoked one is past changing.
async fn open(tx: &WriteTx, id: ApiKeyId) -> Result<api_key::Model> {
    let row: api_key::Model = tx.locked::<api_key::Entity>(id, &["input", "id"]).await?;
    if row.revoked_at.is_some() {
        let message = "The key has been revoked; make a new one.";
        return Err(Problem::new(ProblemCode::InvalidState, &["input", "id"], message).into());
    }
    Ok(row)
}

/// FORBIDDEN unless the caller holds whatever `wanted` adds to `had`.
fn within_rights(scope: &OrgScope, wanted: Permissions, had: Permissions, path: &[&str]) -> Result<()> {
    let beyond: Vec<String> = wanted
        .iter()
        .filter(|permission| !had.contains(*permission) && !scope.allows(*permission))
        .map(Permission::name)
        .collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let message = format!("You can't give a key what you may not do yourself: {}.", beyond.join(", "));
    Err(Problem::new(ProblemCode::Forbidden, path, message).details(json!({ "permissions": beyond })).into())
}

/// FORBIDDEN where the key's creator stands above the caller.
async fn below_creator(tx: &WriteTx, row: &api_key::Model, path: &[&str], message: &str) -> Result<()> {
    let creator = membership::Column::UserId.eq(row.created_by_id);
    let creator = tx.find::<membership::Entity>().filter(creator).one().await?;
    match (creator, tx.scope().role()) {
        (Some(creator), Some(own)) if creator.role > own => {
            Err(Problem::new(ProblemCode::Forbidden, path, message).details(json!({ "role": creator.role })).into())
        }
        _ => Ok(()),
    }
}

fn in_the_future(end: Option<Instant>, now: Instant, path: &[&str]) -> Result<()> {
    if end.is_some_and(|end| end <= now) {
        return Err(Problem::new(ProblemCode::OutOfRange, path, "Must be in the future.").into());
    }
    Ok(())
}

/// How far a key reaches: what it may do, until when (`None`: for ever), from where (empty: from anywhere), with which
/// documents (`None`: any).
struct Reach {
    scopes: Permissions,
    expires_at: Option<Instant>,
    networks: Vec<IpNet>,
    document_set: Option<DocumentSetId>,
}

impl Reach {
    fn of(row: &api_key::Model) -> Self {
        Self {
            scopes: Permissions::named(&row.scopes),
            expires_at: row.expires_at,
            networks: serde_json::from_value(row.ip_allowlist.clone()).unwrap_or_default(),
            document_set: row.document_set_id,
        }
    }

    /// Whether `other` reaches no further; otherwise the input's field that does.
    fn allows(&self, other: &Self) -> Result<(), &'static str> {
        let longer = self.expires_at.is_some_and(|end| other.expires_at.is_none_or(|wanted| wanted > end));
        let inside = |network: &IpNet| self.networks.iter().any(|wider| wider.contains(network));
        let anywhere = self.networks.is_empty();
        if self.scopes & other.scopes != other.scopes {
            Err("scopes")
        } else if longer {
            Err("expiresAt")
        } else if !anywhere && (other.networks.is_empty() || !other.networks.iter().all(inside)) {
            Err("ipAllowlist")
        } else if self.document_set.is_some() && self.document_set != other.document_set {
            Err("documentSet")
        } else {
            Ok(())
        }
    }
}
