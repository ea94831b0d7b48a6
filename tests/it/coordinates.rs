//! Errors say which element of the schema they are about: `extensions.coordinate`.

use async_graphql::registry::{MetaType, Registry};
use serde_json::{Value, json};
use todo_platform::api::{document::coordinate::Coordinate, schema};

use crate::support::app::TestApp;
use todo_test_macros::databases;

/// `(code, coordinate)` of each error.
fn found(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("it was expected to fail: {answer:#}"));
    let of = |error: &Value| (text(&error["extensions"]["code"]), text(&error["extensions"]["coordinate"]));
    errors.iter().map(of).collect()
}

/// Whether the schema has what a coordinate names.
fn exists(registry: &Registry, coordinate: &str) -> bool {
    let member = |ty: &str, name: &str| match registry.types.get(ty) {
        Some(MetaType::InputObject { input_fields, .. }) => input_fields.contains_key(name),
        Some(MetaType::Enum { enum_values, .. }) => enum_values.contains_key(name),
        Some(ty) => ty.field_by_name(name).is_some(),
        None => false,
    };
    if let Some(directive) = coordinate.strip_prefix('@') {
        return ["skip", "include"].contains(&directive.split('(').next().unwrap_or_default());
    }
    match coordinate.split_once('.') {
        None => registry.types.contains_key(coordinate),
        Some((ty, rest)) => match rest.split_once('(') {
            None => member(ty, rest),
            Some((field, argument)) => {
                let field = registry.types.get(ty).and_then(|ty| ty.field_by_name(field));
                field.is_some_and(|field| field.args.contains_key(argument.trim_end_matches(":)")))
            }
        },
    }
}

#[test]
fn coordinates_are_written_as_the_specification_has_them() {
    let field = Coordinate::Member("Query", "items");
    let table = [
        (Coordinate::Type("Item"), "Item"),
        (field, "Query.items"),
        (field.argument("first"), "Query.items(first:)"),
        (Coordinate::Directive("skip"), "@skip"),
        (Coordinate::Directive("skip").argument("if"), "@skip(if:)"),
    ];
    for (coordinate, text) in table {
        assert_eq!(coordinate.to_string(), text);
    }
}

const INVALID: &str = "GRAPHQL_VALIDATION_FAILED";

#[databases]
async fn what_is_wrong_with_a_document_is_told_by_its_place_in_the_schema(app: TestApp) {
    let table = [
        ("{ items { nodes { titel } } }", "Item"),
        ("{ itemz { nodes { id } } }", "Query"),
        ("{ items { nodes } }", "ItemConnection.nodes"),
        ("{ items { nodes { title { x } } } }", "Item.title"),
        ("{ items(fist: 1) { totalCount } }", "Query.items"),
        ("{ items(first: \"x\") { totalCount } }", "Query.items(first:)"),
        ("{ item { id } }", "Query.item"),
        ("{ items(filter: { titel: {} }) { totalCount } }", "ItemFilter"),
        ("{ items(filter: { status: { eq: DOEN } }) { totalCount } }", "ItemStatusFilter.eq"),
        ("{ items(orderBy: [{ direction: ASC }]) { totalCount } }", "ItemOrder.field"),
        ("query($n: String) { items(first: $n) { totalCount } }", "Query.items(first:)"),
        ("query($s: ItemStatus = DOEN) { items(filter: { status: { eq: $s } }) { totalCount } }", "ItemStatus"),
        ("{ server @skip(if: 1) { version } }", "@skip(if:)"),
        ("{ server @skip(unless: true, if: true) { version } }", "@skip"),
        ("{ items { nodes { a: title a: id } } }", "Item.id"),
        // What concerns no element of the schema has none.
        ("{ server { ...Nothing } }", ""),
    ];
    let registry = schema::registry(false);
    for (document, coordinate) in table {
        let answer = app.gql(document).answer().await;
        assert_eq!(found(&answer)[0], (INVALID.to_owned(), coordinate.to_owned()), "{document}\n{answer:#}");
        assert!(coordinate.is_empty() || exists(&registry, coordinate), "{coordinate}");
    }
}

#[databases]
async fn what_is_wrong_with_a_variable_is_told_by_its_input(app: TestApp) {
    let document = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { cursor } }";
    let table = [
        (json!({ "title": 1 }), "ItemCreateInput.title"),
        (json!({}), "ItemCreateInput.title"),
        (json!({ "title": "x", "titel": "x" }), "ItemCreateInput"),
        (json!({ "title": "x", "priority": "HGIH" }), "ItemCreateInput.priority"),
        (json!({ "title": "x", "subtasks": [{ "title": "y" }, { "title": null }] }), "ItemCreateInput.title"),
        (json!("x"), "ItemCreateInput"),
    ];
    let registry = schema::registry(false);
    for (input, coordinate) in table {
        let answer = app.gql(document).vars(json!({ "input": input })).answer().await;
        assert_eq!(found(&answer)[0], ("BAD_REQUEST".to_owned(), coordinate.to_owned()), "{input}\n{answer:#}");
        assert!(exists(&registry, coordinate), "{coordinate}");
    }
    // A variable is no element of the schema.
    let answer = app.gql(document).answer().await;
    assert_eq!(found(&answer), [("BAD_REQUEST".to_owned(), String::new())]);
    // A filter that would widen, in a literal and in a variable.
    let null = app.gql("query($t: String) { items(filter: { title: { eq: $t } }) { totalCount } }").answer().await;
    assert_eq!(found(&null), [("BAD_REQUEST".to_owned(), "StringFilter.eq".to_owned())], "{null:#}");
    let query = "query($f: ItemFilter) { items(filter: $f) { totalCount } }";
    let null = app.gql(query).vars(json!({ "f": { "and": [{ "title": null }] } })).answer().await;
    assert_eq!(found(&null), [("BAD_REQUEST".to_owned(), "ItemFilter.title".to_owned())], "{null:#}");
}

