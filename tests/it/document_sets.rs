//! Document sets: an application's documents by their ids, and API keys that run nothing else.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        redis::RedisServer,
        socket::Socket,
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const BOARD: &str = "query Board($first: Int = 5) { items(first: $first) { nodes { title } } }";
const CREATE: &str = "mutation Create($input: ItemCreateInput!) { itemCreate(input: $input) { item { title } } }";
const FEED: &str = "subscription Feed { events { isLive cursor events { type } } }";
const COUNT: &str = "{ items { totalCount } }";
const SET: &str = "documentSet { id name documentCount manifestHash createdBy { id } version }";
const KEY: &str = "apiKey { id documentSet { id name } } secret";

/// As Relay and graphql-codegen write it.
fn manifest() -> Value {
    json!({ "board": BOARD, "create": CREATE, "feed": FEED })
}

fn make<'a>(app: &'a TestApp, acme: &Company, by: &Person, manifest: Value) -> Call<'a> {
    mutate(app, acme, by, ("documentSetCreate", SET), json!({ "name": "Web 1.0", "manifest": manifest }))
}

async fn set(app: &TestApp, acme: &Company, manifest: Value) -> String {
    let made = make(app, acme, &acme.admin, manifest).done().await;
    made["documentSet"]["id"].as_str().expect("an id").to_owned()
}

/// A key that is bound to a set, with its id.
async fn bound_key(app: &TestApp, acme: &Company, set: &str, scopes: &[&str]) -> (String, String) {
    let input = json!({ "name": "Web", "scopes": scopes, "documentSet": set });
    let made = mutate(app, acme, &acme.admin, ("apiKeyCreate", KEY), input).done().await;
    assert_eq!(made["apiKey"]["documentSet"]["id"], set);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["apiKey"]["id"]), text(&made["secret"]))
}

async fn post(app: &TestApp, credential: (&str, &str), body: Value) -> Value {
    let request = Request::post("/graphql").header("content-type", "application/json").header("x-organization", "acme");
    let request = request.header(credential.0, credential.1).body(Body::from(body.to_string()));
    app.http(request.expect("a request")).await.json()
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}

#[databases]
async fn members_name_the_documents_of_their_organization(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    app.item(&acme, "one").await;
    let made = make(&app, &acme, &acme.admin, manifest()).done().await["documentSet"].clone();
    assert_eq!((&made["name"], &made["documentCount"], &made["version"]), (&json!("Web 1.0"), &json!(3), &json!(1)));
    assert_eq!(made["manifestHash"].as_str().map(str::len), Some(64));
    let bearer = format!("Bearer {}", acme.viewer.token);
    let one = json!({ "data": { "items": { "nodes": [{ "title": "one" }] } } });
    for body in [
        json!({ "documentId": "board", "variables": { "first": 1 } }),
        json!({ "documentId": "sha256:board" }),
        json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": "board" } } }),
    ] {
        assert_eq!(post(&app, ("authorization", &bearer), body.clone()).await, one, "{body}");
    }
    for (body, expected) in [
        (json!({ "documentId": "nothing" }), "PERSISTED_QUERY_NOT_FOUND"),
        (json!({ "documentId": "board", "query": COUNT }), "PERSISTED_QUERY_NOT_FOUND"),
    ] {
        assert_eq!(code(&post(&app, ("authorization", &bearer), body.clone()).await), expected, "{body}");
    }
    let mut socket = app.socket_of(&acme, &acme.viewer).await;
    socket.start(json!({ "documentId": "feed" })).await;
    assert_eq!(socket.batch().await["isLive"], json!(true));
    // Nobody else has them.
    let stranger = format!("Bearer {}", rival.owner.token);
    let request = Request::post("/graphql").header("content-type", "application/json");
    let request = request.header("authorization", &stranger).header("x-organization", "rival");
    let request = request.body(Body::from(json!({ "documentId": "board" }).to_string())).expect("a request");
    assert_eq!(code(&app.http(request).await.json()), "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(
        code(&post(&app, ("x-nothing", ""), json!({ "documentId": "board" })).await),
        "PERSISTED_QUERY_NOT_FOUND"
    );
}

