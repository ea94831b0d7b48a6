use async_graphql::{Context, Description, Object};

use crate::{
    base::{
        error::Result,
        id::DocumentSetId,
        policy::{Permission, requires},
    },
    data::entity::{ActorRef, document_set},
    domains::accounts::types::Actor,
    graphql::{node::row_node, payload::payload, scalars::DateTime},
};

/// The documents that an application sends. Every member's client may name one by `documentId`; an API key that is bound to
/// the set runs nothing else.
#[derive(Clone, Debug, Description)]
pub struct DocumentSet(pub document_set::Model);

row_node!(DocumentSet: document_set, Self);

#[Object(use_type_description, directive = requires::apply(Permission::ApiKeyManage))]
impl DocumentSet {
    /// Stays the same for good.
    pub async fn id(&self) -> DocumentSetId {
        self.0.id
    }

    /// What people call it: the application and its release, perhaps.
    fn name(&self) -> &str {
        &self.0.name
    }

    /// How many documents it has, 1,000 at most.
    fn document_count(&self) -> i32 {
        self.0.document_count
    }

    /// SHA-256 of the ids and texts in hexadecimal: it differs when the documents do.
    fn manifest_hash(&self) -> String {
        hex::encode(&self.0.manifest_hash)
    }

    /// Who made it.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef::user(self.0.created_by_id)).await
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When its name or its documents last changed.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Rises by one with each change; see `ifVersion`.
    fn version(&self) -> i32 {
        self.0.version
    }
}

payload! {
    /// The document set, or why there is none.
    DocumentSetPayload { document_set: DocumentSet }
}
