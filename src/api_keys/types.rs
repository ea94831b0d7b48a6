use async_graphql::{ComplexObject, Context, Object, SimpleObject};

use crate::{
    accounts::types::Actor,
    auth::{
        actor::ActorRef,
        api_key::hint,
        policy::{Permission, Permissions, requires},
    },
    entity::api_key,
    error::Result,
    graphql::{
        error::UserError,
        guard,
        node::{self, Node},
        payload::{Common, Outcome},
        scalars::{Cursor, DateTime, Url},
    },
    id::{AnyId, ApiKeyId},
};

/// A key that an integration calls with; its rights are its scopes, as far as its creator holds them at the time.
#[derive(Clone, Debug)]
pub struct ApiKey(pub api_key::Model);

#[Object(directive = requires::apply(Permission::ApiKeyManage))]
impl ApiKey {
    pub async fn id(&self) -> ApiKeyId {
        self.0.id
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    /// First characters of the secret, to recognize it.
    fn hint(&self) -> String {
        hint(&self.0.lookup)
    }

    fn scopes(&self) -> Vec<Permission> {
        Permissions::named(&self.0.scopes).iter().collect()
    }

    fn ip_allowlist(&self) -> Vec<&str> {
        self.0.ip_allowlist.as_array().into_iter().flatten().filter_map(|network| network.as_str()).collect()
    }

    async fn created_by(&self, ctx: &Context<'_>) -> Result<Actor> {
        Actor::load(ctx, ActorRef::user(self.0.created_by_id)).await
    }

    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// To the minute.
    fn last_used_at(&self) -> Option<DateTime> {
        self.0.last_used_at.map(DateTime)
    }

    fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime)
    }

    fn revoked_at(&self) -> Option<DateTime> {
        self.0.revoked_at.map(DateTime)
    }

    fn version(&self) -> i32 {
        self.0.version
    }
}

/// What anyone may see of an API key that did something; `apiKey` is the key itself, for those who manage keys.
#[derive(Clone, Debug)]
pub struct ApiKeyActor(Box<api_key::Model>);

impl From<api_key::Model> for ApiKeyActor {
    fn from(key: api_key::Model) -> Self {
        Self(key.into())
    }
}

#[Object]
impl ApiKeyActor {
    pub async fn id(&self) -> ApiKeyId {
        self.0.id
    }

    pub async fn display_name(&self) -> &str {
        &self.0.name
    }

    pub async fn avatar_url(&self) -> Option<Url> {
        None
    }

    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn api_key(&self, ctx: &Context<'_>) -> Option<Result<ApiKey>> {
        Some(guard::check_field::<Self>(ctx).map(|()| ApiKey((*self.0).clone())))
    }
}

/// `secret` is shown once.
#[derive(SimpleObject, Default)]
#[graphql(complex)]
pub struct ApiKeyPayload {
    pub api_key: Option<ApiKey>,
    /// The whole key, as it goes into the header `X-API-Key`; null after an update.
    pub secret: Option<String>,
    #[graphql(skip)]
    pub common: Common,
}

#[ComplexObject]
impl ApiKeyPayload {
    /// Empty when it succeeded.
    pub async fn user_errors(&self) -> &[UserError] {
        &self.common.user_errors
    }

    /// Ledger position just after this mutation: wait for it on a stream to read your own write. Null on failure.
    pub async fn cursor(&self) -> Option<Cursor> {
        self.common.cursor.clone()
    }
}

impl Outcome for ApiKeyPayload {
    type Object = (ApiKey, Option<String>);

    fn new(made: Option<Self::Object>, user_errors: Vec<UserError>, cursor: Option<Cursor>) -> Self {
        let (api_key, secret) = made.unzip();
        Self { api_key, secret: secret.flatten(), common: Common { user_errors, cursor } }
    }

    async fn find_again(ctx: &Context<'_>, id: AnyId) -> Result<Option<Self::Object>> {
        Ok(match node::load(ctx, id).await? {
            Some(Node::ApiKey(key)) => Some((key, None)),
            _ => None,
        })
    }
}
