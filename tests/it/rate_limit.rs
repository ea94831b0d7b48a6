//! How much a caller may ask for: prices, buckets, what the answers say of them, and Redis that comes and goes.

use std::{net::SocketAddr, path::Path, time::Duration};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, StatusCode},
};
use chrono::Duration as Span;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use todo_platform::{
    base::enums::ActorKind,
    data::entity::ActorRef,
    platform::rate_limit::{
        Allowance, Holder,
        bucket::{Bucket, Level, WINDOW},
        memory::Memory,
    },
};
use uuid::Uuid;

use crate::support::{
    app::{TestApp, beginning},
    client::{Call, Reply},
    redis::RedisServer,
    schema::Documents,
    world::Person,
};
use todo_test_macros::databases;

/// How long a test waits for what another process does; far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(60);

// ── what the answers say ──

/// What `X-Include-Cost` shows: requested, actual, remaining.
async fn cost(call: Call<'_>) -> (u64, u64, u64) {
    let answer = call.header("x-include-cost", "true").answer().await;
    let cost = &answer["extensions"]["cost"];
    let number = |name: &str| cost[name].as_u64().unwrap_or_else(|| panic!("{name}: {answer:#}"));
    (number("requested"), number("actual"), number("remaining"))
}

/// A document that costs so many points, neither more nor less: ids of nothing are looked for, too.
fn costs(points: usize) -> String {
    format!("{{ nodes(ids: [{}]) {{ id }} }}", "\"itm_00000000000000000000000000\" ".repeat(points))
}

/// `r` of the header `RateLimit`.
fn remaining(reply: &Reply) -> u32 {
    let header = reply.header("ratelimit");
    let value = header.split(';').find_map(|part| part.strip_prefix("r=")?.parse().ok());
    value.unwrap_or_else(|| panic!("RateLimit: {header:?}"))
}

/// `q` of the header `RateLimit-Policy`.
fn quota(reply: &Reply) -> u32 {
    let header = reply.header("ratelimit-policy");
    let value = header.split(';').find_map(|part| part.strip_prefix("q=")?.parse().ok());
    value.unwrap_or_else(|| panic!("RateLimit-Policy: {header:?}"))
}

fn code(reply: &Reply) -> String {
    reply.json()["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// A request from an address.
async fn from(app: &TestApp, ip: &str, query: &str, headers: Headers<'_>) -> Reply {
    let peer = SocketAddr::new(ip.parse().expect("an address"), 40_000);
    let mut request = Request::builder().method(Method::POST).uri("/graphql").extension(ConnectInfo(peer));
    for (name, value) in [("content-type", "application/json")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    app.http(request.body(Body::from(json!({ "query": query }).to_string())).expect("a request")).await
}

async fn with(settings: &[(&str, &str)]) -> TestApp {
    let settings: Vec<(&str, String)> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    TestApp::start(&settings).await
}

/// Somebody in an organization of their own.
async fn somebody(app: &TestApp, name: &str) -> Person {
    let person = app.register(name).await;
    app.found(&person, &format!("{name}s")).await;
    person
}

// ── prices ──

#[databases]
async fn an_operation_costs_what_its_answer_holds(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "red" })).await;
    for number in 0..3 {
        let people = if number == 0 { vec![&acme.member.id, &acme.owner.id, &acme.admin.id] } else { vec![] };
        let input = json!({ "title": format!("item {number}"), "assigneeIds": people, "tagIds": [tag] });
        app.create(&acme, &acme.member, "item", input).await;
    }
    let priced = |query: &str| cost(app.call(&acme, &acme.member, query));
    let cases = [
        // An operation that asks for nothing dear costs a point all the same.
        ("{ __typename }", 1, 1),
        ("{ server { version limits { maxCost } } }", 2, 2),
        // Nothing is there: the look for it is what it cost.
        ("{ item(id: \"ACME-9\") { id team { id } } }", 2, 1),
        ("{ item(id: \"ACME-1\") { id team { id } } }", 2, 2),
        // A page of 50, with 3 on it.
        ("{ items(first: 50) { nodes { id } } }", 1 + 50, 1 + 3),
        ("{ items(first: 50) { edges { cursor node { id } } } }", 1 + 50, 1 + 3),
        ("{ items(first: 50) { nodes { id } totalCount } }", 1 + 50 + 10, 1 + 3 + 10),
        ("{ items(first: 50) { totalCount } }", 10, 10),
        ("{ items(first: 50) { pageInfo { hasNextPage } } }", 1, 1),
        ("{ items(first: 5) { nodes { comments { totalCount } } } }", 1 + 5 * 2, 1 + 3 * 2),
        // Three items, a tag, four members, the organization.
        ("{ sync(first: 50) { nodes { id } removedIds cursor } }", 1 + 50, 1 + 9),
        ("{ sync(first: 50, types: [ITEM]) { nodes { ... on Item { tags { id } } } } }", 1 + 50 * 2, 1 + 3 * 2),
        ("{ sync(first: 50) { removedIds } }", 1 + 50, 1 + 50),
        // A plain list is priced as two, and has one here.
        ("{ items(first: 5) { nodes { tags { id } } } }", 1 + 5 * 4, 1 + 3 * 3),
        // One item has three assignees: more than the price of that item foresaw, less than that of the page.
        ("{ items(first: 5) { nodes { assignees { id } } } }", 1 + 5 * 4, 1 + 3 * 2 + 3),
        // Exactly one item, with three: never more than was asked for.
        ("{ item(id: \"ACME-1\") { assignees { id } } }", 1 + 1 + 2, 1 + 1 + 2),
        // What is skipped is not asked for.
        ("{ items(first: 5) { nodes { id } } item(id: \"ACME-1\") @skip(if: true) { id } }", 1 + 5, 1 + 3),
        (
            "{ ...F } fragment F on Query { items(first: 5) { ...G } } fragment G on ItemConnection { nodes { id } }",
            6,
            4,
        ),
        ("{ __schema { queryType { name } } }", 10, 10),
        ("{ nodes(ids: [\"itm_00000000000000000000000000\", \"itm_00000000000000000000000001\"]) { id } }", 2, 2),
        // Aliases are where the answer has them.
        ("{ a: item(id: \"ACME-1\") { t: tags { id } } b: item(id: \"ACME-9\") { t: tags { id } } }", 8, 3 + 1),
    ];
    for (query, requested, actual) in cases {
        let (found_requested, found_actual, _) = priced(query).await;
        assert_eq!((found_requested, found_actual), (requested, actual), "{query}");
    }
    // What was not needed is back at once.
    let (_, _, before) = priced("{ __typename }").await;
    let (_, actual, after) = priced("{ items(first: 100) { nodes { tags { id } } } }").await;
    assert_eq!(before - after, actual);
}

