//! What belongs to items: their relations, and whether something blocks them, batched.

use std::{collections::HashMap, sync::Arc};

use async_graphql::dataloader::Loader;
use sea_orm::{ColumnTrait as _, Condition};

use super::types::ItemRelation;
use crate::{
    base::{
        enums::{ItemRelationKind, ItemStatus},
        error::{Code, Refusal, Result},
        id::ItemId,
    },
    data::{
        db::{
            OrgScope,
            filter::{among, everything, select},
        },
        entity::{item, item_relation},
    },
    graphql::loaders::{LoadError, ScopedLoader},
};

/// Items that the relations of one page may name.
const MAX_ITEMS: usize = 1_000;

/// Relations of each item, oldest first, with the other item. One in the trash is seen only from there. Two statements.
pub struct Relations(OrgScope);

impl ScopedLoader for Relations {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<ItemId> for Relations {
    type Value = Vec<ItemRelation>;
    type Error = LoadError;

    async fn load(&self, ids: &[ItemId]) -> Result<HashMap<ItemId, Vec<ItemRelation>>, LoadError> {
        use item_relation::Column;
        let scope = &self.0;
        let names = |column| among(scope.db(), column, ids.iter().copied());
        let either = Condition::any().add(names(Column::ItemId)).add(names(Column::RelatedItemId));
        let rows = scope.find::<item_relation::Entity>().filter(either);
        let rows = rows.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).all().await?;
        let mut found: HashMap<ItemId, Vec<ItemRelation>> = HashMap::with_capacity(ids.len());
        if rows.is_empty() {
            return Ok(found);
        }
        let items = both_ends(scope, &rows).await?;
        for id in ids {
            let seen = rows.iter().filter_map(|row| seen_from(*id, row, &items));
            found.insert(*id, seen.collect());
        }
        Ok(found)
    }
}

/// The items that relations name, [`MAX_ITEMS`] at most: each may have a large description.
async fn both_ends(scope: &OrgScope, rows: &[item_relation::Model]) -> Result<HashMap<ItemId, Arc<item::Model>>> {
    let mut named: Vec<ItemId> = rows.iter().flat_map(|row| [row.item_id, row.related_item_id]).collect();
    named.sort_unstable();
    named.dedup();
    if named.len() > MAX_ITEMS {
        let message =
            format!("The relations asked for name more than {MAX_ITEMS} items: ask for those of fewer items.");
        return Err(Refusal::new(Code::QueryTooComplex, message).into());
    }
    let items = scope.find::<item::Entity>().filter(among(scope.db(), item::Column::Id, named)).all().await?;
    Ok(items.into_iter().map(|row| (row.id, Arc::new(row))).collect())
}

fn seen_from(
    id: ItemId,
    row: &item_relation::Model,
    items: &HashMap<ItemId, Arc<item::Model>>,
) -> Option<ItemRelation> {
    let (is_inverse, other) = match (row.item_id == id, row.related_item_id == id) {
        (true, _) => (false, row.related_item_id),
        (_, true) => (true, row.item_id),
        _ => return None,
    };
    let (own, other) = (items.get(&id)?, items.get(&other)?);
    let is_seen = other.deleted_at.is_none() || own.deleted_at.is_some();
    is_seen.then(|| ItemRelation { row: row.clone(), is_inverse, other: Some(other.clone()) })
}

/// Whether something blocks an item. One statement.
pub struct Blocked(OrgScope);

impl ScopedLoader for Blocked {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<ItemId> for Blocked {
    type Value = bool;
    type Error = LoadError;

    async fn load(&self, ids: &[ItemId]) -> Result<HashMap<ItemId, bool>, LoadError> {
        use item_relation::Column;
        let blocking = self.0.find::<item_relation::Entity>().filter(blocking(&self.0));
        let these = among(self.0.db(), Column::RelatedItemId, ids.iter().copied());
        let blocked = blocking.filter(these).column::<ItemId>(Column::RelatedItemId).await?;
        Ok(blocked.into_iter().map(|id| (id, true)).collect())
    }
}

/// Relations that block: what blocks is neither finished nor in the trash.
pub fn blocking(scope: &OrgScope) -> Condition {
    use item_relation::Column;
    let open = everything()
        .add(item::Column::DeletedAt.is_null())
        .add(item::Column::Status.is_not_in([ItemStatus::Done, ItemStatus::Archived]));
    everything().add(Column::Kind.eq(ItemRelationKind::Blocks)).add(Column::ItemId.in_subquery(select::<item::Entity>(
        scope,
        item::Column::Id,
        open,
    )))
}
