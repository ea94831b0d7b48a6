//! Validation: what a document may ask for. Mostly without a server: validation alone decides.

use std::{fmt::Write, sync::mpsc, thread, time::Duration};

use async_graphql::{Request, Variables};
use serde_json::{Value, json};
use todo_platform::{
    api::validation::ValidRequest,
    base::{
        config::LimitsConfig,
        error::{Code, Error, Refusal},
    },
};

use crate::support::{app::TestApp, schema::validator};
use todo_test_macros::databases;

/// How long validation may take before a test calls it stuck; far more than any document needs.
const DEADLINE: Duration = Duration::from_secs(60);

/// What validation says of a request, on a thread of its own, so that one that hangs fails the test.
fn check_request(mut request: Request) -> Result<ValidRequest, Refusal> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let checked = validator(LimitsConfig::default()).check(&mut request);
        let _ = send.send(checked.map_err(|error| match error {
            Error::Refused(refusal) => refusal,
            other => panic!("validation only refuses: {other:?}"),
        }));
    });
    receive.recv_timeout(DEADLINE).expect("validation answers in time")
}

fn check(query: &str) -> Result<ValidRequest, Refusal> {
    check_request(Request::new(query))
}

fn check_with(query: &str, variables: Value) -> Result<ValidRequest, Refusal> {
    check_request(Request::new(query).variables(Variables::from_json(variables)))
}

#[track_caller]
fn passed(query: &str) -> ValidRequest {
    check(query).unwrap_or_else(|refusal| panic!("{query}\n{refusal:?}"))
}

#[track_caller]
fn refused(query: &str) -> Refusal {
    check(query).map_or_else(|refusal| refusal, |passed| panic!("it passed: {query}\n{passed:?}"))
}

fn detail(refusal: &Refusal, name: &str) -> Value {
    refusal.details.as_ref().map_or(Value::Null, |details| details[name].clone())
}

/// `field` so many times, each time with its number for `#`.
fn repeat(field: &str, times: usize) -> String {
    (0..times).fold(String::new(), |mut text, number| {
        let _ = write!(text, "{} ", field.replace('#', &number.to_string()));
        text
    })
}

/// A query that is `depth` fields deep.
fn deep(depth: usize) -> String {
    let parents = depth - 2;
    format!("{{ item(id: \"ACME-1\") {} {{ id }} {} }}", "{ parent".repeat(parents), "}".repeat(parents))
}

// ── size ──

#[test]
fn five_thousand_tokens_pass_and_one_more_does_not() {
    // Twelve tokens besides the ids; commas and comments are none.
    let query = |ids: usize| format!("{{ nodes(ids: [{}]) {{ id }} }} # one [ two ( three", "\"a\", ".repeat(ids));
    passed(&query(4_988));
    let refusal = refused(&query(4_989));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(5_000)));
}

#[test]
fn brackets_within_brackets_have_an_end() {
    let nested = |fragments: usize| format!("{{ {} __typename {} }}", "... {".repeat(fragments), "}".repeat(fragments));
    passed(&nested(63));
    let refusal = refused(&nested(64));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooDeep, json!(64)));
    // Never closed, and deep enough to end a parser that recurses.
    for open in ["{", "[", "{a", "{...", "{... on Query"] {
        assert_eq!(refused(&open.repeat(4_900 / open.len())).code, Code::QueryTooDeep, "{open}");
    }
    for open in ["(", "{a(b:[", "{a(b:{c:", "@a("] {
        let code = refused(&open.repeat(4_900 / open.len())).code;
        assert!(matches!(code, Code::GraphqlParseFailed | Code::QueryTooDeep), "{open}: {code}");
    }
    let objects = format!("{{ items(filter: {}{{}}{}) {{ nodes {{ id }} }} }}", "{not: ".repeat(70), "}".repeat(70));
    assert_eq!(refused(&objects).code, Code::QueryTooDeep);
}