/// Whatever the schema has, an answer is never dearer than its question.
#[databases]
async fn nothing_costs_more_than_was_asked_for(app: TestApp) {
    let acme = app.company("acme").await;
    let item = app.item(&acme, "an item").await;
    let documents = Documents::new();
    for (keyword, field) in documents.root_fields() {
        // What ends this session or this organization has nothing to answer with afterwards.
        if matches!(field.name.as_str(), "sessionRevoke" | "organizationDelete") {
            continue;
        }
        let variables = documents.least(field, &|_| json!(item));
        let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
        let (requested, actual, remaining) = cost(app.call(&acme, &acme.owner, &document).vars(variables)).await;
        assert!(1 <= actual && actual <= requested && remaining <= 1_000_000, "{document}: {actual} of {requested}");
    }
}

#[databases]
async fn rate_limit_tells_what_the_headers_tell(app: TestApp) {
    let acme = app.company("acme").await;
    let query = "{ rateLimit { limit remaining restoreRate resetAt requestedCost } items(first: 5) { nodes { id } } }";
    let reply = app.call(&acme, &acme.member, query).reply().await;
    assert_eq!(reply.header("ratelimit-policy"), "\"cost\";q=1000000;w=60");
    let shown = &reply.json()["data"]["rateLimit"];
    assert_eq!((&shown["limit"], &shown["requestedCost"]), (&json!(1_000_000), &json!(1 + 1 + 5)));
    let before = shown["remaining"].as_u64().expect("a number");
    // While it ran all of it was taken; the answer holds the list of nothing, and `rateLimit`.
    assert_eq!(u64::from(remaining(&reply)), before + 7 - 2);
    assert!((shown["restoreRate"].as_f64().expect("a number") - 1_000_000.0 / 60.0).abs() < 0.001);
    let reset = shown["resetAt"].as_str().expect("an instant").parse::<chrono::DateTime<chrono::Utc>>();
    assert!(reset.expect("an instant") > app.clock.now());
    assert_eq!(app.gql("{ rateLimit { limit } }").error_code().await, "UNAUTHENTICATED");
}

#[databases]
async fn a_plan_sizes_the_bucket_and_everybody_has_their_own(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let spent = app.call(&acme, &acme.member, &costs(40)).reply().await;
    let full = remaining(&spent) + 40;
    // Another person of the organization, and of another.
    for (company, person) in [(&acme, &acme.admin), (&rival, &rival.member)] {
        let reply = app.call(company, person, "{ __typename }").reply().await;
        assert!(remaining(&reply) > full - 40, "{}", remaining(&reply));
    }
    // The same person in two organizations has two buckets, and in none a third, as on the plan FREE.
    let invited = app
        .call(
            &acme,
            &acme.owner,
            "mutation { invitationCreate(input: {email: \"rival-member@example.com\"}) \
        { token userErrors { code } } }",
        )
        .done()
        .await;
    let accept = "mutation($t: String!) { invitationAccept(input: {token: $t}) { userErrors { code } } }";
    app.call(&rival, &rival.member, accept).vars(json!({ "t": invited["token"] })).done().await;
    app.call(&rival, &rival.member, &costs(40)).data().await;
    let here = app.call(&acme, &rival.member, "{ __typename }").reply().await;
    let there = app.call(&rival, &rival.member, "{ __typename }").reply().await;
    assert_eq!((quota(&here), quota(&there)), (1_000_000, 1_000_000));
    assert_eq!(remaining(&here), 999_999);
    assert!(remaining(&there) <= 999_959);
    let nowhere = app.gql("{ __typename }").token(&rival.member.token).reply().await;
    assert_eq!((quota(&nowhere), nowhere.status), (5_000, StatusCode::OK));
}