#[databases]
async fn a_bound_key_runs_the_documents_of_its_set_alone(app: TestApp) {
    let acme = app.company("acme").await;
    let (first, second) = (set(&app, &acme, manifest()).await, set(&app, &acme, json!({ "count": COUNT })).await);
    let (key_id, key) = bound_key(&app, &acme, &first, &["ITEM_READ", "ITEM_WRITE", "API_KEY_MANAGE"]).await;
    let with_key = ("x-api-key", key.as_str());
    let input = json!({ "input": { "title": "two" } });
    for body in [
        json!({ "documentId": "create", "variables": input }),
        json!({ "query": CREATE, "variables": input }),
        json!({ "query": BOARD }),
    ] {
        assert_eq!(code(&post(&app, with_key, body.clone()).await), "", "{body}");
    }
    // A word more is another document; nothing of it runs.
    for query in [COUNT, "{ __typename }", "{ __schema { queryType { name } } }", &format!("{CREATE} ")] {
        let answer = post(
            &app,
            with_key,
            json!({ "query": query, "variables": if query.contains("$input") { input.clone() } else { json!({}) } }),
        )
        .await;
        assert_eq!(code(&answer), "FORBIDDEN", "{query}: {answer:#}");
        assert!(answer["data"].is_null(), "{query}: {answer:#}");
    }
    assert_eq!(code(&post(&app, with_key, json!({ "documentId": "count" })).await), "PERSISTED_QUERY_NOT_FOUND");
    assert_eq!(app.call(&acme, &acme.member, COUNT).data().await["items"]["totalCount"], json!(2));
    // The set takes effect with the next request; so does another set.
    let change = json!({ "id": first, "patch": { "manifest": { "count": COUNT } } });
    let changed = mutate(&app, &acme, &acme.admin, ("documentSetUpdate", SET), change).done().await;
    assert_eq!((&changed["documentSet"]["documentCount"], &changed["documentSet"]["version"]), (&json!(1), &json!(2)));
    assert_eq!(code(&post(&app, with_key, json!({ "query": COUNT })).await), "");
    assert_eq!(code(&post(&app, with_key, json!({ "query": BOARD })).await), "FORBIDDEN");
    for (other, expected) in [(json!(second), "FORBIDDEN"), (Value::Null, "")] {
        let patch = json!({ "id": key_id, "patch": { "documentSet": other } });
        mutate(&app, &acme, &acme.admin, ("apiKeyUpdate", KEY), patch).done().await;
        assert_eq!(code(&post(&app, with_key, json!({ "query": BOARD })).await), expected);
    }
}

/// Codes of so many requests, each with another body, and in how many of them a document was looked for.
async fn asked(
    app: &TestApp,
    credential: (&str, &str),
    times: usize,
    body: impl Fn(usize) -> Value,
) -> (Vec<String>, usize) {
    let mut codes = Vec::new();
    app.take_statements();
    for number in 0..times {
        codes.push(code(&post(app, credential, body(number)).await).to_owned());
    }
    let looks = app.take_statements().iter().filter(|sql| sql.contains("FROM \"trusted_document\"")).count();
    codes.dedup();
    (codes, looks)
}

