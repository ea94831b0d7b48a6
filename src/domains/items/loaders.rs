//! What belongs to items, batched.

use std::{collections::HashMap, sync::Arc};

use async_graphql::dataloader::Loader;

use super::input::MAX_ANCESTORS;
use crate::{
    base::id::ItemId,
    data::{
        db::{
            OrgScope,
            filter::{among, is_viewer},
        },
        entity::{item_assignee, item_tag, item_watcher, tag},
    },
    domains::{accounts::types::User, tags::types::Tag},
    graphql::loaders::{LoadError, ScopedLoader},
};

/// The assignees of each item, by username. One statement.
pub struct Assignees(OrgScope);

impl ScopedLoader for Assignees {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<ItemId> for Assignees {
    type Value = Vec<User>;
    type Error = LoadError;

    async fn load(&self, ids: &[ItemId]) -> Result<HashMap<ItemId, Vec<User>>, LoadError> {
        use item_assignee::Column;
        let of_items = self.0.find::<item_assignee::Entity>();
        let of_items = of_items.filter(among(self.0.db(), Column::ItemId, ids.iter().copied()));
        let mut found: HashMap<ItemId, Vec<User>> = HashMap::with_capacity(ids.len());
        for (item, user) in of_items.linked_people(Column::ItemId, Column::UserId).await? {
            found.entry(ItemId::from_uuid(item)).or_default().push(User::from(Arc::new(user)));
        }
        for people in found.values_mut() {
            people.sort_by(|a, b| a.row.username_key.cmp(&b.row.username_key));
        }
        Ok(found)
    }
}

/// The tags of each item, by name. One statement.
pub struct Tags(OrgScope);

impl ScopedLoader for Tags {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<ItemId> for Tags {
    type Value = Vec<Tag>;
    type Error = LoadError;

    async fn load(&self, ids: &[ItemId]) -> Result<HashMap<ItemId, Vec<Tag>>, LoadError> {
        use item_tag::Column;
        let of_items = self.0.find::<item_tag::Entity>();
        let of_items = of_items.filter(among(self.0.db(), Column::ItemId, ids.iter().copied()));
        let mut found: HashMap<ItemId, Vec<Tag>> = HashMap::with_capacity(ids.len());
        for (item, tag) in of_items.linked::<tag::Entity>(Column::ItemId, Column::TagId).await? {
            found.entry(ItemId::from_uuid(item)).or_default().push(tag.into());
        }
        for tags in found.values_mut() {
            tags.sort_by(|a, b| a.0.name_key.cmp(&b.0.name_key));
        }
        Ok(found)
    }
}

/// Whether the caller watches an item. One statement.
pub struct Watched(OrgScope);

impl ScopedLoader for Watched {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<ItemId> for Watched {
    type Value = bool;
    type Error = LoadError;

    async fn load(&self, ids: &[ItemId]) -> Result<HashMap<ItemId, bool>, LoadError> {
        use item_watcher::Column;
        let own = is_viewer(&self.0, Column::UserId, true);
        let these = among(self.0.db(), Column::ItemId, ids.iter().copied());
        let watched = self.0.find::<item_watcher::Entity>().filter(own).filter(these);
        Ok(watched.column::<ItemId>(Column::ItemId).await?.into_iter().map(|id| (id, true)).collect())
    }
}

/// Ids of the items above each, root first; their rows are for [`Rows`](crate::graphql::loaders::Rows). One statement.
pub struct Ancestors(OrgScope);

impl ScopedLoader for Ancestors {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<ItemId> for Ancestors {
    type Value = Vec<ItemId>;
    type Error = LoadError;

    async fn load(&self, ids: &[ItemId]) -> Result<HashMap<ItemId, Vec<ItemId>>, LoadError> {
        Ok(self.0.ancestors(ids, MAX_ANCESTORS).await?)
    }
}