#[test]
fn brackets_in_strings_and_comments_are_text() {
    let brackets = "{[(".repeat(40);
    passed(&format!("{{ item(id: \"{brackets}\") {{ id }} }}"));
    passed(&format!("{{ item(id: \"\"\"{brackets} \\\"\"\" {brackets}\"\"\") {{ id }} }}"));
    passed(&format!("{{ item(id: \"\\\"{brackets}\") {{ id }} }} # {brackets}"));
}

#[test]
fn fifteen_fields_deep_pass_and_sixteen_do_not() {
    passed(&deep(15));
    let refusal = refused(&deep(16));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooDeep, json!(15)));
}

#[test]
fn fragments_do_not_hide_depth() {
    let fragment = |parents: usize| {
        let nested = format!("{} {{ id }} {}", "{ parent".repeat(parents), "}".repeat(parents));
        format!("{{ item(id: \"x\") {{ parent {{ ...F }} }} }} fragment F on Item {nested}")
    };
    passed(&fragment(12));
    assert_eq!(refused(&fragment(13)).code, Code::QueryTooDeep);
    let inline = |parents: usize| {
        let (open, close) = ("... on Item { parent { ".repeat(parents), "} }".repeat(parents));
        format!("{{ item(id: \"x\") {{ {open} id {close} }} }}")
    };
    passed(&inline(13));
    assert_eq!(refused(&inline(14)).code, Code::QueryTooDeep);
}

#[test]
fn thirty_aliases_pass_and_one_more_does_not() {
    let query = |aliases: usize| format!("{{ server {{ {} }} }}", repeat("a#: version", aliases));
    passed(&query(30));
    let refusal = refused(&query(31));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(30)));
    // A fragment's aliases count each time it is spread.
    let spread = format!(
        "{{ server {{ ...F ... on ServerInfo {{ ...F }} }} }} fragment F on ServerInfo {{ {} }}",
        repeat("a#: version", 16),
    );
    assert_eq!(refused(&spread).code, Code::QueryTooComplex);
}

#[test]
fn twenty_fields_at_the_root_pass_and_one_more_does_not() {
    let query = |fields: usize| format!("{{ {} }}", repeat("a#: __typename", fields));
    passed(&query(20));
    let refusal = refused(&query(21));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(20)));
    let spread = format!("{{ ...F ...F b: __typename }} fragment F on Query {{ {} }}", repeat("a#: __typename", 10));
    passed(&spread);
    let spread = format!("{{ ...F b: __typename }} fragment F on Query {{ {} }}", repeat("a#: __typename", 20));
    assert_eq!(refused(&spread).code, Code::QueryTooComplex);
    // The same under the same key is one field.
    passed(&format!("{{ {} }}", "__typename ".repeat(21)));
}

#[test]
fn fifty_directives_pass_and_one_more_does_not() {
    let fields = |directives: usize| format!("{{ server {{ {} }} }}", "version @skip(if: false) ".repeat(directives));
    passed(&fields(50));
    let refusal = refused(&fields(51));
    assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(50)));
    // A fragment's count each time it is spread.
    let spread = |times: usize| {
        let fragment = "__typename @skip(if: false) @include(if: true) ".repeat(5);
        format!("{{ {} }} fragment F on Query {{ {fragment} }}", "...F ".repeat(times))
    };
    passed(&spread(5));
    assert_eq!(refused(&spread(6)).code, Code::QueryTooComplex);
}

#[test]
fn eleven_directives_in_one_place_are_refused_before_they_are_compared() {
    let skips = |directives: usize| "@skip(if: false) ".repeat(directives);
    let places: [fn(&str) -> String; 4] = [
        |skips| format!("{{ server {{ version {skips} }} }}"),
        |skips| format!("query {skips} {{ __typename }}"),
        |skips| format!("{{ ... {skips} {{ __typename }} }}"),
        |skips| format!("{{ ...F {skips} }} fragment F on Query {{ __typename }}"),
    ];
    for place in places {
        // None of the schema's may be there twice.
        assert_eq!(refused(&place(&skips(10))).code, Code::GraphqlValidationFailed);
        let refusal = refused(&place(&skips(11)));
        assert_eq!((refusal.code, detail(&refusal, "limit")), (Code::QueryTooComplex, json!(10)));
    }
}

