use std::sync::Arc;

use async_graphql::{Context, Description, Interface, Object, SimpleObject};

use super::loaders::Users;
pub use super::viewer::{SecurityEvent, Session, Viewer};
use crate::{
    base::{
        enums::ActorKind,
        error::Result,
        id::{AnyId, UserId, kind},
        policy::Permission,
    },
    data::entity::{ActorRef, Findable, api_key, inbound_hook, user},
    domains::{
        api_keys::types::ApiKeyActor,
        inbound_hooks::types::InboundHookActor,
        members::{loaders::MembershipOfUser, types::Membership},
    },
    graphql::{
        context::ContextExt,
        guard,
        loaders::Rows,
        node::NodeType,
        payload::{Common, Outcome, payload, payload_fields},
        scalars::{DateTime, Url},
    },
    platform::auth::session::Caller,
};

/// A person. Somebody who has left the organization stays as whoever did something.
#[derive(Clone, Debug, Description)]
pub struct User {
    pub row: Arc<user::Model>,
    /// Reached through the caller's own [`Viewer`], also that of a session which has just begun.
    own: bool,
}

impl NodeType for User {
    type Kind = kind::User;

    async fn find(ctx: &Context<'_>, id: UserId) -> Result<Option<Self>> {
        // Oneself, also before there is an organization.
        if let Ok(person) = ctx.person()
            && person.user.id == id
        {
            return Ok(Some(Self::from(person.user.clone())));
        }
        match ctx.loader::<MembershipOfUser>()?.load_one(id).await? {
            Some(_) => Ok(ctx.loader::<Users>()?.load_one(id).await?.map(Self::from)),
            None => Ok(None),
        }
    }
}

impl From<Arc<user::Model>> for User {
    fn from(row: Arc<user::Model>) -> Self {
        Self { row, own: false }
    }
}

impl User {
    /// Shown to the person themselves.
    pub fn own(row: Arc<user::Model>) -> Self {
        Self { row, own: true }
    }

    /// Whether the person is the caller.
    fn is_viewer(&self, ctx: &Context<'_>) -> bool {
        self.own || ctx.person().is_ok_and(|person| person.user.id == self.row.id)
    }
}

#[Object(use_type_description)]
impl User {
    /// Global id, `usr_…`: people are named by it in inputs.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn id(&self) -> UserId {
        self.row.id
    }

    /// Name to show: the full name, or else the username.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn display_name(&self) -> &str {
        self.row.full_name.as_deref().unwrap_or(&self.row.username)
    }

    /// Short name, unique on this server whatever the case.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn username(&self) -> &str {
        &self.row.username
    }

    /// Full name; null when none was given.
    #[graphql(tag = "of-ledger")]
    fn full_name(&self) -> Option<&str> {
        self.row.full_name.as_deref()
    }

    /// Picture, at an address the person gave; null when there is none.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn avatar_url(&self) -> Option<Url> {
        self.row.avatar_url.clone().map(Url)
    }

    /// E-mail address. Null but for the person and, with MEMBER_READ, for fellow members.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        Box::pin(async move {
            if self.is_viewer(ctx) {
                return Ok(Some(self.row.email.as_str()));
            }
            let Ok(scope) = ctx.scope() else { return Ok(None) };
            let visible = scope.allows(Permission::MemberRead)
                && ctx.loader::<MembershipOfUser>()?.load_one(self.row.id).await?.is_some();
            Ok(visible.then_some(self.row.email.as_str()))
        })
        .await
    }

    /// When the address was proven; null before, and for everybody but the person.
    async fn email_verified_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        self.row.email_verified_at.filter(|_| self.is_viewer(ctx)).map(DateTime)
    }

    /// The person's time zone, by its name in the IANA database: `Europe/Berlin`.
    #[graphql(tag = "of-ledger")]
    fn time_zone(&self) -> &str {
        &self.row.time_zone
    }

    /// Their membership in the current organization; null once removed.
    async fn membership(&self, ctx: &Context<'_>) -> Result<Option<Membership>> {
        Box::pin(async move {
            if ctx.scope().is_err() {
                return Ok(None);
            }
            guard::check_field::<Self>(ctx)?;
            Ok(ctx.loader::<MembershipOfUser>()?.load_one(self.row.id).await?.map(Membership))
        })
        .await
    }

    /// When the account was made.
    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// Rises by one with each change; pass as `ifVersion`.
    fn version(&self) -> i32 {
        self.row.version
    }
}

