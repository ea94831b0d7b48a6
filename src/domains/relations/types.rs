use std::sync::Arc;

use async_graphql::{Context, Description, Object};

use crate::{
    base::{
        enums::ItemRelationKind,
        error::{Error, Result},
        id::ItemRelationId,
        policy::{Permission, requires},
    },
    data::entity::{item, item_relation},
    domains::items::types::Item,
    graphql::{context::ContextExt, loaders::Rows, node::row_node, payload::payload, scalars::DateTime},
};

/// A relation of two items, seen from the one that it was reached from.
#[derive(Clone, Debug, Description)]
pub struct ItemRelation {
    pub row: item_relation::Model,
    /// Reached from the item that the relation leads to.
    pub is_inverse: bool,
    /// The other item, where it was loaded along.
    pub other: Option<Arc<item::Model>>,
}

row_node!(ItemRelation: item_relation, Self::from);

impl From<item_relation::Model> for ItemRelation {
    fn from(row: item_relation::Model) -> Self {
        Self { row, is_inverse: false, other: None }
    }
}

#[Object(use_type_description, directive = requires::apply(Permission::ItemRead))]
impl ItemRelation {
    /// Global id, `rel_…`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn id(&self) -> ItemRelationId {
        self.row.id
    }

    /// How the two relate.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn kind(&self) -> ItemRelationKind {
        self.row.kind
    }

    /// True when the other item is the subject, e.g. it blocks this one; false when reached by `node`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn is_inverse(&self) -> bool {
        self.is_inverse
    }

    /// The other item; by `node` the one that the relation leads to.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    async fn item(&self, ctx: &Context<'_>) -> Result<Item> {
        Box::pin(async move {
            if let Some(other) = &self.other {
                return Ok(Item::from(other.clone()));
            }
            let other = if self.is_inverse { self.row.item_id } else { self.row.related_item_id };
            let item = ctx.loader::<Rows<item::Entity>>()?.load_one(other).await?;
            item.map(Item::from).ok_or_else(|| Error::internal("a relation without an item"))
        })
        .await
    }

    /// When they were related.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn created_at(&self) -> DateTime {
        self.row.created_at.into()
    }
}

payload! {
    /// What became of a mutation of a relation.
    ItemRelationPayload { relation: ItemRelation }
}
