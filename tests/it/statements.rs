//! How many statements each list costs, whatever the size of its page.

use std::{collections::BTreeSet, time::Duration};

use apollo_compiler::{
    ExecutableDocument,
    executable::{Selection, SelectionSet},
};
use futures_util::future::join_all;
use serde_json::json;
use todo_platform::data::ledger::LedgerCursor;
use tokio::task::JoinSet;

use crate::{
    inbound_hooks::hexadecimal_hmac,
    items::mutate,
    support::{app::TestApp, receiver::Receiver, schema::sdl, world::Company},
};
use todo_test_macros::databases;

/// A board page: what `docs/performance.md` measures.
pub const BOARD: &str = "query($first: Int!) { items(first: $first) { \
    nodes { id identifier title description status priority dueAt createdAt updatedAt version team { id name } \
    assignees { id displayName avatarUrl } tags { id name color } comments { totalCount } } \
    pageInfo { hasNextPage endCursor } } }";

/// Documents with what they may cost, the look-up of the caller included.
const COSTS: &[(&str, &str, usize)] = &[
    ("board", BOARD, 2),
    ("items", "query($first: Int!) { items(first: $first) { nodes { id } } }", 2),
    ("items with a total", "query($first: Int!) { items(first: $first) { totalCount nodes { id } } }", 3),
    (
        "items by edges",
        "query($first: Int!) { items(first: $first) { edges { cursor node { id tags { name } } } } }",
        2,
    ),
    ("items with parents", "query($first: Int!) { items(first: $first) { nodes { parent { id } } } }", 3),
    ("items with creators", "query($first: Int!) { items(first: $first) { nodes { createdBy { displayName } } } }", 3),
    (
        "items with comments and authors",
        "query($first: Int!) { items(first: $first) { nodes { comments(first: 2) { totalCount nodes { body author { displayName } } } } } }",
        4,
    ),
    (
        "items with watchers",
        "query($first: Int!) { items(first: $first) { nodes { isWatchedByViewer isBlocked watchers(first: 3) { nodes { role } } } } }",
        5,
    ),
    (
        "items with relations and ancestors",
        "query($first: Int!) { items(first: $first) { nodes { relations { item { title } } ancestors { title } } } }",
        6,
    ),
    (
        "items with subtasks",
        "query($first: Int!) { items(first: $first) { nodes { subtasks(first: 3) { nodes { id } } } } }",
        3,
    ),
    (
        "items with events",
        "query($first: Int!) { items(first: $first) { nodes { events(last: 2) { nodes { type } } } } }",
        3,
    ),
    (
        "filtered items",
        "query($first: Int!) { items(first: $first, filter: {tags: {some: {name: {eq: \"bug\"}}}, assignees: {isEmpty: false}}) { nodes { id } } }",
        2,
    ),
    (
        "items with a full text",
        "query($first: Int!) { items(first: $first, filter: {text: \"item\"}) { nodes { id } } }",
        2,
    ),
    (
        "search",
        "query($first: Int!) { search(query: \"item\", types: [ITEM], first: $first) { score snippet node { ... on Item { title tags { name } } } } }",
        4,
    ),
    (
        "search in comments",
        "query($first: Int!) { search(query: \"second\", first: $first) { snippet node { ... on Comment { body author { displayName } } } } }",
        4,
    ),
    (
        "members",
        "query($first: Int!) { organization { members(first: $first) { nodes { user { displayName } } } } }",
        3,
    ),
    (
        "members with teams",
        "query($first: Int!) { organization { members(first: $first) { nodes { teams { name } } } } }",
        4,
    ),
    (
        "invitations",
        "query($first: Int!) { organization { invitations(first: $first) { nodes { email teams { name } } } } }",
        4,
    ),
    ("teams", "query($first: Int!) { organization { teams(first: $first) { nodes { name } } } }", 2),
    (
        "teams with items",
        "query($first: Int!) { organization { teams(first: $first) { nodes { items(first: 3) { nodes { title } } } } } }",
        3,
    ),
    (
        "teams with members",
        "query($first: Int!) { organization { teams(first: $first) { nodes { members(first: 3) { nodes { role } } } } } }",
        3,
    ),
    ("tags", "query($first: Int!) { organization { tags(first: $first) { nodes { name itemCount } } } }", 3),
    ("events", "query($first: Int!) { events(first: $first) { nodes { type actor { displayName } } } }", 3),
    (
        "events with subjects",
        "query($first: Int!) { events(first: $first, filter: {types: [ITEM_CREATED]}) { nodes { subject { id } item { id } } } }",
        3,
    ),
    ("nodes", "query($first: Int) { nodes(ids: []) { id } items(first: $first) { nodes { id } } }", 2),
    (
        "one item",
        "query($first: Int) { item(id: \"ACME-1\") { title comments(first: $first) { nodes { body author { displayName } } } } }",
        3,
    ),
    (
        "one item with answers",
        "query($first: Int) { item(id: \"ACME-1\") { comments(first: $first) { nodes { replies(first: 3) { nodes { body } } } } } }",
        4,
    ),
    ("API keys", "query($first: Int!) { organization { apiKeys(first: $first) { nodes { name } } } }", 2),
    (
        "imports",
        "query($first: Int!) { organization { imports(first: $first) { nodes { status report { bad } } } } }",
        2,
    ),
    ("document sets", "query($first: Int!) { organization { documentSets(first: $first) { nodes { name } } } }", 2),
    (
        "sessions",
        "query($first: Int) { viewer { sessions { id } } organization { members(first: $first) { totalCount } } }",
        3,
    ),
    (
        "security log",
        "query($first: Int) { viewer { securityEvents(first: $first) { totalCount nodes { kind } } } }",
        3,
    ),
    (
        "viewer",
        "query($first: Int) { viewer { user { id } role permissions memberships { organizationName } } organization { members(first: $first) { totalCount } } }",
        3,
    ),
    (
        "webhooks",
        "query($first: Int!) { organization { webhooks(first: $first) { nodes { url teams { name } createdBy { displayName } } } } }",
        4,
    ),
    (
        "webhooks with what waits",
        "query($first: Int!) { organization { webhooks(first: $first) { nodes { cursor pendingCount } } } }",
        4,
    ),
    (
        "webhooks with deliveries",
        "query($first: Int!) { organization { webhooks(first: $first) { nodes { deliveries(first: 3) { nodes { status attempts { number } event { type } } } } } } }",
        5,
    ),
    (
        "inbound hooks with receipts",
        "query($first: Int!) { organization { inboundHooks(first: $first) { nodes { url receipts(first: 3) { nodes { outcome event { type } } } } } } }",
        3,
    ),
    ("sync from the beginning", "query($first: Int!) { sync(first: $first) { nodes { id } cursor hasMore } }", 7),
    (
        "usage",
        "query($first: Int) { organization { usage { requests errors errorRate averageMs p95Ms cost } members(first: $first) { totalCount } } }",
        3,
    ),
    (
        "usage by operation and day",
        "query($first: Int!) { organization { usage { requests p95Ms operations(first: $first) { operation requests p95Ms } series { start requests } } } }",
        4,
    ),
];

