//! What one request may make the server do: introspection that expands, variables and filters without end, texts by the
//! megabyte, documents to be kept. Each is refused or paid for before it is built.

use std::fmt::Write;

use async_graphql::{Request, Variables};
use axum::{body::Body, http::Request as HttpRequest};
use serde_json::{Value, json};
use todo_platform::{
    api::validation::ValidRequest,
    base::{
        config::LimitsConfig,
        error::{Code, Error, Refusal},
    },
};

use crate::support::{app::TestApp, client::Reply, schema::validator};
use todo_test_macros::databases;

fn check(query: &str, variables: Value) -> Result<ValidRequest, Refusal> {
    let mut request = Request::new(query).variables(Variables::from_json(variables));
    validator(LimitsConfig::default()).check(&mut request).map_err(|error| match error {
        Error::Refused(refusal) => refusal,
        other => panic!("validation only refuses: {other:?}"),
    })
}

#[track_caller]
fn cost(query: &str) -> u64 {
    check(query, json!({})).unwrap_or_else(|refusal| panic!("{query}\n{refusal:?}")).cost
}

#[track_caller]
fn refused(query: &str, variables: Value) -> Refusal {
    check(query, variables).map_or_else(|refusal| refusal, |passed| panic!("it passed: {query}\n{passed:?}"))
}

fn detail(refusal: &Refusal, name: &str) -> Value {
    refusal.details.as_ref().map_or(Value::Null, |details| details[name].clone())
}

async fn post(app: &TestApp, body: impl Into<Body>, headers: &[(&str, &str)]) -> Reply {
    let mut request = HttpRequest::post("/graphql").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.http(request.body(body.into()).expect("a request")).await
}

fn error(reply: &Reply) -> Value {
    reply.json()["errors"][0].clone()
}

// ── introspection ──

/// Lists within lists, each of which multiplies the one before.
fn expanding(levels: usize, around: (&str, &str)) -> String {
    let (open, close) = (format!("{}{{{}{{", around.0, around.1).repeat(levels), "}}".repeat(levels));
    format!("{{ __schema {{ types {{ {open} name {close} }} }} }}")
}

#[tokio::test]
async fn an_introspection_that_expands_is_refused_before_it_runs() {
    let app = TestApp::start(&[]).await;
    for around in [("interfaces", "possibleTypes"), ("possibleTypes", "interfaces")] {
        for levels in 2..=5 {
            let query = expanding(levels, around);
            let reply = app.gql(&query).reply().await;
            let code = error(&reply)["extensions"]["code"].clone();
            assert!(code == json!("QUERY_TOO_COMPLEX") || code == json!("QUERY_TOO_DEEP"), "{query}: {}", reply.json());
            assert!(reply.body.len() < 2_000);
        }
    }
    // Within the lists that are allowed, what it expands to is what it costs.
    let ways = [
        &expanding(2, ("fields", "type")),
        "{ __schema { types { possibleTypes { fields { name description type { name kind ofType { name kind } } } } } } }",
        "{ __type(name: \"Node\") { possibleTypes { fields { args { name type { name fields: kind } } } } } }",
        "{ __type(name: \"Mutation\") { fields { type { fields { type { fields { name } } } } } } }",
    ];
    for way in ways {
        match check(way, json!({})) {
            Ok(passed) => {
                let reply = app.gql(way).reply().await;
                let most = usize::try_from(passed.cost).expect("a small number") * 200 * 200;
                assert!(reply.body.len() <= most, "{way}: {} bytes for {} points", reply.body.len(), passed.cost);
            }
            Err(refusal) => assert_eq!(refusal.code, Code::QueryTooComplex, "{way}"),
        }
    }
    // Aliases and fragments make nothing cheaper.
    let whole = "types { name fields { name description args { name description type { kind name } } type { kind name } } \
                 inputFields { name description defaultValue type { kind name } } enumValues { name description } }";
    let many = (0..20).fold(String::new(), |mut text, number| {
        let _ = write!(text, "a{number}: __schema {{ {whole} }} ");
        text
    });
    assert_eq!(refused(&format!("{{ {many} }}"), json!({})).code, Code::QueryTooComplex);
    let spread = "{ __schema { ...S } } fragment S on __Schema { types { ...T } } \
                  fragment T on __Type { interfaces { possibleTypes { ...T2 } } } \
                  fragment T2 on __Type { interfaces { name } }";
    assert_eq!(refused(spread, json!({})).code, Code::QueryTooComplex);
}

