//! A request that is sent again under its idempotency key does nothing again, and answers alike.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use std::collections::BTreeSet;

use axum::http::StatusCode;
use chrono::Duration;
use futures_util::future::join_all;
use sea_orm::{Condition, ConnectionTrait, Database, DatabaseBackend, TransactionTrait};
use serde_json::{Value, json};
use todo_platform::data::entity::idempotency;

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const CREATE: &str = "mutation($title: String!) { itemCreate(input: {title: $title}) { item { id identifier title } cursor \
                      userErrors { code message path details } } }";

/// An item of this title under this key.
fn create<'a>(app: &'a TestApp, acme: &Company, person: &Person, key: &str, title: &str) -> Call<'a> {
    app.call(acme, person, CREATE).vars(json!({ "title": title })).header("idempotency-key", key)
}

async fn titles(app: &TestApp, acme: &Company) -> Vec<String> {
    titles_for(app, acme, &acme.owner).await
}

async fn titles_for(app: &TestApp, acme: &Company, person: &Person) -> Vec<String> {
    let query =
        "{ items(first: 100, orderBy: [{field: CREATED_AT, direction: ASC, nulls: LAST}]) { nodes { title } } }";
    let data = app.call(acme, person, query).data().await;
    let nodes = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| node["title"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn events(app: &TestApp, acme: &Company) -> u64 {
    let data = app.call(acme, &acme.owner, "{ events(first: 1) { totalCount nodes { id } } }").data().await;
    data["events"]["totalCount"].as_u64().unwrap_or_default()
}

#[databases]
async fn a_repeat_answers_like_the_first(app: TestApp) {
    let acme = app.company("acme").await;
    let first = create(&app, &acme, &acme.member, "one", "a").done().await;
    let before = events(&app, &acme).await;
    let second = create(&app, &acme, &acme.member, "one", "a").done().await;
    assert_eq!(first, second);
    // Another instance, and a server that was started anew, have it from the database.
    let other = app.another_instance(|_| ()).await;
    assert_eq!(create(&other, &acme, &acme.member, "one", "a").done().await, first);
    other.state.db.close().await;
    // The extension is the same key as the header.
    let body = json!({ "query": CREATE, "variables": { "title": "a" }, "extensions": { "idempotencyKey": "one" } });
    let request = axum::http::Request::post("/o/acme/graphql")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {}", acme.member.token))
        .body(axum::body::Body::from(body.to_string()))
        .expect("a request");
    assert_eq!(app.http(request).await.json()["data"]["itemCreate"], first);
    assert_eq!((titles(&app, &acme).await, events(&app, &acme).await), (vec!["a".to_owned()], before));
    // What changed since is shown as it is now.
    let patch = json!({ "id": first["item"]["id"], "patch": { "title": "b" } });
    mutate(&app, &acme, &acme.member, ("itemUpdate", ""), patch).done().await;
    let third = create(&app, &acme, &acme.member, "one", "a").done().await;
    assert_eq!((&third["item"]["title"], &third["cursor"]), (&json!("b"), &first["cursor"]));
    let input = json!({ "id": first["item"]["id"], "permanently": true });
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), input).done().await;
    assert_eq!(create(&app, &acme, &acme.member, "one", "a").done().await["item"], Value::Null, "gone since");
    // After a day the key is free again.
    app.clock.advance(Duration::hours(25));
    app.purge().await;
}