#[tokio::test]
async fn on_a_smaller_plan_the_bucket_is_smaller() {
    for (plan, points) in [("FREE", 5_000), ("STARTER", 20_000), ("PROFESSIONAL", 100_000)] {
        let app = with(&[("TODO_PLANS_DEFAULT", plan)]).await;
        let ann = somebody(&app, "ann").await;
        assert_eq!(quota(&app.gql("{ __typename }").token(&ann.token).reply().await), points);
    }
}

// ── refusals ──

#[tokio::test]
async fn an_empty_bucket_refuses_until_time_has_passed() {
    // A point a second.
    let app = with(&[("TODO_LIMITS_COST_PER_MINUTE", "60")]).await;
    let ann = somebody(&app, "ann").await;
    app.clock.advance(Span::minutes(2));
    let ask = |points: usize| app.gql(costs(points)).token(&ann.token).reply();

    let reply = ask(50).await;
    assert_eq!(
        (reply.status, reply.header("ratelimit"), reply.header("retry-after")),
        (StatusCode::OK, "\"cost\";r=10;t=50", "")
    );
    app.take_statements();
    let refused = ask(17).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.header("retry-after"), "7");
    assert_eq!(refused.header("ratelimit"), "\"cost\";r=10;t=50");
    assert_eq!(refused.header("ratelimit-policy"), "\"cost\";q=60;w=60");
    let answer = refused.json();
    assert!(answer.get("data").is_none(), "{answer:#}");
    let error = &answer["errors"][0];
    let mut extensions = error["extensions"].clone();
    extensions["requestId"].take();
    assert_eq!(
        extensions,
        json!({ "code": "RATE_LIMITED", "limit": 60, "remaining": 10, "requestedCost": 17, "retryAfterSeconds": 7,
                "dearestPath": "nodes", "coordinate": "Query.nodes", "requestId": null }),
    );
    assert!(error["message"].as_str().is_some_and(|message| message.contains("60")), "{answer:#}");

    // What there is may still be had, and six seconds are one too few for the rest.
    assert_eq!(ask(10).await.status, StatusCode::OK);
    app.clock.advance(Span::seconds(16));
    assert_eq!(ask(17).await.header("retry-after"), "1");
    app.clock.advance(Span::seconds(1));
    let reply = ask(17).await;
    assert_eq!((reply.status, remaining(&reply)), (StatusCode::OK, 0));
    // The media type that has status codes anyway says the same.
    let telling = app.gql("{ __typename }").token(&ann.token).header("accept", "application/graphql-response+json");
    assert_eq!(telling.reply().await.status, StatusCode::TOO_MANY_REQUESTS);
    // Refused requests cost nothing more: a minute fills the bucket.
    app.clock.advance(Span::minutes(1));
    assert_eq!(remaining(&ask(1).await), 59);
}

#[tokio::test]
async fn what_will_never_fit_is_too_complex_instead() {
    let app = with(&[("TODO_LIMITS_COST_PER_MINUTE", "60")]).await;
    let ann = somebody(&app, "ann").await;
    app.clock.advance(Span::minutes(2));
    let reply = app.gql("{ a: items(first: 99) { nodes { id } } }").token(&ann.token).reply().await;
    let extensions = &reply.json()["errors"][0]["extensions"];
    assert_eq!(extensions["code"], json!("QUERY_TOO_COMPLEX"));
    assert_eq!((&extensions["cost"], &extensions["limit"]), (&json!(100), &json!(60)));
    assert_eq!(extensions["dearestPath"], json!("a.nodes"));
    assert_eq!(remaining(&reply), 59, "asking costs a point");
}