/// `getIntrospectionQuery()` of graphql-js, with `interfaces` and `possibleTypes` in full as older tools ask for them.
#[tokio::test]
async fn what_tools_ask_of_the_schema_passes() {
    let app = TestApp::start(&[]).await;
    let type_ref = "kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind \
                    name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } }";
    let full = format!(
        "query IntrospectionQuery {{ __schema {{ description queryType {{ name kind }} mutationType {{ name kind }} \
         subscriptionType {{ name kind }} types {{ ...FullType }} directives {{ name description isRepeatable locations \
         args(includeDeprecated: true) {{ ...InputValue }} }} }} }} \
         fragment FullType on __Type {{ kind name description specifiedByURL isOneOf fields(includeDeprecated: true) {{ \
         name description args(includeDeprecated: true) {{ ...InputValue }} type {{ ...TypeRef }} isDeprecated \
         deprecationReason }} inputFields(includeDeprecated: true) {{ ...InputValue }} interfaces {{ ...TypeRef \
         possibleTypes {{ ...TypeRef }} }} enumValues(includeDeprecated: true) {{ name description isDeprecated \
         deprecationReason }} possibleTypes {{ ...TypeRef }} }} \
         fragment InputValue on __InputValue {{ name description type {{ ...TypeRef }} defaultValue isDeprecated \
         deprecationReason }} fragment TypeRef on __Type {{ {type_ref} }}"
    );
    // A tenth of what one address may ask for in a minute, at most.
    let points = cost(&full);
    assert!((50..=400).contains(&points), "{points}");
    let data = app.gql(full).data().await;
    assert!(data["__schema"]["types"].as_array().is_some_and(|types| types.len() > 100));
    assert_eq!(cost("{ __schema { queryType { name } } }"), 10);
    assert!(cost("{ __type(name: \"Item\") { name fields { name type { name } } } }") <= 15);
}

#[tokio::test]
async fn a_setting_closes_the_schema() {
    let app = TestApp::start(&[("TODO_SERVER_INTROSPECTION", "off".to_owned())]).await;
    for query in ["{ __schema { queryType { name } } }", "{ __type(name: \"Item\") { name } }"] {
        let reply = app.gql(query).reply().await;
        assert_eq!(error(&reply)["extensions"]["code"], json!("GRAPHQL_VALIDATION_FAILED"), "{query}");
        assert!(error(&reply)["message"].as_str().is_some_and(|text| text.contains("introspection")), "{query}");
    }
    assert_eq!(app.gql("{ __typename server { __typename } }").data().await["server"]["__typename"], "ServerInfo");
    assert_eq!(app.get("/schema.graphql").await.status, 404);
    for query in ["{ serer { version } }", "{ item(idd: \"x\") { id } }"] {
        let message = error(&app.gql(query).reply().await)["message"].as_str().unwrap_or_default().to_owned();
        assert!(!message.is_empty() && !message.contains("Did you mean"), "{message}");
    }
    let open = TestApp::start(&[]).await;
    assert_eq!(open.get("/schema.graphql").await.status, 200);
    assert!(error(&open.gql("{ serer { version } }").reply().await)["message"].to_string().contains("Did you mean"));
}

// ── variables ──

const FILTERED: &str = "query($f: ItemFilter) { items(filter: $f) { nodes { id } } }";

