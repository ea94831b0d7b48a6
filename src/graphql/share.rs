//! Which subscriptions may share their answers: those whose every selected field is the same for all who hold the same
//! permissions. What is not on the list is not shared, so a new field is safe before it is fast; a test compares what two
//! people see of each field that is.

use async_graphql::{
    parser::types::{ExecutableDocument, Selection, SelectionSet},
    registry::{MetaType, Registry},
};

use super::document::bare;

/// Fields by type that depend on the ledger, on present rows and on permissions alone.
pub const SAME_FOR_ALL: &[(&str, &[&str])] = &[
    ("Subscription", &["events"]),
    ("EventBatch", &["events", "cursor", "isLive"]),
    (
        "Event",
        &[
            "id",
            "sequence",
            "cursor",
            "type",
            "occurredAt",
            "actor",
            "subjectId",
            "subject",
            "item",
            "changes",
            "requestId",
            "ip",
        ],
    ),
    ("FieldChange", &["field", "before", "after"]),
    ("Node", &["id"]),
    ("Actor", &["id", "displayName", "avatarUrl"]),
    ("User", &["id", "displayName", "username", "avatarUrl"]),
    (
        "Item",
        &[
            "id",
            "identifier",
            "title",
            "description",
            "status",
            "priority",
            "dueAt",
            "isOverdue",
            "estimatedHours",
            "actualHours",
            "team",
            "assignees",
            "tags",
            "createdBy",
            "createdAt",
            "updatedAt",
            "startedAt",
            "completedAt",
            "archivedAt",
            "deletedAt",
            "version",
        ],
    ),
    ("Comment", &["id", "item", "body", "author", "createdAt", "editedAt", "version"]),
    ("Tag", &["id", "name", "color", "createdAt", "updatedAt", "version"]),
    ("Team", &["id", "name", "description", "createdAt", "updatedAt", "version"]),
    ("Membership", &["id", "user", "role", "status", "joinedAt", "version"]),
];

/// Whether all who hold the same permissions get the same answers from a subscription.
pub fn is_the_same_for_all(registry: &Registry, runs: &ExecutableDocument) -> bool {
    let root = registry.subscription_type.as_deref().unwrap_or_default();
    let mut operations = runs.operations.iter();
    operations.all(|(_, operation)| is_the_same(registry, &operation.node.selection_set.node, root))
}

fn is_the_same(registry: &Registry, set: &SelectionSet, ty: &str) -> bool {
    let allowed = SAME_FOR_ALL.iter().find(|(name, _)| *name == ty).map_or(&[][..], |(_, fields)| fields);
    set.items.iter().all(|selection| match &selection.node {
        Selection::Field(field) => {
            let name = field.node.name.node.as_str();
            let below = &field.node.selection_set.node;
            let meta = registry.types.get(ty).and_then(|parent: &MetaType| parent.field_by_name(name));
            name == "__typename"
                || allowed.contains(&name)
                    && meta.is_some_and(|meta| below.items.is_empty() || is_the_same(registry, below, bare(&meta.ty)))
        }
        Selection::InlineFragment(inline) => {
            let ty = inline.node.type_condition.as_ref().map_or(ty, |condition| condition.node.on.node.as_str());
            is_the_same(registry, &inline.node.selection_set.node, ty)
        }
        // What is collected has none.
        Selection::FragmentSpread(_) => false,
    })
}
