use std::sync::Arc;

use async_graphql::{Context, Interface, Object, SimpleObject};

use super::query;
use crate::{
    api_keys::types::ApiKeyActor,
    auth::{
        actor::{ActorRef, Person},
        policy::Permission,
        session::Caller,
    },
    db::identity::Identified,
    entity::{
        Findable,
        enums::{ActorKind, Role, SecurityEventKind},
        invitation, organization, security_event, session, user,
    },
    error::Result,
    graphql::{
        connection::{Connection, page_args, wants},
        context::ContextExt,
        guard,
        payload::{Common, Outcome, payload, payload_fields},
        scalars::{Cursor, DateTime, Url},
    },
    id::{AnyId, InvitationId, OrganizationId, SecurityEventId, SessionId, UserId},
    inbound_hooks::types::InboundHookActor,
    ledger::LedgerCursor,
    members::{invitations, types::Membership},
    organizations::types::Organization,
};

/// A person.
#[derive(Clone, Debug)]
pub struct User {
    pub row: Arc<user::Model>,
    /// Reached through the caller's own [`Viewer`], also that of a session which has just begun.
    own: bool,
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

#[Object]
impl User {
    pub async fn id(&self) -> UserId {
        self.row.id
    }

    /// The full name, or else the username.
    pub async fn display_name(&self) -> &str {
        self.row.full_name.as_deref().unwrap_or(&self.row.username)
    }

    fn username(&self) -> &str {
        &self.row.username
    }

    fn full_name(&self) -> Option<&str> {
        self.row.full_name.as_deref()
    }

    pub async fn avatar_url(&self) -> Option<Url> {
        self.row.avatar_url.clone().map(Url)
    }

    /// Visible to fellow members holding MEMBER_READ.
    async fn email(&self, ctx: &Context<'_>) -> Result<Option<&str>> {
        Box::pin(async move {
            if self.is_viewer(ctx) {
                return Ok(Some(self.row.email.as_str()));
            }
            let Ok(scope) = ctx.scope() else { return Ok(None) };
            let visible = scope.allows(Permission::MemberRead)
                && ctx.loaders()?.membership_of_user.load_one(self.row.id).await?.is_some();
            Ok(visible.then_some(self.row.email.as_str()))
        })
        .await
    }

    /// Visible to the person alone.
    async fn email_verified_at(&self, ctx: &Context<'_>) -> Option<DateTime> {
        self.row.email_verified_at.filter(|_| self.is_viewer(ctx)).map(DateTime)
    }

    fn time_zone(&self) -> &str {
        &self.row.time_zone
    }

    /// In the current organization; null once removed.
    async fn membership(&self, ctx: &Context<'_>) -> Result<Option<Membership>> {
        Box::pin(async move {
            if ctx.scope().is_err() {
                return Ok(None);
            }
            guard::check_type::<Membership>(ctx)?;
            Ok(ctx.loaders()?.membership_of_user.load_one(self.row.id).await?.map(Membership))
        })
        .await
    }

    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    fn version(&self) -> i32 {
        self.row.version
    }
}

/// The server itself, or someone whose account is gone.
#[derive(Clone, Debug)]
pub struct SystemActor(pub ActorRef);

#[Object]
impl SystemActor {
    pub async fn id(&self) -> AnyId {
        self.0.any_id()
    }

    pub async fn display_name(&self) -> &str {
        match self.0.kind {
            ActorKind::System => "System",
            ActorKind::User => "Deleted user",
            ActorKind::ApiKey => "Deleted API key",
            ActorKind::InboundHook => "Deleted inbound hook",
        }
    }

    pub async fn avatar_url(&self) -> Option<Url> {
        None
    }
}

/// Whoever did something: a person, an API key, an inbound hook, or the server.
#[derive(Interface, Clone, Debug)]
#[graphql(
    field(name = "id", ty = "async_graphql::ID"),
    field(name = "display_name", ty = "&str"),
    field(name = "avatar_url", ty = "Option<Url>")
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
            ctx.loaders()?.users.load_one(id).await?.map(|user| Self::User(user.into()))
        } else if let Some(id) = actor.api_key_id() {
            ctx.loaders()?.api_keys.load_one(id).await?.map(|key| Self::ApiKeyActor(ApiKeyActor::from(key)))
        } else if let Some(id) = actor.inbound_hook_id() {
            ctx.loaders()?.inbound_hooks.load_one(id).await?.map(|hook| Self::InboundHookActor(hook.into()))
        } else {
            None
        };
        Ok(found.unwrap_or(Self::SystemActor(SystemActor(actor))))
    }
}

/// The caller's own view: who they are, and in which organization.
#[derive(Clone, Debug)]
pub struct Viewer {
    identified: Identified,
    caller: Caller,
}

impl Viewer {
    /// `None` for nobody.
    pub fn of(caller: &Caller) -> Option<Self> {
        Some(Self { identified: caller.identified.clone()?, caller: caller.clone() })
    }

    /// The person, unless the caller is an API key.
    fn person(&self) -> Option<&Person> {
        self.identified.person()
    }
}

#[Object]
impl Viewer {
    fn actor(&self) -> Actor {
        match &self.identified {
            Identified::Person(signed_in) => Actor::User(User::own(signed_in.person.user.clone())),
            Identified::ApiKey(holder) => Actor::ApiKeyActor(ApiKeyActor::from(holder.key.clone())),
        }
    }

    /// Null when the caller is an API key.
    fn user(&self) -> Option<User> {
        self.person().map(|person| User::own(person.user.clone()))
    }

    /// Null in a request without an organization.
    fn organization(&self) -> Option<Organization> {
        self.caller.scope.as_ref().map(|scope| Organization(scope.organization().clone()))
    }