/// Every field of the schema that leads to a list is in [`COSTS`].
#[test]
fn every_list_has_its_cost() {
    fn ask(set: &SelectionSet, asked: &mut BTreeSet<String>) {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => {
                    asked.insert(format!("{}.{}", set.ty, field.name));
                    ask(&field.selection_set, asked);
                }
                Selection::InlineFragment(fragment) => ask(&fragment.selection_set, asked),
                Selection::FragmentSpread(spread) => panic!("{}: fragments are not looked into", spread.fragment_name),
            }
        }
    }
    let schema = sdl();
    let mut asked = BTreeSet::new();
    for (name, document, _) in COSTS {
        let document = ExecutableDocument::parse_and_validate(&schema, *document, "document.graphql");
        let document = document.unwrap_or_else(|fault| panic!("{name}\n{fault}"));
        document.operations.iter().for_each(|operation| ask(&operation.selection_set, &mut asked));
    }
    let objects = schema.types.values().filter_map(|ty| ty.as_object());
    let lists: BTreeSet<String> = objects
        .flat_map(|ty| ty.fields.values().map(move |field| (ty, field)))
        .filter(|(_, field)| field.ty.inner_named_type().ends_with("Connection"))
        .map(|(ty, field)| format!("{}.{}", ty.name, field.name))
        .collect();
    assert!(lists.len() > 15, "{lists:?}");
    let missing: Vec<&String> = lists.difference(&asked).collect();
    assert!(missing.is_empty(), "COSTS of this file lacks a document for {missing:?}");
}