#[test]
fn operations_that_will_not_run_are_measured_too() {
    let runs =
        |other: &str| check_request(Request::new(format!("query A {{ __typename }} {other}")).operation_name("A"));
    assert_eq!(runs("query B { server { version } }").expect("it passes").name.as_deref(), Some("A"));
    let refused = |other: &str| runs(other).expect_err("it is too large").code;
    assert_eq!(refused(&format!("query B {}", deep(16))), Code::QueryTooDeep);
    assert_eq!(refused(&format!("query B {{ server {{ {} }} }}", repeat("a#: version", 31))), Code::QueryTooComplex);
    let directives = "version @skip(if: false) ".repeat(51);
    assert_eq!(refused(&format!("query B {{ server {{ {directives} }} }}")), Code::QueryTooComplex);
    assert_eq!(refused(&format!("query B {} {{ __typename }}", "@skip(if: false) ".repeat(51))), Code::QueryTooComplex);
    assert_eq!(
        refused(&format!("query B {{ item(id: \"x\") {{ ...f30 }} }} {}", doubling("Item", "id", 30))),
        Code::QueryTooComplex
    );
}

// ── cost ──

/// What `docs/API.md` and the load tests call the board: fifty items with all that a board shows of them.
const BOARD: &str = "query Board($first: Int = 50) { items(first: $first) { nodes { id identifier title status priority \
    dueAt isOverdue version team { id name } assignees { id displayName avatarUrl } tags { id name color } \
    comments { totalCount } subtaskProgress { done total } } pageInfo { hasNextPage endCursor } } }";

#[test]
fn a_board_of_fifty_costs_less_than_half_the_limit() {
    let without_progress = BOARD.replace("subtaskProgress { done total } ", "");
    // An item, its team, two plain lists of 1 + 2, and a count that is kept: nine a row.
    assert_eq!(passed(&without_progress).cost, 50 * 9 + 1);
    assert!(passed(&without_progress).cost < LimitsConfig::default().cost / 2);
}

#[test]
fn prices_are_those_of_the_contract() {
    let costs = [
        ("{ __typename }", 0),
        ("{ server { version } }", 1),
        ("{ item(id: \"x\") { id } }", 1),
        ("{ item(id: \"x\") { tags { id } } }", 1 + 1 + 2),
        ("{ items { nodes { id } } }", 1 + 20),
        ("{ items(first: 7) { nodes { id } } }", 1 + 7),
        ("{ items(last: 7) { edges { cursor node { id } } } }", 1 + 7),
        ("{ items(first: 7) { nodes { id } totalCount } }", 1 + 7 + 10),
        ("{ items(first: 100) { totalCount } }", 10),
        ("{ items(first: 2) { nodes { comments { totalCount } } } }", 1 + 2 * (1 + 1)),
        ("{ items(first: 2) { nodes { comments(first: 3) { nodes { id } } } } }", 1 + 2 * (1 + 1 + 3)),
        ("{ items(first: 1000) { nodes { id } } }", 1 + 100),
        ("{ sync { nodes { id } cursor hasMore } }", 1 + 200),
        (
            "{ sync(first: 10) { nodes { ... on Item { tags { id } } ... on Team { id } } removedIds } }",
            // Within a copy: one for the list.
            1 + 10 * (1 + 1),
        ),
        ("{ sync(first: 1000) { nodes { id } } }", 1 + 500),
        // What is gone is looked for among what has changed.
        ("{ sync(first: 10) { removedIds cursor hasMore } }", 1 + 10),
        (
            "{ ...F } fragment F on Query { items(first: 7) { ...G } } fragment G on ItemConnection { nodes { id } }",
            1 + 7,
        ),
    ];
    for (query, cost) in costs {
        assert_eq!(passed(query).cost, cost, "{query}");
    }
}