    fn role(&self) -> Option<Role> {
        self.caller.scope.as_ref()?.role()
    }

    /// Effective here: the role's, cut down by the API key's scopes.
    fn permissions(&self) -> Vec<Permission> {
        self.caller.scope.iter().flat_map(|scope| scope.permissions().iter()).collect()
    }

    /// Every organization this person may choose.
    async fn memberships(&self, ctx: &Context<'_>) -> Result<Vec<ViewerMembership>> {
        let current = self.caller.scope.as_ref().map(|scope| scope.organization_id());
        let Some(person) = self.person() else { return Ok(Vec::new()) };
        let memberships = ctx.state().db.memberships_of(person.user.id).await?;
        Ok(memberships
            .into_iter()
            .map(|(membership, organization)| ViewerMembership {
                organization_id: organization.id,
                organization_name: organization.name,
                organization_slug: organization.slug,
                role: membership.role,
                is_current: current == Some(organization.id),
            })
            .collect())
    }

    /// Open invitations to the caller's verified address, whose makers may still grant what they offer; at most 50.
    async fn invitations(&self, ctx: &Context<'_>) -> Result<Vec<ViewerInvitation>> {
        let Some(user) = self.person().map(|person| &person.user).filter(|user| user.email_verified_at.is_some())
        else {
            return Ok(Vec::new());
        };
        let state = ctx.state();
        let now = state.clock().now();
        let mut invited = state.db.invitations_to(&user.email_key, now, None).await?;
        invited.retain(|invited| {
            invitations::stands(&invited.invitation, invited.maker.as_ref(), invited.maker_key.as_ref(), now)
        });
        Ok(invited
            .into_iter()
            .map(|invited| ViewerInvitation::new(&invited.invitation, invited.organization))
            .collect())
    }

    /// Those that have not ended, newest first; at most 50.
    async fn sessions(&self, ctx: &Context<'_>) -> Result<Vec<Session>> {
        let Some(person) = self.person() else { return Ok(Vec::new()) };
        let rows = query::sessions(&ctx.state().db, person.user.id).await?;
        Ok(rows.into_iter().map(|row| Session::new(row, person)).collect())
    }

    /// The person's own sign-ins, failures and resets, newest first; in no organization's ledger.
    async fn security_events(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
    ) -> Result<Connection<SecurityEvent>> {
        let Some(person) = self.person() else { return Ok(Connection::empty()) };
        let args = page_args(first, after, None, None);
        let page = query::security_events(&ctx.state().db, person.user.id, &args, wants(ctx)).await?;
        Ok(Connection::new(page, SecurityEvent))
    }

    /// Position now; subscribe or sync from here. Null in a request without an organization.
    async fn cursor(&self) -> Result<Option<Cursor>> {
        let Some(scope) = &self.caller.scope else { return Ok(None) };
        let sequence = scope.ledger_head().await?;
        Ok(Some(Cursor(LedgerCursor { organization_id: scope.organization_id(), sequence }.encode())))
    }
}

/// A sign-in on one device, as long as it lasts.
#[derive(Clone, Debug)]
pub struct Session {
    row: session::Model,
    is_current: bool,
}

impl Session {
    /// As `person` sees it, through the session they call with.
    pub fn new(row: session::Model, person: &Person) -> Self {
        Self { is_current: row.id == person.session_id, row }
    }
}

#[Object]
impl Session {
    pub async fn id(&self) -> SessionId {
        self.row.id
    }

    fn user_agent(&self) -> Option<&str> {
        self.row.user_agent.as_deref()
    }

    fn ip(&self) -> Option<&str> {
        self.row.ip.as_deref()
    }

    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// When it was last refreshed.
    fn last_seen_at(&self) -> DateTime {
        self.row.last_seen_at.into()
    }

    /// Unless it is refreshed before.
    fn expires_at(&self) -> DateTime {
        self.row.expires_at.into()
    }

    /// The one that this request was made with.
    fn is_current(&self) -> bool {
        self.is_current
    }
}

/// An entry of a person's own security log.
#[derive(Clone, Debug)]
pub struct SecurityEvent(pub security_event::Model);

#[Object]
impl SecurityEvent {
    pub async fn id(&self) -> SecurityEventId {
        self.0.id
    }

    fn kind(&self) -> SecurityEventKind {
        self.0.kind
    }

    fn ip(&self) -> Option<&str> {
        self.0.ip.as_deref()
    }

    fn user_agent(&self) -> Option<&str> {
        self.0.user_agent.as_deref()
    }

    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// Enough of another organization to offer it in a switcher.
#[derive(SimpleObject)]
pub struct ViewerMembership {
    organization_id: OrganizationId,
    organization_name: String,
    organization_slug: String,
    role: Role,
    is_current: bool,
}

/// What an invited person may see of an organization they have not joined.
#[derive(SimpleObject)]
pub struct ViewerInvitation {
    id: InvitationId,
    organization_name: String,
    role: Role,
    expires_at: DateTime,
}

impl ViewerInvitation {
    fn new(invitation: &invitation::Model, organization: organization::Model) -> Self {
        Self {
            id: invitation.id,
            organization_name: organization.name,
            role: invitation.role,
            expires_at: invitation.expires_at.into(),
        }
    }
}

payload! {
    UserPayload { user: User }
}

/// A session's tokens; `viewer` is the person they belong to.
#[derive(SimpleObject, Default)]
#[graphql(complex)]
pub struct SessionPayload {
    /// Send it as `Authorization: Bearer …`.
    pub access_token: Option<String>,
    /// Trade it for a new pair before or after the access token ends; it works once.
    pub refresh_token: Option<String>,
    /// When the access token ends.
    pub expires_at: Option<DateTime>,
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