async fn fill(app: &TestApp, acme: &Company) {
    let receiver = Receiver::start().await;
    let mut tags = Vec::new();
    let mut teams = Vec::new();
    for number in 0..3 {
        let name = if number == 0 { "bug".to_owned() } else { format!("tag {number}") };
        tags.push(app.create(acme, &acme.owner, "tag", json!({ "name": name })).await);
        let members = [&acme.admin.id, &acme.member.id];
        let team = json!({ "name": format!("team {number}"), "memberIds": members });
        teams.push(app.create(acme, &acme.owner, "team", team).await);
        let invite = format!(
            "mutation {{ invitationCreate(input: {{email: \"guest{number}@example.com\", teamIds: [\"{}\"]}}) {{ \
             userErrors {{ code }} }} }}",
            teams[number]
        );
        app.call(acme, &acme.owner, &invite).done().await;
    }
    let mut related = String::new();
    for number in 0..30 {
        let input = json!({
            "title": format!("item {number}"), "teamId": teams[number % 3], "tagIds": [tags[0], tags[1 + number % 2]],
            "assigneeIds": [acme.admin.id, acme.member.id], "subtasks": [{ "title": "below" }],
        });
        // They hear of what is made after them.
        if number > 25 {
            let webhook = json!({ "url": receiver.url(), "teamIds": [teams[number % 3]] });
            app.create(acme, &acme.owner, "webhook", webhook).await;
        }
        let item = app.create(acme, &acme.member, "item", input).await;
        if number == 29 {
            let relation = json!({ "itemId": item, "kind": "BLOCKS", "relatedItemId": related });
            mutate(app, acme, &acme.admin, ("itemRelationCreate", ""), relation).done().await;
        }
        related.clone_from(&item);
        for body in ["first", "second"] {
            app.create(acme, &acme.admin, "comment", json!({ "itemId": item, "body": body })).await;
        }
    }
    app.worker.drain().await;
    for _ in 0..3 {
        let hook = "mutation { inboundHookCreate(input: {name: \"Door\", provider: GITHUB}) { inboundHook { url } secret \
                    userErrors { code } } }";
        let hook = app.call(acme, &acme.owner, hook).done().await;
        let (url, secret) = (hook["inboundHook"]["url"].to_string(), hook["secret"].as_str().expect("a secret"));
        let path = url[url.find("/callbacks/").expect("an address")..].trim_matches('"');
        // A ping makes no item: those are counted below.
        let signature = format!("sha256={}", hexadecimal_hmac(secret, "{}"));
        app.post(path, &[("x-hub-signature-256", &signature), ("x-github-event", "ping")], "{}").await;
    }
}

