//! GraphQL to the letter: what the specification refuses is refused before anything runs, and what it allows runs, over
//! every transport alike. `reference` compares thousands of documents with graphql-js; here are the cases that cost data
//! once, one by one.

use async_graphql::{Request, Variables};
use serde_json::{Value, json};
use todo_platform::base::{
    config::LimitsConfig,
    error::{Error, Refusal},
};

use crate::support::{app::TestApp, schema::validator, socket::Frame, world::Company};
use todo_test_macros::databases;

/// What validation says of a document: its refusals, none where it passes.
fn refusals(query: &str, variables: &Value) -> Vec<Refusal> {
    let mut request = Request::new(query).variables(Variables::from_json(variables.clone()));
    match validator(LimitsConfig::default()).check(&mut request) {
        Ok(_) => Vec::new(),
        Err(Error::Refused(mut first)) => {
            let more = std::mem::take(&mut first.more);
            std::iter::once(first).chain(more).collect()
        }
        Err(other) => panic!("validation only refuses: {other:?}"),
    }
}

async fn titles(app: &TestApp, company: &Company) -> Vec<String> {
    let data =
        app.call(company, &company.member, "{ items(orderBy: [{field: CREATED_AT}]) { nodes { title } } }").data();
    let data = data.await;
    let nodes = data["items"]["nodes"].as_array().expect("nodes").iter();
    nodes.map(|node| node["title"].as_str().expect("a title").to_owned()).collect()
}

#[databases]
async fn a_mutation_selected_twice_under_one_key_runs_once(app: TestApp) {
    let acme = app.company("acme").await;
    let create = "itemCreate(input: {title: \"once\"})";
    let twice = [
        format!("mutation {{ {create} {{ item {{ id }} }} {create} {{ item {{ title }} userErrors {{ code }} }} }}"),
        format!(
            "mutation {{ ...A ...B }} fragment A on Mutation {{ {create} {{ item {{ id }} }} }} \
             fragment B on Mutation {{ {create} {{ item {{ title }} userErrors {{ code }} }} }}"
        ),
        format!(
            "mutation {{ ...A ...A }} fragment A on Mutation {{ {create} {{ item {{ id title }} userErrors {{ code }} }} }}"
        ),
    ];
    for (number, mutation) in twice.iter().enumerate() {
        let payload = app.call(&acme, &acme.member, mutation).done().await;
        assert_eq!(payload["item"]["title"], json!("once"), "{payload:#}");
        assert!(payload["item"]["id"].is_string(), "both selections are in one answer: {payload:#}");
        assert_eq!(titles(&app, &acme).await.len(), number + 1, "{mutation}");
    }
}

#[databases]
async fn skip_and_include_know_a_variables_default(app: TestApp) {
    let acme = app.company("acme").await;
    let dry = "mutation($dry: Boolean! = true) { itemCreate(input: {title: \"wet\"}) @skip(if: $dry) { item { id } \
               userErrors { code } } }";
    let wet = "mutation($really: Boolean = false) { ... @include(if: $really) { itemCreate(input: {title: \"wet\"}) \
               { item { id } userErrors { code } } } }";
    for (mutation, on) in [(dry, json!({ "dry": false })), (wet, json!({ "really": true }))] {
        let before = titles(&app, &acme).await.len();
        assert_eq!(app.call(&acme, &acme.member, mutation).data().await, json!({}), "{mutation}");
        assert_eq!(titles(&app, &acme).await.len(), before, "{mutation}");
        app.call(&acme, &acme.member, mutation).vars(on).done().await;
        assert_eq!(titles(&app, &acme).await.len(), before + 1, "{mutation}");
    }
    let null = app.call(&acme, &acme.member, wet).vars(json!({ "really": null }));
    assert_eq!(null.error_code().await, "BAD_REQUEST", "null is neither");
}