#[test]
fn a_page_size_in_a_variable_is_priced_by_its_value() {
    let query = "query($n: Int = 30) { items(first: $n) { nodes { id } } }";
    assert_eq!(check_with(query, json!({ "n": 60 })).expect("it passes").cost, 61);
    assert_eq!(check_with(query, json!({})).expect("it passes").cost, 31, "the default of the variable");
    let unset = "query($n: Int) { items(first: $n) { nodes { id } } }";
    assert_eq!(check_with(unset, json!({})).expect("it passes").cost, 21, "the default of the page");
}

#[databases]
async fn what_costs_too_much_is_refused_with_the_dearest_path(app: TestApp) {
    let ann = app.register("ann").await;
    app.found(&ann, "acme").await;
    let query = "{ server { version } board: items(first: 100) { nodes { team { id } tags { id } \
                 assignees { teams: membership { teams { id } } } } } }";
    app.take_statements();
    let answer = app.gql(query).token(&ann.token).answer().await;
    assert!(answer.get("data").is_none(), "{answer:#}");
    let extensions = &answer["errors"][0]["extensions"];
    assert_eq!(extensions["code"], json!("QUERY_TOO_COMPLEX"));
    // Below an assignee: a membership and its teams, 1 + 3; an assignee 1 + 4, the list of them 1 + 2 × 5.
    assert_eq!(extensions["cost"], json!(1 + 1 + 100 * (1 + 1 + 3 + 11)));
    assert_eq!(extensions["limit"], json!(1_000));
    assert_eq!(extensions["dearestPath"], json!("board.nodes.assignees.teams.teams"));
    let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("board.nodes.assignees"), "{message}");
    assert_eq!(app.take_statements(), Vec::<String>::new(), "nothing was asked of the database");
}

// ── introspection ──

/// What graphql-js 16 sends (`getIntrospectionQuery()` with its options on), nine `ofType` deep.
const INTROSPECTION: &str = "query IntrospectionQuery { __schema { description queryType { name kind } mutationType { name kind } \
    subscriptionType { name kind } types { ...FullType } directives { name description isRepeatable locations \
    args(includeDeprecated: true) { ...InputValue } } } } \
    fragment FullType on __Type { kind name description specifiedByURL isOneOf fields(includeDeprecated: true) { name \
    description args(includeDeprecated: true) { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason } \
    inputFields(includeDeprecated: true) { ...InputValue } interfaces { ...TypeRef } \
    enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason } \
    possibleTypes { ...TypeRef } } \
    fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue isDeprecated \
    deprecationReason } \
    fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name \
    ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } } }";

#[tokio::test]
async fn the_standard_introspection_query_passes() {
    let app = TestApp::start(&[]).await;
    let data = app.gql(INTROSPECTION).data().await;
    let types = data["__schema"]["types"].as_array().expect("types");
    assert!(types.iter().any(|ty| ty["name"] == json!("Item")), "{} types", types.len());
    assert_eq!(data["__schema"]["mutationType"]["name"], json!("Mutation"));
    let plain = [
        "description queryType",
        " isRepeatable",
        " specifiedByURL isOneOf",
        "defaultValue isDeprecated deprecationReason",
    ];
    // As every client sends it without options.
    let mut default = INTROSPECTION.replace("args(includeDeprecated: true)", "args");
    for (option, without) in plain.iter().zip(["queryType", "", "", "defaultValue"]) {
        default = default.replace(option, without);
    }
    default = default.replace("inputFields(includeDeprecated: true)", "inputFields");
    app.gql(default).data().await;
}

// ── fragments ──

/// Fragments `f0` to `f{levels}`, each of which spreads the one before it twice.
fn doubling(ty: &str, leaf: &str, levels: usize) -> String {
    let mut text = format!("fragment f0 on {ty} {{ {leaf} }} ");
    for level in 1..=levels {
        let below = level - 1;
        let _ = write!(text, "fragment f{level} on {ty} {{ ...f{below} ...f{below} }} ");
    }
    text
}