#[test]
fn variables_are_measured_before_anything_is_built_of_them() {
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({ "not": inner }));
    let cases = [
        (json!({ "f": { "and": vec![json!({}); 1_001] } }), "variables.f.and", 1_000),
        (json!({ "unused": vec![json!({}); 1_001] }), "variables.unused", 1_000),
        (json!({ "f": { "id": { "in": vec!["x"; 5_000] } } }), "variables.f.id.in", 1_000),
        (json!({ "lists": vec![json!(vec![1; 999]); 30] }), "variables.lists.19.998", 20_000),
    ];
    for (variables, path, limit) in cases {
        let refusal = refused(FILTERED, variables);
        assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(limit)), "{path}");
        assert!(detail(&refusal, "argument").as_str().is_some_and(|found| found.starts_with(path)), "{refusal:?}");
    }
    let refusal = refused(FILTERED, json!({ "f": nested(40) }));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(32)));
    // What a large create holds passes: 200 items, each with its people and tags.
    let item = json!({ "title": "x", "assigneeIds": vec!["usr_x"; 20], "tagIds": vec!["tag_x"; 50] });
    let input = json!({ "input": { "title": "root", "subtasks": vec![item; 199] } });
    let create = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id } } }";
    assert!(check(create, input).is_ok());
}

#[test]
fn conditions_count_wherever_they_are() {
    let title = json!({ "title": { "eq": "x" } });
    let cases = [
        json!({ "and": vec![title.clone(); 51] }),
        json!({ "or": [{ "not": { "and": vec![title.clone(); 51] } }] }),
        json!({ "and": vec![json!({ "assignees": { "some": { "name": { "eq": "x" } } } }); 51] }),
        json!({ "and": vec![json!({ "isOverdue": true }); 51] }),
        json!({ "and": vec![json!({}); 400] }),
    ];
    for filter in cases {
        let refusal = refused(FILTERED, json!({ "f": filter }));
        assert_eq!(refusal.code, Code::BadRequest, "{filter}");
        assert!(detail(&refusal, "argument").as_str().is_some_and(|path| path.starts_with("filter.")), "{refusal:?}");
    }
    assert!(check(FILTERED, json!({ "f": { "and": vec![title; 50] } })).is_ok());
    // In the document, too, and where only a part of it is a variable.
    let literal =
        format!("{{ items(filter: {{and: [{}]}}) {{ nodes {{ id }} }} }}", "{title: {eq: \"x\"}} ".repeat(51));
    assert_eq!(refused(&literal, json!({})).code, Code::BadRequest);
    let part = "query($c: [ItemFilter!]!) { items(filter: {or: $c}) { nodes { id } } }";
    assert_eq!(refused(part, json!({ "c": vec![json!({ "isOverdue": true }); 51] })).code, Code::BadRequest);
}

#[databases]
async fn values_of_lists_count_over_the_whole_operation(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = vec![acme.member.id.replace("usr_", "itm_"); 500];
    let lists = json!({ "id": { "in": ids, "notIn": ids } });
    // Forty times the same thousand: little to send, and more than SQLite takes.
    let many = format!(
        "query($l: [ID!]!) {{ items(filter: {{and: [{}]}}) {{ nodes {{ id }} }} }}",
        "{id: {in: $l, notIn: $l}} ".repeat(40)
    );
    let answer = app.call(&acme, &acme.member, &many).vars(json!({ "l": ids })).answer().await;
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!((&extensions["code"], &extensions["limit"]), (&json!("QUERY_TOO_COMPLEX"), &json!(5_000)));
    assert!(extensions["argument"].as_str().is_some_and(|path| path.starts_with("filter.and.5")), "{answer:#}");
    // Five thousand are asked of the database in one statement.
    let most = json!({ "f": { "and": vec![lists; 5] } });
    app.call(&acme, &acme.member, FILTERED).vars(most).data().await;
}

