//! Filters see what their caller may read, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::registry::MetaType;
use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        schema::{Documents, bare},
    },
};
use todo_test_macros::databases;

/// Inputs that compare one value, whatever it is.
const COMPARATORS: &[&str] =
    &["DateTimeFilter", "IdFilter", "ItemStatusFilter", "NumberFilter", "PriorityFilter", "StringFilter"];

/// Each field of each filter: where its caller reads the same, and the permission that the filter asks for beyond that of
/// its list; `-` where the list's own suffices.
const FIELDS: &[(&str, &str, &str)] = &[
    ("DeliveryFilter.createdAt", "WebhookDelivery.createdAt", "-"),
    ("DeliveryFilter.eventTypes", "WebhookDelivery.event", "-"),
    ("DeliveryFilter.statuses", "WebhookDelivery.status", "-"),
    ("EventFilter.actorIds", "Event.actor", "-"),
    ("EventFilter.excludeViewer", "Event.actor", "-"),
    ("EventFilter.itemIds", "Event.item", "ITEM_READ"),
    ("EventFilter.occurredAt", "Event.occurredAt", "-"),
    ("EventFilter.subjectIds", "Event.subjectId", "-"),
    ("EventFilter.teamIds", "Item.team", "ITEM_READ"),
    ("EventFilter.types", "Event.type", "-"),
    ("ItemFilter.actualHours", "Item.actualHours", "-"),
    ("ItemFilter.and", "", "-"),
    ("ItemFilter.assignees", "Item.assignees", "-"),
    ("ItemFilter.completedAt", "Item.completedAt", "-"),
    ("ItemFilter.createdAt", "Item.createdAt", "-"),
    ("ItemFilter.createdBy", "Item.createdBy", "-"),
    ("ItemFilter.dueAt", "Item.dueAt", "-"),
    ("ItemFilter.estimatedHours", "Item.estimatedHours", "-"),
    ("ItemFilter.id", "Item.id", "-"),
    ("ItemFilter.isBlocked", "Item.isBlocked", "-"),
    ("ItemFilter.isOverdue", "Item.isOverdue", "-"),
    ("ItemFilter.isWatchedByViewer", "Item.isWatchedByViewer", "-"),
    ("ItemFilter.not", "", "-"),
    ("ItemFilter.or", "", "-"),
    ("ItemFilter.parent", "Item.parent", "-"),
    ("ItemFilter.priority", "Item.priority", "-"),
    ("ItemFilter.status", "Item.status", "-"),
    ("ItemFilter.tags", "Item.tags", "-"),
    ("ItemFilter.team", "Item.team", "-"),
    // And the description, which is of the same type.
    ("ItemFilter.text", "Item.title", "-"),
    ("ItemFilter.title", "Item.title", "-"),
    ("ItemFilter.updatedAt", "Item.updatedAt", "-"),
    ("ItemParentFilter.id", "Item.parent", "-"),
    ("ItemParentFilter.isNull", "Item.parent", "-"),
    ("ItemTeamFilter.hasViewer", "Item.team", "-"),
    ("ItemTeamFilter.id", "Item.team", "-"),
    ("ItemTeamFilter.isNull", "Item.team", "-"),
    ("ItemTeamFilter.name", "Team.name", "-"),
    ("MembershipFilter.roles", "Membership.role", "-"),
    ("MembershipFilter.statuses", "Membership.status", "-"),
    ("MembershipFilter.teamId", "Membership.teams", "ITEM_READ"),
    ("MembershipFilter.user", "Membership.user", "-"),
    ("TagFilter.id", "Tag.id", "-"),
    ("TagFilter.name", "Tag.name", "-"),
    ("TagListFilter.every", "Item.tags", "-"),
    ("TagListFilter.isEmpty", "Item.tags", "-"),
    ("TagListFilter.none", "Item.tags", "-"),
    ("TagListFilter.some", "Item.tags", "-"),
    ("TeamFilter.hasViewer", "Team.id", "-"),
    ("TeamFilter.id", "Team.id", "-"),
    ("TeamFilter.name", "Team.name", "-"),
    // Former members' too is shown by nothing: see the story below.
    ("UserFilter.email", "User.email", "MEMBER_READ"),
    ("UserFilter.id", "User.id", "-"),
    ("UserFilter.isViewer", "User.id", "-"),
    ("UserFilter.name", "User.displayName", "-"),
    ("UserFilter.roles", "Membership.role", "MEMBER_READ"),
    ("UserListFilter.every", "Item.assignees", "-"),
    ("UserListFilter.isEmpty", "Item.assignees", "-"),
    ("UserListFilter.none", "Item.assignees", "-"),
    ("UserListFilter.some", "Item.assignees", "-"),
];

/// How somebody asks who lacks the permission: the scopes of their key, and the document.
const WITHOUT: &[(&str, &[&str], &str)] = &[
    ("EventFilter.itemIds", &["AUDIT_READ"], "{ events(filter: {itemIds: []}) { totalCount } }"),
    ("EventFilter.teamIds", &["AUDIT_READ"], "{ events(filter: {teamIds: []}) { totalCount } }"),
    (
        "MembershipFilter.teamId",
        &["MEMBER_READ"],
        "{ organization { members(filter: {teamId: \"tem_00000000000000000000000000\"}) { totalCount } } }",
    ),
    ("UserFilter.email", &["ITEM_READ"], "{ items(filter: {createdBy: {email: {startsWith: \"a\"}}}) { totalCount } }"),
    ("UserFilter.roles", &["ITEM_READ"], "{ items(filter: {assignees: {some: {roles: [OWNER]}}}) { totalCount } }"),
];

