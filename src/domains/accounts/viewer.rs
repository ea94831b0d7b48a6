//! What a person sees of themselves: who and where they are, their sessions, their security log.

use async_graphql::{Context, Description, Object, SimpleObject};

use super::{
    loaders::{OwnSecurityEvents, OwnSessions},
    query,
    types::{Actor, User},
};
use crate::{
    base::{
        enums::{Role, SecurityEventKind},
        error::Result,
        id::{InvitationId, OrganizationId, SecurityEventId, SessionId, kind},
        policy::Permission,
    },
    data::{
        actor::Person,
        db::identity::Identified,
        entity::{invitation, organization, security_event, session},
    },
    domains::{api_keys::types::ApiKeyActor, members::invitations, organizations::types::Organization},
    graphql::{
        connection::{Connection, page_args, wants},
        context::ContextExt,
        node::NodeType,
        scalars::{Cursor, DateTime},
    },
    platform::auth::session::Caller,
};

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