/// The server itself, or someone whose account, API key or inbound hook is gone.
#[derive(Clone, Debug, Description)]
pub struct SystemActor(pub ActorRef);

#[Object(use_type_description)]
impl SystemActor {
    /// Global id: of the server `sys_…`, of whoever is gone what it was.
    pub async fn id(&self) -> AnyId {
        self.0.any_id()
    }

    /// Name to show, such as `System` or `Deleted user`.
    pub async fn display_name(&self) -> &str {
        match self.0.kind {
            ActorKind::System => "System",
            ActorKind::User => "Deleted user",
            ActorKind::ApiKey => "Deleted API key",
            ActorKind::InboundHook => "Deleted inbound hook",
        }
    }

    /// Always null.
    pub async fn avatar_url(&self) -> Option<Url> {
        None
    }
}

/// Whoever did something: a person, an API key, an inbound hook, or the server.
#[derive(Interface, Clone, Debug)]
#[allow(clippy::duplicated_attributes, reason = "each field has its tag")]
#[graphql(
    field(
        name = "id",
        ty = "async_graphql::ID",
        desc = "Global id: `usr_…`, `key_…`, `hok_…` or `sys_…`.",
        tag = "same-for-all",
        tag = "of-ledger"
    ),
    field(name = "display_name", ty = "&str", desc = "Name to show.", tag = "same-for-all", tag = "of-ledger"),
    field(
        name = "avatar_url",
        ty = "Option<Url>",
        desc = "Picture to show; null where there is none.",
        tag = "same-for-all",
        tag = "of-ledger"
    )
)]
pub enum Actor {
    User(User),
    SystemActor(SystemActor),
    ApiKeyActor(ApiKeyActor),
    InboundHookActor(InboundHookActor),
}

impl Actor {
    /// Whoever a row names.
    pub async fn load(ctx: &Context<'_>, actor: ActorRef) -> Result<Self> {
        let found = if let Some(id) = actor.user_id() {
            ctx.loader::<Users>()?.load_one(id).await?.map(|user| Self::User(user.into()))
        } else if let Some(id) = actor.api_key_id() {
            ctx.loader::<Rows<api_key::Entity>>()?
                .load_one(id)
                .await?
                .map(|key| Self::ApiKeyActor(ApiKeyActor::from(key)))
        } else if let Some(id) = actor.inbound_hook_id() {
            ctx.loader::<Rows<inbound_hook::Entity>>()?
                .load_one(id)
                .await?
                .map(|hook| Self::InboundHookActor(hook.into()))
        } else {
            None
        };
        Ok(found.unwrap_or(Self::SystemActor(SystemActor(actor))))
    }
}

payload! {
    /// What became of a mutation of the account.
    UserPayload { user: User }
}

/// A session's tokens; all null on failure.
#[derive(SimpleObject, Default)]
#[graphql(complex)]
pub struct SessionPayload {
    /// Send it as `Authorization: Bearer …`.
    pub access_token: Option<String>,
    /// Trade it for a new pair before or after the access token ends; it works once.
    pub refresh_token: Option<String>,
    /// When the access token ends.
    pub expires_at: Option<DateTime>,
    /// The person whom the tokens stand for; with `organization` when they belong to just one.
    pub viewer: Option<Viewer>,
    #[graphql(skip)]
    pub common: Common,
}

payload_fields!(SessionPayload);

/// Tokens with the caller they stand for.
pub struct Signed {
    pub tokens: super::service::Tokens,
    pub caller: Caller,
}

impl Findable for Signed {
    fn any_id(&self) -> Option<AnyId> {
        None
    }
}

impl Outcome for SessionPayload {
    type Object = Signed;

    fn new(signed: Option<Signed>, common: Common) -> Self {
        let Some(Signed { tokens, caller }) = signed else { return Self { common, ..Self::default() } };
        Self {
            access_token: Some(tokens.access_token),
            refresh_token: Some(tokens.refresh_token),
            expires_at: Some(tokens.expires_at.into()),
            viewer: Viewer::of(&caller),
            common,
        }
    }

    /// Tokens are given once.
    async fn find_again(_: &Context<'_>, _: AnyId) -> Result<Option<Signed>> {
        Ok(None)
    }
}