#[tokio::test]
async fn every_answer_says_what_is_left() {
    let app =
        with(&[("CORS_ORIGINS", "https://app.example.com"), ("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "100")]).await;
    let ann = somebody(&app, "ann").await;
    app.clock.advance(Span::minutes(2));
    // What runs with an error in it, and what a caller may not.
    for query in
        ["{ items(after: \"nonsense\") { nodes { id } } }", "mutation { sessionRevoke(input: {}) { deletedId } }"]
    {
        let reply = app.gql(query).token(&ann.token).reply().await;
        assert_eq!(quota(&reply), 1_000_000, "{query}");
    }
    // What is refused before anybody knows whose it is costs the address a point.
    let bad_token = [("authorization", "Bearer nonsense")];
    let broken: [(&str, Headers<'_>, StatusCode); 5] = [
        ("{ server { version }", &[], StatusCode::OK),
        ("{ nonsense }", &[], StatusCode::OK),
        ("{ viewer { user { id } } }", &[], StatusCode::OK),
        ("{ viewer { user { id } } }", &bad_token, StatusCode::UNAUTHORIZED),
        ("{ __typename }", &[("accept", "text/html")], StatusCode::NOT_ACCEPTABLE),
    ];
    for (number, (query, headers, status)) in broken.into_iter().enumerate() {
        let reply = from(&app, "192.0.2.1", query, headers).await;
        let left = 99 - u32::try_from(number).expect("a few");
        assert_eq!((reply.status, quota(&reply), remaining(&reply)), (status, 100, left), "{query}");
    }
    let reply = from(&app, "192.0.2.1", "{ __typename }", &[("origin", "https://app.example.com")]).await;
    let exposed = reply.header("access-control-expose-headers");
    for name in ["ratelimit", "ratelimit-policy", "retry-after"] {
        assert!(exposed.split(',').any(|exposed| exposed.trim() == name), "{name} in {exposed}");
    }
    // A body that never changes by itself: the cost is there when asked for.
    assert!(reply.json().get("extensions").is_none());
}

/// An error takes a whole answer along. What ran before it is not for nothing.
#[tokio::test]
async fn a_failure_gives_nothing_back() {
    let app = TestApp::start(&[]).await;
    let ann = somebody(&app, "ann").await;
    let query = "{ items(first: 100) { nodes { tags { id } } } failing: items(after: \"nonsense\") { nodes { id } } }";
    let (requested, actual, _) = cost(app.gql(query).token(&ann.token)).await;
    assert_eq!((requested, actual), (1 + 400 + 1 + 20, 1 + 400 + 1 + 20));
    // A failed validation runs nothing, nor does anything for nobody.
    let (_, actual, _) = cost(app.gql("{ items(first: 100) { nodes { nonsense } } }").token(&ann.token)).await;
    assert_eq!(actual, 1);
    let (_, actual, _) = cost(app.gql("{ items(first: 100) { nodes { id } } }")).await;
    assert_eq!(actual, 1);
}

#[tokio::test]
async fn every_operation_of_a_batch_is_charged() {
    let app = with(&[("TODO_LIMITS_COST_PER_MINUTE", "60"), ("TODO_SERVER_BATCH_LIMIT", "4")]).await;
    let ann = somebody(&app, "ann").await;
    app.clock.advance(Span::minutes(2));
    let batch = |operations: &[usize]| {
        let bodies: Vec<Value> = operations.iter().map(|points| json!({ "query": costs(*points) })).collect();
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", ann.token));
        app.http(request.body(Body::from(json!(bodies).to_string())).expect("a request"))
    };
    let reply = batch(&[20, 20, 30, 20]).await;
    let codes: Vec<Value> = reply
        .json()
        .as_array()
        .expect("answers")
        .iter()
        .map(|answer| answer["errors"][0]["extensions"]["code"].clone())
        .collect();
    assert_eq!(codes, [Value::Null, Value::Null, json!("RATE_LIMITED"), Value::Null]);
    assert_eq!((reply.status, reply.header("retry-after"), remaining(&reply)), (StatusCode::OK, "10", 0));
    let reply = batch(&[1, 2]).await;
    assert_eq!((reply.status, reply.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "2"));
}

#[tokio::test]
async fn zero_turns_the_limits_off() {
    let app = with(&[("TODO_LIMITS_COST_PER_MINUTE", "0"), ("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "3")]).await;
    let ann = somebody(&app, "ann").await;
    for _ in 0..10 {
        let reply = from(&app, "192.0.2.1", "{ __typename }", &[]).await;
        assert_eq!(
            (reply.status, reply.header("ratelimit"), reply.header("ratelimit-policy")),
            (StatusCode::OK, "", "")
        );
    }
    let shown = app.gql("{ rateLimit { limit remaining requestedCost } }").token(&ann.token).data().await;
    assert_eq!(shown["rateLimit"], json!({ "limit": i32::MAX, "remaining": i32::MAX, "requestedCost": 1 }));

    let app = with(&[("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "0")]).await;
    assert_eq!(from(&app, "192.0.2.1", "{ __typename }", &[]).await.header("ratelimit"), "");
    let ann = app.register("ann").await;
    assert_eq!(quota(&app.gql("{ __typename }").token(&ann.token).reply().await), 5_000);
}

// ── addresses ──

#[tokio::test]
async fn who_is_nobody_is_limited_by_address() {
    let app = with(&[("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "3")]).await;
    let status = async |ip: &str| from(&app, ip, "{ __typename }", &[]).await.status;
    let (ok, refused) = (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..3 {
        assert_eq!(status("192.0.2.1").await, ok);
    }
    assert_eq!(status("192.0.2.1").await, refused);
    assert_eq!(status("::ffff:192.0.2.1").await, refused, "the same address");
    assert_eq!(status("192.0.2.2").await, ok, "another one");
    // Of IPv6 a customer has a /64, and could else take a new address for each request.
    for host in 1..=3 {
        assert_eq!(status(&format!("2001:db8:0:1::{host}")).await, ok);
    }
    assert_eq!(status("2001:db8:0:1:ffff::9").await, refused);
    assert_eq!(status("2001:db8:0:2::1").await, ok);
    app.clock.advance(Span::seconds(20));
    assert_eq!(status("192.0.2.1").await, ok, "a point in twenty seconds");
    assert_eq!(status("192.0.2.1").await, refused);
}

#[tokio::test]
async fn guessing_credentials_ends_without_a_look_up_and_locks_nobody_out() {
    let app = with(&[("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "10")]).await;
    let ann = somebody(&app, "ann").await;
    app.clock.advance(Span::minutes(2));
    let good = format!("Bearer {}", ann.token);
    let with_good = [("authorization", good.as_str())];
    let renewed = app
        .gql("mutation($t: String!) { sessionRefresh(input: {refreshToken: $t}) { accessToken userErrors { code } } }");
    let renewed = renewed.vars(json!({ "t": ann.refresh_token })).done().await["accessToken"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    app.clock.advance(Span::minutes(2));
    assert_eq!(from(&app, "192.0.2.1", "{ viewer { user { id } } }", &with_good).await.status, StatusCode::OK);
    // Well made, but not of any key: each is looked for.
    let guess = async || {
        let key = app.state.mint.mint().expect("a key").text;
        app.take_statements();
        let reply = from(&app, "192.0.2.1", "{ viewer { user { id } } }", &[("x-api-key", &key)]).await;
        (code(&reply), app.take_statements().len())
    };
    for _ in 0..10 {
        assert_eq!(guess().await, ("UNAUTHENTICATED".to_owned(), 1));
    }
    assert_eq!(guess().await, ("RATE_LIMITED".to_owned(), 0));
    // Whoever shares the address and was let in a moment ago still is.
    assert_eq!(from(&app, "192.0.2.1", "{ viewer { user { id } } }", &with_good).await.status, StatusCode::OK);
    // Never seen before, and its session must be looked up: there it may not be, elsewhere it may.
    app.clock.advance(Span::seconds(2));
    let unseen = format!("Bearer {renewed}");
    let unseen = [("authorization", unseen.as_str())];
    assert_eq!(from(&app, "192.0.2.1", "{ __typename }", &unseen).await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from(&app, "192.0.2.2", "{ __typename }", &unseen).await.status, StatusCode::OK);
    app.clock.advance(Span::seconds(6));
    assert_eq!(guess().await, ("UNAUTHENTICATED".to_owned(), 1));
}

// ── the clock ──

#[tokio::test]
async fn a_clock_that_jumps_neither_starves_nor_spoils() {
    let app = with(&[("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "60")]).await;
    let ask = async |points: usize| {
        let asked = format!("{{ {} }}", "__typename ".repeat(points.min(1)));
        from(&app, "192.0.2.1", &asked, &[]).await
    };
    for _ in 0..60 {
        assert_eq!(ask(1).await.status, StatusCode::OK);
    }
    // A year back: nothing is restored by that, and from there on time counts.
    app.clock.set(beginning() - Span::days(365));
    assert_eq!(ask(1).await.status, StatusCode::TOO_MANY_REQUESTS);
    app.clock.advance(Span::seconds(3));
    let reply = ask(1).await;
    assert_eq!((reply.status, remaining(&reply)), (StatusCode::OK, 2));
    // Ten years ahead: a full bucket, not ten years of points.
    app.clock.advance(Span::days(3_650));
    let reply = ask(1).await;
    assert_eq!((remaining(&reply), reply.header("ratelimit")), (59, "\"cost\";r=59;t=1"));
}

// ── the formula ──

/// Whatever is taken and given back, whenever, and wherever the clock goes: what a bucket grants is at most its capacity
/// and what the time that passed restores, and what was refused would not have fitted.
#[test]
fn a_bucket_never_grants_more_than_it_has() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let capacity = [1, 7, 60, 5_000, 1_000_000, i32::MAX.unsigned_abs()][random.usize(..6)];
        let (mut bucket, mut now) = (Bucket::default(), 1_700_000_000_000_i64);
        bucket.leak(capacity, now);
        // In grains of a 60,000th of a point.
        let (mut restored, mut granted) = (0_i128, 0_i128);
        for _ in 0..500 {
            let step = match random.u8(..10) {
                0 => -random.i64(0..10_000_000_000),
                1 => random.i64(0..10_000_000_000),
                _ => random.i64(0..2_000),
            };
            now += step;
            restored += i128::from(step.clamp(0, WINDOW)) * i128::from(capacity);
            let points = random.u32(1..=capacity.min(2_000_000_000));
            let mut before = bucket;
            before.leak(capacity, now);
            let level = Level::new(capacity, before.used);
            if bucket.take(capacity, points.into(), now) {
                granted += i128::from(points) * i128::from(WINDOW);
                assert!(points <= level.remaining(), "seed {seed}: {points} of {level:?}");
                let unused = random.u32(0..=points);
                assert!(bucket.take(capacity, -i64::from(unused), now));
                granted -= i128::from(unused) * i128::from(WINDOW);
            } else {
                assert!(points > level.remaining(), "seed {seed}: {points} of {level:?}");
                // Exactly after the wait it told, and not a millisecond before, they are there.
                let wait = level.wait_for(points);
                let (mut early, mut late) = (bucket, bucket);
                assert!(!early.take(capacity, points.into(), now + wait - 1), "seed {seed}");
                assert!(late.take(capacity, points.into(), now + wait), "seed {seed}");
            }
            let full = i128::from(capacity) * i128::from(WINDOW);
            assert!((0..=full).contains(&i128::from(bucket.used)), "seed {seed}");
            assert!(granted <= full + restored, "seed {seed}");
        }
        let level = Level::new(capacity, bucket.used);
        bucket.leak(capacity, now + level.full_in());
        assert_eq!(bucket.used, 0, "seed {seed}");
    }
}

#[test]
fn a_plan_that_changes_changes_the_bucket() {
    let mut bucket = Bucket::default();
    bucket.leak(100, 0);
    assert!(bucket.take(100, 90, 0));
    // Down: at most used up. Up: what was used stays used.
    let mut smaller = bucket;
    assert!(!smaller.take(50, 1, 0));
    assert!(smaller.take(50, 50, WINDOW));
    assert!(bucket.take(1_000, 910, 0) && !bucket.take(1_000, 1, 0));
}

fn holder(kind: ActorKind, id: u128, organization: u128) -> Holder {
    Holder::Caller {
        organization: Some(Uuid::from_u128(organization)),
        actor: ActorRef { kind, id: Uuid::from_u128(id) },
    }
}

/// An API key and whoever made it, a person in two organizations, two persons: each has a bucket, here and in Redis.
#[test]
fn holders_have_a_bucket_each() {
    let holders = [
        holder(ActorKind::User, 1, 1),
        holder(ActorKind::ApiKey, 1, 1),
        holder(ActorKind::User, 2, 1),
        holder(ActorKind::User, 1, 2),
        Holder::Caller { organization: None, actor: ActorRef { kind: ActorKind::User, id: Uuid::from_u128(1) } },
        Holder::of_address("192.0.2.1".parse().ok()),
        Holder::of_address("2001:db8::1".parse().ok()),
        Holder::of_address(None),
    ];
    let memory = Memory::default();
    for holder in holders {
        assert!(memory.take(holder, 10, 10, 0).0, "{holder:?}");
        assert!(!memory.take(holder, 10, 1, 0).0, "{holder:?}");
    }
    let keys: std::collections::BTreeSet<String> = holders.iter().map(Holder::redis_key).collect();
    assert_eq!(keys.len(), holders.len());
    assert!(keys.iter().all(|key| key.starts_with("todo:")));
}

#[test]
fn buckets_that_are_full_again_are_forgotten() {
    let memory = Memory::default();
    for id in 0..200_000_u128 {
        // A point of 5,000 a minute is back after 12 ms; one millisecond passes for each.
        let now = i64::try_from(id).expect("a small number");
        memory.take(holder(ActorKind::User, id, 1), 5_000, 1, now);
    }
    assert!(memory.len() < 32 * 1_024, "{}", memory.len());
    // What is used is never forgotten, also when the clock went back.
    let busy = holder(ActorKind::ApiKey, 7, 7);
    assert!(memory.take(busy, 5_000, 5_000, 1_000_000).0);
    for id in 0..100_000_u128 {
        memory.take(holder(ActorKind::User, id, 2), 5_000, 1, 999_000);
    }
    assert!(!memory.take(busy, 5_000, 1, 999_000).0);
}

// ── Redis ──

async fn connect(server: &RedisServer) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("a URL");
    client.get_multiplexed_async_connection().await.expect("Redis answers")
}

/// On a busy machine a test's Redis may be slow, and that is not its being away.
const PATIENT: (&str, &str) = ("TODO_REDIS_TIMEOUT", "30s");

/// An instance of those that share a database and a Redis.
async fn instance(folder: &Path, server: &RedisServer, more: &[(&str, &str)]) -> TestApp {
    let database = format!("sqlite://{}", folder.join("shared.sqlite").display());
    let redis = server.url();
    let settings = [("DATABASE_URL", database.as_str()), ("REDIS_URL", redis.as_str()), PATIENT];
    with(&[&settings, more].concat()).await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

fn redis_of(app: &TestApp) -> &todo_platform::platform::redis::Redis {
    app.state.redis.as_ref().expect("one is configured")
}

/// The script in Redis and the formula here, over the same histories. The time is Redis' own; jumps are made by moving
/// what it noted of the last time.
#[tokio::test]
async fn the_script_and_the_formula_agree() {
    let Some(server) = RedisServer::start() else { return };
    let mut connection = connect(&server).await;
    let script = redis::Script::new(include_str!("../../src/platform/rate_limit/bucket.lua"));
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let key = format!("todo:test:{seed}");
        let mut bucket = Bucket::default();
        for step in 0..100 {
            // Plans change now and then.
            let capacity = [1, 60, 5_000, 1_000_000, i32::MAX.unsigned_abs()][random.usize(..5)];
            let points = match random.u8(..3) {
                0 => -random.i64(0..=capacity.into()),
                _ => random.i64(1..=capacity.into()),
            };
            if bucket.used > 0 && random.bool() {
                let jump = random.i64(-100_000..100_000);
                bucket.at += jump;
                let _: () = redis::cmd("HSET")
                    .arg(&key)
                    .arg("at")
                    .arg(bucket.at)
                    .query_async(&mut connection)
                    .await
                    .expect("HSET");
            }
            let answer: (bool, i64, i64) = script
                .key(&key)
                .arg(capacity)
                .arg(points)
                .invoke_async(&mut connection)
                .await
                .expect("the script runs");
            let (granted, used, now) = answer;
            let expected = bucket.take(capacity, points, now);
            assert_eq!((granted, used), (expected, bucket.used), "seed {seed}, step {step}: {points} of {capacity}");
            // Kept until it is full again, and not at all when it is.
            let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut connection).await.expect("PTTL");
            let full_in = Level::new(capacity, used).full_in();
            assert!(if used == 0 { ttl == -2 } else { ttl <= full_in }, "{ttl} of {full_in}");
            if ttl < 0 {
                bucket = Bucket::default();
            }
            if bucket.used > 0 {
                // So that it outlives the test's next step.
                let _: () = redis::cmd("PERSIST").arg(&key).query_async(&mut connection).await.expect("PERSIST");
            }
        }
    }
}

#[tokio::test]
async fn two_instances_grant_no_more_than_one_together() {
    let Some(server) = RedisServer::start() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limit = [("TODO_LIMITS_COST_PER_MINUTE", "100")];
    let one = instance(folder.path(), &server, &limit).await;
    let two = instance(folder.path(), &server, &limit).await;
    let ann = somebody(&one, "ann").await;
    let begun = std::time::Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (app, token) = (if number % 2 == 0 { one.clone() } else { two.clone() }, ann.token.clone());
        asked.spawn(async move {
            let reply = app.gql("{ __typename }").token(&token).reply().await;
            assert_eq!(quota(&reply), 100, "never from a share: Redis is there");
            reply.status
        });
    }
    let statuses = asked.join_all().await;
    let granted = statuses.iter().filter(|status| **status == StatusCode::OK).count();
    assert!(statuses.iter().all(|status| [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS].contains(status)));
    // Real time restores points meanwhile. (Founding the organization took from other buckets.)
    let restored = begun.elapsed().as_secs_f64() * 100.0 / 60.0;
    assert!(granted >= 90 && (granted as f64) <= 100.0 + restored + 1.0, "{granted} granted, {restored} restored");
    // What the one gives back, the other has.
    let mut connection = connect(&server).await;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut connection).await.expect("FLUSHALL");
    let reply = one.gql("{ items(first: 79) { nodes { id } } }").token(&ann.token).reply().await;
    assert_eq!((reply.status, remaining(&reply)), (StatusCode::OK, 99));
    one.state.background.close();
    tokio::time::timeout(DEADLINE, one.state.background.wait()).await.expect("given back in time");
    assert!(remaining(&two.gql("{ __typename }").token(&ann.token).reply().await) >= 98);
}

#[tokio::test]
async fn without_redis_each_instance_grants_its_share_until_it_is_back() {
    let Some(mut server) = RedisServer::start() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limit = [("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "120")];
    let one = instance(folder.path(), &server, &limit).await;
    let two = instance(folder.path(), &server, &limit).await;
    until("both know of each other", || redis_of(&one).instances() == 2 && redis_of(&two).instances() == 2).await;
    let ask = async |app: &TestApp| from(app, "192.0.2.1", "{ __typename }", &[]).await;
    let metric = async |app: &TestApp, line: &str| {
        let text = String::from_utf8(app.get("/metrics").await.body).expect("text");
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    };
    assert_eq!(quota(&ask(&one).await), 120);
    metric(&one, "todo_redis_up 1").await;

    server.stop();
    for app in [&one, &two] {
        for granted in 1..=60 {
            let reply = ask(app).await;
            assert_eq!((reply.status, quota(&reply), remaining(&reply)), (StatusCode::OK, 60, 60 - granted));
        }
        assert_eq!(ask(app).await.status, StatusCode::TOO_MANY_REQUESTS);
        metric(app, "todo_redis_up 0").await;
        metric(app, "todo_rate_limit_fallbacks_total 61").await;
        metric(app, "todo_rate_limit_refusals_total{bucket=\"address\"} 1").await;
    }

    server.start_again();
    until("Redis is back", || redis_of(&one).is_up() && redis_of(&two).is_up()).await;
    assert_eq!(quota(&ask(&one).await), 120);
    // Together again: what the one takes, the other lacks.
    let a_hundred = from(&one, "192.0.2.1", "{ items(first: 99) { nodes { id } } }", &[]).await;
    assert_eq!(quota(&a_hundred), 120);
    metric(&two, "todo_redis_up 1").await;
}

/// What costs more than an instance's share takes all of it, so that it can run while Redis is away.
#[tokio::test]
async fn a_share_smaller_than_an_operation_is_enough_for_it() {
    let Some(mut server) = RedisServer::start() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let limit = [("TODO_LIMITS_COST_PER_MINUTE", "100")];
    let one = instance(folder.path(), &server, &limit).await;
    let two = instance(folder.path(), &server, &limit).await;
    let ann = somebody(&one, "ann").await;
    until("both know of each other", || redis_of(&one).instances() == 2 && redis_of(&two).instances() == 2).await;
    server.stop();
    one.clock.advance(Span::minutes(2));
    let reply = one.gql(costs(90)).token(&ann.token).reply().await;
    assert_eq!((reply.status, quota(&reply), remaining(&reply)), (StatusCode::OK, 50, 0));
    drop(two);
}

#[tokio::test]
async fn a_server_starts_without_its_redis_and_finds_it_later() {
    let Some(mut server) = RedisServer::start() else { return };
    server.stop();
    let app = with(&[("REDIS_URL", &server.url()), PATIENT, ("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "9")]).await;
    assert!(!redis_of(&app).is_up());
    let reply = from(&app, "192.0.2.1", "{ __typename }", &[]).await;
    assert_eq!((reply.status, quota(&reply)), (StatusCode::OK, 9), "the only instance it knows of has all of it");
    server.start_again();
    until("Redis is found", || redis_of(&app).is_up()).await;
    assert_eq!(from(&app, "192.0.2.1", "{ __typename }", &[]).await.status, StatusCode::OK);
    let keys: Vec<String> =
        redis::cmd("KEYS").arg("*").query_async(&mut connect(&server).await).await.expect("the keys");
    assert!(keys.contains(&"todo:cost:address:192.0.2.1".to_owned()), "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("todo:")), "{keys:?}");
}

#[tokio::test]
async fn an_address_spent_in_redis_is_not_looked_up_here() {
    let Some(server) = RedisServer::start() else { return };
    let app = with(&[("REDIS_URL", &server.url()), PATIENT, ("TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE", "1")]).await;
    let guess = async || {
        let key = app.state.mint.mint().expect("a key").text;
        app.take_statements();
        let reply = from(&app, "192.0.2.1", "{ viewer { user { id } } }", &[("x-api-key", &key)]).await;
        (code(&reply), app.take_statements().len())
    };
    assert_eq!(guess().await, ("UNAUTHENTICATED".to_owned(), 1));
    // The bucket in Redis is used up: this one was looked up before that was known, the next is not.
    assert_eq!(guess().await, ("RATE_LIMITED".to_owned(), 1));
    assert_eq!(guess().await, ("RATE_LIMITED".to_owned(), 0));
}

/// Takes are one step in Redis: many at once, from several connections, never pass the last point twice.
#[tokio::test]
async fn concurrent_takes_are_exact() {
    let Some(server) = RedisServer::start() else { return };
    let app = with(&[("REDIS_URL", &server.url()), PATIENT]).await;
    let other = with(&[("REDIS_URL", &server.url()), PATIENT]).await;
    // So large that a point is many grains, and time restores whole points: the script says how many.
    let allowance = Allowance { holder: holder(ActorKind::ApiKey, 1, 1), capacity: 600 };
    let begun = std::time::Instant::now();
    let mut takes = tokio::task::JoinSet::new();
    for number in 0..200 {
        let limiter = if number % 2 == 0 { &app } else { &other }.state.rate_limit.clone();
        takes.spawn(async move { limiter.take(allowance, 5).await.is_ok() });
    }
    let granted = takes.join_all().await.into_iter().filter(|granted| *granted).count() * 5;
    let restored = begun.elapsed().as_secs_f64() * 10.0;
    assert!(granted >= 600 && granted as f64 <= 600.0 + restored + 5.0, "{granted} granted, {restored} restored");
}

// ── metrics ──

#[tokio::test]
async fn metrics_count_requests_and_name_nobody() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme-secret").await;
    app.call(&acme, &acme.member, "{ items { nodes { id } } }").data().await;
    app.gql("{ viewer { user { id } } }").token("nonsense").reply().await;
    let reply = app.get("/metrics").await;
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (StatusCode::OK, todo_platform::platform::metrics::CONTENT_TYPE)
    );
    let text = String::from_utf8(reply.body).expect("text");
    for expected in [
        "todo_http_requests_total{kind=\"query\",status=\"2xx\"} ",
        "todo_http_requests_total{kind=\"query\",status=\"4xx\"} 1",
        "todo_http_requests_total{kind=\"mutation\",status=\"2xx\"} ",
        "todo_http_request_duration_seconds_count{kind=\"query\"} ",
        "todo_http_request_duration_seconds_bucket{le=\"+Inf\",kind=\"mutation\"} ",
    ] {
        assert!(text.contains(expected), "{expected} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("redis"), "none is configured");
    for secret in ["acme", "@example.com", "usr_", "org_"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    let off = with(&[("TODO_SERVER_METRICS", "off")]).await;
    assert_eq!(off.get("/metrics").await.status, StatusCode::NOT_FOUND);
    let production = with(&[("TODO_MODE", "embedded"), ("TODO_SERVER_METRICS", "on")]).await;
    assert_eq!(production.get("/metrics").await.status, StatusCode::OK);
}
