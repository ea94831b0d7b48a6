//! GraphQL over HTTP, and what else is spoken there: health, schema, playground.

use std::net::SocketAddr;

use axum::{
    body::{Body, Bytes},
    extract::ConnectInfo,
    http::{Method, Request},
};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use todo_platform::{api::schema, base::config::LimitsConfig};

use crate::support::{
    app::TestApp,
    client::Reply,
    world::{PASSWORD, Person},
};
use todo_test_macros::databases;

const JSON: (&str, &str) = ("content-type", "application/json");
const GRAPHQL_RESPONSE: (&str, &str) = ("accept", "application/graphql-response+json");
const ORIGIN: &str = "https://app.example.com";

/// A request with these headers.
fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

/// A POST to the API with exactly these headers.
async fn post(app: &TestApp, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
    app.http(request("POST", "/graphql", headers, body)).await
}

/// A query as a JSON body.
fn body(query: &str) -> String {
    json!({ "query": query }).to_string()
}

/// A GET of the API with these parameters.
async fn ask(app: &TestApp, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let query: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    app.http(request("GET", &format!("/graphql?{}", query.join("&")), headers, "")).await
}

/// An answer that refuses the whole request: status, code, the request's id, and no `data`.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str) -> Value {
    let answer = reply.json();
    assert_eq!(reply.status, status, "{answer:#}");
    assert!(answer.get("data").is_none(), "{answer:#}");
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], json!(code), "{answer:#}");
    assert_eq!(error["extensions"]["requestId"], json!(reply.header("x-request-id")), "{answer:#}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:#}");
    error.clone()
}

/// Somebody with an organization of their own.
async fn owner(app: &TestApp, slug: &str) -> Person {
    let owner = app.register(&format!("{slug}-owner")).await;
    app.found(&owner, slug).await;
    owner
}

// ── media types ──

#[tokio::test]
async fn a_json_post_is_answered() {
    let app = TestApp::start(&[]).await;
    for content_type in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\""] {
        let reply = post(&app, &[("content-type", content_type)], body("{ server { version } }")).await;
        assert_eq!(reply.status, 200, "{content_type}");
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.json(), json!({ "data": { "server": { "version": env!("CARGO_PKG_VERSION") } } }));
    }
}

#[tokio::test]
async fn a_document_that_can_not_run_is_400_where_the_status_tells() {
    let app = TestApp::start(&[]).await;
    let documents = [
        ("{ server {", "GRAPHQL_PARSE_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ server { version { x } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { server { version } } query B { server { version } }", "BAD_REQUEST"),
    ];
    for (document, code) in documents {
        let reply = post(&app, &[JSON, GRAPHQL_RESPONSE], body(document)).await;
        assert_eq!(reply.header("content-type"), "application/graphql-response+json; charset=utf-8");
        assert_refused(&reply, 400, code);
        let reply = post(&app, &[JSON, ("accept", "application/json")], body(document)).await;
        assert_eq!(reply.header("content-type"), "application/json; charset=utf-8");
        assert_refused(&reply, 200, code);
    }
    let reply = post(&app, &[JSON, GRAPHQL_RESPONSE], body("{ server { version } }")).await;
    assert_eq!(reply.status, 200);
    // It ran, and a field failed: the answer is one of the operation.
    let reply = post(&app, &[JSON, GRAPHQL_RESPONSE], body("{ server { version } item(id: \"ACME-1\") { id } }")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["data"]["item"], Value::Null);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], json!("UNAUTHENTICATED"));
}

#[tokio::test]
async fn the_media_type_is_the_one_the_client_likes_best() {
    let app = TestApp::start(&[]).await;
    let (plain, telling) = ("application/json; charset=utf-8", "application/graphql-response+json; charset=utf-8");
    let cases = [
        ("*/*", plain),
        ("application/*", plain),
        ("text/html, */*;q=0.1", plain),
        ("application/json", plain),
        ("application/graphql-response+json", telling),
        ("APPLICATION/GraphQL-Response+JSON", telling),
        ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", telling),
        ("application/json, application/graphql-response+json", plain),
        ("application/graphql-response+json;q=0.5, application/json;q=0.9", plain),
        ("application/json;q=0.5, application/graphql-response+json", telling),
        ("application/json;q=0, application/graphql-response+json;q=0.1", telling),
        ("application/json;Q=0.2, application/graphql-response+json;Q=0.3", telling),
        ("application/json;q=0, */*", telling),
        ("application/graphql-response+json;q=0, */*;q=0.5", plain),
    ];
    for (accept, expected) in cases {
        let reply = post(&app, &[JSON, ("accept", accept)], body("{ __typename }")).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, expected), "{accept}");
    }
    assert_eq!(post(&app, &[JSON], body("{ __typename }")).await.header("content-type"), plain);
    let two = [JSON, ("accept", "text/html"), GRAPHQL_RESPONSE];
    assert_eq!(post(&app, &two, body("{ __typename }")).await.header("content-type"), telling);
    let neither = [
        "text/html",
        "text/html, image/png",
        "application/xml",
        "application/json;q=0",
        "*/*;q=0",
        "application/json;q=0, application/graphql-response+json;q=0",
        "application/json;q=0.0",
    ];
    for accept in neither {
        assert_refused(&post(&app, &[JSON, ("accept", accept)], body("{ __typename }")).await, 406, "BAD_REQUEST");
    }
}