/// The fields of every input that filters a list, as `Type.field`.
fn filter_fields(documents: &Documents) -> BTreeSet<String> {
    let mut waiting: Vec<String> = Vec::new();
    for ty in documents.registry.types.values() {
        let fields = match ty {
            MetaType::Object { fields, .. } | MetaType::Interface { fields, .. } => fields,
            _ => continue,
        };
        let filters = fields.values().filter_map(|field| field.args.get("filter"));
        waiting.extend(filters.map(|argument| bare(&argument.ty).to_owned()));
    }
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = waiting.pop() {
        if COMPARATORS.contains(&name.as_str()) || !seen.insert(name.clone()) {
            continue;
        }
        if let Some(MetaType::InputObject { input_fields, .. }) = documents.registry.types.get(&name) {
            for field in input_fields.values() {
                found.insert(format!("{name}.{}", field.name));
                waiting.push(bare(&field.ty).to_owned());
            }
        }
    }
    found
}

#[test]
fn every_filter_field_says_where_the_same_can_be_read() {
    let documents = Documents::new();
    let listed: BTreeMap<&str, &str> = FIELDS.iter().map(|(filter, shown, _)| (*filter, *shown)).collect();
    let names: BTreeSet<String> = listed.keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(filter_fields(&documents), names, "a new filter field: who may read what it tells?");
    for (filter, shown) in listed {
        let Some((ty, field)) = shown.split_once('.') else { continue };
        let ty = documents.registry.types.get(ty).unwrap_or_else(|| panic!("{filter}: no type {ty}"));
        assert!(ty.field_by_name(field).is_some(), "{filter}: no field {shown}");
    }
    let guarded: BTreeSet<&str> = FIELDS.iter().filter(|(_, _, needs)| *needs != "-").map(|(name, ..)| *name).collect();
    let asked: BTreeSet<&str> = WITHOUT.iter().map(|(name, ..)| *name).collect();
    assert_eq!(guarded, asked, "each that needs a permission is tried without");
}

#[databases]
async fn a_filter_asks_for_the_permission_of_what_it_tells(app: TestApp) {
    let acme = app.company("acme").await;
    for (name, scopes, document) in WITHOUT {
        let needs = FIELDS.iter().find(|(field, ..)| field == name).map_or("", |(.., needs)| needs);
        let (_, without) = app.api_key(&acme, &acme.admin, scopes).await;
        let answer = app.gql(*document).key(&without).answer().await;
        assert!(answer["errors"][0]["message"].to_string().contains(needs), "{name}: {answer:#}");
        let both: Vec<&str> = scopes.iter().copied().chain([needs]).collect();
        let (_, with) = app.api_key(&acme, &acme.admin, &both).await;
        app.gql(*document).key(&with).data().await;
    }
}

/// It could be spelled out, a letter at a time, in 595 questions.
#[databases]
async fn a_former_members_address_is_not_told_by_a_filter(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "made by the member").await;
    let count = |created_by: Value| {
        let query = "query($filter: ItemFilter) { items(filter: $filter) { totalCount } }";
        let call = app.call(&acme, &acme.admin, query).vars(json!({ "filter": { "createdBy": created_by } }));
        async move { call.data().await["items"]["totalCount"].clone() }
    };
    let email = &acme.member.email;
    let present = [
        (json!({ "email": { "startsWith": "acme-m" } }), 1),
        (json!({ "email": { "eq": email } }), 1),
        (json!({ "email": { "neq": email } }), 0),
        (json!({ "email": { "notIn": [email] } }), 0),
        (json!({ "email": { "contains": "member", "neq": "x@example.com" } }), 1),
        (json!({ "email": { "neq": "x@example.com" } }), 1),
    ];
    for (filter, expected) in present {
        assert_eq!(count(filter.clone()).await, expected, "{filter}");
    }
    let input = json!({ "id": acme.member.membership_id });
    mutate(&app, &acme, &acme.admin, ("membershipRemove", "deletedId"), input).done().await;
    let former = [
        (json!({ "email": { "startsWith": "acme-m" } }), 0),
        (json!({ "email": { "eq": email } }), 0),
        (json!({ "email": { "in": [email] } }), 0),
        (json!({ "email": { "contains": "@" } }), 0),
        (json!({ "email": { "contains": "member", "neq": "x@example.com" } }), 0),
        // As of whom no address is known: unequal to whatever it is compared with.
        (json!({ "email": { "neq": email } }), 1),
        (json!({ "email": { "neq": "x@example.com" } }), 1),
        (json!({ "email": { "notIn": [email] } }), 1),
        (json!({ "name": { "contains": "member" } }), 1),
    ];
    for (filter, expected) in former {
        assert_eq!(count(filter.clone()).await, expected, "{filter}");
    }
    let shown = "{ items { nodes { createdBy { ... on User { email displayName } } } } }";
    let shown = app.call(&acme, &acme.admin, shown).data().await;
    assert_eq!(shown["items"]["nodes"][0]["createdBy"], json!({ "email": null, "displayName": "acme-member" }));
}