#[databases]
async fn an_expired_key_is_free_again(app: TestApp) {
    let acme = app.company("acme").await;
    let (_, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE"]).await;
    let call = || app.gql(CREATE).vars(json!({ "title": "a" })).key(&key).header("idempotency-key", "one");
    let first = call().done().await;
    app.clock.advance(Duration::hours(24) - Duration::milliseconds(1));
    assert_eq!(call().done().await, first);
    app.clock.advance(Duration::milliseconds(1));
    // Not purged yet, and no longer in force.
    let second = call().done().await;
    assert_ne!(second["item"]["id"], first["item"]["id"]);
    assert_eq!(call().done().await, second);
    assert_eq!(app.purge().await["idempotency"], 0);
    // More than are purged at once, of three moments.
    for another in ["two", "three"] {
        app.clock.advance(Duration::milliseconds(1));
        app.gql(CREATE).vars(json!({ "title": "a" })).key(&key).header("idempotency-key", another).done().await;
    }
    let db = raw(&app).await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
            INSERT INTO idempotency (organization_id, actor_kind, actor_id, key, path, fingerprint, created_at, expires_at)
            SELECT organization_id, actor_kind, actor_id, key || i, path, fingerprint, created_at, expires_at FROM idempotency, n";
    db.execute_unprepared(many).await.expect("rows");
    db.close().await.expect("closed");
    app.clock.advance(Duration::hours(24));
    assert_eq!(app.purge().await["idempotency"], 3 + 3 * 700);
}

#[databases]
async fn another_request_under_the_key_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    create(&app, &acme, &acme.member, "one", "a").done().await;
    let reply = create(&app, &acme, &acme.member, "one", "b").reply().await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], "IDEMPOTENCY_KEY_REUSED");
    let other = CREATE.replace("identifier", "status");
    let call = app.call(&acme, &acme.member, &other).vars(json!({ "title": "a" })).header("idempotency-key", "one");
    assert_eq!(call.error_code().await, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(titles(&app, &acme).await, ["a"]);
    // Somebody else's key of the same letters, and another organization's, are other keys.
    let colleague = create(&app, &acme, &acme.admin, "one", "c").done().await;
    assert_eq!(colleague["item"]["title"], "c");
    let (_, integration) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE"]).await;
    let by_key = app.gql(CREATE).vars(json!({ "title": "d" })).key(&integration).header("idempotency-key", "one");
    assert_eq!(by_key.done().await["item"]["title"], "d");
    assert_eq!(titles(&app, &acme).await, ["a", "c", "d"]);
}

