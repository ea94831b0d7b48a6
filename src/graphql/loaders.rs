//! Dataloaders: made for one request, the scope inside, so that a batch can't cross tenants or callers. A domain's own are
//! in its `loaders.rs`.

use std::{
    any::TypeId,
    collections::HashMap,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
};

use async_graphql::{
    Data,
    dataloader::{DataLoader, Loader},
};
use uuid::Uuid;

use super::loads::{AtOnce, Loads};
use crate::{
    base::{error::Error, id::Id},
    data::{
        db::{
            OrgScope,
            filter::among,
            page::{Page, PagePlan, ParentKey},
        },
        entity::{Keyed, Tenant},
    },
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

/// A batch that reads one organization's data as one caller may.
pub trait ScopedLoader: Send + Sync + 'static {
    fn new(scope: OrgScope) -> Self;
}

/// The loaders of one request, each made at its first use: one of a type, so that its keys meet.
#[derive(Default)]
pub struct Loaders(Mutex<Data>);

impl Loaders {
    /// The one of a type. `scope` and `loads` are the request's.
    pub fn of<L: ScopedLoader>(&self, scope: &OrgScope, loads: &Loads) -> Arc<DataLoader<L>> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present = made.get(&TypeId::of::<Arc<DataLoader<L>>>()).and_then(|loader| loader.downcast_ref());
        if let Some(loader) = present {
            return Arc::clone(loader);
        }
        let loader = Arc::new(DataLoader::new(L::new(scope.clone()), loads.clone(), AtOnce));
        made.insert(loader.clone());
        loader
    }
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

impl<E: 'static> ScopedLoader for Rows<E> {
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

/// Pages of the children of several parents.
pub struct Children<E> {
    scope: OrgScope,
    table: PhantomData<fn() -> E>,
}

impl<E: 'static> ScopedLoader for Children<E> {
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
