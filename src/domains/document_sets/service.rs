//! Making, changing and deleting document sets.
//!
//! A key that is bound to a set may not manage sets: it would give itself what it may not run.

use sea_orm::{ExprTrait as _, prelude::*};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::query::hash;
use crate::{
    base::{
        error::{Problem, ProblemCode, Rejected, Result},
        id::DocumentSetId,
        policy::Permission,
    },
    data::{
        db::{Committed, OrgScope, WriteTx},
        entity::{EventType, api_key, document_set, trusted_document},
        ledger::{Fields, NewEvent, changes},
    },
    domains::api_keys::service::calling_key,
};

/// Documents of one set.
pub const MAX_DOCUMENTS: usize = 1_000;
/// Bytes of a document's id.
pub const MAX_ID: usize = 128;
/// Sets of one organization.
const MAX_SETS: u64 = 50;

/// Texts by id, sorted.
pub type Documents = Vec<(String, String)>;

/// The fields that events show.
fn fields(row: &document_set::Model) -> Fields {
    let document_set::Model {
        organization_id: _,
        id: _,
        name,
        document_count,
        manifest_hash,
        created_by_id: _,
        created_at: _,
        updated_at: _,
        version: _,
    } = row;
    vec![
        ("name", name.as_str().into()),
        ("documentCount", (*document_count).into()),
        ("manifestHash", hex::encode(manifest_hash).into()),
    ]
}

/// What a new set, or the change of one, says.
#[derive(Clone, Debug)]
pub struct Said {
    pub id: Option<DocumentSetId>,
    pub name: Option<String>,
    pub documents: Option<Documents>,
}

pub async fn create(scope: &OrgScope, said: &Said) -> Result<Committed<document_set::Model>> {
    let documents = said.documents.as_deref().unwrap_or_default();
    let name = said.name.as_deref().unwrap_or_default().trim();
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    unbound(&tx).await?;
    let manifest_hash = hash_of(documents);
    let is_same =
        async |present: &document_set::Model| Ok(present.name == name && present.manifest_hash == manifest_hash);
    if let Some(present) = tx.made_before::<document_set::Entity>(said.id, is_same).await? {
        return tx.commit(present).await;
    }
    // Two at a time are counted one after the other.
    tx.lock_head().await?;
    if tx.find::<document_set::Entity>().count().await? >= MAX_SETS {
        let message = format!("An organization has at most {MAX_SETS} document sets; delete some first.");
        let details = json!({ "maximum": MAX_SETS });
        return Err(Problem::new(ProblemCode::TooMany, &["input"], message).details(details).into());
    }
    let now = scope.clock().now();
    let row = document_set::Model {
        organization_id: scope.organization_id(),
        id: said.id.unwrap_or_else(|| scope.clock().new_id()),
        name: name.to_owned(),
        document_count: counted(documents),
        manifest_hash,
        created_by_id: scope.responsible()?,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let event = |row: &document_set::Model| {
        NewEvent::new(EventType::DocumentSetCreated, row.id.any(), changes(None, Some(&fields(row))))
    };
    let row = tx.create(row, event).await?;
    keep(&tx, row.id, documents).await?;
    tx.commit(row).await
}

pub async fn update(
    scope: &OrgScope,
    id: DocumentSetId,
    if_version: Option<i32>,
    said: &Said,
) -> Result<Committed<document_set::Model>, Rejected<document_set::Model>> {
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    unbound(&tx).await?;
    let before = tx.open::<document_set::Entity>(id, if_version).await?;
    let mut after = before.clone();
    if let Some(name) = &said.name {
        name.trim().clone_into(&mut after.name);
    }
    if let Some(documents) = &said.documents {
        after.document_count = counted(documents);
        after.manifest_hash = hash_of(documents);
    }
    if let Some(documents) = said.documents.as_ref().filter(|_| after.manifest_hash != before.manifest_hash) {
        tx.delete_where::<trusted_document::Entity>(trusted_document::Column::SetId.eq(id)).await?;
        keep(&tx, id, documents).await?;
    }
    let event =
        |row: &document_set::Model, changed| NewEvent::new(EventType::DocumentSetUpdated, row.id.any(), changed);
    let after = tx.save(before, after, fields, event).await?;
    Ok(tx.commit(after).await?)
}

/// Deletes a set; INVALID_STATE while a key is bound to it. Deleting it again is harmless.
pub async fn delete(scope: &OrgScope, id: DocumentSetId) -> Result<Committed<DocumentSetId>> {
    let mut tx = scope.write(Permission::ApiKeyManage).await?;
    unbound(&tx).await?;
    let path = ["input", "id"];
    let found = tx.locked_or_gone::<document_set::Entity>(id, &path, EventType::DocumentSetDeleted).await?;
    let Some(row) = found else { return tx.commit(id).await };
    let bound = api_key::Column::DocumentSetId.eq(id).and(api_key::Column::RevokedAt.is_null());
    let bound = tx.find::<api_key::Entity>().filter(bound).count().await?;
    if bound > 0 {
        let message = format!("{bound} API keys are bound to this set; bind them to another, or revoke them, first.");
        let problem = Problem::new(ProblemCode::InvalidState, &path, message);
        return Err(problem.details(json!({ "apiKeys": bound })).into());
    }
    tx.delete_where::<trusted_document::Entity>(trusted_document::Column::SetId.eq(id)).await?;
    tx.delete_where::<document_set::Entity>(document_set::Column::Id.eq(id)).await?;
    tx.record(NewEvent::new(EventType::DocumentSetDeleted, id.any(), changes(Some(&fields(&row)), None)));
    tx.commit(id).await
}

/// FORBIDDEN for an API key that is bound to a set itself.
async fn unbound(tx: &WriteTx) -> Result<()> {
    match calling_key(tx).await? {
        Some(key) if key.document_set_id.is_some() => {
            let message = "An API key that is bound to a document set can't manage document sets.";
            Err(Problem::new(ProblemCode::Forbidden, &["input"], message).into())
        }
        _ => Ok(()),
    }
}

async fn keep(tx: &WriteTx, set_id: DocumentSetId, documents: &[(String, String)]) -> Result<()> {
    let organization_id = tx.organization_id();
    let row = |(id, text): &(String, String)| trusted_document::Model {
        organization_id,
        set_id,
        document_id: id.clone(),
        text: text.clone(),
        text_hash: hash(text),
    };
    tx.insert_many(documents.iter().map(row).collect()).await
}

fn counted(documents: &[(String, String)]) -> i32 {
    i32::try_from(documents.len()).unwrap_or(i32::MAX)
}

/// Of ids and texts, each with its length before it.
fn hash_of(documents: &[(String, String)]) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in documents.iter().flat_map(|(id, text)| [id, text]) {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}
