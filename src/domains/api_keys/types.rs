use async_graphql::{Context, Description, Object};

use crate::{
    base::{
        error::Result,
        id::ApiKeyId,
        policy::{Permission, Permissions, requires},
    },
    data::entity::{ActorRef, api_key, document_set},
    domains::{accounts::types::Actor, document_sets::types::DocumentSet},
    graphql::{
        context::ContextExt,
        guard,
        loaders::Rows,
        node::row_node,
        payload::payload,
        scalars::{DateTime, Url},
    },
    platform::auth::api_key::hint,
};

/// A key that an integration calls with; its rights are its scopes, as far as the member who made it holds them at the
/// time.
#[derive(Clone, Debug, Description)]
pub struct ApiKey(pub api_key::Model);

row_node!(ApiKey: api_key, Self);

#[Object(use_type_description, directive = requires::apply(Permission::ApiKeyManage))]
impl ApiKey {
    /// Global id, `key_…`.
    pub async fn id(&self) -> ApiKeyId {
        self.0.id
    }

    /// What it is called, 1 to 100 characters.
    fn name(&self) -> &str {
        &self.0.name
    }

    /// First characters of the secret, to recognize it.
    fn hint(&self) -> String {
        hint(&self.0.lookup)
    }

    /// What it may do at most.
    fn scopes(&self) -> Vec<Permission> {
        Permissions::named(&self.0.scopes).iter().collect()
    }

    /// Networks (CIDR) it may be used from; empty: from anywhere.
    fn ip_allowlist(&self) -> Vec<&str> {
        self.0.ip_allowlist.as_array().into_iter().flatten().filter_map(|network| network.as_str()).collect()
    }

    /// The documents that it may run alone; null: it runs any.
    async fn document_set(&self, ctx: &Context<'_>) -> Result<Option<DocumentSet>> {
        let Some(id) = self.0.document_set_id else { return Ok(None) };
        Ok(ctx.loader::<Rows<document_set::Entity>>()?.load_one(id).await?.map(DocumentSet))
    }

    /// The member who made it, or who made the key that did.
    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef::user(self.0.created_by_id)).await
    }

    /// When it was made.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was last used, to the minute, whether the request succeeded or not; null when it never was.
    fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime)
    }

    /// When it ends; null: never.
    fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    /// When it was revoked; null unless it was.
    fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime)
    }

    /// Rises by one with each change; pass as `ifVersion`.
    fn version(&self) -> i32 {
        self.0.version
    }
}

/// What anyone may see of an API key that did something.
#[derive(Clone, Debug, Description)]
pub struct ApiKeyActor(Box<api_key::Model>);

impl From<api_key::Model> for ApiKeyActor {
    fn from(key: api_key::Model) -> Self {
        Self(key.into())
    }
}

#[Object(use_type_description)]
impl ApiKeyActor {
    /// Global id, `key_…`.
    pub async fn id(&self) -> ApiKeyId {
        self.0.id
    }

    /// The key's name.
    pub async fn display_name(&self) -> &str {
        &self.0.name
    }

    /// Always null.
    pub async fn avatar_url(&self) -> Option<Url> {
        None
    }

    /// The key itself, for those who manage keys.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn api_key(&self, ctx: &Context<'_>) -> Option<Result<ApiKey>> {
        Some(guard::check_field::<Self>(ctx).map(|()| ApiKey((*self.0).clone())))
    }
}

payload! {
    /// `secret` is the whole key, as it goes into the header `X-API-Key`; it is shown once, on creation and rotation.
    ApiKeyPayload { api_key: ApiKey } secret
}
