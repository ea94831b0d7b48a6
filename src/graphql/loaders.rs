//! Dataloaders: one set a request, the scope inside, so that a batch can't cross tenants or callers.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::Arc,
};

use async_graphql::dataloader::{DataLoader, Loader};
use uuid::Uuid;

use super::loads::{AtOnce, Loads};
use crate::{
    base::{
        error::Error,
        id::{Id, UserId},
    },
    data::{
        db::{
            OrgScope,
            filter::among,
            page::{Page, PagePlan, ParentKey},
        },
        entity::{
            Keyed, Tenant, api_key, comment, document_set, event, inbound_hook, inbound_receipt, invitation, item,
            membership, tag, team, user, webhook, webhook_delivery,
        },
    },
    domains::{accounts, items, members, tags, teams, webhooks},
};

/// Failures of a batch, shared by all that waited for it.
pub type LoadError = Arc<Error>;

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match &*error {
            Error::Invalid(_) | Error::Repeated => Self::internal(error.describe()),
            other => other.clone(),
        }
    }
}

macro_rules! loaders {
    ($($(#[$doc:meta])* $field:ident: $loader:ty = $make:expr;)*) => {
        /// The loaders of one request.
        pub struct Loaders {
            $($(#[$doc])* pub $field: DataLoader<$loader>,)*
        }

        impl Loaders {
            pub fn new(scope: &OrgScope, loads: &Loads) -> Self {
                Self { $($field: DataLoader::new($make(scope.clone()), loads.clone(), AtOnce),)* }
            }
        }
    };
}

loaders! {
    api_keys: Rows<api_key::Entity> = Rows::new;
    document_sets: Rows<document_set::Entity> = Rows::new;
    items: Rows<item::Entity> = Rows::new;
    tags: Rows<tag::Entity> = Rows::new;
    teams: Rows<team::Entity> = Rows::new;
    comments: Rows<comment::Entity> = Rows::new;
    memberships: Rows<membership::Entity> = Rows::new;
    invitations: Rows<invitation::Entity> = Rows::new;
    events: Rows<event::Entity> = Rows::new;
    webhooks: Rows<webhook::Entity> = Rows::new;
    inbound_hooks: Rows<inbound_hook::Entity> = Rows::new;
    inbound_receipts: Rows<inbound_receipt::Entity> = Rows::new;
    receipt_pages: Children<inbound_receipt::Entity> = Children::new;
    deliveries: Rows<webhook_delivery::Entity> = Rows::new;
    own_sessions: accounts::loaders::OwnSessions = accounts::loaders::OwnSessions;
    own_security_events: accounts::loaders::OwnSecurityEvents = accounts::loaders::OwnSecurityEvents;
    users: Users = Users;
    membership_of_user: members::loaders::MembershipOfUser = members::loaders::MembershipOfUser;
    teams_of_member: teams::loaders::TeamsOfMember = teams::loaders::TeamsOfMember;
    teams_of_invitation: teams::loaders::TeamsOfInvitation = teams::loaders::TeamsOfInvitation;
    assignees: items::loaders::Assignees = items::loaders::Assignees;
    item_tags: items::loaders::Tags = items::loaders::Tags;
    tag_item_counts: tags::loaders::ItemCounts = tags::loaders::ItemCounts;
    item_pages: Children<item::Entity> = Children::new;
    member_pages: Children<membership::Entity> = Children::new;
    comment_pages: Children<comment::Entity> = Children::new;
    event_pages: Children<event::Entity> = Children::new;
    delivery_pages: Children<webhook_delivery::Entity> = Children::new;
    waiting_of_webhook: webhooks::loaders::WaitingOf = webhooks::loaders::WaitingOf;
    attempts_of_delivery: webhooks::loaders::AttemptsOf = webhooks::loaders::AttemptsOf;
}

impl std::fmt::Debug for Loaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Loaders(…)")
    }
}

/// Rows of a tenant's table by id.
pub struct Rows<E> {
    scope: OrgScope,
    table: PhantomData<fn() -> E>,
}

impl<E> Rows<E> {
    fn new(scope: OrgScope) -> Self {
        Self { scope, table: PhantomData }
    }
}

impl<E: Keyed> Loader<Id<E::Kind>> for Rows<E>
where
    E::Model: Clone,
    E::Kind: Eq + Hash,
{
    type Value = E::Model;
    type Error = LoadError;

    async fn load(&self, ids: &[Id<E::Kind>]) -> Result<HashMap<Id<E::Kind>, E::Model>, LoadError> {
        let rows = self.scope.find::<E>().filter(among(self.scope.db(), E::ID, ids.iter().copied())).all().await?;
        Ok(rows.into_iter().map(|row| (E::id(&row), row)).collect())
    }
}

/// People named by rows of the organization: members, and those who were.
pub struct Users(OrgScope);

impl Loader<UserId> for Users {
    type Value = Arc<user::Model>;
    type Error = LoadError;

    async fn load(&self, ids: &[UserId]) -> Result<HashMap<UserId, Arc<user::Model>>, LoadError> {
        let rows =
            self.0.db().find_global::<user::Entity>(among(self.0.db(), user::Column::Id, ids.iter().copied())).await?;
        Ok(rows.into_iter().map(|row| (row.id, Arc::new(row))).collect())
    }
}

/// Pages of the children of several parents.
pub struct Children<E> {
    scope: OrgScope,
    table: PhantomData<fn() -> E>,
}

impl<E> Children<E> {
    fn new(scope: OrgScope) -> Self {
        Self { scope, table: PhantomData }
    }
}

/// A page of one parent's children; keys with the same plan share a statement.
#[derive(Clone, Debug)]
pub struct ChildPage<E: Tenant> {
    parent: Uuid,
    key: ParentKey,
    plan: Arc<PagePlan<E>>,
    group: u64,
}

impl<E: Tenant> ChildPage<E> {
    pub fn new(parent: Uuid, key: ParentKey, plan: PagePlan<E>) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        (plan.group(), key.name()).hash(&mut hasher);
        Self { parent, key, plan: Arc::new(plan), group: hasher.finish() }
    }
}

impl<E: Tenant> PartialEq for ChildPage<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.parent, self.group) == (other.parent, other.group)
    }
}

impl<E: Tenant> Eq for ChildPage<E> {}

impl<E: Tenant> Hash for ChildPage<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.parent, self.group).hash(state);
    }
}

impl<E: Tenant> Loader<ChildPage<E>> for Children<E>
where
    E::Model: Clone,
{
    type Value = Page<E::Model>;
    type Error = LoadError;

    async fn load(&self, keys: &[ChildPage<E>]) -> Result<HashMap<ChildPage<E>, Page<E::Model>>, LoadError> {
        let mut groups: HashMap<u64, Vec<&ChildPage<E>>> = HashMap::new();
        for key in keys {
            groups.entry(key.group).or_default().push(key);
        }
        let mut pages = HashMap::with_capacity(keys.len());
        for keys in groups.into_values() {
            let Some(one) = keys.first() else { continue };
            let parents: Vec<Uuid> = keys.iter().map(|key| key.parent).collect();
            let mut found = one.plan.fetch_children(&self.scope, &one.key, &parents).await?;
            pages.extend(keys.into_iter().filter_map(|key| Some((key.clone(), found.remove(&key.parent)?))));
        }
        Ok(pages)
    }
}