/// The order in which a client writes its variables makes no difference.
#[databases]
async fn variables_in_another_order_are_the_same_request(app: TestApp) {
    let acme = app.company("acme").await;
    let query = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id } userErrors { code } } }";
    let send = async |variables: &str| {
        let body = format!("{{\"query\": {}, \"variables\": {variables}}}", json!(query));
        let request = axum::http::Request::post("/o/acme/graphql")
            .header("content-type", "application/json")
            .header("idempotency-key", "one")
            .header("authorization", format!("Bearer {}", acme.member.token))
            .body(axum::body::Body::from(body))
            .expect("a request");
        app.http(request).await.json()["data"]["itemCreate"]["item"]["id"].clone()
    };
    let first = send(r#"{"input": {"title": "a", "priority": "HIGH"}}"#).await;
    assert!(first.is_string());
    assert_eq!(send(r#"{"input": {"priority": "HIGH", "title": "a"}}"#).await, first);
}

#[databases]
async fn several_mutations_repeat_each_by_itself(app: TestApp) {
    let acme = app.company("acme").await;
    let two = "mutation { a: itemCreate(input: {title: \"a\"}) { item { id } cursor userErrors { code } } \
               b: itemCreate(input: {title: \"b\"}) { item { id } cursor userErrors { code } } \
               tagCreate(input: {name: \"c\"}) { tag { id } cursor userErrors { code } } }";
    let call = || app.call(&acme, &acme.member, two).header("idempotency-key", "all");
    let first = call().data().await;
    assert_eq!(call().data().await, first);
    assert_eq!(titles(&app, &acme).await, ["a", "b"]);
}

/// The server went down after the first of two mutations: the repeat does the second alone.
#[databases]
async fn a_repeat_goes_on_where_the_first_stopped(app: TestApp) {
    let acme = app.company("acme").await;
    let two = "mutation { a: itemCreate(input: {title: \"a\"}) { item { id } userErrors { code } } \
               b: itemCreate(input: {title: \"b\"}) { item { id } userErrors { code } } }";
    let call = || app.call(&acme, &acme.member, two).header("idempotency-key", "all");
    let whole = call().data().await;
    // As if the second had never been committed: its item, and the claim with it, taken out by hand.
    let db = raw(&app).await;
    db.execute_unprepared("DELETE FROM idempotency WHERE path = 'b'").await.expect("a statement");
    db.close().await.expect("closed");
    let again = call().data().await;
    assert_eq!(again["a"], whole["a"]);
    assert_ne!(again["b"]["item"]["id"], whole["b"]["item"]["id"], "this one ran");
    assert_eq!(titles(&app, &acme).await, ["a", "b", "b"]);
}

#[databases]
async fn a_refusal_is_repeated_too(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = |name: &str, key: &str| {
        let query = "mutation($name: String!) { tagCreate(input: {name: $name}) { tag { id } userErrors { code path message } } }";
        app.call(&acme, &acme.member, query).vars(json!({ "name": name })).header("idempotency-key", key)
    };
    let first = tag("bug", "1").done().await;
    assert_eq!(tag("bug", "2").refused().await, problem("TAKEN", "input.name"));
    let input = json!({ "id": first["tag"]["id"] });
    mutate(&app, &acme, &acme.admin, ("tagDelete", "deletedId"), input).done().await;
    // The name is free now; the answer under that key stays what it was.
    assert_eq!(tag("bug", "2").refused().await, problem("TAKEN", "input.name"));
    tag("bug", "3").done().await;
    // Raised where the document doesn't look for it, each time.
    let blind = "mutation { tagCreate(input: {name: \"\"}) { tag { id } } }";
    for _ in 0..2 {
        let call = app.call(&acme, &acme.member, blind).header("idempotency-key", "4");
        assert_eq!(call.error_code().await, "REQUIRED");
    }
    // A conflict carries the present object again.
    let item = app.item(&acme, "a").await;
    let stale = "mutation($id: ID!) { itemUpdate(input: {id: $id, ifVersion: 7, patch: {title: \"b\"}}) { item { id title } \
                 userErrors { code path details } } }";
    let call =
        || app.call(&acme, &acme.member, stale).vars(json!({ "id": item })).header("idempotency-key", "5").data();
    let first = call().await;
    assert_eq!(first["itemUpdate"]["item"]["title"], "a");
    assert_eq!(first["itemUpdate"]["userErrors"][0]["code"], "CONFLICT");
    assert_eq!(call().await, first);
}

#[databases]
async fn secrets_come_once(app: TestApp) {
    let acme = app.company("acme").await;
    for (field, selected, secret, input) in [
        ("apiKeyCreate", "apiKey { id } secret", "secret", json!({ "name": "CI", "scopes": ["ITEM_READ"] })),
        ("invitationCreate", "invitation { id } token", "token", json!({ "email": "new@example.com" })),
    ] {
        let call =
            || mutate(&app, &acme, &acme.owner, (field, selected), input.clone()).header("idempotency-key", field);
        let (first, mut second) = (call().done().await, call().done().await);
        assert!(first[secret].is_string(), "{field}");
        assert!(second[secret].is_null(), "{field}");
        second[secret] = first[secret].clone();
        assert_eq!(first, second, "{field}: all else is the same");
    }
}

#[databases]
async fn deletes_and_foundations_repeat(app: TestApp) {
    let acme = app.company("acme").await;
    let item = app.item(&acme, "a").await;
    let comment = app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "b" })).await;
    let delete = || {
        mutate(&app, &acme, &acme.member, ("commentDelete", "deletedId"), json!({ "id": comment }))
            .header("idempotency-key", "1")
            .done()
    };
    let first = delete().await;
    assert_eq!(first["deletedId"], comment.as_str());
    assert_eq!(delete().await, first);
    // From a request that has no organization yet.
    let founder = app.register("founder").await;
    let found = "mutation { organizationCreate(input: {name: \"New\", slug: \"new\"}) { organization { id slug \
                 members(first: 5) { nodes { role } } } cursor userErrors { code path } } }";
    let call = || app.gql(found).token(&founder.token).header("idempotency-key", "found");
    let first = call().done().await;
    assert_eq!(first["organization"]["members"]["nodes"], json!([{ "role": "OWNER" }]));
    // Meanwhile it is the caller's only one, so that the repeat is a request within it: the key is the same.
    assert_eq!(call().done().await, first);
    let elsewhere = app.gql(found).token(&acme.owner.token).at("acme").header("idempotency-key", "found");
    assert_eq!(elsewhere.refused().await, problem("TAKEN", "input.slug"), "somebody else's key");
}