#[databases]
async fn a_megabyte_of_nothing_is_refused_as_text(app: TestApp) {
    let acme = app.company("acme").await;
    let token = format!("Bearer {}", acme.member.token);
    let objects = vec!["{}"; 340_000].join(",");
    for (variables, path) in [
        (format!("{{\"f\": {{\"and\": [{objects}]}}}}"), "variables.f.and"),
        (format!("{{\"a\": 1, \"b\": [[{objects}]]}}"), "variables.b"),
        (format!("{{\"f\": [{}]}}", vec!["1"; 400_000].join(",")), "variables.f"),
    ] {
        let body = format!("{{\"query\": {}, \"variables\": {variables}}}", json!(FILTERED));
        // E-mails that the company's people are sent meanwhile are no part of it.
        app.settle().await;
        app.take_statements();
        let reply = post(&app, body, &[("authorization", &token)]).await;
        let extensions = &error(&reply)["extensions"];
        assert_eq!(extensions["code"], json!("QUERY_TOO_COMPLEX"), "{}", reply.json());
        assert_eq!((&extensions["limit"], &extensions["argument"]), (&json!(20_000), &json!(path)));
        assert_eq!(app.take_statements(), Vec::<String>::new(), "nothing was asked of the database");
    }
    // Brackets and commas in texts are none.
    let text = "{[,".repeat(30_000);
    let vars = json!({ "f": { "title": { "eq": text } } });
    app.call(&acme, &acme.member, FILTERED).vars(vars).data().await;
}

#[databases]
async fn a_filter_left_out_as_a_variable_is_none(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    for variables in [json!({}), json!({ "f": null })] {
        let data = app.call(&acme, &acme.member, FILTERED).vars(variables).data().await;
        assert_eq!(data["items"]["nodes"].as_array().map(Vec::len), Some(1));
    }
    let literal = "{ items(filter: null) { totalCount } events(filter: null) { totalCount } }";
    assert_eq!(app.call(&acme, &acme.member, literal).data().await["items"]["totalCount"], json!(1));
    // Within a filter it would widen it.
    let inside = "query($t: StringFilter) { items(filter: {title: $t}) { nodes { id } } }";
    for variables in [json!({}), json!({ "t": null })] {
        assert_eq!(app.call(&acme, &acme.member, inside).vars(variables).error_code().await, "BAD_REQUEST");
    }
    let null_inside = app.call(&acme, &acme.member, FILTERED).vars(json!({ "f": { "title": null } }));
    assert_eq!(null_inside.error_code().await, "BAD_REQUEST");
}

#[databases]
async fn a_string_is_no_enumeration_in_a_document(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    let documents = [
        "{ items(filter: {status: {eq: \"TODO\"}}) { nodes { id } } }",
        "{ items(filter: {or: [{status: {in: [TODO, \"DONE\"]}}]}) { nodes { id } } }",
        "{ items(orderBy: [{field: \"TITLE\"}]) { nodes { id } } }",
        "{ items(scope: \"ALL\") { nodes { id } } }",
        "{ sync(types: \"ITEM\") { cursor } }",
        "query($s: ItemScope! = \"ALL\") { items(scope: $s) { nodes { id } } }",
        "mutation { itemCreate(input: {title: \"x\", priority: \"HIGH\"}) { item { id } userErrors { code } } }",
    ];
    for document in documents {
        let answer = app.call(&acme, &acme.member, document).answer().await;
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], json!("GRAPHQL_VALIDATION_FAILED"), "{document}\n{answer:#}");
        assert_eq!(answer["errors"][0]["locations"][0]["line"], json!(1), "{document}\n{answer:#}");
        assert!(answer.get("data").is_none(), "{document}\n{answer:#}");
    }
    let query = "query($s: ItemStatusFilter!, $scope: ItemScope!) { items(filter: {status: $s}, scope: $scope) \
                 { totalCount } }";
    let vars = json!({ "s": { "eq": "TODO" }, "scope": "ALL" });
    assert_eq!(app.call(&acme, &acme.member, query).vars(vars).data().await["items"]["totalCount"], json!(1));
}

// ── prices ──