/// Ids and texts that nobody has registered can be made up without end: looking for each is paid for by who asks.
#[databases]
async fn what_is_not_there_costs_its_caller_a_point(app: TestApp) {
    let acme = app.company("acme").await;
    let first = set(&app, &acme, manifest()).await;
    let (_, key) = bound_key(&app, &acme, &first, &["ITEM_READ"]).await;
    app.settle().await;
    let app = app.another_instance(|config| config.limits.cost_per_minute = Some(30)).await;
    let bearer = format!("Bearer {}", acme.viewer.token);
    let member = ("authorization", bearer.as_str());
    let with_key = ("x-api-key", key.as_str());
    let id = |number: usize| json!({ "documentId": format!("made-up-{number}") });
    let hash =
        |number| json!({ "extensions": { "persistedQuery": { "version": 1, "sha256Hash": format!("{number:064}") } } });
    let text = |number: usize| json!({ "query": format!("query Q{number} {{ __typename }}") });
    let not_found = vec!["PERSISTED_QUERY_NOT_FOUND".to_owned()];
    let spent = (vec!["RATE_LIMITED".to_owned()], 0);

    assert_eq!(asked(&app, member, 20, id).await, (not_found.clone(), 20));
    assert_eq!(asked(&app, member, 10, hash).await, (not_found.clone(), 10));
    assert_eq!(asked(&app, member, 100, id).await, spent);
    assert_eq!(asked(&app, member, 1, |_| json!({ "documentId": "board" })).await, spent);
    // Nobody else pays: neither who calls from the same address nor another caller.
    assert_eq!(asked(&app, with_key, 30, text).await, (vec!["FORBIDDEN".to_owned()], 30));
    assert_eq!(asked(&app, with_key, 100, text).await, spent);

    // What is there costs what it costs, however it is named.
    app.clock.advance(chrono::TimeDelta::minutes(1));
    let left = async |body: Value| {
        let request =
            Request::post("/graphql").header("content-type", "application/json").header("x-organization", "acme");
        let request = request.header(member.0, member.1).body(Body::from(body.to_string())).expect("a request");
        let level = app.http(request).await.header("ratelimit").to_owned();
        let left = level.split(';').find_map(|part| part.strip_prefix("r=")).expect("what is left").to_owned();
        left.parse::<u32>().expect("a number")
    };
    let named = left(json!({ "documentId": "board", "variables": { "first": 3 } })).await;
    let written = left(json!({ "query": BOARD, "variables": { "first": 3 } })).await;
    assert_eq!(30 - named, named - written);
    app.settle().await;
    app.state.db.close().await;
}

#[tokio::test]
async fn who_has_no_points_left_in_redis_has_nothing_looked_up_here() {
    let Some(server) = RedisServer::start() else { return };
    let settings = [("REDIS_URL", server.url()), ("TODO_REDIS_TIMEOUT", "30s".to_owned())];
    let app = TestApp::start(&settings).await;
    let acme = app.company("acme").await;
    app.settle().await;
    let app = app.another_instance(|config| config.limits.cost_per_minute = Some(3)).await;
    let bearer = format!("Bearer {}", acme.viewer.token);
    let ask = async || asked(&app, ("authorization", &bearer), 1, |_| json!({ "documentId": "nothing" })).await;
    for _ in 0..3 {
        assert_eq!(ask().await, (vec!["PERSISTED_QUERY_NOT_FOUND".to_owned()], 1));
    }
    // The bucket in Redis is used up: this one was looked up before that was known, the next is not.
    assert_eq!(ask().await, (vec!["RATE_LIMITED".to_owned()], 1));
    assert_eq!(ask().await, (vec!["RATE_LIMITED".to_owned()], 0));
}