#[databases]
async fn a_field_that_fails_is_told_whatever_the_answer_calls_it(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "an item").await;
    let refused = |code: &str, coordinate: &str| (code.to_owned(), coordinate.to_owned());
    // A denial, at the root and below, through fragments and aliases.
    let denied =
        "{ a: organization { ...F } } fragment F on Organization { ... on Organization { k: apiKeys { totalCount } } }";
    let answer = app.call(&acme, &acme.viewer, denied).answer().await;
    assert_eq!(found(&answer), [refused("FORBIDDEN", "Organization.apiKeys")], "{answer:#}");
    let denied = "mutation { mine: itemCreate(input: { title: \"x\" }) { userErrors { code } } }";
    let answer = app.call(&acme, &acme.viewer, denied).answer().await;
    assert_eq!(found(&answer), [refused("FORBIDDEN", "Mutation.itemCreate")], "{answer:#}");
    let answer = app.gql("{ b: viewer { id: user { id } } }").answer().await;
    assert_eq!(found(&answer), [refused("UNAUTHENTICATED", "Query.viewer")], "{answer:#}");
    // An argument that no rule of the schema refuses.
    let answer = app.call(&acme, &acme.member, "{ c: items(first: 1000) { nodes { id } } }").answer().await;
    assert_eq!(found(&answer), [refused("BAD_REQUEST", "Query.items")], "{answer:#}");
    // Within a list: each place is the same field.
    let query = "{ items { nodes { comments(first: 1, last: 1) { nodes { id } } } } }";
    let answer = app.call(&acme, &acme.member, query).answer().await;
    assert_eq!(found(&answer)[0], refused("BAD_REQUEST", "Item.comments"), "{answer:#}");
    // A failure that the selection leaves out is one of the input.
    let hidden = "mutation { d: itemCreate(input: { title: \"\" }) { cursor } }";
    let answer = app.call(&acme, &acme.member, hidden).answer().await;
    assert_eq!(found(&answer), [refused("REQUIRED", "ItemCreateInput.title")], "{answer:#}");
    let hidden = "mutation { itemCreate(input: { title: \"x\", subtasks: [{ title: \"\" }] }) { cursor } }";
    let answer = app.call(&acme, &acme.member, hidden).answer().await;
    assert_eq!(found(&answer), [refused("REQUIRED", "ItemCreateInput.title")], "{answer:#}");
    // What the whole request is refused for is of no field.
    let answer = app.gql("{ viewer { user { id } } }").token("made up").answer().await;
    assert_eq!(found(&answer), [refused("UNAUTHENTICATED", "")], "{answer:#}");
}

#[databases]
async fn what_costs_too_much_is_told_by_its_dearest_field(app: TestApp) {
    let acme = app.company("acme").await;
    let query = "{ i: items(first: 100) { nodes { s: subtasks(first: 100) { nodes { id } } } } }";
    let answer = app.call(&acme, &acme.member, query).answer().await;
    assert_eq!(found(&answer), [("QUERY_TOO_COMPLEX".to_owned(), "ItemConnection.nodes".to_owned())], "{answer:#}");
    assert_eq!(answer["errors"][0]["extensions"]["dearestPath"], json!("i.nodes.s.nodes"));
}

/// Of a schema that is not shown, nothing is told by asking for what it has not.
#[tokio::test]
async fn where_the_schema_is_closed_no_coordinate_tells_of_it() {
    let app = TestApp::start(&[("TODO_SERVER_INTROSPECTION", "off".to_owned())]).await;
    for (document, coordinate) in [
        ("{ items { nodes { titel } } }", ""),
        ("{ items(fist: 1) { totalCount } }", ""),
        ("{ items(filter: { titel: {} }) { totalCount } }", ""),
        ("{ server @skip(unless: true, if: true) { version } }", ""),
        ("{ items(first: \"x\") { totalCount } }", "Query.items(first:)"),
    ] {
        assert_eq!(
            found(&app.gql(document).answer().await)[0],
            (INVALID.to_owned(), coordinate.to_owned()),
            "{document}"
        );
    }
    let document = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { cursor } }";
    let answer = app.gql(document).vars(json!({ "input": { "title": "x", "titel": "x" } })).answer().await;
    assert_eq!(found(&answer), [("BAD_REQUEST".to_owned(), String::new())]);
}