#[test]
fn fragments_that_double_are_refused_before_they_are_counted_out() {
    let nested = (1..=13).fold("fragment g0 on Item { id } ".to_owned(), |mut text, level| {
        let below = level - 1;
        let spreads = format!("...g{below} ").repeat(4);
        let _ = write!(text, "fragment g{level} on Item {{ parent {{ {spreads} }} }} ");
        text
    });
    let bombs = [
        format!("{{ ...f30 }} {}", doubling("Query", "__typename", 30)),
        format!("{{ item(id: \"x\") {{ ...f30 }} }} {}", doubling("Item", "id", 30)),
        format!("{{ items {{ ...f30 }} }} {}", doubling("ItemConnection", "totalCount", 30)),
        format!("{{ __schema {{ ...f30 }} }} {}", doubling("__Schema", "description", 30)),
        format!("{{ item(id: \"x\") {{ ...g13 }} }} {nested}"),
        format!("mutation {{ ...f30 }} {}", doubling("Mutation", "sessionRevoke(input: {}) { deletedId }", 30)),
    ];
    for bomb in bombs {
        assert_eq!(refused(&bomb).code, Code::QueryTooComplex, "{bomb}");
    }
}

/// The names at the root are collected: a wide fragment spread often must not be written out first.
#[test]
fn a_wide_fragment_at_the_root_is_not_written_out() {
    let wide = doubling("Query", &"__typename ".repeat(3_000), 12);
    let refusal = refused(&format!("{{ ...f12 }} {wide}"));
    assert_eq!(refusal.code, Code::QueryTooComplex);
    let found = refusal.message.rsplit("has ").next().and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    let found = found.unwrap_or_else(|| panic!("a message with a number: {}", refusal.message));
    assert!(found <= 20_001, "{}", refusal.message);
}

#[databases]
async fn a_fragment_that_spreads_itself_or_none_is_an_error(app: TestApp) {
    let ann = app.register("ann").await;
    app.found(&ann, "acme").await;
    let documents = [
        "{ ...A } fragment A on Query { ...A }",
        "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
        "{ ...A } fragment A on Query { ...A ...A ...A server { version } }",
        "{ item(id: \"x\") { ...A } } fragment A on Item { parent { ...B } } fragment B on Item { parent { ...A } }",
        "{ items { ...A } } fragment A on ItemConnection { ...A nodes { id } }",
        "{ items { nodes { ...A } } } fragment A on Item { subtasks { nodes { ...A } } }",
        "{ ...Missing }",
        "{ items { ...Missing } }",
        "{ item(id: \"x\") { ...Missing } }",
    ];
    for document in documents {
        let (app, token) = (app.clone(), ann.token.clone());
        let asked = tokio::spawn(async move { app.gql(document).token(&token).reply().await });
        let reply = tokio::time::timeout(DEADLINE, asked).await.expect("an answer in time").expect("no panic");
        let answer = reply.json();
        assert!(answer.get("data").is_none(), "{document}\n{answer:#}");
        let code = answer["errors"][0]["extensions"]["code"].as_str();
        let expected = ["GRAPHQL_VALIDATION_FAILED", "QUERY_TOO_COMPLEX", "QUERY_TOO_DEEP"];
        assert!(code.is_some_and(|code| expected.contains(&code)), "{document}\n{answer:#}");
    }
}

// ── filters ──

#[test]
fn a_filter_that_is_absent_or_complete_passes() {
    let query = "query($n: String = \"x\", $f: ItemFilter = {title: {eq: \"y\"}}) { items(filter: {title: {eq: $n}}) \
                 { nodes { id } } other: items(filter: $f) { nodes { id } } all: items { nodes { id } } }";
    check_with(query, json!({})).expect("defaults are values");
    check_with(query, json!({ "n": "z", "f": {} })).expect("values are values");
}