#[databases]
async fn a_bound_key_widens_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let key_create = "mutation K($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { apiKey { id } userErrors { code path } } }";
    let set_update =
        "mutation S($input: DocumentSetUpdateInput!) { documentSetUpdate(input: $input) { userErrors { code path } } }";
    let documents = json!({ "key": key_create, "set": set_update, "feed": FEED });
    let own = set(&app, &acme, documents).await;
    let (key_id, key) = bound_key(&app, &acme, &own, &["ITEM_READ", "API_KEY_MANAGE"]).await;
    let with_key = ("x-api-key", key.as_str());
    let wider = json!({ "input": { "name": "Wide", "scopes": ["ITEM_READ"] } });
    let answer = post(&app, with_key, json!({ "documentId": "key", "variables": wider })).await;
    assert_eq!(
        answer["data"]["apiKeyCreate"]["userErrors"],
        json!([{ "code": "FORBIDDEN", "path": ["input", "documentSet"] }])
    );
    let same = json!({ "input": { "name": "Same", "scopes": ["ITEM_READ"], "documentSet": own } });
    let answer = post(&app, with_key, json!({ "documentId": "key", "variables": same })).await;
    assert_eq!(answer["data"]["apiKeyCreate"]["userErrors"], json!([]), "{answer:#}");
    let more = json!({ "input": { "id": own, "patch": { "manifest": { "count": COUNT } } } });
    let answer = post(&app, with_key, json!({ "documentId": "set", "variables": more })).await;
    assert_eq!(answer["data"]["documentSetUpdate"]["userErrors"], json!([{ "code": "FORBIDDEN", "path": ["input"] }]));
    // A set stays as long as a key is bound to it, and a stream ends when its key is bound elsewhere.
    let delete = || mutate(&app, &acme, &acme.admin, ("documentSetDelete", "deletedId"), json!({ "id": own }));
    assert_eq!(delete().refused().await, problem("INVALID_STATE", "input.id"));
    let mut socket = Socket::let_in(&app.listen().await, json!({ "x-api-key": key })).await;
    socket.start(json!({ "documentId": "feed" })).await;
    socket.batch().await;
    let patch = json!({ "id": key_id, "patch": { "documentSet": null } });
    mutate(&app, &acme, &acme.admin, ("apiKeyUpdate", KEY), patch).done().await;
    assert_eq!(socket.error_code().await, "UNAUTHENTICATED");
    mutate(&app, &acme, &acme.admin, ("apiKeyRevoke", "deletedId"), json!({ "id": key_id })).done().await;
    assert_eq!(delete().done().await["deletedId"], json!(own));
    assert_eq!(delete().done().await["deletedId"], json!(own), "again it is harmless");
}

#[databases]
async fn a_manifest_is_taken_whole_or_not_at_all(app: TestApp) {
    let acme = app.company("acme").await;
    let many: Value =
        (0..1_001).map(|n| (n.to_string(), json!("{ __typename }"))).collect::<serde_json::Map<_, _>>().into();
    let long = "i".repeat(129);
    let operations = |body: &str| json!({ "operations": [{ "id": "a", "body": BOARD }, { "id": "a", "body": body }] });
    for (manifest, expected) in [
        (json!("nonsense"), problem("INVALID", "input.manifest")),
        (json!({ "a": 5 }), problem("INVALID", "input.manifest")),
        (json!({}), problem("REQUIRED", "input.manifest")),
        (many, problem("TOO_MANY", "input.manifest")),
        (json!({ "a": BOARD, "b": "{ nothing }" }), problem("INVALID", "input.manifest.b")),
        (json!({ "": BOARD }), problem("INVALID", "input.manifest.")),
        (json!({ &long: BOARD }), problem("INVALID", &format!("input.manifest.{}", &long[..64]))),
        (operations(COUNT), problem("INVALID", "input.manifest.a")),
    ] {
        let said: String = manifest.to_string().chars().take(80).collect();
        assert_eq!(make(&app, &acme, &acme.admin, manifest).refused().await, expected, "{said}");
    }
    let page = "{ organization { documentSets { totalCount nodes { name } } } }";
    assert_eq!(app.call(&acme, &acme.admin, page).data().await["organization"]["documentSets"]["totalCount"], json!(0));
    assert_eq!(make(&app, &acme, &acme.member, manifest()).error_code().await, "FORBIDDEN");
    // As Apollo writes it; and a repeat by the client's own id.
    make(&app, &acme, &acme.admin, operations(BOARD)).done().await;
    let id = app.clock.new_id::<todo_platform::base::id::kind::DocumentSet>().to_string();
    let input = |name: &str| json!({ "id": id, "name": name, "manifest": manifest() });
    for _ in 0..2 {
        mutate(&app, &acme, &acme.admin, ("documentSetCreate", SET), input("Mine")).done().await;
    }
    let again = mutate(&app, &acme, &acme.admin, ("documentSetCreate", SET), input("Other")).refused().await;
    assert_eq!(again, problem("TAKEN", "input.id"));
    let stale = json!({ "id": id, "ifVersion": 7, "patch": { "name": "New" } });
    let stale = mutate(&app, &acme, &acme.admin, ("documentSetUpdate", SET), stale).refused().await;
    assert_eq!(stale, problem("CONFLICT", "input.ifVersion"));
}
