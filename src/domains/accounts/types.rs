use std::sync::Arc;

use async_graphql::{Context, Description, Interface, Object, SimpleObject};

use super::{
    loaders::{OwnSecurityEvents, OwnSessions, Users},
    query,
};
use crate::{
    base::{
        enums::{ActorKind, Role, SecurityEventKind},
        error::Result,
        id::{AnyId, InvitationId, OrganizationId, SecurityEventId, SessionId, UserId, kind},
        policy::Permission,
    },
    data::{
        actor::Person,
        db::identity::Identified,
        entity::{ActorRef, Findable, api_key, inbound_hook, invitation, organization, security_event, session, user},
    },
    domains::{
        api_keys::types::ApiKeyActor,
        inbound_hooks::types::InboundHookActor,
        members::{invitations, loaders::MembershipOfUser, types::Membership},
        organizations::types::Organization,
    },
    graphql::{
        connection::{Connection, page_args, wants},
        context::ContextExt,
        guard,
        loaders::Rows,
        node::NodeType,
        payload::{Common, Outcome, payload, payload_fields},
        scalars::{Cursor, DateTime, Url},
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

/// The caller's own view: who they are, and in which organization. Lists of a person's own are empty for an API key.
#[derive(Clone, Debug, Description)]
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

#[Object(use_type_description)]
impl Viewer {
    /// The caller, as events and items name them.
    fn actor(&self) -> Actor {
        match &self.identified {
            Identified::Person(signed_in) => Actor::User(User::own(signed_in.person.user.clone())),
            Identified::ApiKey(holder) => Actor::ApiKeyActor(ApiKeyActor::from(holder.key.clone())),
        }
    }

    /// The person who calls; null when the caller is an API key.
    fn user(&self) -> Option<User> {
        self.person().map(|person| User::own(person.user.clone()))
    }

    /// The organization of this request; null without one.
    fn organization(&self) -> Option<Organization> {
        self.caller.scope.as_ref().map(|scope| Organization(scope.organization().clone()))
    }

    /// The caller's role there, of an API key that of the member who made it; null without an organization.
    fn role(&self) -> Option<Role> {
        self.caller.scope.as_ref()?.role()
    }

    /// What the caller may do there now: what the role holds, cut down by an API key's scopes. Empty without an
    /// organization.
    fn permissions(&self) -> Vec<Permission> {
        self.caller.scope.iter().flat_map(|scope| scope.permissions().iter()).collect()
    }

    /// Every organization this person may choose, by name; those where they are suspended are left out.
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

    /// Open invitations to the caller's verified address, whose makers may still grant what they offer, by the
    /// organization's name; at most 50.
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

    /// The person's sessions that have not ended, newest first; at most 50.
    async fn sessions(&self, ctx: &Context<'_>) -> Result<Vec<Session>> {
        let Some(person) = self.person() else { return Ok(Vec::new()) };
        let rows = query::sessions(&ctx.state().db, person.user.id).await?;
        Ok(rows.into_iter().map(|row| Session::new(row, person)).collect())
    }

    /// The person's own sign-ins, failures and resets, newest first; in no organization's ledger.
    async fn security_events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Result<Connection<SecurityEvent>> {
        let Some(person) = self.person() else { return Ok(Connection::empty()) };
        let args = page_args(first, after, None, None);
        let page = query::security_events(&ctx.state().db, person.user.id, &args, wants(ctx)).await?;
        Ok(Connection::new(page, SecurityEvent))
    }

    /// The ledger's position now: subscribe or sync from here. Null without an organization.
    async fn cursor(&self) -> Result<Option<Cursor>> {
        let Some(scope) = &self.caller.scope else { return Ok(None) };
        let sequence = scope.ledger_head().await?;
        Ok(Some(scope.cursor(sequence).into()))
    }
}

/// A sign-in on one device, as long as it lasts. Only the person sees it.
#[derive(Clone, Debug, Description)]
pub struct Session {
    row: session::Model,
    is_current: bool,
}

impl NodeType for Session {
    type Kind = kind::Session;

    async fn find(ctx: &Context<'_>, id: SessionId) -> Result<Option<Self>> {
        let Ok(person) = ctx.person() else { return Ok(None) };
        let session = ctx.loader::<OwnSessions>()?.load_one(id).await?;
        Ok(session.map(|row| Self::new(row, person)))
    }
}

impl Session {
    /// As `person` sees it, through the session they call with.
    pub fn new(row: session::Model, person: &Person) -> Self {
        Self { is_current: row.id == person.session_id, row }
    }
}

#[Object(use_type_description)]
impl Session {
    /// Global id, `ses_…`.
    pub async fn id(&self) -> SessionId {
        self.row.id
    }

    /// What the device's program called itself when it signed in, cut to 200 characters; null when it did not.
    fn user_agent(&self) -> Option<&str> {
        self.row.user_agent.as_deref()
    }

    /// Network address of the sign-in; null when it is not known.
    fn ip(&self) -> Option<&str> {
        self.row.ip.as_deref()
    }

    /// When it began.
    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }

    /// When it was last refreshed.
    fn last_seen_at(&self) -> DateTime {
        self.row.last_seen_at.into()
    }

    /// When it ends, unless it is refreshed before.
    fn expires_at(&self) -> DateTime {
        self.row.expires_at.into()
    }

    /// Whether this request was made with it.
    fn is_current(&self) -> bool {
        self.is_current
    }
}

/// An entry of a person's own security log. Nobody else sees it.
#[derive(Clone, Debug, Description)]
pub struct SecurityEvent(pub security_event::Model);

impl NodeType for SecurityEvent {
    type Kind = kind::SecurityEvent;

    async fn find(ctx: &Context<'_>, id: SecurityEventId) -> Result<Option<Self>> {
        Ok(ctx.loader::<OwnSecurityEvents>()?.load_one(id).await?.map(Self))
    }
}

#[Object(use_type_description)]
impl SecurityEvent {
    /// Global id, `sev_…`.
    pub async fn id(&self) -> SecurityEventId {
        self.0.id
    }

    /// What happened.
    fn kind(&self) -> SecurityEventKind {
        self.0.kind
    }

    /// Network address it came from; null when it is not known.
    fn ip(&self) -> Option<&str> {
        self.0.ip.as_deref()
    }

    /// What the program called itself, cut to 200 characters; null when it did not.
    fn user_agent(&self) -> Option<&str> {
        self.0.user_agent.as_deref()
    }

    /// When it happened.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }
}

/// Enough of another organization to offer it in a switcher.
#[derive(SimpleObject)]
pub struct ViewerMembership {
    /// Global id, `org_…`.
    organization_id: OrganizationId,
    /// What it is called.
    organization_name: String,
    /// The organization's slug, for the path `/o/{slug}/graphql` or the header `X-Organization`.
    organization_slug: String,
    /// The person's role there.
    role: Role,
    /// Whether it is the organization of this request.
    is_current: bool,
}

/// What an invited person may see of an organization they have not joined.
#[derive(SimpleObject)]
pub struct ViewerInvitation {
    /// The invitation's id, for `invitationAccept`.
    id: InvitationId,
    /// Who invites.
    organization_name: String,
    /// The role that it gives.
    role: Role,
    /// Until when it may be accepted.
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