#[test]
fn what_a_filter_reads_is_in_its_price() {
    let filtered = |filter: &str| cost(&format!("{{ items(filter: {{{filter}}}) {{ nodes {{ id }} }} }}")) - 21;
    assert_eq!(filtered("status: {in: [TODO, DONE]}, dueAt: {lt: \"P7D\"}"), 0);
    assert_eq!(filtered("title: {contains: \"x\"}"), 5);
    assert_eq!(filtered("title: {startsWith: \"x\"}"), 2);
    let twenty = "{isOverdue: true} ".repeat(20);
    assert_eq!(filtered(&format!("and: [{twenty}]")), 2);
    // Page and count are read for themselves.
    let both = cost("{ items(filter: {title: {contains: \"x\"}}) { totalCount nodes { id } } }");
    assert_eq!(both, 21 + 5 + 10 + 5);
    let order = "orderBy: [{field: TITLE}, {field: DUE_AT}, {field: STATUS}]";
    assert_eq!(cost(&format!("{{ items({order}) {{ nodes {{ id }} }} }}")), 21 + 2);
    // Twenty roots of fifty texts are a search through everything a thousand times.
    let contains = json!({ "and": vec![json!({ "title": { "contains": "x" } }); 50] });
    let query = (0..20).fold("query($f: ItemFilter) {".to_owned(), |mut text, number| {
        let _ = write!(text, " a{number}: items(filter: $f, first: 1) {{ nodes {{ id }} }}");
        text
    });
    assert_eq!(refused(&format!("{query} }}"), json!({ "f": contains })).code, Code::QueryTooComplex);
}

#[test]
fn what_a_mutation_writes_is_in_its_price() {
    let create = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id } userErrors { code } } }";
    let price = |input: Value| check(create, json!({ "input": input })).expect("it passes").cost;
    let plain = price(json!({ "title": "x" }));
    assert_eq!(price(json!({ "title": "x", "subtasks": vec![json!({ "title": "y" }); 150] })), plain + 150);
    let two_levels = json!({ "title": "y", "subtasks": [{ "title": "z", "tagIds": vec!["tag_x"; 10] }] });
    assert_eq!(price(json!({ "title": "x", "subtasks": vec![two_levels; 50] })), plain + 100 + 10);
}

#[test]
fn a_copy_at_its_default_page_is_affordable() {
    let documents = [
        // docs/REALTIME.md
        "{ sync { nodes { __typename id ... on Item { identifier title status version } ... on Comment { body item { id } \
         version } } removedIds cursor hasMore } }",
        // docs/API.md
        "{ sync { nodes { id ... on Item { title status team { id } tags { id } version deletedAt } ... on Tag { name \
         color version } } removedIds cursor hasMore } }",
        // What is kept of references.
        "{ sync { nodes { ... on Item { assignees { id displayName } tags { id name color } } ... on Team { members(first: \
         100) { nodes { user { id } } } } } removedIds cursor hasMore } }",
        // All that there is.
        "{ sync { nodes { __typename id ... on Organization { name slug } ... on Membership { role state: status user { id \
         displayName } teams { id } } ... on Team { name members { nodes { id user { id displayName } } } } ... on Tag { name color } ... on Item { \
         identifier title description status priority dueAt team { id } parent { id } assignees { id } tags { id } \
         createdBy { id displayName } version deletedAt } ... on Comment { body item { id } author { id } parent { id } version } } \
         removedIds cursor hasMore } }",
    ];
    for document in documents {
        let points = cost(document);
        assert!(points <= 801, "{points}: {document}");
        // The same at the page size that is written out.
        assert_eq!(cost(&document.replace("{ sync {", "{ sync(first: 200) {")), points);
    }
}

#[test]
fn an_object_pays_for_more_than_fifty_scalars() {
    let validator = validator(LimitsConfig { aliases: 100, ..LimitsConfig::default() });
    let cost = |query: &str| validator.check(&mut Request::new(query)).expect("it passes").cost;
    let aliased = |field: &str, times: usize| {
        (0..times).fold(String::new(), |text, number| format!("{text}{field}{number}: {field} "))
    };
    let of_item = |times: usize| format!("{{ items(first: 100) {{ nodes {{ {} }} }} }}", aliased("title", times));
    assert_eq!(cost(&of_item(50)), 101);
    assert_eq!(cost(&of_item(60)), 201);
    // Of several types an object is one.
    let (title, name) = (aliased("title", 40), aliased("name", 40));
    assert_eq!(cost(&format!("{{ node(id: \"x\") {{ ... on Item {{ {title} }} ... on Tag {{ {name} }} }} }}")), 1);
    // The same field again is the same scalar.
    let titles = |times: usize| format!("{{ items(first: 100) {{ nodes {{ {} }} }} }}", "title ".repeat(times));
    assert_eq!(cost(&titles(4_000)), 101);
}