#[tokio::test]
async fn a_body_that_a_form_could_send_is_415() {
    let app = TestApp::start(&[]).await;
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json; charset=latin1",
        "application/json; charset=utf-16",
        "text/json",
        "application/jsonp",
        "",
        "text/plain; application/json",
        "application/graphql-response+json",
    ];
    for content_type in types {
        let reply = post(&app, &[("content-type", content_type)], body("{ __typename }")).await;
        assert_refused(&reply, 415, "BAD_REQUEST");
    }
    assert_refused(&post(&app, &[], body("{ __typename }")).await, 415, "BAD_REQUEST");
    let upload =
        "--x\r\ncontent-disposition: form-data; name=\"operations\"\r\n\r\n{\"query\":\"{ __typename }\"}\r\n--x--\r\n";
    let reply = post(&app, &[("content-type", "multipart/form-data; boundary=x")], upload).await;
    assert_refused(&reply, 415, "BAD_REQUEST");
}

// ── bodies ──

#[tokio::test]
async fn a_body_that_is_no_request_is_400() {
    let app = TestApp::start(&[]).await;
    let bodies: &[&[u8]] = &[
        b"",
        b" ",
        b"{",
        b"null",
        b"1",
        b"\"{ __typename }\"",
        b"{}",
        b"{\"query\": null}",
        b"{\"query\": 1}",
        b"{\"query\": \"\"}",
        b"{\"query\": [\"{ __typename }\"]}",
        b"{\"document\": \"{ __typename }\"}",
        b"{\"query\": \"{ __typename }\", \"variables\": []}",
        b"{\"query\": \"{ __typename }\", \"variables\": \"x\"}",
        b"{\"query\": \"{ __typename }\", \"operationName\": 1}",
        b"{\"query\": \"{ __typename }\"} trailing",
        b"{\"query\": \"\xff\xfe\"}",
        b"\xff\xfe{\0}\0",
        b"query={__typename}",
    ];
    for bytes in bodies {
        for accept in ["application/json", "application/graphql-response+json"] {
            let reply = post(&app, &[JSON, ("accept", accept)], bytes.to_vec()).await;
            assert_eq!(reply.status, 400, "{} {accept}: {}", String::from_utf8_lossy(bytes), reply.json());
            assert_refused(&reply, 400, "BAD_REQUEST");
        }
    }
    // Absent and null are the same to the specification.
    let nulls = json!({ "query": "{ __typename }", "variables": null, "operationName": null, "extensions": null });
    assert_eq!(post(&app, &[JSON], nulls.to_string()).await.json()["data"]["__typename"], json!("Query"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_however_it_arrives() {
    let app = TestApp::start(&[]).await;
    let limit = LimitsConfig::default().body_bytes;
    let mut bytes = body("{ __typename }").into_bytes();
    bytes.resize(limit, b' ');
    assert_eq!(post(&app, &[JSON], bytes.clone()).await.status, 200, "exactly the limit");
    bytes.push(b' ');
    let length = bytes.len().to_string();
    let error = assert_refused(
        &post(&app, &[JSON, ("content-length", &length)], bytes.clone()).await,
        413,
        "PAYLOAD_TOO_LARGE",
    );
    assert_eq!(error["extensions"]["limit"], json!(limit));
    // Without a length, in pieces, and without an end in sight.
    let pieces: Vec<Bytes> = bytes.chunks(10_000).map(Bytes::copy_from_slice).collect();
    let pieces = pieces.into_iter().cycle().map(Ok::<_, std::io::Error>);
    let endless = Body::from_stream(futures_util::stream::iter(pieces));
    assert_refused(&post(&app, &[JSON], endless).await, 413, "PAYLOAD_TOO_LARGE");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400() {
    let app = TestApp::start(&[]).await;
    let pieces = [Ok(Bytes::from_static(b"{\"query\": \"")), Err(std::io::Error::other("the cable was cut"))];
    let reply = post(&app, &[JSON], Body::from_stream(futures_util::stream::iter(pieces))).await;
    let error = assert_refused(&reply, 400, "BAD_REQUEST");
    assert!(!error.to_string().contains("cable"), "{error}");
}

#[tokio::test]
async fn batches_are_off_unless_configured() {
    let app = TestApp::start(&[]).await;
    for batch in [
        "[]",
        "[{\"query\": \"{ __typename }\"}]",
        "[{\"query\": \"{ __typename }\"}, {\"query\": \"{ __typename }\"}]",
    ] {
        let reply = post(&app, &[JSON], batch).await;
        assert_eq!(reply.status, 400, "{batch}: {}", reply.json());
        assert_refused(&reply, 400, "BAD_REQUEST");
    }
    // Nor may an array pass for an object whose fields come in order.
    assert_refused(&post(&app, &[JSON], "[\"{ __typename }\"]").await, 400, "BAD_REQUEST");

    let app = TestApp::start(&[("TODO_SERVER_BATCH_LIMIT", "2".to_owned())]).await;
    let one = json!({ "query": "{ __typename }" });
    let bad = json!({ "query": "{ nothing }" });
    let reply = post(&app, &[JSON], json!([one, bad]).to_string()).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()[0], json!({ "data": { "__typename": "Query" } }));
    assert_eq!(reply.json()[1]["errors"][0]["extensions"]["code"], json!("GRAPHQL_VALIDATION_FAILED"));
    assert_refused(&post(&app, &[JSON], json!([one, one, one]).to_string()).await, 400, "BAD_REQUEST");
}

// ── methods ──

#[tokio::test]
async fn a_query_may_come_by_get() {
    let app = TestApp::start(&[]).await;
    let owner = owner(&app, "acme").await;
    let reply = ask(&app, &[("query", "{ server { version } }")], &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["data"]["server"]["version"], json!(env!("CARGO_PKG_VERSION")));
    let bearer = format!("Bearer {}", owner.token);
    let document = "query A { __typename } query B($slug: Boolean!) { organization { slug @include(if: $slug) name } }";
    let headers = [("authorization", bearer.as_str())];
    let parameters = [("query", document), ("variables", "{\"slug\": true}"), ("operationName", "B")];
    let reply = ask(&app, &parameters, &headers).await;
    assert_eq!(reply.json(), json!({ "data": { "organization": { "slug": "acme", "name": "acme" } } }));
    let parameters = [("query", document), ("variables", "{\"slug\": false}"), ("operationName", "A")];
    assert_eq!(ask(&app, &parameters, &headers).await.json(), json!({ "data": { "__typename": "Query" } }));
    assert_refused(&ask(&app, &[("query", document)], &headers).await, 200, "BAD_REQUEST");
    assert_refused(
        &ask(&app, &[("query", "{ nothing }")], &[GRAPHQL_RESPONSE]).await,
        400,
        "GRAPHQL_VALIDATION_FAILED",
    );
    for parameters in [&[][..], &[("query", "")], &[("x", "y")], &[("query", "{ __typename }"), ("variables", "{")]] {
        assert_refused(&ask(&app, parameters, &[]).await, 400, "BAD_REQUEST");
    }
}

#[tokio::test]
async fn a_mutation_by_get_is_405_and_writes_nothing() {
    let app = TestApp::start(&[]).await;
    let owner = owner(&app, "acme").await;
    let bearer = format!("Bearer {}", owner.token);
    let headers = [("authorization", bearer.as_str())];
    let create = "mutation M { tagCreate(input: {name: \"bug\"}) { tag { id } } }";
    let both = format!("query Q {{ __typename }} {create}");
    for parameters in [&[("query", create)][..], &[("query", &both), ("operationName", "M")]] {
        let reply = ask(&app, parameters, &headers).await;
        assert_refused(&reply, 405, "BAD_REQUEST");
        assert_eq!(reply.header("allow"), "POST");
    }
    let tags = app.gql("{ organization { tags { totalCount } } }").token(&owner.token).data().await;
    assert_eq!(tags["organization"]["tags"]["totalCount"], json!(0));
    // The same by POST does.
    app.gql(create).token(&owner.token).data().await;
    let tags = app.gql("{ organization { tags { totalCount } } }").token(&owner.token).data().await;
    assert_eq!(tags["organization"]["tags"]["totalCount"], json!(1));
}

#[tokio::test]
async fn other_methods_are_405() {
    let app = TestApp::start(&[]).await;
    for path in ["/graphql", "/o/acme/graphql"] {
        for method in ["PUT", "DELETE", "PATCH", "HEAD"] {
            let reply = app.http(request(method, path, &[JSON], body("{ __typename }"))).await;
            assert_eq!(reply.status, 405, "{method} {path}");
            assert_eq!(reply.header("allow"), "GET, POST", "{method} {path}");
            if method != "HEAD" {
                assert_refused(&reply, 405, "BAD_REQUEST");
            }
        }
    }
}

// ── operations and their errors ──

#[tokio::test]
async fn the_operation_of_the_given_name_runs() {
    let app = TestApp::start(&[]).await;
    let two = "query A { a: __typename } query B { b: __typename }";
    let named = |name: &str| json!({ "query": two, "operationName": name }).to_string();
    assert_eq!(post(&app, &[JSON], named("A")).await.json(), json!({ "data": { "a": "Query" } }));
    assert_eq!(post(&app, &[JSON], named("B")).await.json(), json!({ "data": { "b": "Query" } }));
    assert_refused(&post(&app, &[JSON, GRAPHQL_RESPONSE], named("C")).await, 400, "BAD_REQUEST");
    assert_refused(&post(&app, &[JSON, GRAPHQL_RESPONSE], body(two)).await, 400, "BAD_REQUEST");
}

/// Not a failed field: nothing of the operation may run.
#[databases]
async fn a_required_variable_that_is_missing_stops_the_whole_operation(app: TestApp) {
    let acme = app.company("acme").await;
    let mutation = "mutation($title: String!, $hours: Float) { a: itemCreate(input: {title: \"first\"}) \
                    { item { id } } b: itemCreate(input: {title: $title, estimatedHours: $hours}) { item { id } } }";
    let wrong = [json!({}), json!({ "title": null }), json!({ "Title": "x" }), json!({ "hours": 1.0 })];
    for variables in wrong {
        let call = app.call(&acme, &acme.member, mutation).vars(variables.clone());
        let reply = call.header("accept", GRAPHQL_RESPONSE.1).reply().await;
        let answer = reply.json();
        assert_eq!(reply.status, 400, "{variables} {answer:#}");
        assert!(answer.get("data").is_none(), "{variables} {answer:#}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], json!("BAD_REQUEST"), "{variables} {answer:#}");
        assert_eq!(answer["errors"][0]["extensions"]["variable"], json!("title"), "{variables} {answer:#}");
    }
    let items = app.call(&acme, &acme.member, "{ items { totalCount } }").data().await;
    assert_eq!(items["items"]["totalCount"], json!(0));
    app.call(&acme, &acme.member, mutation).vars(json!({ "title": "second" })).data().await;
}

#[tokio::test]
async fn a_sane_request_id_is_taken_and_any_other_replaced() {
    let app = TestApp::start(&[]).await;
    let longest = "x".repeat(128);
    for id in ["abc", "4bf92f35-77b3:4d.a_3/c+e=", &longest] {
        let reply = post(&app, &[JSON, ("x-request-id", id)], body("{ nothing }")).await;
        assert_eq!(reply.header("x-request-id"), id);
        assert_refused(&reply, 200, "GRAPHQL_VALIDATION_FAILED");
    }
    let too_long = "x".repeat(129);
    let mut made = Vec::new();
    for id in ["", " ", "a b", "a\tb", "<script>", "a\"b", "a;b", "{}", &too_long] {
        let reply = post(&app, &[JSON, ("x-request-id", id)], body("{ nothing }")).await;
        assert_ne!(reply.header("x-request-id"), id);
        assert!(reply.header("x-request-id").len() >= 12, "{id:?}");
        assert_refused(&reply, 200, "GRAPHQL_VALIDATION_FAILED");
        made.push(reply.header("x-request-id").to_owned());
    }
    made.push(app.get("/health").await.header("x-request-id").to_owned());
    made.push(app.get("/nowhere").await.header("x-request-id").to_owned());
    let count = made.len();
    made.sort_unstable();
    made.dedup();
    assert_eq!(made.len(), count, "each has its own");
}

#[tokio::test]
async fn every_answer_says_how_long_it_took_and_is_not_to_be_sniffed() {
    let app = TestApp::start(&[]).await;
    for path in ["/graphql?query=%7B__typename%7D", "/graphql", "/health", "/", "/nowhere", "/schema.graphql"] {
        let reply = app.get(path).await;
        assert!(reply.header("x-process-time").parse::<u64>().is_ok(), "{path}: {:?}", reply.headers);
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[databases]
async fn a_mutation_that_fails_does_not_erase_the_answer_of_the_next(app: TestApp) {
    let acme = app.company("acme").await;
    let wrong = acme.member.id.clone();
    let mutation = format!(
        "mutation {{ a: itemUpdate(input: {{id: \"{wrong}\", patch: {{title: \"x\"}}}}) {{ item {{ id }} \
         userErrors {{ code }} }} b: itemCreate(input: {{title: \"kept\"}}) {{ item {{ title }} userErrors {{ code }} }} }}"
    );
    let reply = app.call(&acme, &acme.member, &mutation).reply().await;
    let answer = reply.json();
    assert_eq!(reply.status, 200, "{answer:#}");
    assert_eq!(
        answer["data"],
        json!({ "a": null, "b": { "item": { "title": "kept" }, "userErrors": [] } }),
        "{answer:#}"
    );
    assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{answer:#}");
    assert_eq!(answer["errors"][0]["path"], json!(["a"]));
    assert_eq!(answer["errors"][0]["extensions"]["code"], json!("BAD_REQUEST"));
    assert_eq!(answer["errors"][0]["extensions"]["requestId"], json!(reply.header("x-request-id")));
    let items = app.call(&acme, &acme.viewer, "{ items { nodes { title } } }").data().await;
    assert_eq!(items["items"]["nodes"], json!([{ "title": "kept" }]));
}

#[databases]
async fn a_failure_that_the_document_would_not_show_is_raised_with_its_own_code(app: TestApp) {
    let acme = app.company("acme").await;
    app.create(&acme, &acme.admin, "tag", json!({ "name": "bug" })).await;
    let create = |selection: &str| format!("mutation {{ tagCreate(input: {{name: \"bug\"}}) {{ {selection} }} }}");
    for selection in ["tag { id }", "cursor", "__typename", "tag { id } userErrors @skip(if: true) { code }"] {
        let answer = app.call(&acme, &acme.admin, &create(selection)).answer().await;
        assert_eq!(answer["data"]["tagCreate"], Value::Null, "{selection}: {answer:#}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], json!("TAKEN"), "{selection}: {answer:#}");
        assert_eq!(answer["errors"][0]["extensions"]["inputPath"], json!(["input", "name"]), "{answer:#}");
        assert_eq!(answer["errors"][0]["path"], json!(["tagCreate"]), "{answer:#}");
    }
    let shown = [
        "userErrors { code }",
        "e: userErrors { code }",
        "... on TagPayload { userErrors { code } }",
        "... on Payload { userErrors { code } }",
    ];
    for selection in shown {
        let answer = app.call(&acme, &acme.admin, &create(selection)).answer().await;
        assert!(answer.get("errors").is_none(), "{selection}: {answer:#}");
        assert!(answer["data"]["tagCreate"].to_string().contains("TAKEN"), "{selection}: {answer:#}");
    }
}

// ── credentials and organization ──

#[tokio::test]
async fn credentials_of_another_kind_are_401() {
    let app = TestApp::start(&[]).await;
    for credentials in ["Basic YTpi", "Bearer", "Token abc", "nonsense", "Bearer nonsense"] {
        for accept in ["application/json", "application/graphql-response+json"] {
            let headers = [JSON, ("accept", accept), ("authorization", credentials)];
            let reply = post(&app, &headers, body("{ viewer { user { id } } }")).await;
            assert_refused(&reply, 401, "UNAUTHENTICATED");
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{credentials}");
        }
    }
    let ann = app.register("ann").await;
    let lower = format!("bearer  {}", ann.token);
    let reply = post(&app, &[JSON, ("authorization", &lower)], body("{ viewer { user { id } } }")).await;
    assert_eq!(reply.json()["data"]["viewer"]["user"]["id"], json!(ann.id), "the scheme is in any case");
}

const WHERE: &str = "{ organization { slug } }";

#[databases]
async fn the_organization_is_named_by_path_or_header_and_not_by_both_differently(app: TestApp) {
    let ann = app.register("ann").await;
    let acme = app.found(&ann, "acme").await;
    let other = app.found(&ann, "other").await;
    for name in ["acme", "ACME", &acme] {
        let by_path = app.gql(WHERE).token(&ann.token).at(name).data().await;
        assert_eq!(by_path["organization"]["slug"], json!("acme"), "{name}");
        let by_header = app.gql(WHERE).token(&ann.token).header("x-organization", name).data().await;
        assert_eq!(by_header["organization"]["slug"], json!("acme"), "{name}");
    }
    for (path, header) in [("acme", acme.as_str()), (&acme, "acme"), ("acme", "Acme"), ("other", "other")] {
        app.gql(WHERE).token(&ann.token).at(path).header("x-organization", header).data().await;
    }
    for (path, header) in [("acme", "other"), ("acme", &other), (&acme, &other), ("acme", "absent"), ("absent", "acme")]
    {
        let call = app.gql(WHERE).token(&ann.token).at(path).header("x-organization", header);
        let reply = call.header("accept", GRAPHQL_RESPONSE.1).reply().await;
        assert_refused(&reply, 400, "BAD_REQUEST");
    }
}

#[databases]
async fn the_only_membership_is_used_and_several_are_listed(app: TestApp) {
    let ann = app.register("ann").await;
    let none = app.gql(WHERE).token(&ann.token).answer().await;
    assert_eq!(none["errors"][0]["extensions"]["code"], json!("ORGANIZATION_REQUIRED"));
    assert_eq!(none["errors"][0]["extensions"]["organizations"], json!([]));
    let acme = app.found(&ann, "acme").await;
    assert_eq!(app.gql(WHERE).token(&ann.token).data().await["organization"]["slug"], json!("acme"));
    let other = app.found(&ann, "other").await;
    let several = app.gql(WHERE).token(&ann.token).answer().await;
    let extensions = &several["errors"][0]["extensions"];
    assert_eq!(extensions["code"], json!("ORGANIZATION_REQUIRED"));
    let mut choices = extensions["organizations"].as_array().cloned().unwrap_or_default();
    choices.sort_unstable_by_key(|choice| choice["slug"].to_string());
    let expected = [(acme, "acme"), (other, "other")].map(|(id, slug)| json!({ "id": id, "slug": slug, "name": slug }));
    assert_eq!(choices, expected);
}

#[databases]
async fn a_foreign_and_an_absent_organization_are_answered_alike(app: TestApp) {
    let ann = owner(&app, "acme").await;
    let bob = app.register("bob").await;
    let foreign = app.found(&bob, "globex").await;
    let absent =
        format!("{}{}", &foreign[..foreign.len() - 4], if foreign.ends_with("0000") { "1111" } else { "0000" });
    let pairs = [("globex".to_owned(), "absent".to_owned()), (foreign, absent)];
    for (foreign, absent) in &pairs {
        for token in [Some(&ann.token), None] {
            let mut answers = Vec::new();
            for name in [foreign, absent] {
                for by_path in [true, false] {
                    // The caller's points are back: each answer tells of a full bucket less its own cost.
                    app.clock.advance(chrono::Duration::seconds(1));
                    let call = app.gql(WHERE).header("x-request-id", "same");
                    let call = if by_path { call.at(name) } else { call.header("x-organization", name) };
                    let call = if let Some(token) = token { call.token(token) } else { call };
                    let mut reply = call.reply().await;
                    reply.headers.remove("x-process-time");
                    let body = String::from_utf8(reply.body).expect("text");
                    assert!(!body.contains(name.as_str()), "{body}");
                    answers.push((reply.status, reply.headers, body));
                }
            }
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
            assert!(
                answers[0].2.contains(if token.is_some() { "ORGANIZATION_REQUIRED" } else { "UNAUTHENTICATED" }),
                "{answers:#?}"
            );
        }
    }
    // Public fields don't care.
    app.gql("{ server { version } }").at("globex").data().await;
}

// ── browsers ──

async fn preflight(app: &TestApp, origin: &str) -> Reply {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    app.http(request("OPTIONS", "/graphql", &headers, "")).await
}

#[tokio::test]
async fn only_the_configured_origins_may_call_from_a_browser() {
    let app = TestApp::start(&[]).await;
    let reply = preflight(&app, ORIGIN).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), ORIGIN);
    assert!(reply.header("access-control-allow-methods").contains("POST"));
    let allowed = reply.header("access-control-allow-headers");
    assert!(["authorization", "content-type", "x-organization"].iter().all(|name| allowed.contains(name)), "{allowed}");
    assert_eq!(reply.header("access-control-allow-credentials"), "");
    let strangers = [
        "null",
        "https://evil.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://APP.example.com",
        "*",
        "",
    ];
    for origin in strangers {
        for reply in
            [preflight(&app, origin).await, post(&app, &[JSON, ("origin", origin)], body("{ __typename }")).await]
        {
            assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
            assert_eq!(reply.header("access-control-allow-credentials"), "", "{origin}");
        }
    }
    let reply = post(&app, &[JSON, ("origin", ORIGIN)], body("{ __typename }")).await;
    assert_eq!(reply.header("access-control-allow-origin"), ORIGIN);
    assert!(reply.header("access-control-expose-headers").contains("x-request-id"));
    let vary = reply.headers.get_all("vary").iter().any(|vary| vary.to_str().is_ok_and(|vary| vary.contains("origin")));
    assert!(vary, "{:?}", reply.headers);
}

#[tokio::test]
async fn large_answers_are_compressed_when_asked() {
    let app = TestApp::start(&[]).await;
    let whole = app.get("/schema.graphql").await;
    assert_eq!(whole.header("content-encoding"), "");
    for (accepted, expected) in [("gzip", "gzip"), ("br", "br"), ("gzip;q=0, br", "br"), ("identity", ""), ("zstd", "")]
    {
        let reply = app.http(request("GET", "/schema.graphql", &[("accept-encoding", accepted)], "")).await;
        assert_eq!(reply.header("content-encoding"), expected, "{accepted}");
        assert_eq!(reply.body.len() < whole.body.len() / 2, !expected.is_empty(), "{accepted}");
    }
    let gzip = ("accept-encoding", "gzip");
    let types = "{ __schema { types { name description fields { name description } } } }";
    let reply = post(&app, &[JSON, gzip], body(types)).await;
    assert_eq!(reply.header("content-encoding"), "gzip");
    assert!(reply.body.starts_with(&[0x1f, 0x8b]));
    let reply = post(&app, &[JSON, gzip], body("{ __typename }")).await;
    assert_eq!(reply.header("content-encoding"), "", "a small one is not worth it");
}

// ── health ──

async fn assert_unavailable(app: &TestApp, token: &str) {
    let documents = [
        "{ viewer { user { id } } }",
        "{ organization { slug } }",
        "mutation { sessionCreate(input: {email: \"a@b.co\", password: \"whatever it is\"}) { accessToken userErrors { code } } }",
    ];
    for document in documents {
        for accept in ["application/json", "application/graphql-response+json"] {
            let reply = app.gql(document).token(token).header("accept", accept).reply().await;
            let text = String::from_utf8_lossy(&reply.body).to_lowercase();
            assert_eq!(reply.status, 503, "{document}: {text}");
            assert_eq!(reply.json()["errors"][0]["extensions"]["code"], json!("UNAVAILABLE"), "{document}: {text}");
            for inside in ["select", "sql", "pool", "closed", "table", "insert"] {
                assert!(!text.contains(inside), "{document}: {text}");
            }
        }
    }
}

#[databases]
async fn health_says_that_it_lives_and_ready_that_it_can_work(app: TestApp) {
    let live = app.get("/health").await;
    assert_eq!(live.status, 200);
    let expected = json!({ "status": "ok", "time": "2026-03-02T09:00:00.000Z", "version": env!("CARGO_PKG_VERSION") });
    assert_eq!(live.json(), expected);
    let ready = app.get("/health/ready").await;
    assert_eq!(ready.status, 200);
    let checks = json!({ "database": "ok", "writes": "ok", "migrations": "ok", "shutdown": "no" });
    assert_eq!(ready.json(), json!({ "status": "ready", "checks": checks }));
    assert_eq!(ready.header("cache-control"), "no-store");
}

#[databases]
async fn a_missing_schema_step_makes_it_unready(app: TestApp) {
    let url = app.state.config.database.url.as_str();
    let db = sea_orm::Database::connect(url).await.expect("a connection of our own");
    let last = "DELETE FROM seaql_migrations WHERE version = (SELECT max(version) FROM seaql_migrations)";
    let gone = db.execute_unprepared(last).await.expect("the row goes");
    assert_eq!(gone.rows_affected(), 1);
    db.close().await.expect("it closes");
    let ready = app.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    let checks = json!({ "database": "ok", "writes": "ok", "migrations": "failing", "shutdown": "no" });
    assert_eq!(ready.json(), json!({ "status": "unavailable", "checks": checks }));
    assert_eq!(app.get("/health").await.status, 200, "it lives all the same");
}

#[databases]
async fn without_its_database_it_is_unready_and_says_unavailable(app: TestApp) {
    let ann = owner(&app, "acme").await;
    app.state.db.clone().close().await;
    let ready = app.get("/health/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"]["database"], json!("failing"));
    assert!(!String::from_utf8_lossy(&ready.body).to_lowercase().contains("sql"));
    assert_eq!(app.get("/health").await.status, 200);
    assert_unavailable(&app, &ann.token).await;
    app.gql("{ server { version } }").data().await;
}

// ── the other pages ──

#[tokio::test]
async fn what_is_not_there_is_404_in_json() {
    let app = TestApp::start(&[]).await;
    for path in ["/nowhere", "/graphql/", "/o", "/health/", "/o/acme/nowhere", "/%00", "/..%2f..%2fetc/passwd", "/.env"]
    {
        let reply = app.get(path).await;
        assert_refused(&reply, 404, "NOT_FOUND");
        assert!(reply.header("content-type").starts_with("application/json"), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_like_any_other() {
    let app = TestApp::start(&[]).await;
    let reply = app.http(request("POST", "/o/%FF%FE/graphql", &[JSON], body("{ organization { id } }"))).await;
    assert_refused(&reply, 400, "BAD_REQUEST");
}

#[tokio::test]
async fn the_schema_is_served_as_it_is() {
    let app = TestApp::start(&[]).await;
    let reply = app.get("/schema.graphql").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    let sdl = schema::sdl(&schema::build(&LimitsConfig::default(), false).expect("a schema"));
    assert_eq!(String::from_utf8(reply.body).expect("text"), sdl);
    assert!(sdl.contains("type Item implements Node @requires(permission: ITEM_READ)"));
}

// ── playground ──

/// The nonce of a page's policy.
fn nonce(page: &Reply) -> String {
    let policy = page.header("content-security-policy");
    let nonce =
        policy.split_once("script-src 'nonce-").and_then(|(_, rest)| rest.split_once('\'')).map(|(nonce, _)| nonce);
    nonce.unwrap_or_else(|| panic!("no nonce: {policy:?}")).to_owned()
}

#[tokio::test]
async fn the_playground_runs_no_script_but_its_own() {
    let app = TestApp::start(&[]).await;
    let mut nonces = Vec::new();
    for (path, endpoint) in [("/", "/graphql"), ("/", "/graphql"), ("/o/acme/", "/o/acme/graphql")] {
        let page = app.get(path).await;
        assert_eq!(page.status, 200);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(page.header("cache-control"), "no-store");
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(part), "{part}: {policy}");
        }
        let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src")).unwrap_or_default();
        assert!(!scripts.contains("unsafe") && !scripts.contains("http") && !scripts.contains('*'), "{policy}");
        let nonce = nonce(&page);
        let html = String::from_utf8(page.body).expect("text");
        let tag = format!("<script nonce=\"{nonce}\"");
        assert!(html.contains(&tag));
        assert_eq!(html.matches("<script").count(), html.matches(&tag).count(), "every script carries it");
        assert!(html.contains(&format!("<meta name=\"graphql-endpoint\" content=\"{endpoint}\">")), "{path}");
        assert!(!html.contains("{{"), "every place is filled in");
        assert!(!html.contains("src=\"http") && !html.contains("href=\"http"), "nothing from elsewhere");
        nonces.push(nonce);
    }
    assert!(nonces.iter().all(|nonce| nonce.len() >= 20), "{nonces:?}");
    assert!(nonces[0] != nonces[1] && nonces[1] != nonces[2], "fresh each time: {nonces:?}");
    let redirect = app.get("/o/acme").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (308, "/o/acme/"));
}

#[tokio::test]
async fn the_playground_refuses_names_that_could_be_markup() {
    let app = TestApp::start(&[]).await;
    let long = "a".repeat(65);
    let names = [
        "%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "%22",
        "'",
        "a%2Fb",
        "%2e%2e",
        "..",
        "a%20b",
        "%00",
        "%0d%0aset-cookie:x",
        "%FF",
        "%7B%7BNONCE%7D%7D",
        "a;b",
        "%5C%5Cevil.example",
        "%C3%A4",
        &long,
    ];
    for name in names {
        for path in [format!("/o/{name}/"), format!("/o/{name}")] {
            let reply = app.get(&path).await;
            assert!(matches!(reply.status.as_u16(), 400 | 404), "{path}: {}", reply.status);
            assert_eq!(reply.header("location"), "", "{path}");
            let text = String::from_utf8_lossy(&reply.body);
            assert!(!text.contains("<script") && !text.contains('"') || text.starts_with('{'), "{path}: {text}");
        }
    }
}

#[tokio::test]
async fn the_playgrounds_assets_are_in_the_binary_and_cacheable() {
    let app = TestApp::start(&[]).await;
    for (file, content_type) in [("playground.js", "text/javascript"), ("playground.css", "text/css")] {
        let path = format!("/playground/assets/{file}");
        let asset = app.get(&path).await;
        assert_eq!(asset.status, 200, "{file}");
        assert!(asset.header("content-type").starts_with(content_type), "{}", asset.header("content-type"));
        assert!(asset.body.len() > 1_000, "{file}");
        let tag = asset.header("etag").to_owned();
        assert!(tag.len() > 10 && tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let again = app.http(request("GET", &path, &[("if-none-match", &tag)], "")).await;
        assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, tag.as_str()), "{file}");
        let stale = app.http(request("GET", &path, &[("if-none-match", "\"other\"")], "")).await;
        assert_eq!((stale.status.as_u16(), stale.body.len()), (200, asset.body.len()), "{file}");
    }
    for file in ["nothing.js", "..%2fmod.rs", "..%2f..%2f..%2f..%2fCargo.toml", "%2fetc%2fpasswd", "app.jsx"] {
        assert_eq!(app.get(&format!("/playground/assets/{file}")).await.status, 404, "{file}");
    }
}

#[tokio::test]
async fn without_the_playground_the_root_says_what_this_is() {
    let app = TestApp::start(&[("TODO_SERVER_PLAYGROUND", "off".to_owned())]).await;
    let root = app.get("/").await;
    assert_eq!(root.status, 200);
    assert!(root.header("content-type").starts_with("application/json"));
    assert_eq!(root.json()["graphql"], json!("/graphql"));
    assert_eq!(root.json()["version"], json!(env!("CARGO_PKG_VERSION")));
    for path in ["/o/acme/", "/o/acme", "/playground/assets/playground.js"] {
        assert_refused(&app.get(path).await, 404, "NOT_FOUND");
    }
    app.gql("{ __typename }").at("acme").data().await;
}

// ── addresses ──

/// Creates an item as if from `peer`, with these `X-Forwarded-For` headers, and gives the address that its event shows.
async fn address_of(app: &TestApp, token: &str, peer: &str, forwarded: &[&str]) -> Value {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![JSON, ("authorization", bearer.as_str())];
    headers.extend(forwarded.iter().map(|value| ("x-forwarded-for", *value)));
    let create = body("mutation { itemCreate(input: {title: \"x\"}) { item { id } } }");
    let mut request = request(Method::POST.as_str(), "/graphql", &headers, create);
    let peer: SocketAddr = peer.parse().expect("an address");
    request.extensions_mut().insert(ConnectInfo(peer));
    let answer = app.http(request).await.json();
    assert!(answer.get("errors").is_none(), "{answer:#}");
    let events = app.gql("{ events(last: 1) { nodes { type ip } } }").token(token).data().await;
    assert_eq!(events["events"]["nodes"][0]["type"], json!("ITEM_CREATED"));
    events["events"]["nodes"][0]["ip"].clone()
}

#[tokio::test]
async fn forwarded_addresses_count_only_from_trusted_proxies() {
    let app = TestApp::start(&[("TODO_SERVER_TRUSTED_PROXIES", "10.0.0.0/8,fd00::/8".to_owned())]).await;
    let owner = owner(&app, "acme").await;
    let cases: &[(&str, &[&str], &str)] = &[
        ("192.0.2.7:999", &[], "192.0.2.7"),
        ("192.0.2.7:999", &["198.51.100.1"], "192.0.2.7"),
        ("10.1.2.3:999", &[], "10.1.2.3"),
        ("10.1.2.3:999", &["198.51.100.1"], "198.51.100.1"),
        ("[fd00::1]:999", &["2001:db8::5"], "2001:db8::5"),
        // What the client itself made up stands further left.
        ("10.1.2.3:999", &["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3:999", &["203.0.113.9, 198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3:999", &["203.0.113.9", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.1.2.3:999", &["nonsense"], "10.1.2.3"),
        ("10.1.2.3:999", &["203.0.113.9, nonsense, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3:999", &[""], "10.1.2.3"),
        // A listener on `::` sees IPv4 peers in this form.
        ("[::ffff:192.0.2.7]:999", &["198.51.100.1"], "192.0.2.7"),
        ("[::ffff:10.1.2.3]:999", &["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3:999", &["::ffff:198.51.100.1"], "198.51.100.1"),
    ];
    for (peer, forwarded, expected) in cases {
        assert_eq!(address_of(&app, &owner.token, peer, forwarded).await, json!(expected), "{peer} {forwarded:?}");
    }
    let app = TestApp::start(&[]).await;
    let owner = self::owner(&app, "acme").await;
    assert_eq!(
        address_of(&app, &owner.token, "127.0.0.1:9", &["198.51.100.1"]).await,
        json!("127.0.0.1"),
        "nobody is trusted"
    );
}

#[tokio::test]
async fn signing_in_over_get_leaves_no_password_in_a_url() {
    let app = TestApp::start(&[]).await;
    let ann = app.register("ann").await;
    let sign_in = format!(
        "mutation {{ sessionCreate(input: {{email: \"{}\", password: \"{PASSWORD}\"}}) {{ accessToken }} }}",
        ann.email,
    );
    let reply = ask(&app, &[("query", &sign_in)], &[]).await;
    assert_refused(&reply, 405, "BAD_REQUEST");
}