/// One verdict, one code and a position, whatever carries it; the first of two fields has not run.
#[databases]
async fn nothing_of_a_refused_operation_runs(app: TestApp) {
    let acme = app.company("acme").await;
    let good = "a: itemCreate(input: {title: \"unwanted\"}) { item { id } userErrors { code } }";
    let update = |patch: &str| {
        format!("b: itemUpdate(input: {{id: \"x\", patch: {patch}}}) {{ item {{ id }} userErrors {{ code }} }}")
    };
    let invalid = "GRAPHQL_VALIDATION_FAILED";
    let cases = [
        (format!("mutation($d: DateTime = \"tomorrow\") {{ {good} {} }}", update("{dueAt: $d}")), json!({}), invalid),
        (
            format!("mutation($d: DateTime) {{ {good} {} }}", update("{dueAt: $d}")),
            json!({ "d": "tomorrow" }),
            "BAD_REQUEST",
        ),
        (format!("mutation {{ {good} {} }}", update("{dueAt: \"tomorrow\"}")), json!({}), invalid),
        (format!("mutation {{ {good} {} }}", update("{estimatedHours: \"many\"}")), json!({}), invalid),
        (format!("mutation {{ {good} {} }}", update("{title: 5}")), json!({}), invalid),
        (format!("mutation {{ {good} {} }}", update("{title: \"one\", title: \"two\"}")), json!({}), invalid),
        (format!("mutation {{ {good} {} }}", update("{colour: \"red\"}")), json!({}), invalid),
        (format!("mutation {{ {good} {} }}", update("{status: \"DONE\"}")), json!({}), invalid),
        (format!("mutation {{ {good} {} }}", update("{status: DOING}")), json!({}), invalid),
        (format!("mutation {{ {good} b: itemUpdate(input: {{id: \"x\"}}) {{ item {{ id }} }} }}"), json!({}), invalid),
        (
            format!("mutation($p: ItemPatch!) {{ {good} {} }}", update("$p")),
            json!({ "p": { "estimatedHours": "many" } }),
            "BAD_REQUEST",
        ),
        (
            format!("mutation($p: ItemPatch!) {{ {good} {} }}", update("$p")),
            json!({ "p": { "colour": "red" } }),
            "BAD_REQUEST",
        ),
        (
            format!(
                "mutation($v: Int) {{ {good} c: itemDelete(input: {{id: \"x\", ifVersion: $v}}) {{ userErrors {{ code }} }} }}"
            ),
            json!({ "v": 3_000_000_000_u64 }),
            "BAD_REQUEST",
        ),
        (
            format!(
                "mutation {{ {good} c: itemDelete(input: {{id: \"x\", ifVersion: 3000000000}}) {{ userErrors {{ code }} }} }}"
            ),
            json!({}),
            invalid,
        ),
        (
            format!("mutation {{ {good} a: itemCreate(input: {{title: \"other\"}}) {{ item {{ id }} }} }}"),
            json!({}),
            invalid,
        ),
        (
            format!("mutation {{ {good} b: tagCreate(input: {{name: \"n\"}}) @skip(iff: true) {{ cursor }} }}"),
            json!({}),
            invalid,
        ),
        (format!("mutation {{ {good} }} }}"), json!({}), "GRAPHQL_PARSE_FAILED"),
    ];
    let mut socket = app.socket_of(&acme, &acme.member).await;
    for (mutation, variables, code) in cases {
        let answer = app.call(&acme, &acme.member, &mutation).vars(variables.clone()).answer().await;
        let errors = &answer["errors"];
        assert!(answer.get("data").is_none(), "{mutation}\n{answer:#}");
        for error in errors.as_array().expect("errors") {
            assert_eq!(error["extensions"]["code"], json!(code), "{mutation}\n{answer:#}");
            assert!(
                error["locations"][0]["column"].as_u64().is_some_and(|column| column > 1),
                "{mutation}\n{answer:#}"
            );
            assert!(error.get("path").is_none(), "{mutation}\n{answer:#}");
        }
        let same = |found: &Value| {
            let told = |errors: &Value| -> Vec<(Value, Value)> {
                let errors = errors.as_array().expect("errors").iter();
                errors.map(|error| (error["message"].clone(), error["locations"].clone())).collect()
            };
            assert_eq!(told(found), told(errors), "{mutation}");
        };
        socket.subscribe(&mutation, variables.clone()).await;
        match socket.next().await {
            Frame::Json(message) if message["type"] == "error" => same(&message["payload"]),
            other => panic!("{mutation}\n{other:#?}"),
        }
        let streamed = app.call(&acme, &acme.member, &mutation).vars(variables).events().await;
        let (_, _, told) = streamed.expect("a stream").next().await.expect("an answer");
        same(&serde_json::from_str::<Value>(&told).expect("JSON")["errors"]);
    }
    assert_eq!(titles(&app, &acme).await, Vec::<String>::new());
}

