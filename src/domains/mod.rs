//! The product, a folder a domain, of one shape: `types` (objects), `input` and `filter` (input objects), `resolvers` (root
//! fields), `query` (lists), `loaders` (batches), `service` (the rules; knows neither async-graphql nor axum).
//!
//! A `service` may call another's service, `types` use another's types and loaders: the types of a graph refer to each other
//! by nature. No domain knows how a request came in. `docs/ARCHITECTURE.md` walks through a new field and a new entity.
//!
//! A new domain is registered here: its module, its objects in [`Node`], its root fields in the roots below.

pub mod accounts;
pub mod api_keys;
pub mod comments;
pub mod document_sets;
pub mod events;
pub mod imports;
pub mod inbound_hooks;
pub mod items;
pub mod members;
pub mod node;
pub mod organizations;
pub mod plans;
pub mod relations;
pub mod search;
pub mod server;
pub mod sync;
pub mod tags;
pub mod teams;
pub mod usage;
pub mod webhooks;

use async_graphql::{MergedObject, MergedSubscription};

node::nodes! {
    accounts::User,
    accounts::Session,
    accounts::SecurityEvent,
    members::Membership,
    organizations::Organization,
    teams::Team,
    members::Invitation,
    items::Item,
    relations::ItemRelation,
    tags::Tag,
    comments::Comment,
    events::Event,
    api_keys::ApiKey,
    document_sets::DocumentSet,
    imports::Import,

    webhooks::Webhook,
    webhooks::WebhookDelivery,
    inbound_hooks::InboundHook,
    inbound_hooks::InboundReceipt,
}

/// What can be read.
#[derive(MergedObject, Default)]
pub struct DomainQuery(
    accounts::resolvers::AccountQuery,
    organizations::resolvers::OrganizationQuery,
    node::NodeQuery,
    items::resolvers::ItemQuery,
    search::resolvers::SearchQuery,
    events::resolvers::EventQuery,
    sync::resolvers::SyncQuery,
    server::ServerQuery,
);

/// What can be changed. The root fields of one operation run one after the other, each in a transaction of its own:
/// one that fails does not undo the others.
///
/// Select `userErrors`: a failure that the selection leaves out is raised as a top-level error.
#[derive(MergedObject, Default)]
pub struct Mutation(
    accounts::resolvers::AccountMutation,
    organizations::resolvers::OrganizationMutation,
    plans::resolvers::PlanMutation,
    members::resolvers::MemberMutation,
    teams::resolvers::TeamMutation,
    items::resolvers::ItemMutation,
    relations::resolvers::RelationMutation,
    tags::resolvers::TagMutation,
    comments::resolvers::CommentMutation,
    api_keys::resolvers::ApiKeyMutation,
    document_sets::resolvers::DocumentSetMutation,
    imports::resolvers::ImportMutation,
    webhooks::resolvers::WebhookMutation,
    inbound_hooks::resolvers::InboundHookMutation,
);

/// What can be followed as it happens, over a WebSocket (`graphql-transport-ws`) or server-sent events.
#[derive(MergedSubscription, Default)]
pub struct Subscription(events::subscription::EventSubscription);