#[databases]
async fn lists_cost_the_same_whatever_their_size(app: TestApp) {
    let acme = app.company("acme").await;
    fill(&app, &acme).await;
    // Every request looks its caller up, so that the count doesn't hang on what was remembered.
    let app = app
        .another_instance(|config| {
            config.database.identity_cache = Duration::ZERO;
            config.server.answer_cache_bytes = 0;
        })
        .await;
    let mut wrong = Vec::new();
    for (name, document, allowed) in COSTS {
        // Tags, teams and people are read once, all of each together.
        app.take_statements();
        app.call(&acme, &acme.owner, document).vars(json!({ "first": 25 })).data().await;
        let statements = app.take_statements();
        if statements.len() > *allowed + 3 {
            wrong.push(format!("{name}, at first: {}\n  {}", statements.len(), statements.join("\n  ")));
        }
        // The largest page finds something of everything; none may cost more.
        for first in [1, 5, 25] {
            app.take_statements();
            let data = app.call(&acme, &acme.owner, document).vars(json!({ "first": first })).data().await;
            let statements = app.take_statements();
            if statements.len() > *allowed || (first == 25 && statements.len() < *allowed) {
                wrong.push(format!(
                    "{name}, first: {first}: {} instead of {allowed}\n{data}\n  {}",
                    statements.len(),
                    statements.join("\n  ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[databases]
async fn what_has_changed_costs_a_statement_for_each_type(app: TestApp) {
    let acme = app.company("acme").await;
    fill(&app, &acme).await;
    let app = app.another_instance(|config| config.database.identity_cache = Duration::ZERO).await;
    let begun = LedgerCursor { organization_id: acme.id.parse().expect("an id"), epoch: 0, sequence: 0 }.encode();
    let query = "query($first: Int!, $after: Cursor) { sync(first: $first, after: $after) { nodes { \
                 ... on Item { id team { id } tags { id } } } removedIds cursor hasMore } }";
    for first in [1, 10, 160] {
        app.take_statements();
        let ask = app.call(&acme, &acme.owner, query).vars(json!({ "first": first, "after": begun }));
        let page = ask.data().await["sync"].clone();
        let statements = app.take_statements();
        // Caller; head; events; the oldest kept; the states of seven types, the items' teams and tags.
        let costs = statements.len();
        assert!(costs <= 13 && (first < 160 || costs == 13), "{first}: {costs}\n{page}\n{}", statements.join("\n"));
    }
    // Nothing new: caller and head.
    let now = app.call(&acme, &acme.owner, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
    app.take_statements();
    app.call(&acme, &acme.owner, query).vars(json!({ "first": 160, "after": now })).data().await;
    let statements = app.take_statements();
    assert_eq!(statements.len(), 2, "{}", statements.join("\n"));
}

#[databases]
async fn a_write_costs_what_it_must(app: TestApp) {
    let acme = app.company("acme").await;
    let tags = [
        app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await,
        app.create(&acme, &acme.owner, "tag", json!({ "name": "new" })).await,
    ];
    let app = app.another_instance(|config| config.database.identity_cache = Duration::ZERO).await;
    app.take_statements();
    app.create(&acme, &acme.member, "item", json!({ "title": "One", "tagIds": tags })).await;
    // Caller; tags there; sequence and number; item; its tags; the event.
    let statements = app.take_statements();
    assert_eq!(statements.len(), 6, "{}", statements.join("\n"));
    // With webhooks two more, however many there are: who wants it, and what goes to them.
    for url in ["http://127.0.0.1:1/one", "http://127.0.0.1:1/two"] {
        app.create(&acme, &acme.owner, "webhook", json!({ "url": url })).await;
    }
    app.take_statements();
    app.create(&acme, &acme.member, "item", json!({ "title": "Two", "tagIds": tags })).await;
    // The tags are known by now: the head says that this still holds.
    let statements = app.take_statements();
    assert_eq!(statements.len(), 7, "{}", statements.join("\n"));
}

/// Batches are as full on several threads, with much else going on: no clock cuts them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lists_cost_the_same_under_load() {
    TestApp::on_sqlite(async |app| {
        let acme = app.company("acme").await;
        fill(&app, &acme).await;
        let app = app
            .another_instance(|config| {
                config.database.identity_cache = Duration::ZERO;
                config.server.answer_cache_bytes = 0;
            })
            .await;
        for (name, document, allowed) in COSTS {
            app.call(&acme, &acme.owner, document).vars(json!({ "first": 25 })).data().await;
            app.take_statements();
            let mut calls = JoinSet::new();
            for _ in 0..8 {
                let (app, acme) = (app.clone(), acme.clone());
                calls.spawn(async move {
                    app.call(&acme, &acme.owner, document).vars(json!({ "first": 25 })).data().await;
                });
            }
            calls.join_all().await;
            let statements = app.take_statements();
            assert_eq!(statements.len(), 8 * allowed, "{name}");
        }
    })
    .await;
}

/// Whatever waits for the same ledger goes in together: of creates that come at once, most share their statements.
#[databases]
async fn creates_at_once_cost_less_than_one_after_the_other(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let create = || app.call(&acme, &acme.member, CREATE).vars(json!({ "input": { "title": "One", "tagIds": [tag] } }));
    create().done().await;
    app.take_statements();
    create().done().await;
    let alone = app.take_statements().len();
    join_all((0..32).map(|_| create().done())).await;
    let statements = app.take_statements();
    assert!(statements.len() < 16 * alone, "{} statements of 32 creates, {alone} of one", statements.len());
}

const CREATE: &str =
    "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id } userErrors { code } } }";