/// What it asked for can't be asked for again: the password is another by now.
#[databases]
async fn a_changed_password_is_changed_once(app: TestApp) {
    let ann = app.register("ann").await;
    let change = "mutation($old: String!) { passwordChange(input: {currentPassword: $old, newPassword: \"another horse battery\"}) \
                  { user { username } userErrors { code path } } }";
    let call = |key: &str| {
        let call = app.gql(change).vars(json!({ "old": crate::support::world::PASSWORD })).token(&ann.token);
        call.header("idempotency-key", key)
    };
    let first = call("one").done().await;
    assert_eq!(first["user"]["username"], "ann");
    assert_eq!(call("one").done().await, first);
    assert_eq!(call("two").refused().await, problem("BAD_CREDENTIALS", "input.currentPassword"));
}

#[databases]
async fn a_repeat_without_the_right_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    create(&app, &acme, &acme.member, "one", "a").done().await;
    let input = json!({ "id": acme.member.membership_id, "patch": { "role": "VIEWER" } });
    mutate(&app, &acme, &acme.owner, ("membershipUpdate", "membership { id }"), input).done().await;
    assert_eq!(create(&app, &acme, &acme.member, "one", "a").error_code().await, "FORBIDDEN");
}

#[databases]
async fn only_a_sane_key_is_one(app: TestApp) {
    let acme = app.company("acme").await;
    let longest = "k".repeat(255);
    create(&app, &acme, &acme.member, &longest, "a").done().await;
    let reply = create(&app, &acme, &acme.member, &format!("{longest}k"), "b").reply().await;
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], "BAD_REQUEST");
    assert_eq!(titles(&app, &acme).await, ["a"]);
    // A query has nothing to repeat, and doesn't care.
    let query = app.call(&acme, &acme.member, "{ viewer { role } }").header("idempotency-key", &format!("{longest}k"));
    query.data().await;
}

/// Signing in has no caller whose key it could be; every answer has tokens of its own.
#[databases]
async fn anonymous_mutations_have_no_replay(app: TestApp) {
    let acme = app.company("acme").await;
    let sign_in = "mutation($email: String!) { sessionCreate(input: {email: $email, password: \"correct horse battery\"}) \
                   { accessToken userErrors { code } } }";
    let mut tokens = BTreeSet::new();
    for token in [None, None, Some(&acme.owner.token), Some(&acme.owner.token)] {
        let call = app.gql(sign_in).vars(json!({ "email": acme.owner.email })).header("idempotency-key", "one");
        let call = match token {
            Some(token) => call.token(token),
            None => call,
        };
        tokens.insert(call.done().await["accessToken"].to_string());
    }
    assert_eq!(tokens.len(), 4);
}

/// Two instances over one database, one key, fifty requests at once: one effect, identical answers.
#[databases]
async fn fifty_at_once_on_two_instances_have_one_effect(app: TestApp) {
    let acme = app.company("acme").await;
    let other = app.another_instance(|_| ()).await;
    let calls = (0..50).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &other };
        create(instance, &acme, &acme.member, "one", "a").reply()
    });
    let replies = join_all(calls).await;
    let first = replies[0].json();
    assert_eq!(first["data"]["itemCreate"]["userErrors"], json!([]), "{first:#}");
    for reply in &replies {
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.json()["data"], first["data"]);
    }
    assert_eq!(titles(&app, &acme).await, ["a"]);
    let created = "{ events(first: 100, filter: {types: [ITEM_CREATED]}) { totalCount nodes { id } } }";
    assert_eq!(app.call(&acme, &acme.owner, created).data().await["events"]["totalCount"], 1);
    other.state.db.close().await;
}