#[test]
fn a_null_or_an_unset_variable_in_a_filter_is_refused_by_its_path() {
    let cases = [
        ("{ items(filter: {team: null}) { nodes { id } } }", json!({}), "filter.team"),
        ("{ items(filter: {and: [{title: {eq: null}}]}) { nodes { id } } }", json!({}), "filter.and.0.title.eq"),
        ("query($f: ItemFilter) { items(filter: $f) { totalCount } }", json!({ "f": { "team": null } }), "filter.team"),
        ("query($t: String) { items(filter: {title: {eq: $t}}) { nodes { id } } }", json!({}), "filter.title.eq"),
        (
            "query($t: String) { items(filter: {or: [{title: {eq: $t}}]}) { nodes { id } } }",
            json!({}),
            "filter.or.0.title.eq",
        ),
        (
            "query($t: String = null) { items(filter: {title: {eq: $t}}) { nodes { id } } }",
            json!({}),
            "filter.title.eq",
        ),
        (
            "query($t: String = \"x\") { items(filter: {title: {eq: $t}}) { nodes { id } } }",
            json!({ "t": null }),
            "filter.title.eq",
        ),
        ("query($i: [ID!]) { items(filter: {id: {in: $i}}) { nodes { id } } }", json!({}), "filter.id.in"),
        (
            "query($r: [Role!]) { organization { members(filter: {roles: $r}) { nodes { id } } } }",
            json!({}),
            "filter.roles",
        ),
        (
            "query($i: [ID!]) { ...F } fragment F on Query { events(filter: {itemIds: $i}) { nodes { id } } }",
            json!({}),
            "filter.itemIds",
        ),
        (
            "query($t: String) { ... on Query { items(filter: {title: {eq: $t}}) { nodes { id } } } }",
            json!({}),
            "filter.title.eq",
        ),
    ];
    for (query, variables, path) in cases {
        let refusal = check_with(query, variables.clone()).expect_err(query);
        assert_eq!(refusal.code, Code::BadRequest, "{query} {variables}");
        assert_eq!(detail(&refusal, "argument"), json!(path), "{query} {variables}");
        assert!(refusal.message.contains(path), "{query}: {}", refusal.message);
    }
}

