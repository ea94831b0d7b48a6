use std::collections::HashMap;

use async_graphql::dataloader::Loader;
use sea_orm::{ColumnTrait, Condition};

use crate::{
    base::id::TagId,
    data::{
        db::{OrgScope, filter},
        entity::{item, item_tag},
    },
    graphql::loaders::{LoadError, ScopedLoader},
};

/// How many items outside the trash carry a tag.
pub struct ItemCounts(OrgScope);

impl ScopedLoader for ItemCounts {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<TagId> for ItemCounts {
    type Value = i64;
    type Error = LoadError;

    async fn load(&self, ids: &[TagId]) -> Result<HashMap<TagId, i64>, LoadError> {
        use item_tag::Column;
        let kept = Condition::all().add(item::Column::DeletedAt.is_null());
        let kept = filter::select::<item::Entity>(&self.0, item::Column::Id, kept);
        let counts = self
            .0
            .find::<item_tag::Entity>()
            .filter(filter::among(self.0.db(), Column::TagId, ids.iter().copied()))
            .filter(Column::ItemId.in_subquery(kept))
            .count_by(Column::TagId)
            .await?;
        Ok(counts.into_iter().map(|(id, count)| (TagId::from_uuid(id), count)).collect())
    }
}