/// Repeats wait for the first one without the connections that everybody else needs.
#[databases]
async fn repeats_that_wait_keep_nobody_out(app: TestApp) {
    let acme = app.company("acme").await;
    let other = app.another_instance(|_| ()).await;
    let db = raw(&app).await;
    let hold = match db.get_database_backend() {
        // Whoever creates an item waits at the organization's head. On SQLite it is the one writer that is waited for.
        DatabaseBackend::Postgres => "SELECT 1 FROM ledger_head FOR UPDATE",
        _ => "UPDATE tag SET name = name",
    };
    let open = db.begin().await.expect("a transaction");
    open.execute_unprepared(hold).await.expect("a lock");
    let calls = (0..40).map(|n| {
        let instance = if n % 2 == 0 { &app } else { &other };
        create(instance, &acme, &acme.member, "one", "a").reply()
    });
    let (replies, ()) = tokio::join!(join_all(calls), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        // The same member, others, both instances: reads go on.
        for (instance, person) in [(&app, &acme.owner), (&other, &acme.viewer), (&app, &acme.viewer)] {
            assert_eq!(titles_for(instance, &acme, person).await, [""; 0]);
        }
        open.rollback().await.expect("rolled back");
    });
    let first = replies[0].json();
    for reply in &replies {
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json());
        assert_eq!(reply.json()["data"], first["data"]);
    }
    assert_eq!(titles(&app, &acme).await, ["a"]);
    other.state.db.close().await;
    db.close().await.expect("closed");
}

/// A mutation that finds nothing to change is done, too: its key stands.
#[databases]
async fn what_changes_nothing_keeps_its_key(app: TestApp) {
    let acme = app.company("acme").await;
    let claims = async || app.state.db.find_global::<idempotency::Entity>(Condition::all()).await.expect("rows").len();
    let me = &acme.member;
    let item = app.create(&acme, me, "item", json!({ "title": "a" })).await;
    let before = claims().await;
    let nothing = [
        ("userUpdate", json!({ "patch": { "fullName": null } })),
        ("itemUpdate", json!({ "id": item, "patch": { "title": "a" } })),
        ("itemRestore", json!({ "id": item })),
        ("itemUnarchive", json!({ "id": item })),
    ];
    for (n, (mutation, input)) in nothing.iter().enumerate() {
        let call = mutate(&app, &acme, me, (mutation, ""), input.clone()).header("idempotency-key", mutation);
        call.done().await;
        assert_eq!(claims().await, before + n + 1, "{mutation}");
    }
}

/// The first one hangs: after five seconds the repeat is told to come again. (On SQLite the wait is for its one
/// writer, whoever that is.)
#[databases]
async fn a_repeat_does_not_wait_for_ever(app: TestApp) {
    if app.state.db.backend() == DatabaseBackend::Sqlite {
        return;
    }
    let acme = app.company("acme").await;
    create(&app, &acme, &acme.member, "one", "a").done().await;
    let db = raw(&app).await;
    let open = db.begin().await.expect("a transaction");
    open.execute_unprepared("UPDATE idempotency SET expires_at = created_at, key = 'two'").await.expect("a statement");
    let reply = create(&app, &acme, &acme.member, "two", "a").reply().await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], "IDEMPOTENCY_IN_PROGRESS");
    assert_eq!(reply.header("retry-after"), "1");
    open.rollback().await.expect("rolled back");
    db.close().await.expect("closed");
    create(&app, &acme, &acme.member, "two", "a").done().await;
    assert_eq!(titles(&app, &acme).await, ["a", "a"]);
}

/// The test's database, past the server.
async fn raw(app: &TestApp) -> sea_orm::DatabaseConnection {
    Database::connect(app.state.config.database.url.clone()).await.expect("the test's database")
}