#[databases]
async fn an_unset_variable_does_not_widen_a_filter(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    app.item(&acme, "two").await;
    let query = "query($title: String) { items(filter: {title: {eq: $title}}) { nodes { title } } }";
    let data = app.call(&acme, &acme.member, query).vars(json!({ "title": "one" })).data().await;
    assert_eq!(data["items"]["nodes"], json!([{ "title": "one" }]));
    let answer = app.call(&acme, &acme.member, query).answer().await;
    assert!(answer.get("data").is_none(), "{answer:#}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], json!("BAD_REQUEST"));
    assert_eq!(answer["errors"][0]["extensions"]["argument"], json!("filter.title.eq"));
}

// ── operations and texts ──

#[test]
fn one_operation_is_chosen_by_its_name() {
    let two = "query A { server { version } } mutation B { sessionRevoke(input: {}) { deletedId } }";
    assert_eq!(refused(two).code, Code::BadRequest);
    let named = |name: &str| check_request(Request::new(two).operation_name(name));
    assert_eq!(named("A").expect("it passes").operation, async_graphql::parser::types::OperationType::Query);
    assert_eq!(named("B").expect("it passes").operation, async_graphql::parser::types::OperationType::Mutation);
    assert_eq!(named("C").expect_err("there is none").code, Code::BadRequest);
    // Some clients send an empty name for none.
    check_request(Request::new("{ __typename }").operation_name("")).expect("it passes");
}

#[test]
fn whether_a_caller_is_needed_follows_from_the_root_fields() {
    assert!(!passed("{ server { version } __typename __schema { queryType { name } } }").needs_caller);
    assert!(!passed("mutation { sessionRefresh(input: {refreshToken: \"x\"}) { accessToken } }").needs_caller);
    assert!(passed("{ server { version } viewer { user { id } } }").needs_caller);
    assert!(passed("{ ...F } fragment F on Query { ... on Query { viewer { user { id } } } }").needs_caller);
    assert!(passed("{ server: viewer { user { id } } }").needs_caller);
}

#[test]
fn several_sign_ins_in_one_document_are_refused_however_they_are_written() {
    let sign_in = "sessionCreate(input: {email: \"a@b.co\", password: \"x\"}) { accessToken }";
    passed(&format!("mutation {{ {sign_in} }}"));
    let documents = [
        format!("mutation {{ a: {sign_in} b: {sign_in} }}"),
        format!("mutation {{ a: {sign_in} ... on Mutation {{ b: {sign_in} }} }}"),
        format!("mutation {{ a: {sign_in} ...F }} fragment F on Mutation {{ b: {sign_in} }}"),
        format!("mutation {{ a: {sign_in} ... @skip(if: false) {{ b: {sign_in} }} }}"),
    ];
    for document in documents {
        assert_eq!(refused(&document).code, Code::BadRequest, "{document}");
    }
}

#[test]
fn what_does_not_parse_is_said_with_its_position() {
    let documents = [
        "{ item(id: \"abc",
        "{ item(id: \"abc\\",
        "{ item(id: \"abc\n\") { id } }",
        "{ item(id: \"\"\"abc",
        "{ item(id: \"\"\"abc\\",
        "{ item(id: \"\"\"abc\\\"\"\"",
        "{ item(id: \"\"\"abc\"\"",
        "\"",
        "\"\"\"",
        "{",
        "}",
        "{ }",
        "{ a(b: ) }",
        "query ($) { a }",
        "..",
        "{ ...",
        "\0",
        "{ a # never closed",
        "fragment F on Query",
        "\u{feff}{",
    ];
    for document in documents {
        let refusal = refused(document);
        assert_eq!(refusal.code, Code::GraphqlParseFailed, "{document:?}");
        assert!(
            refusal.positions.iter().all(|at| at.line > 0) && refusal.positions.len() == 1,
            "{document:?} {refusal:?}"
        );
        assert!(!refusal.message.is_empty() && !refusal.message.contains('\n'), "{document:?}: {}", refusal.message);
    }
}

#[test]
fn long_texts_are_one_token() {
    let long = "x".repeat(900_000);
    passed(&format!("{{ item(id: \"{long}\") {{ id }} }}"));
    passed(&format!("{{ item(id: \"\"\"{long}\"\"\") {{ id }} }}"));
    passed(&format!("{{ item(id: \"x\") {{ id }} }} # {long}"));
    assert_eq!(refused(&format!("{{ item(id: \"{long}")).code, Code::GraphqlParseFailed);
    assert_eq!(refused(&format!("{{ item(id: \"\"\"{long}")).code, Code::GraphqlParseFailed);
    assert_eq!(refused(&format!("{{ item(id: \"{}", "\\".repeat(900_001))).code, Code::GraphqlParseFailed);
    assert_eq!(refused(&"\"".repeat(900_001)).code, Code::QueryTooComplex);
}

#[test]
fn nothing_at_all_is_no_document() {
    for document in ["", " \n\t", "   "] {
        assert_eq!(refused(document).code, Code::BadRequest, "{document:?}");
    }
    assert_eq!(refused("# nothing").code, Code::GraphqlParseFailed);
    assert_eq!(refused("fragment F on Query { __typename }").code, Code::GraphqlValidationFailed);
}

/// Limits are settings: an operator's number is the one that holds.
#[test]
fn the_limits_are_those_of_the_configuration() {
    let limits = LimitsConfig { depth: 3, cost: 5, tokens: 20, root_fields: 2, aliases: 1, ..LimitsConfig::default() };
    let validator = validator(limits);
    let code = |query: &str| match validator.check(&mut Request::new(query)) {
        Ok(_) => None,
        Err(Error::Refused(refusal)) => Some(refusal.code),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(code("{ items(first: 4) { nodes { id } } }"), None);
    assert_eq!(code("{ items(first: 5) { nodes { id } } }"), Some(Code::QueryTooComplex));
    assert_eq!(code("{ item(id: \"x\") { parent { parent { id } } } }"), Some(Code::QueryTooDeep));
    assert_eq!(code("{ __typename server { version } viewer { user { id } } }"), Some(Code::QueryTooComplex));
    assert_eq!(code("{ a: __typename b: __typename }"), Some(Code::QueryTooComplex));
    assert_eq!(code(&format!("{{ server {{ {} }} }}", "version ".repeat(16))), Some(Code::QueryTooComplex));
}
