//! Traces, as a collector gets them: what is in them, what never is, and what happens without a collector.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};

use crate::{
    logs::{found, on_both, settings},
    process::{Process, folder, gql},
    support::{
        collector::{Collector, Span},
        receiver::Receiver,
    },
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Sends an operation as a part of a trace that began elsewhere.
async fn traced(url: &str, token: &str, query: &str, flags: &str) -> Value {
    let request = reqwest::Client::new()
        .post(format!("{url}/graphql"))
        .header("traceparent", format!("00-{TRACE}-{CALLER}-{flags}"))
        .bearer_auth(token)
        .json(&json!({ "query": query }));
    request.send().await.expect("an answer").json().await.expect("JSON")
}

/// The spans below one, by its id.
fn below<'s>(spans: &'s [Span], parent: &Span) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.parent == parent.id && span.trace_id == parent.trace_id).collect()
}

#[track_caller]
fn one<'s>(spans: &[&'s Span], name: &str) -> &'s Span {
    let named: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = named.as_slice() else { panic!("one {name} among {spans:#?}") };
    span
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_a_tree_of_spans_in_the_trace_it_came_with() {
    on_both(|database| async move {
        let (collector, folder) = (Collector::start().await, folder());
        let endpoint = collector.url.clone();
        let more = [
            ("TODO_TRACING_ENDPOINT", endpoint.as_str()),
            ("TODO_TRACING_SAMPLE_RATIO", "0"),
            ("TODO_TRACING_HEADERS", "x-api-token=let me in"),
            ("TODO_TRACING_INSTANCE", "one"),
        ];
        let mut server = Process::spawn(folder.path(), &[], &settings(&database, &more));
        let url = server.url();
        let token = found(&url).await;
        // Not sampled: by chance, and by the caller.
        gql(&url, Some(&token), "query Unseen { viewer { role } }", json!({})).await;
        traced(&url, &token, "query Unseen { viewer { role } }", "00").await;

        let create = "mutation Make { itemCreate(input: {title: \"marigold\"}) { userErrors { code } } }";
        traced(&url, &token, create, "01").await;
        let board =
            "query Board { items(first: 5) { nodes { title tags { name } comments(first: 1) { nodes { id } } } } }";
        traced(&url, &token, board, "01").await;
        let broken = traced(&url, &token, "query Broken { nothing }", "01").await;
        assert!(broken["errors"].is_array());
        reqwest::get(format!("{url}/health/ready")).await.expect("an answer");
        // What is left is sent before the process ends.
        server.terminate();
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);

        let spans = collector.spans();
        assert!(spans.iter().all(|span| span.trace_id == TRACE), "nothing else was sampled: {spans:#?}");
        assert!(spans.iter().all(|span| span.attributes.get("operation").is_none_or(|name| name != "Unseen")));
        let requests: Vec<&Span> = spans.iter().filter(|span| span.parent == CALLER).collect();
        assert_eq!(requests.len(), 3, "{requests:#?}");
        for request in &requests {
            assert_eq!((request.name.as_str(), request.kind), ("POST /graphql", SpanKind::Server));
            assert_eq!(request.attributes["http.response.status_code"].len(), 3);
            assert_eq!(request.resource["service.name"], "todo-platform");
            assert_eq!(request.resource["service.instance.id"], "one");
        }
        let operation = |name: &str| {
            let operations: Vec<&Span> = requests.iter().flat_map(|request| below(&spans, request)).collect();
            one(&operations, name).clone()
        };

        let query = operation("query Board");
        assert_eq!(query.attributes["graphql.operation.type"], "query");
        assert_eq!(query.attributes["graphql.operation.name"], "Board");
        for id in ["request_id", "organization", "actor"] {
            assert!(query.attributes.contains_key(id), "{query:#?}");
        }
        let field = one(&below(&spans, &query), "Query.items").clone();
        let statement = one(&below(&spans, &field), "SELECT item").clone();
        let system = if database.starts_with("sqlite") { "sqlite" } else { "postgresql" };
        assert_eq!((statement.kind, statement.attributes["db.system.name"].as_str()), (SpanKind::Client, system));
        // The page's statement has read its links to tags; there are none, so no tag was read.
        assert!(!spans.iter().any(|span| span.name == "SELECT tag"), "{spans:#?}");
        // The batch of all items' comments.
        let load = one(&below(&spans, &field), "load").clone();
        assert!(below(&spans, &load).iter().any(|span| span.name.contains("comment")), "{spans:#?}");

        let mutation = operation("mutation Make");
        let field = one(&below(&spans, &mutation), "Mutation.itemCreate").clone();
        // Writes of an organization are made by whoever's turn it is, so these may be below another request's span.
        let of_trace: Vec<&Span> = spans.iter().collect();
        for statement in ["BEGIN", "INSERT item", "INSERT event", "COMMIT"] {
            one(&of_trace, statement);
        }
        assert!(!field.has_failed);
        let everything = format!("{spans:#?}");
        for text in ["marigold", "let me in", token.as_str(), "items(first"] {
            assert!(!everything.contains(text), "{text} is in a span");
        }
        assert!(collector.headers().iter().all(|headers| headers["x-api-token"] == "let me in"));
        for line in ended.stderr.lines() {
            assert!(!line.contains("otel.") && !line.contains("let me in"), "{line}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_carries_its_trace_to_the_receiver() {
    on_both(|database| async move {
        let (collector, receiver, folder) = (Collector::start().await, Receiver::start().await, folder());
        let endpoint = collector.url.clone();
        let more = [("TODO_TRACING_ENDPOINT", endpoint.as_str()), ("TODO_TRACING_SAMPLE_RATIO", "1")];
        let mut server = Process::spawn(folder.path(), &[], &settings(&database, &more));
        let url = server.url();
        let token = found(&url).await;
        let hook = "mutation($url: Url!) { webhookCreate(input: {url: $url, eventTypes: [ITEM_CREATED]}) { userErrors { code } } }";
        gql(&url, Some(&token), hook, json!({ "url": receiver.url() })).await;
        gql(&url, Some(&token), "mutation { itemCreate(input: {title: \"one\"}) { userErrors { code } } }", json!({})).await;
        let until = Instant::now() + Duration::from_secs(60);
        let received = loop {
            if let Some(received) = receiver.received().pop() {
                break received;
            }
            assert!(Instant::now() < until, "it is delivered");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let parts: Vec<String> = received.header("traceparent").split('-').map(str::to_owned).collect();
        let [version, trace, parent, flags] = parts.as_slice() else { panic!("{:?}", received.headers) };
        assert_eq!((version.as_str(), flags.as_str()), ("00", "01"));
        let span = collector.wait_for(|span| span.id == *parent).await;
        assert_eq!((span.name.as_str(), span.kind, &span.trace_id), ("delivery", SpanKind::Client, trace));
        assert_eq!(span.parent, "", "a trace of its own");
        assert_eq!(span.attributes["delivery"], received.id());
        // Statements that the server runs by itself are no traces.
        let alone = |span: &Span| span.parent.is_empty() && span.attributes.contains_key("db.system.name");
        assert!(!collector.spans().iter().any(alone), "{:#?}", collector.spans());
    })
    .await;
}

/// One refuses connections, one takes them and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_or_hangs_harms_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let hanging = format!("http://{}", silent.local_addr().expect("its address"));
    let away = format!("http://127.0.0.1:{}", crate::support::free_port());
    for endpoint in [away, hanging] {
        let folder = folder();
        let settings =
            [("TODO_TRACING_ENDPOINT", endpoint.as_str()), ("TODO_TRACING_SAMPLE_RATIO", "1"), ("LOG_LEVEL", "info")];
        let mut server = Process::spawn(folder.path(), &[], &settings);
        let url = server.url();
        let token = found(&url).await;
        let until = Instant::now() + Duration::from_secs(90);
        loop {
            let begun = Instant::now();
            let answer = gql(&url, Some(&token), "{ items(first: 5) { nodes { title } } }", json!({})).await;
            assert!(answer["errors"].is_null(), "{answer:#}");
            assert!(begun.elapsed() < Duration::from_secs(5), "no request waits for a collector");
            let metrics = reqwest::get(format!("{url}/metrics")).await.expect("an answer").text().await.expect("text");
            let line = "todo_trace_spans_total{outcome=\"dropped\"} ";
            let dropped = metrics.lines().find_map(|found| found.strip_prefix(line)).expect("it is counted");
            if dropped != "0" {
                break;
            }
            assert!(Instant::now() < until, "lost spans are counted: {metrics}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let begun = Instant::now();
        server.terminate();
        let ended = server.ended();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not waited for: {:?}", begun.elapsed());
        let said = ended.stderr.lines().filter(|line| line.contains("the collector of traces takes no spans")).count();
        assert_eq!(said, 1, "{}", ended.stderr);
    }
}

#[test]
fn a_collector_that_can_not_be_named_stops_the_start() {
    let folder = folder();
    for (setting, value) in [
        ("TODO_TRACING_ENDPOINT", "collector:4317"),
        ("TODO_TRACING_ENDPOINT", "http://me:hunter2@collector:4318"),
        ("TODO_TRACING_SAMPLE_RATIO", "2"),
        ("TODO_TRACING_HEADERS", "hunter2"),
    ] {
        let said = Process::spawn(folder.path(), &[], &[(setting, value)]).fails(&[setting]);
        assert!(!said.contains("hunter2"), "{said}");
    }
}