/// Whoever catches up pays for what is read, as the list `events` would have it, and is slow without points.
#[databases]
async fn a_subscription_pays_for_the_history_that_it_reads(app: TestApp) {
    drop(app);
    let app = TestApp::start(&[("TODO_LIMITS_COST_PER_MINUTE", "400".to_owned())]).await;
    let acme = app.company("acme").await;
    let fill = async || {
        app.clock.advance(chrono::Duration::minutes(2));
        let input = json!({ "title": "root", "subtasks": vec![json!({ "title": "x" }); 124] });
        app.create(&acme, &acme.owner, "item", input).await;
    };
    let begin = app.call(&acme, &acme.member, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
    fill().await;
    fill().await;
    app.clock.advance(chrono::Duration::minutes(2));
    let query = "subscription($after: Cursor) { events(after: $after) { events { id } cursor isLive } }";
    let subscribe = async || {
        let call = app.call(&acme, &acme.member, query).vars(json!({ "after": begin }));
        call.events().await.unwrap_or_else(|answer| panic!("{answer:#}"))
    };
    let remaining = async || {
        let reply = app.call(&acme, &acme.member, "{ __typename }").reply().await;
        let header = reply.header("ratelimit");
        let value = header.split(';').find_map(|part| part.strip_prefix("r=")?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("RateLimit: {header:?}"))
    };
    let mut stream = subscribe().await;
    let mut read = 0;
    while read < 250 {
        let (_, _, data) = stream.next().await.expect("an answer");
        let answer: Value = serde_json::from_str(&data).expect("JSON");
        read += answer["data"]["events"]["events"].as_array().map_or(0, Vec::len);
    }
    assert_eq!(read, 250, "all of it, once");
    let left = remaining().await;
    assert!((100..=400 - 250).contains(&left), "{left}");
    // Another one comes to where the points end, and waits there until there are some.
    let mut stream = subscribe().await;
    let (_, _, first) = stream.next().await.expect("an answer");
    assert!(first.contains("\"isLive\":false"));
    assert!(tokio::time::timeout(std::time::Duration::from_secs(2), stream.next()).await.is_err());
    app.clock.advance(chrono::Duration::minutes(2));
    let (_, _, second) = stream.next().await.expect("an answer");
    assert!(second.contains("evt_") && second != first);
}

// ── answers ──

/// `field` under thirty names.
fn thirty_times(field: &str) -> String {
    (0..30).fold(String::new(), |mut text, number| {
        let _ = write!(text, "a{number}: {field} ");
        text
    })
}

/// A large body is read in the background, whatever it is; what it asks for runs as always, mutations where they must.
#[databases]
async fn whoever_takes_much_of_the_processor_gives_way(app: TestApp) {
    let acme = app.company("acme").await;
    let sent = async || {
        let metrics = String::from_utf8(app.get("/metrics").await.body).expect("text");
        let line = metrics.lines().find_map(|line| line.strip_prefix("todo_background_operations_total "));
        line.and_then(|count| count.parse::<u64>().ok()).expect("the counter")
    };
    let padded = |query: &str| {
        let body = json!({ "query": query, "extensions": { "padding": "x".repeat(200_000) } });
        HttpRequest::post("/graphql")
            .header("content-type", "application/json")
            .header("x-organization", "acme")
            .header("authorization", format!("Bearer {}", acme.member.token))
            .body(Body::from(body.to_string()))
            .expect("a request")
    };
    let before = sent().await;
    let create = "mutation { itemCreate(input: {title: \"one\"}) { item { title } } }";
    let created = app.http(padded(create)).await.json();
    assert_eq!(created, json!({ "data": { "itemCreate": { "item": { "title": "one" } } } }));
    let read = app.http(padded("{ items { nodes { title } } }")).await.json();
    assert_eq!(read, json!({ "data": { "items": { "nodes": [{ "title": "one" }] } } }));
    assert!(sent().await >= before + 2);
}

#[databases]
async fn an_answer_has_a_size(app: TestApp) {
    let acme = app.company("acme").await;
    let long = "x".repeat(50_000);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(app.create(&acme, &acme.member, "item", json!({ "title": "long", "description": long })).await);
    }
    let comment = json!({ "itemId": ids[0], "body": "y".repeat(20_000) });
    app.create(&acme, &acme.member, "comment", comment).await;
    // 300 KB pass; nine megabytes don't, wherever they come from.
    let data = app.call(&acme, &acme.member, "{ items { nodes { description } } }").data().await;
    assert_eq!(data["items"]["nodes"][0]["description"], json!(long));
    let aliased = thirty_times("description");
    let too_large = [
        format!("{{ items {{ nodes {{ {aliased} }} }} }}"),
        format!("{{ items {{ nodes {{ ...F team {{ id }} }} }} }} fragment F on Item {{ {aliased} }}"),
        format!("{{ events(last: 8) {{ nodes {{ {} }} }} }}", thirty_times("changes { field before after }")),
        format!(
            "{{ nodes(ids: [{}]) {{ ... on Item {{ {aliased} }} }} }}",
            ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(" ")
        ),
    ];
    for query in too_large {
        let reply = app.call(&acme, &acme.member, &query).reply().await;
        let answer = reply.json();
        assert!(answer.get("data").is_none() && reply.body.len() < 2_000, "{query}: {} bytes", reply.body.len());
        assert_eq!(answer["errors"].as_array().map(Vec::len), Some(1), "{query}");
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], json!("ANSWER_TOO_LARGE"), "{query}: {answer:#}");
        assert_eq!(extensions["limit"], json!(8 << 20), "{query}");
    }
}

