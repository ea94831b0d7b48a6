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
    graphql::{
        context::ContextExt,
        node::{NodeType, find},
    },
};

/// Objects that one `nodes` or `_entities` may name.
pub const MAX_NODES: usize = 100;

/// Declares the interface of those types, and finds an object by its id's prefix.
macro_rules! nodes {
    ($($type:ident),* $(,)?) => {
        /// Anything with a global id: a typed prefix and a sortable UUIDv7, e.g. `itm_01jd…`.
        #[derive(Interface, Clone, Debug)]
        #[graphql(field(
            name = "id",
            ty = "async_graphql::ID",
            desc = "Global id: a prefix that says the kind, `_`, and 26 characters.",
            tag = "same-for-all"
        ))]
        pub enum Node {
            $($type($type),)*
        }

        async fn find_by_prefix(ctx: &Context<'_>, id: AnyId) -> Result<Option<Node>> {
            Ok(match id.prefix() {
                $(<<$type as NodeType>::Kind as Kind>::PREFIX => find::<$type>(ctx, id).await?.map(Node::$type),)*
                _ => None,
            })
        }
    };
}

nodes! {
    User,
    Session,
    SecurityEvent,
    Membership,
    Organization,
    Team,
    Invitation,
    Item,
    Tag,
    Comment,
    Event,
    ApiKey,
    DocumentSet,
    Webhook,
    WebhookDelivery,
    InboundHook,
    InboundReceipt,
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
    // Oneself is there before any organization is.
    if id.prefix() != kind::User::PREFIX {
        ctx.scope()?;
    }
    find_by_prefix(ctx, id).await
}