#[databases]
async fn an_unset_variable_leaves_an_argument_its_default(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    let query = "query($s: ItemScope, $o: [ItemOrder!], $n: Int, $f: ItemFilter) { items(scope: $s, orderBy: $o, first: $n, \
                 filter: $f) { totalCount } sync(first: $n) { hasMore } }";
    let data = app.call(&acme, &acme.member, query).data().await;
    assert_eq!(data["items"]["totalCount"], json!(1));
    // Null is a value, and no argument's that can't be null.
    let null = app.call(&acme, &acme.member, query).vars(json!({ "s": null })).answer().await;
    assert_eq!(null["errors"][0]["extensions"]["code"], json!("BAD_REQUEST"), "{null:#}");
    assert_eq!(null["errors"][0]["extensions"]["argument"], json!("scope"), "{null:#}");
    // A field of an input whose variable is not set is not touched.
    let id = app.create(&acme, &acme.member, "item", json!({ "title": "two", "description": "stays" })).await;
    let update = "mutation($id: ID!, $d: Markdown, $t: String) { itemUpdate(input: {id: $id, patch: {title: $t, description: $d}}) \
                  { item { title description } userErrors { code } } }";
    let payload = app.call(&acme, &acme.member, update).vars(json!({ "id": id, "t": "three" })).done().await;
    assert_eq!(payload["item"], json!({ "title": "three", "description": "stays" }));
    let payload = app.call(&acme, &acme.member, update).vars(json!({ "id": id, "t": "three", "d": null })).done().await;
    assert_eq!(payload["item"]["description"], Value::Null);
}

#[databases]
async fn a_subscriptions_field_may_stand_in_a_fragment_or_twice(app: TestApp) {
    let acme = app.company("acme").await;
    let documents = [
        "subscription { ...F } fragment F on Subscription { events { cursor isLive events { id } } }",
        "subscription { events { cursor } events { isLive events { id } } }",
        "subscription S { ... on Subscription { events { cursor } } ...F } fragment F on Subscription { events { isLive events { id } } }",
    ];
    for document in documents {
        let mut socket = app.socket_of(&acme, &acme.viewer).await;
        socket.subscribe(document, json!({})).await;
        let batch = socket.batch().await;
        assert_eq!((&batch["isLive"], &batch["events"]), (&json!(true), &json!([])), "{document}");
        assert!(batch["cursor"].is_string(), "{document}");
    }
}

#[databases]
async fn strings_are_read_to_the_letter(app: TestApp) {
    let acme = app.company("acme").await;
    let literals = [
        ("\"\\uD83D\\uDE00\"", "😀"),
        ("\"\\u{1F600} \\u{00e9}\"", "😀 é"),
        ("\"\\u0041\\n\\\"\\\\\"", "A\n\"\\"),
        ("\"\"\"say \\\"\"\"yes\\\"\"\" \\n\"\"\"", "say \"\"\"yes\"\"\" \\n"),
        ("\"\"\"\n    one\n      two\n\n    three\n  \"\"\"", "one\n  two\n\nthree"),
        ("\"שלום 👩‍👩‍👧 é\"", "שלום 👩‍👩‍👧 é"),
    ];
    for (literal, text) in literals {
        let mutation = format!(
            "mutation {{ itemCreate(input: {{title: \"t\", description: {literal}}}) {{ item {{ description }} userErrors {{ code }} }} }}"
        );
        let payload = app.call(&acme, &acme.member, &mutation).done().await;
        assert_eq!(payload["item"]["description"], json!(text), "{literal}");
    }
}