#[tokio::test]
async fn an_answer_of_many_short_texts_has_a_size_too() {
    let app = TestApp::start(&[("TODO_LIMITS_ANSWER_BYTES", "3000".to_owned())]).await;
    let acme = app.company("acme").await;
    for _ in 0..10 {
        app.item(&acme, "short").await;
    }
    let few = "{ items(first: 5) { nodes { id identifier createdAt updatedAt createdBy { id } } } }";
    app.call(&acme, &acme.member, few).data().await;
    let many = thirty_times("createdAt");
    let query = format!("{{ items {{ nodes {{ {many} }} }} }}");
    assert_eq!(app.call(&acme, &acme.member, &query).error_code().await, "ANSWER_TOO_LARGE");
    // A mutation has been done, whatever its answer.
    let input = json!({ "input": { "title": "z".repeat(400) } });
    let titles = thirty_times("title");
    let create = format!(
        "mutation($input: ItemCreateInput!) {{ itemCreate(input: $input) {{ item {{ {titles} }} userErrors {{ code }} }} }}"
    );
    assert_eq!(app.call(&acme, &acme.member, &create).vars(input).error_code().await, "ANSWER_TOO_LARGE");
    let count = app.call(&acme, &acme.member, "{ items { totalCount } }").data().await;
    assert_eq!(count["items"]["totalCount"], json!(11));
}

// ── documents that are kept ──

/// As many different documents as it takes to fill any cache.
fn documents() -> impl Iterator<Item = String> {
    let dear = "... { version } ".repeat(1_200);
    (0..260).map(move |number| format!("query q{number} {{ server {{ {dear} }} }}"))
}

#[test]
fn documents_are_weighed_and_kept_for_those_let_in_alone() {
    let validator = validator(LimitsConfig::default());
    let mut passed = Vec::new();
    for document in documents() {
        let document = format!("{document} # {}", "x".repeat(1_000));
        passed.push(validator.check(&mut Request::new(document)).expect("it passes"));
    }
    let kept = || validator.cache_uses().iter().filter_map(|cache| cache.bytes).sum::<u64>();
    assert_eq!(kept(), 0, "nothing was let in yet");
    for one in &passed {
        validator.remember(one);
    }
    // 260 × 4,800 tokens would be 1.2 GB as they are weighed.
    let kept = kept();
    assert!(kept > 0 && kept <= 32 << 20, "{kept}");
}

