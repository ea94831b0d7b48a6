//! Any object by its id. An object that the caller may not see is null, like one that isn't there.

use async_graphql::{Context, Interface, Object};

use crate::{
    base::{
        error::{Refusal, Result},
        id::{AnyId, Kind, kind},
        policy::{Access, access},
    },
    domains::{
        accounts::types::{SecurityEvent, Session, User},
        api_keys::types::ApiKey,
        comments::types::Comment,
        document_sets::types::DocumentSet,
        events::types::Event,
        inbound_hooks::types::{InboundHook, InboundReceipt},
        items::types::Item,
        members::types::{Invitation, Membership},
        organizations::types::Organization,
        tags::types::Tag,
        teams::types::Team,
        webhooks::types::{Webhook, WebhookDelivery},
    },
    graphql::{context::ContextExt, guard},
};

/// Objects that one `nodes` or `_entities` may name.
pub const MAX_NODES: usize = 100;

/// Anything with a global id: a typed prefix and a sortable UUIDv7, e.g. `itm_01jd…`.
#[derive(Interface, Clone, Debug)]
#[graphql(field(
    name = "id",
    ty = "async_graphql::ID",
    desc = "Global id: a prefix that says the kind, `_`, and 26 characters.",
    tag = "same-for-all"
))]
pub enum Node {
    User(User),
    Session(Session),
    SecurityEvent(SecurityEvent),
    Membership(Membership),
    Organization(Organization),
    Team(Team),
    Invitation(Invitation),
    Item(Item),
    Tag(Tag),
    Comment(Comment),
    Event(Event),
    ApiKey(ApiKey),
    DocumentSet(DocumentSet),
    Webhook(Webhook),
    WebhookDelivery(WebhookDelivery),
    InboundHook(InboundHook),
    InboundReceipt(InboundReceipt),
}

#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// Any object by id; null when absent or not visible (the two are not told apart).
    #[graphql(directive = access::apply(Access::Member))]
    async fn node(&self, ctx: &Context<'_>, #[graphql(desc = "Id of any kind.")] id: AnyId) -> Result<Option<Node>> {
        load(ctx, id).await
    }

    /// Up to 100 objects, in the order asked; null in the place of those absent.
    #[graphql(directive = access::apply(Access::Member))]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Ids of any kinds, 100 at most.")] ids: Vec<AnyId>,
    ) -> Result<Vec<Option<Node>>> {
        if ids.len() > MAX_NODES {
            return Err(Refusal::bad_request(format!("At most {MAX_NODES} ids.")).into());
        }
        futures_util::future::try_join_all(ids.into_iter().map(|id| load(ctx, id))).await
    }
}

/// One object, when the caller may see it.
pub async fn load(ctx: &Context<'_>, id: AnyId) -> Result<Option<Node>> {
    // Oneself, also before there is an organization.
    if let Ok(person) = ctx.person()
        && person.user.id.any() == id
    {
        return Ok(Some(Node::User(User::from(person.user.clone()))));
    }
    let loaders = ctx.loaders()?;
    /// Whether the type's own rule lets the caller through.
    fn visible<T: async_graphql::OutputType>(ctx: &Context<'_>) -> bool {
        guard::may_see(ctx, &T::type_name())
    }
    macro_rules! row {
        ($kind:ident, $loader:ident, $type:ident, $wrap:expr) => {
            if visible::<$type>(ctx) {
                loaders.$loader.load_one(id.typed::<kind::$kind>()?).await?.map($wrap).map(Node::$type)
            } else {
                None
            }
        };
    }
    Ok(match id.prefix() {
        kind::Item::PREFIX => row!(Item, items, Item, Item::from),
        kind::Team::PREFIX => row!(Team, teams, Team, Team),
        kind::Tag::PREFIX => row!(Tag, tags, Tag, Tag),
        kind::Comment::PREFIX => row!(Comment, comments, Comment, Comment),
        kind::Membership::PREFIX => row!(Membership, memberships, Membership, Membership),
        kind::Invitation::PREFIX => row!(Invitation, invitations, Invitation, Invitation),
        kind::ApiKey::PREFIX => row!(ApiKey, api_keys, ApiKey, ApiKey),
        kind::DocumentSet::PREFIX => row!(DocumentSet, document_sets, DocumentSet, DocumentSet),
        kind::Webhook::PREFIX => row!(Webhook, webhooks, Webhook, Webhook),
        kind::WebhookDelivery::PREFIX => row!(WebhookDelivery, deliveries, WebhookDelivery, WebhookDelivery),
        kind::InboundHook::PREFIX => row!(InboundHook, inbound_hooks, InboundHook, InboundHook),
        kind::InboundReceipt::PREFIX => row!(InboundReceipt, inbound_receipts, InboundReceipt, InboundReceipt),
        kind::Event::PREFIX => row!(Event, events, Event, Event).filter(|node| match node {
            Node::Event(event) => ctx.scope().is_ok_and(|scope| crate::domains::events::query::may_see(scope, event)),
            _ => true,
        }),
        kind::Session::PREFIX => match ctx.person() {
            Ok(person) => {
                let session = loaders.own_sessions.load_one(id.typed::<kind::Session>()?).await?;
                session.map(|row| Node::Session(Session::new(row, person)))
            }
            Err(_) => None,
        },
        kind::SecurityEvent::PREFIX => row!(SecurityEvent, own_security_events, SecurityEvent, SecurityEvent),
        kind::User::PREFIX => {
            let user_id = id.typed::<kind::User>()?;
            match loaders.membership_of_user.load_one(user_id).await? {
                Some(_) => loaders.users.load_one(user_id).await?.map(User::from).map(Node::User),
                None => None,
            }
        }
        kind::Organization::PREFIX => {
            let organization = ctx.scope()?.organization();
            (organization.id.any() == id).then(|| Node::Organization(Organization(organization.clone())))
        }
        _ => None,
    })
}
