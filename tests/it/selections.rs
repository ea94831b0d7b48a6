//! However fields are selected, the answer is the same, and the work as well: objects of pages are resolved in a way of our
//! own, and what that leaves to the library must not be told apart.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{app::TestApp, world::Company};
use todo_test_macros::databases;

const PLAIN: &str = "{ items(first: 5) { nodes { __typename id title team { name } tags { id name } \
    assignees { id displayName } comments(first: 2) { totalCount nodes { body author { __typename id displayName } } } } } }";

const OTHERWISE: &[(&str, &str)] = &[
    (
        "a fragment",
        "fragment One on Item { ...Two tags { id name } assignees { id displayName } } \
         fragment Two on Item { __typename id title team { name } } \
         { items(first: 5) { nodes { ...One comments(first: 2) { totalCount nodes { body author { __typename id displayName } } } } } }",
    ),
    (
        "fragments within",
        "{ items(first: 5) { nodes { ... on Item { __typename id } ... { title team { name } } tags { ... on Tag { id name } } \
         assignees { ... { id displayName } } \
         comments(first: 2) { totalCount nodes { body author { __typename id ... on User { displayName } } } } } } }",
    ),
    (
        "a fragment on an interface",
        "{ items(first: 5) { nodes { ... on Node { id } __typename title team { ... on Team { name } } tags { id name } \
         assignees { ... on Actor { id displayName } } \
         comments(first: 2) { totalCount nodes { body author { ... on Actor { __typename id displayName } } } } } } }",
    ),
    (
        "directives",
        "{ items(first: 5) { nodes { __typename id title @include(if: true) description @skip(if: true) team { name } tags { id name } \
         assignees { id displayName } comments(first: 2) { totalCount nodes { body author { __typename id displayName } } } } } }",
    ),
    (
        "fields in parts",
        "{ items(first: 5) { nodes { __typename id title team { name } tags { id } tags { name } assignees { id } } \
         nodes { assignees { displayName } comments(first: 2) { totalCount } \
         comments(first: 2) { nodes { body author { __typename id } author { displayName } } } title } } }",
    ),
];

async fn asked(app: &TestApp, acme: &Company, document: &str) -> (Value, usize) {
    app.take_statements();
    let data = app.call(acme, &acme.owner, document).data().await;
    (data, app.take_statements().len())
}

#[databases]
async fn an_answer_is_the_same_however_it_is_asked_for(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Team" })).await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let input =
        json!({ "title": "One", "teamId": team, "tagIds": [tag], "assigneeIds": [acme.admin.id, acme.member.id] });
    let item = app.create(&acme, &acme.owner, "item", input).await;
    for body in ["one", "two", "three"] {
        app.create(&acme, &acme.admin, "comment", json!({ "itemId": item, "body": body })).await;
    }
    app.item(&acme, "Two").await;
    app.settle().await;
    let app = without_caches(&app).await;
    asked(&app, &acme, PLAIN).await;
    let (expected, statements) = asked(&app, &acme, PLAIN).await;
    assert_eq!(expected["items"]["nodes"][1]["comments"]["nodes"][0]["author"]["displayName"], "acme-admin");
    for (how, document) in OTHERWISE {
        let (data, count) = asked(&app, &acme, document).await;
        assert_eq!(data, expected, "{how}");
        assert_eq!(count, statements, "{how}");
    }
}

/// An instance that looks its caller up with each request, and makes each answer anew.
async fn without_caches(app: &TestApp) -> TestApp {
    let change = |config: &mut todo_platform::base::config::Config| {
        config.database.identity_cache = Duration::ZERO;
        config.server.answer_cache_bytes = 0;
    };
    app.another_instance(change).await
}

/// What is selected twice on each level is asked of the database as often as what is selected once.
#[databases]
async fn what_is_selected_twice_is_read_once(app: TestApp) {
    let acme = app.company("acme").await;
    let subtasks: Vec<Value> = ["a", "b"].iter().map(|title| json!({ "title": title })).collect();
    app.create(&acme, &acme.owner, "item", json!({ "title": "One", "subtasks": subtasks })).await;
    app.settle().await;
    let app = without_caches(&app).await;
    let below = |nodes: &str| {
        format!(
            "subtasks(first: 2) {{ {} }}",
            nodes.replace("ID", "id subtasks(first: 1) { nodes { parent { title } } }")
        )
    };
    let once = format!("{{ items(first: 2) {{ nodes {{ {} }} }} }}", below("nodes { ID }"));
    let twice = below("nodes { ID } nodes { title ID }");
    let twice = format!("{{ items(first: 2) {{ nodes {{ {twice} }} nodes {{ title {twice} }} }} }}");
    let (_, expected) = asked(&app, &acme, &once).await;
    let (data, statements) = asked(&app, &acme, &twice).await;
    assert_eq!(data["items"]["nodes"][0]["title"], "b", "{data}");
    assert_eq!(statements, expected);
}