// ── HTTP ──

#[tokio::test]
async fn a_part_of_another_type_is_named() {
    let app = TestApp::start(&[]).await;
    let cases = [
        (json!({ "query": 5 }), "query", "a number"),
        (json!({ "query": "{ __typename }", "variables": "" }), "variables", "a string"),
        (json!({ "query": "{ __typename }", "variables": [1] }), "variables", "a list"),
        (json!({ "query": "{ __typename }", "operationName": 5 }), "operationName", "a number"),
        (json!({ "query": "{ __typename }", "operationName": {} }), "operationName", "an object"),
        (json!({ "query": "{ __typename }", "extensions": "x" }), "extensions", "a string"),
        (json!({ "query": "{ __typename }", "extensions": true }), "extensions", "a boolean"),
    ];
    for (body, field, found) in cases {
        let reply = post(&app, body.to_string(), &[]).await;
        let error = error(&reply);
        assert_eq!((reply.status.as_u16(), &error["extensions"]["code"]), (400, &json!("BAD_REQUEST")), "{body}");
        assert_eq!(error["extensions"]["field"], json!(field), "{body}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(&format!("`{field}`")) && message.contains(found), "{body}: {message}");
        assert!(!message.contains("untagged") && !message.contains("enum"), "{message}");
    }
    let nulls = json!({ "query": "{ __typename }", "variables": null, "operationName": null, "extensions": null });
    assert_eq!(post(&app, nulls.to_string(), &[]).await.json()["data"]["__typename"], json!("Query"));
    for body in ["", "null", "5", "\"x\"", "{", "{\"query\": }", "[", "{\"query\": \"{ __typename }\"} x"] {
        let reply = post(&app, body, &[]).await;
        assert_eq!(
            (reply.status.as_u16(), &error(&reply)["extensions"]["code"]),
            (400, &json!("BAD_REQUEST")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn empty_parts_of_a_get_are_left_out() {
    let app = TestApp::start(&[]).await;
    let query = "query=%7B%20__typename%20%7D";
    for more in [
        "&variables=",
        "&extensions=",
        "&variables=&extensions=&operationName=",
        "&variables=null",
        "&variables=%7B%7D",
    ] {
        let reply = app.get(&format!("/graphql?{query}{more}")).await;
        assert_eq!(reply.json()["data"]["__typename"], json!("Query"), "{more}: {}", reply.json());
    }
    for (more, field) in
        [("&variables=5", "variables"), ("&extensions=%5B%5D", "extensions"), ("&variables=%7B", "variables")]
    {
        let reply = app.get(&format!("/graphql?{query}{more}")).await;
        assert_eq!(reply.status, 400, "{more}");
        assert!(error(&reply)["message"].as_str().is_some_and(|text| text.contains(field)), "{more}: {}", reply.json());
    }
}

#[databases]
async fn an_idempotency_key_that_is_none_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    let token = format!("Bearer {}", acme.member.token);
    let create =
        json!({ "query": "mutation { itemCreate(input: {title: \"x\"}) { item { id } userErrors { code } } }" });
    for keys in [&[""][..], &["  "], &["\t"], &["a", "b"], &["a", "a"], &["", "a"]] {
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
        let reply = post(&app, create.to_string(), &headers).await;
        assert_eq!(reply.status, 400, "{keys:?}");
        assert_eq!(error(&reply)["extensions"]["code"], json!("BAD_REQUEST"), "{keys:?}");
    }
    for key in [json!(""), json!(" "), json!(5)] {
        let body = json!({ "query": create["query"], "extensions": { "idempotencyKey": key } });
        let reply = post(&app, body.to_string(), &[("authorization", &token)]).await;
        assert_eq!(error(&reply)["extensions"]["code"], json!("BAD_REQUEST"), "{key}");
    }
    let count = app.call(&acme, &acme.member, "{ items { totalCount } }").data().await;
    assert_eq!(count["items"]["totalCount"], json!(0));
}
