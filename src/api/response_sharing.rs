//! Which subscriptions may share their answers: those whose every selected field is the same for all who hold the same
//! permissions, as its tag [`SAME_FOR_ALL`] says. What has no tag is not shared, so a new field is safe before it is fast.

use async_graphql::{
    parser::types::{ExecutableDocument, Selection, SelectionSet},
    registry::{MetaType, Registry},
};

use crate::graphql::{
    field_tags::{SAME_FOR_ALL, has},
    type_name::bare,
};

/// The one subscription that may be shared, named here since the library takes no tags on subscriptions.
const SHARED: &str = "events";

/// Whether all who hold the same permissions get the same answers from a subscription.
pub fn is_the_same_for_all(registry: &Registry, runs: &ExecutableDocument) -> bool {
    let root = registry.subscription_type.as_deref().unwrap_or_default();
    let mut operations = runs.operations.iter();
    operations.all(|(_, operation)| is_the_same(registry, &operation.node.selection_set.node, root))
}

fn is_the_same(registry: &Registry, set: &SelectionSet, ty: &str) -> bool {
    let is_root = registry.subscription_type.as_deref() == Some(ty);
    set.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) => {
            let name = field.node.name.node.as_str();
            let below = &field.node.selection_set.node;
            let meta = registry.types.get(ty).and_then(|parent: &MetaType| parent.field_by_name(name));
            name == "__typename"
                || meta.is_some_and(|meta| {
                    (has(meta, SAME_FOR_ALL) || (is_root && name == SHARED))
                        && (below.items.is_empty() || is_the_same(registry, below, bare(&meta.ty)))
                })
        }
        Selection::InlineFragment(inline) => {
            let ty = inline.node.type_condition.as_ref().map_or(ty, |condition| condition.node.on.node.as_str());
            is_the_same(registry, &inline.node.selection_set.node, ty)
        }
        // What is collected has none.
        Selection::FragmentSpread(_) => false,
    })
}
