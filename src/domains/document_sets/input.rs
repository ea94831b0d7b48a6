use async_graphql::{InputObject, MaybeUndefined};

use super::service::{MAX_DOCUMENTS, MAX_ID};
use crate::{
    base::{
        error::{Error, Problem, ProblemCode, Problems, Result},
        id::{ClientMade, DocumentSetId},
    },
    domains::{accounts::input::required, document_sets::manifest::Manifest},
    graphql::scalars::Json,
};

/// Documents that are told of at once when they are not valid.
const MAX_TOLD: usize = 20;

/// The documents of an application.
#[derive(InputObject, Clone)]
pub struct DocumentSetCreateInput {
    /// Made by the client, a UUIDv7; a repeat with the same id and the same values answers with what is there.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<DocumentSetId>,
    /// What people call it, 1 to 100 characters.
    pub name: String,
    /// The manifest as graphql-codegen and Relay write it, an object of texts by id, or Apollo's list of operations: at
    /// most 1,000 documents, each of which is valid for this schema.
    pub manifest: Json,
}

impl DocumentSetCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "name"], &self.name, 1, 100);
        problems.finish()
    }
}

/// What changes of a document set.
#[derive(InputObject, Clone)]
pub struct DocumentSetPatch {
    /// What people call it, 1 to 100 characters.
    pub name: MaybeUndefined<String>,
    /// Takes the place of all documents that are there.
    pub manifest: MaybeUndefined<Json>,
}

/// A change of a document set.
#[derive(InputObject, Clone)]
pub struct DocumentSetUpdateInput {
    /// Which one.
    pub id: DocumentSetId,
    /// CONFLICT unless the set has this version.
    pub if_version: Option<i32>,
    /// What changes; whatever is left out stays.
    pub patch: DocumentSetPatch,
}

impl DocumentSetUpdateInput {
    pub fn validate(&self) -> Result<()> {
        let DocumentSetPatch { name, manifest } = &self.patch;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "name"], name);
        required(&mut problems, &["input", "patch", "manifest"], manifest);
        if let MaybeUndefined::Value(name) = name {
            problems.length(&["input", "patch", "name"], name, 1, 100);
        }
        problems.finish()
    }
}

/// Which document set goes.
#[derive(InputObject, Clone)]
pub struct DocumentSetDeleteInput {
    /// Which one.
    pub id: DocumentSetId,
}

/// The documents of a manifest, by id. INVALID, with a document's id in the path, for one that this schema does not have.
/// Gives way between two of them: there may be a thousand.
pub async fn documents(
    manifest: &serde_json::Value,
    path: &[&str],
    check: impl Fn(&str) -> Result<()>,
) -> Result<Vec<(String, String)>> {
    let Some(manifest) = Manifest::of(manifest) else {
        let message = "Expected an object of texts by id, or Apollo's list of operations.";
        return Err(Problem::new(ProblemCode::Invalid, path, message).into());
    };
    let mut documents = manifest.documents();
    documents.sort_unstable();
    documents.dedup();
    let mut problems = Problems::default();
    problems.count(path, documents.len(), MAX_DOCUMENTS);
    if documents.is_empty() {
        problems.push(ProblemCode::Required, path, "At least one document.");
    }
    problems.finish()?;
    let (mut problems, mut told) = (Problems::default(), 0);
    for (place, (id, text)) in documents.iter().enumerate() {
        let own: Vec<&str> = path.iter().copied().chain([shown(id)]).collect();
        let fault = if id.is_empty() || id.len() > MAX_ID || id.chars().any(char::is_control) {
            Some(format!("An id has 1 to {MAX_ID} bytes, and no control characters."))
        } else if place > 0 && documents[place - 1].0 == *id {
            Some("This id is there twice, with different texts.".to_owned())
        } else {
            match check(text) {
                Ok(()) => None,
                Err(Error::Refused(refusal)) => Some(refusal.message.into_owned()),
                Err(error) => return Err(error),
            }
        };
        if let Some(fault) = fault {
            problems.push(ProblemCode::Invalid, &own, fault);
            told += 1;
        }
        if told == MAX_TOLD {
            break;
        }
        tokio::task::yield_now().await;
    }
    problems.finish()?;
    Ok(documents)
}

/// An id as a path shows it.
fn shown(id: &str) -> &str {
    let end = id.char_indices().map(|(at, _)| at).find(|at| *at >= 64).unwrap_or(id.len());
    &id[..end]
}