#[test]
fn what_the_specification_refuses_is_refused() {
    let documents = [
        // Fields that can't be merged.
        "{ node(id: \"A\") { id } ...F } fragment F on Query { node(id: \"B\") { ... on Item { title } } }",
        "{ items(first: 1) { totalCount } items(first: 2) { totalCount } }",
        "{ items { nodes { x: title x: identifier } } }",
        "{ items { nodes { team { x: id } ...F } } } fragment F on Item { team { x: name } }",
        "{ node(id: \"x\") { ... on Item { x: title } ... on Tag { x: createdAt } } }",
        "{ node(id: \"x\") { ... on Item { x: team { id } } ... on Tag { x: name } } }",
        // Variables where they don't fit.
        "query($i: ID) { item(id: $i) { id } }",
        "query($i: Int!) { item(id: $i) { id } }",
        "query($i: [ID!]!) { item(id: $i) { id } }",
        "query($i: ID) { nodes(ids: [$i]) { id } }",
        "query($t: ID) { items(filter: {title: {eq: $t}}) { totalCount } }",
        "query($i: Item) { item(id: $i) { id } }",
        "query($i: ID! = null) { item(id: $i) { id } }",
        "query($a: Int, $a: Int) { items(first: $a) { totalCount } }",
        "query($unused: Int) { viewer { cursor } }",
        "{ items(first: $undeclared) { totalCount } }",
        "query($a: Int @skip(if: true)) { items(first: $a) { totalCount } }",
        "query($a: Int @unknown) { items(first: $a) { totalCount } }",
        // One of several fields, exactly.
        "mutation($t: String) { invitationAccept(input: {token: $t}) { userErrors { code } } }",
        "mutation { invitationAccept(input: {token: \"x\", invitationId: \"y\"}) { userErrors { code } } }",
        "mutation { invitationAccept(input: {}) { userErrors { code } } }",
        "mutation { invitationAccept(input: {token: null}) { userErrors { code } } }",
        // Literals.
        "{ items(first: \"5\") { totalCount } }",
        "{ items(first: 5.0) { totalCount } }",
        "{ items(first: 99999999999) { totalCount } }",
        "{ items(scope: \"ALL\") { totalCount } }",
        "{ items(orderBy: [{field: TITLE, field: TITLE}]) { totalCount } }",
        "{ items(orderBy: [{}]) { totalCount } }",
        "{ item(id: null) { id } }",
        "{ item { id } }",
        // Fragments and selections.
        "{ items }",
        "{ viewer { cursor { x } } }",
        "{ ...F } fragment F on Query { ...F }",
        "{ ...F }",
        "{ viewer { cursor } } fragment F on Query { viewer { cursor } }",
        "{ items { nodes { ... on Tag { id } } } }",
        "{ ... on ItemStatus { x } }",
        "{ ... on Nothing { x } }",
        "{ viewer @unknown { cursor } }",
        "{ viewer @skip { cursor } }",
        "query A { viewer { cursor } } query A { viewer { cursor } }",
        "{ viewer { cursor } } query B { viewer { cursor } }",
        "{ items(first: 1, first: 1) { totalCount } }",
        "{ items(fist: 1) { totalCount } }",
        "subscription { events { cursor } other: events { cursor } }",
        "subscription { __typename }",
        "subscription($x: Boolean!) { events @skip(if: $x) { cursor } }",
        "type Query { x: Int } query { viewer { cursor } }",
    ];
    for document in documents {
        let found = refusals(document, &json!({}));
        assert!(!found.is_empty(), "it passed: {document}");
        for refusal in found {
            assert_eq!(refusal.code.as_str(), "GRAPHQL_VALIDATION_FAILED", "{document}\n{refusal:?}");
            assert!(!refusal.positions.is_empty(), "{document}\n{refusal:?}");
        }
    }
}

