use async_graphql::InputObject;

use crate::base::{
    enums::ItemRelationKind,
    id::{ClientMade, ItemId, ItemRelationId},
};

/// A new relation between two items outside the trash.
#[derive(InputObject, Clone)]
pub struct ItemRelationCreateInput {
    /// Client-made id, `rel_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<ItemRelationId>,
    /// The item that blocks, duplicates or relates to the other.
    pub item_id: ItemId,
    /// How the two relate.
    pub kind: ItemRelationKind,
    /// The other item.
    pub related_item_id: ItemId,
}

/// Which relation to delete. Deleting it again is harmless.
#[derive(InputObject, Clone)]
pub struct ItemRelationDeleteInput {
    /// The relation.
    pub id: ItemRelationId,
}