#[test]
fn what_the_specification_allows_passes() {
    let documents = [
        "\"An operation\" query Q(\"a variable\" $n: Int = 5) { items(first: $n) { totalCount } }",
        "\"\"\"a fragment\"\"\" fragment F on Query { viewer { cursor } } query { ...F }",
        "{ items(first: 1, scope: ACTIVE) { totalCount } items(scope: ACTIVE, first: 1) { nodes { id } } }",
        "{ node(id: \"x\") { ... on Item { x: id } ... on Tag { x: id } } }",
        "{ node(id: \"x\") { ... on Item { x: title } ... on Tag { x: name } } }",
        "query($i: ID! = \"x\") { item(id: $i) { id } }",
        "query($i: [ID!]!) { nodes(ids: $i) { id } }",
        "query { nodes(ids: \"x\") { id } }",
        "mutation($t: String!) { invitationAccept(input: {token: $t}) { userErrors { code } } }",
        "query A { viewer { cursor } } query B($x: Int) { items(first: $x) { totalCount } }",
        "{ __type(name: \"Item\") { isOneOf fields(includeDeprecated: true) { name } } }",
        "\u{feff}{ viewer { cursor } }",
        "{, viewer,,{ cursor }, }",
    ];
    for document in documents {
        let mut request = Request::new(document).operation_name(if document.contains("query A") { "A" } else { "" });
        request.variables = Variables::from_json(json!({ "i": ["x"], "t": "x" }));
        if document.contains("$i: ID!") {
            request.variables = Variables::default();
        }
        let checked = validator(LimitsConfig::default()).check(&mut request);
        assert!(checked.is_ok(), "{document}\n{checked:?}");
    }
}

#[test]
fn a_variables_value_is_refused_by_its_path() {
    let create = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id } } }";
    let order = "query($o: [ItemOrder!]) { items(orderBy: $o) { totalCount } }";
    let cases = [
        (create, json!({}), vec![json!([])]),
        (create, json!({ "input": null }), vec![json!([])]),
        (create, json!({ "input": "x" }), vec![json!([])]),
        (create, json!({ "input": {} }), vec![json!(["title"])]),
        (create, json!({ "input": { "title": null } }), vec![json!(["title"])]),
        (create, json!({ "input": { "title": "x", "dueAt": "tomorrow" } }), vec![json!(["dueAt"])]),
        (create, json!({ "input": { "title": "x", "colour": 1 } }), vec![json!(["colour"])]),
        (
            create,
            json!({ "input": { "title": 5, "subtasks": [{ "title": "ok" }, { "title": [] }] } }),
            vec![json!(["title"]), json!(["subtasks", "1", "title"])],
        ),
        (order, json!({ "o": [{ "field": "TITEL" }] }), vec![json!(["0", "field"])]),
        (order, json!({ "o": { "field": "TITEL" } }), vec![json!(["field"])]),
        (order, json!({ "o": [null] }), vec![json!(["0"])]),
    ];
    for (document, variables, paths) in cases {
        let found = refusals(document, &variables);
        let told: Vec<Value> =
            found.iter().map(|refusal| refusal.details.as_ref().expect("details")["inputPath"].clone()).collect();
        assert_eq!(told, paths, "{variables}\n{found:?}");
        for refusal in &found {
            assert_eq!(refusal.code.as_str(), "BAD_REQUEST", "{variables}\n{refusal:?}");
            assert!(
                !refusal.positions.is_empty() && refusal.message.starts_with(['`', 'T']),
                "{variables}\n{refusal:?}"
            );
        }
    }
    // What is like it is suggested.
    assert!(refusals(order, &json!({ "o": [{ "field": "TITEL" }] }))[0].message.contains("Did you mean \"TITLE\"?"));
}

/// Every scalar of the schema is known where variables are coerced.
#[test]
fn every_scalar_takes_values() {
    use async_graphql::registry::MetaType;
    let good = [
        ("DateTime", json!("2026-01-31T09:30:00Z")),
        ("DateTimeOrDuration", json!("-P7D")),
        ("Date", json!("2026-01-31")),
        ("Cursor", json!("x")),
        ("Markdown", json!("x")),
        ("Color", json!("#ff0000")),
        ("Url", json!("https://example.com")),
        ("BigInt", json!("5")),
        ("JSON", json!("x")),
        ("_Any", json!({ "__typename": "Item", "id": "itm_00000000000000000000000000" })),
    ];
    let registry = todo_platform::api::schema::registry(true);
    let built_in = ["Int", "Float", "String", "Boolean", "ID"];
    let scalars = registry
        .types
        .iter()
        .filter(|(name, ty)| matches!(ty, MetaType::Scalar { .. }) && !built_in.contains(&name.as_str()));
    for (name, _) in scalars {
        let (_, value) = good.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("a value for {name}"));
        let value = async_graphql::Value::from_json(value.clone()).expect("a value");
        assert_eq!(todo_platform::graphql::scalars::check(name, &value), Ok(()));
    }
}

#[tokio::test]
async fn a_suggestion_needs_an_open_schema_and_a_position_is_in_utf16() {
    let open = validator(LimitsConfig::default());
    let message = |query: &str| match open.check(&mut Request::new(query)) {
        Err(Error::Refused(refusal)) => (refusal.message.into_owned(), refusal.positions[0]),
        other => panic!("{other:?}"),
    };
    let (told, at) = message("{ item(id: \"😀\") { titel } }");
    assert_eq!(told, "Cannot query field \"titel\" on type \"Item\". Did you mean \"title\"?");
    assert_eq!((at.line, at.column), (1, 20));
    let (_, at) = message("# שלום\r\n\r\n  { nothing }");
    assert_eq!((at.line, at.column), (3, 5));
}

/// What the guides show is valid: people copy it.
#[test]
fn the_documents_of_the_guides_are_valid() {
    let validator = validator(LimitsConfig::default());
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = std::fs::read_dir(root.join("docs")).expect("docs").map(|entry| entry.expect("an entry").path());
    let mut shown = 0;
    for guide in guides.chain([root.join("README.md")]).filter(|path| path.extension().is_some_and(|end| end == "md")) {
        let text = std::fs::read_to_string(&guide).expect("a text");
        for block in text.split("```graphql\n").skip(1) {
            let document = block.split("```").next().expect("its end");
            shown += 1;
            match validator.check(&mut Request::new(document)) {
                Ok(_) => {}
                // Its variables are the reader's.
                Err(Error::Refused(refusal))
                    if refusal.details.as_ref().is_some_and(|it| it.get("variable").is_some()) => {}
                Err(error) => panic!("{}\n{document}\n{error:?}", guide.display()),
            }
        }
    }
    assert!(shown > 10, "{shown}");
}

/// Thousands of faults, and one of a megabyte: what is told stays short.
#[test]
fn a_refusal_is_short_whatever_is_refused() {
    let long = "x".repeat(900_000);
    let documents = [
        format!("{{ {} }}", "nothing ".repeat(4_900)),
        format!("{{ {long} }}"),
        format!("{{ items(scope: \"{long}\") {{ totalCount }} }}"),
        format!("{{ items(first: {long}) {{ totalCount }} }}"),
        format!("{{ ...{long} }}"),
        format!("{{ viewer {{ cursor }} }} {long}"),
        format!("query(${long}: Int) {{ viewer {{ cursor }} }}"),
    ];
    for document in documents {
        let found = refusals(&document, &json!({}));
        assert!((1..=20).contains(&found.len()), "{}", found.len());
        for refusal in found {
            assert!(refusal.message.chars().count() <= 401, "{} characters", refusal.message.len());
        }
    }
    let dated = "mutation($d: DateTime) { itemCreate(input: {title: \"x\", dueAt: $d}) { item { id } } }";
    let found = refusals(dated, &json!({ "d": [long] }));
    assert!(found.len() == 1 && found[0].message.chars().count() <= 401, "{}", found[0].message.len());
    let dated = "mutation($d: DateTime) { itemCreate(input: {title: \"x\", dueAt: $d}) { item { id } } }";
    let found = refusals(dated, &json!({ "d": [long] }));
    assert!(found.len() == 1 && found[0].message.chars().count() <= 401, "{}", found[0].message.len());
    let order = "query($o: [ItemOrder!]) { items(orderBy: $o) { totalCount } }";
    let misfits = json!({ "o": (0..900).map(|_| json!({ "field": long[..1000] })).collect::<Vec<_>>() });
    let found = refusals(order, &misfits);
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|refusal| refusal.message.len() < 400), "{found:?}");
}
