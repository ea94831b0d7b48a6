//! The server as a subgraph of a federation: off unless it is switched on; then every object with a global id is an entity,
//! to whoever sees it by `node` anyway, and what a router is told composes with other subgraphs.

use std::{collections::BTreeSet, time::Duration};

use async_graphql::registry::MetaType;
use serde_json::{Value, json};
use todo_platform::{
    api::{federation, schema},
    base::{
        config::LimitsConfig,
        enums::Role,
        policy::{Access, Permissions},
    },
    graphql::rule::Rule,
};

use crate::{
    clients::Script,
    process::Process,
    support::{
        app::TestApp,
        world::{Company, Person},
    },
    tenancy::ids_of,
};
use todo_test_macros::databases;

const ENTITIES: &str = "query($r: [_Any!]!) { _entities(representations: $r) { __typename ... on Node { id } } }";
const SDL: &str = "{ _service { sdl } }";

/// The same as a subgraph.
async fn subgraph(app: &TestApp) -> TestApp {
    app.another_instance(|config| {
        config.server.federation = true;
        // Every request looks its caller up, so that statements can be counted.
        config.database.identity_cache = Duration::ZERO;
    })
    .await
}

/// What somebody is given for the name of one object.
async fn entity(app: &TestApp, company: &Company, person: &Person, type_name: &str, id: &str) -> Value {
    let named = json!({ "r": [{ "__typename": type_name, "id": id }] });
    let data = app.call(company, person, ENTITIES).vars(named).data().await;
    data["_entities"][0].clone()
}

/// What `node` gives them.
async fn node(app: &TestApp, company: &Company, person: &Person, id: &str) -> Value {
    let query = "query($id: ID!) { node(id: $id) { __typename id } }";
    app.call(company, person, query).vars(json!({ "id": id })).data().await["node"].clone()
}

/// The first error: its code, and its other extensions with its path.
fn refusal(answer: &Value) -> (String, Value) {
    let error = &answer["errors"][0];
    let code = error["extensions"]["code"].as_str().unwrap_or_else(|| panic!("it was expected to fail: {answer:#}"));
    (code.to_owned(), json!({ "path": error["path"], "of": error["extensions"], "at": error["locations"] }))
}

/// The subgraph's SDL, without a server.
fn composable() -> String {
    let schema = schema::build(&LimitsConfig::default(), true).expect("a schema");
    federation::subgraph_sdl(&schema::sdl(&schema)).expect("an SDL")
}

#[databases]
async fn a_server_that_is_no_subgraph_has_nothing_of_it(app: TestApp) {
    let acme = app.company("acme").await;
    for query in [SDL, "{ _entities(representations: []) { __typename } }", "query($r: [_Any!]!) { __typename }"] {
        let answer = app.call(&acme, &acme.owner, query).answer().await;
        assert_eq!(refusal(&answer).0, "GRAPHQL_VALIDATION_FAILED", "{query}");
    }
    for name in ["_Any", "_Entity", "_Service"] {
        let type_of = format!("{{ __type(name: \"{name}\") {{ name }} }}");
        assert_eq!(app.gql(type_of).data().await, json!({ "__type": null }));
    }
    let hash = app.gql("{ server { schemaHash } }").data().await;
    let sdl = String::from_utf8(app.get("/schema.graphql").await.body).expect("text");
    assert!(!sdl.contains("_entities") && !sdl.contains("_service") && !sdl.contains("_Any"));

    // Switched on, it is another schema.
    let app = subgraph(&app).await;
    assert_ne!(app.gql("{ server { schemaHash } }").data().await, hash);
    let sdl = String::from_utf8(app.get("/schema.graphql").await.body).expect("text");
    assert!(sdl.contains("_entities(") && sdl.contains("@requires(permission: ITEM_READ)"), "with our directives");
    let members = "{ __type(name: \"_Entity\") { possibleTypes { name } } \
                   node: __type(name: \"Node\") { possibleTypes { name } } }";
    let members = app.gql(members).data().await;
    assert_eq!(members["__type"], members["node"]);
}

#[databases]
async fn every_node_is_an_entity_to_whoever_may_see_it(app: TestApp) {
    let app = subgraph(&app).await;
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let registry = schema::registry(true);
    let nodes = registry.types["Node"].possible_types().expect("an interface");
    let mut untried: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
    for (prefix, id) in ids_of(&app, &acme, 0).await {
        // A person's own, whoever else asks.
        let owner = if ["ses", "sev"].contains(&prefix) { &acme.admin } else { &acme.owner };
        let shown = node(&app, &acme, owner, &id).await;
        let type_name = shown["__typename"].as_str().unwrap_or_else(|| panic!("no row of `{prefix}`"));
        assert!(untried.remove(type_name), "{type_name}");
        assert_eq!(entity(&app, &acme, owner, type_name, &id).await, json!({ "__typename": type_name, "id": id }));
        assert_eq!(
            entity(&app, &rival, &rival.owner, type_name, &id).await,
            Value::Null,
            "another tenant: {type_name}"
        );
        // By another name it isn't there.
        let other = if type_name == "Item" { "Tag" } else { "Item" };
        assert_eq!(entity(&app, &acme, owner, other, &id).await, Value::Null, "{type_name} as {other}");
        let rule = Rule::of_type(&registry, type_name).expect("it can be read");
        let members = [(Role::Viewer, &acme.viewer), (Role::Member, &acme.member), (Role::Admin, &acme.admin)];
        for (role, person) in members {
            let seen = entity(&app, &acme, person, type_name, &id).await;
            assert_eq!(seen, node(&app, &acme, person, &id).await, "{type_name} for {role:?}");
            if let Some(Rule::Requires(permission)) = rule {
                assert_eq!(seen.is_object(), Permissions::of(role).contains(permission), "{type_name} for {role:?}");
            }
        }
    }
    assert!(untried.is_empty(), "types without a row to try: {untried:?}");
}

#[databases]
async fn entities_come_in_the_order_asked_and_one_that_is_not_there_takes_no_other_along(app: TestApp) {
    let app = subgraph(&app).await;
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let (one, two) = (app.item(&acme, "one").await, app.item(&acme, "two").await);
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let foreign = app.item(&rival, "theirs").await;
    let name = |type_name: &str, id: &str| json!({ "__typename": type_name, "id": id, "title": "known already" });
    let named = json!([
        name("Item", &two),
        name("Item", &foreign),
        name("Tag", &tag),
        name("Item", "itm_00000000000000000000000000"),
        name("Tag", &one),
        name("Item", &one),
        name("Item", &two),
    ]);
    let query = "query($r: [_Any!]!) { _entities(representations: $r) { ...F ... on Tag { name } ... on Node { id } } } \
                 fragment F on _Entity { __typename ... on Item { title } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "r": named })).data().await;
    let item = |title: &str, id: &str| json!({ "__typename": "Item", "title": title, "id": id });
    let bug = json!({ "__typename": "Tag", "name": "bug", "id": tag });
    let expected = json!([item("two", &two), null, bug, null, null, item("one", &one), item("two", &two)]);
    assert_eq!(data["_entities"], expected);
    // In literals as well, with and without variables within.
    let query = "query($id: ID!) { _entities(representations: [{__typename: \"Item\", id: $id}, \
                 {id: \"itm_00000000000000000000000000\", __typename: \"Item\"}]) { ... on Item { title } } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": one })).data().await;
    assert_eq!(data["_entities"], json!([{ "title": "one" }, null]));
}

#[databases]
async fn entities_are_refused_to_those_whom_nodes_are_refused_to(app: TestApp) {
    let app = subgraph(&app).await;
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let item = app.item(&acme, "one").await;
    let (_, key) = app.api_key(&acme, &acme.owner, &["TAG_MANAGE"]).await;
    let nobody = app.register("nobody").await;
    let nodes = "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }";
    let variables = json!({ "ids": [item], "r": [{ "__typename": "Item", "id": item }] });
    for (what, code, header) in [
        ("nobody", "UNAUTHENTICATED", None),
        ("an outsider", "ORGANIZATION_REQUIRED", Some(("authorization", format!("Bearer {}", nobody.token)))),
        ("another tenant", "", Some(("authorization", format!("Bearer {}", rival.owner.token)))),
        ("a key without the scope", "", Some(("x-api-key", key))),
    ] {
        let mut answers = Vec::new();
        for query in [nodes, ENTITIES] {
            let mut call = app.gql(query).vars(variables.clone());
            if let Some((name, value)) = &header {
                call = call.header(name, value);
            }
            let answer = call.answer().await;
            let found = answer["data"]["nodes"].as_array().or_else(|| answer["data"]["_entities"].as_array());
            answers.push((answer["errors"][0]["extensions"]["code"].clone(), json!(found)));
        }
        assert_eq!(answers[0], answers[1], "{what}");
        assert_eq!(answers[0].0.as_str().unwrap_or_default(), code, "{what}");
        assert!([json!(null), json!([null])].contains(&answers[0].1), "{what}: {answers:?}");
    }
    // Whoever composes needs no credentials, as for the schema elsewhere.
    assert_eq!(app.gql(SDL).data().await, json!({ "_service": { "sdl": composable() } }));
}

#[databases]
async fn what_names_nothing_is_refused_with_its_place(app: TestApp) {
    let app = subgraph(&app).await;
    let acme = app.company("acme").await;
    let item = app.item(&acme, "one").await;
    let good = json!({ "__typename": "Item", "id": item });
    let at = |index: usize| json!([index.to_string()]);
    for (bad, message) in [
        (json!({ "id": item }), "`__typename` must be there"),
        (json!({ "__typename": 5, "id": item }), "`__typename` must be there, and a string"),
        (json!({ "__typename": "Item" }), "`id` must be there"),
        (json!({ "__typename": "Item", "id": null }), "`id` must be there"),
        (json!({ "__typename": "Item", "id": "nonsense" }), "`id`: not an id"),
        (json!({ "__typename": "Item", "id": "x".repeat(1_000_000) }), "`id`: not an id"),
        (json!("Item"), "expected an object"),
        (json!(5), "expected an object"),
        (json!([]), "expected an object"),
        (Value::Null, "null is no value of _Any!"),
    ] {
        let answer = app.call(&acme, &acme.owner, ENTITIES).vars(json!({ "r": [good, bad] })).answer().await;
        let (code, error) = refusal(&answer);
        assert_eq!((code.as_str(), &error["of"]["inputPath"]), ("BAD_REQUEST", &at(1)), "{bad:.100} {answer:#}");
        assert!(answer["errors"][0]["message"].as_str().is_some_and(|told| told.contains(message)), "{answer:#}");
        assert!(answer.to_string().len() < 1_000);
    }
    // What only the field can tell.
    let stranger = json!({ "__typename": "Invoice", "id": item });
    let answer = app.call(&acme, &acme.owner, ENTITIES).vars(json!({ "r": [good, stranger] })).answer().await;
    let (code, error) = refusal(&answer);
    assert_eq!((code.as_str(), &error["path"]), ("BAD_REQUEST", &json!(["_entities"])));
    assert_eq!(error["of"]["argument"], json!("representations.1.__typename"));
    for (count, code) in [(100, ""), (101, "BAD_REQUEST"), (1_001, "QUERY_TOO_COMPLEX")] {
        let many = vec![good.clone(); count];
        let answer = app.call(&acme, &acme.owner, ENTITIES).vars(json!({ "r": many })).answer().await;
        assert_eq!(answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default(), code, "{count}");
    }
    // A megabyte is too much for any request; what is less, and no business of this server, is passed over.
    let with_more = |bytes: usize| json!({ "r": [{ "__typename": "Item", "id": item, "more": "x".repeat(bytes) }] });
    let answer = app.call(&acme, &acme.owner, ENTITIES).vars(with_more(1 << 20)).answer().await;
    assert_eq!(refusal(&answer).0, "PAYLOAD_TOO_LARGE");
    let data = app.call(&acme, &acme.owner, ENTITIES).vars(with_more(1_000_000)).data().await;
    assert_eq!(data["_entities"][0], good);
    // Literals fail before anything runs, with their position.
    for bad in ["{__typename: \"Item\"}", "{__typename: \"Item\", id: \"x\"}", "\"Item\"", "5"] {
        let query = format!("{{ _entities(representations: [{bad}]) {{ __typename }} }}");
        let (code, error) = refusal(&app.call(&acme, &acme.owner, &query).answer().await);
        assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{bad}");
        assert_eq!(error["of"]["coordinate"], json!("Query._entities(representations:)"), "{bad}");
        assert_eq!(error["at"][0]["line"], json!(1), "{bad}");
    }
    let query = "query($id: ID!) { _entities(representations: [{__typename: \"Item\", id: $id}]) { __typename } }";
    let (code, error) = refusal(&app.call(&acme, &acme.owner, query).vars(json!({ "id": "x" })).answer().await);
    assert_eq!((code.as_str(), &error["path"]), ("BAD_REQUEST", &json!(["_entities"])));
}

#[databases]
async fn a_hundred_entities_cost_what_a_hundred_nodes_cost(app: TestApp) {
    let app = subgraph(&app).await;
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let mut named = vec![("Tag", tag.clone()), ("Team", team.clone()), ("User", acme.viewer.id.clone())];
    while named.len() < 99 {
        let input = json!({ "title": "One", "teamId": team, "tagIds": [tag] });
        let item = app.create(&acme, &acme.member, "item", input).await;
        let comment = json!({ "itemId": item, "body": "Hm" });
        named.push(("Comment", app.create(&acme, &acme.member, "comment", comment).await));
        named.push(("Item", item));
    }
    named.push(("Membership", acme.viewer.membership_id.clone()));
    let ids: Vec<&String> = named.iter().map(|(_, id)| id).collect();
    let names: Vec<Value> = named.iter().map(|(name, id)| json!({ "__typename": name, "id": id })).collect();
    let variables = json!({ "ids": ids, "r": names });
    let selection = "{ ... on Item { title team { name } tags { name } } ... on Comment { body author { displayName } } \
                     ... on Node { id } }";
    let nodes = format!("query($ids: [ID!]!) {{ nodes(ids: $ids) {selection} }}");
    let entities = format!("query($r: [_Any!]!) {{ nodes: _entities(representations: $r) {selection} }}");
    let mut answers = Vec::new();
    for query in [&nodes, &entities] {
        app.take_statements();
        let call = app.call(&acme, &acme.owner, query).vars(variables.clone()).header("x-include-cost", "true");
        let answer = call.answer().await;
        let cost = &answer["extensions"]["cost"];
        let prices = (cost["requested"].clone(), cost["actual"].clone());
        answers.push((app.take_statements().len(), prices, answer["data"].clone()));
    }
    assert_eq!(answers[0].2["nodes"].as_array().map(Vec::len), Some(100));
    assert_eq!(answers[0], answers[1]);
    // The caller, six kinds of objects, what items and comments have.
    assert_eq!(answers[1].0, 11, "{:?}", answers[1].0);
    // By the number of names, wherever they stand.
    let literal = |field: &str| {
        let named = named[..3].iter().map(|(name, id)| match field {
            "nodes(ids:" => format!("{id:?}"),
            _ => format!("{{__typename: {name:?}, id: {id:?}}}"),
        });
        format!("{{ {field} [{}]) {selection} }}", named.collect::<Vec<_>>().join(" "))
    };
    let mut prices = Vec::new();
    for query in [literal("nodes(ids:"), literal("_entities(representations:")] {
        let answer = app.call(&acme, &acme.owner, &query).header("x-include-cost", "true").answer().await;
        let cost = &answer["extensions"]["cost"];
        prices.push((cost["requested"].as_u64(), cost["actual"].as_u64()));
    }
    assert_eq!(prices, [(Some(3 * 5), Some(3)); 2]);
}

#[databases]
async fn the_schema_for_composition_is_closed_with_introspection(app: TestApp) {
    let app = subgraph(&app).await;
    let acme = app.company("acme").await;
    // Open, it costs as a large introspection does, each time that it is in the answer.
    let cost = async |query: &str| {
        let answer = app.gql(query).header("x-include-cost", "true").answer().await;
        assert_eq!(answer["errors"], Value::Null);
        answer["extensions"]["cost"]["actual"].as_u64().expect("points")
    };
    let (nothing, once) = (cost("{ _service { __typename } }").await, cost(SDL).await);
    assert_eq!(nothing, 10);
    assert!((20..50).contains(&once), "{once}");
    // Rounded down once instead of twice.
    let twice = cost("{ _service { a: sdl b: sdl } }").await - nothing;
    assert!(twice.abs_diff((once - nothing) * 2) <= 1, "{once}, {twice}");

    let closed = app.another_instance(|config| config.server.introspection = false).await;
    let answer = closed.call(&acme, &acme.owner, SDL).answer().await;
    assert_eq!(refusal(&answer).0, "GRAPHQL_VALIDATION_FAILED");
    assert!(answer["errors"][0]["message"].as_str().is_some_and(|told| told.contains("introspection")), "{answer:#}");
    let item = closed.item(&acme, "one").await;
    assert_eq!(entity(&closed, &acme, &acme.viewer, "Item", &item).await["id"], json!(item));
}

#[test]
fn the_fields_of_a_subgraph_say_who_may_select_them() {
    let registry = schema::registry(true);
    let rule = |field: &str| Rule::of_field(&registry, "Query", field).expect("it can be read");
    assert_eq!(rule("_entities"), Some(Rule::Access(Access::Member)));
    assert_eq!(rule("_service"), Some(Rule::Access(Access::Public)));
}

#[test]
fn what_a_router_composes_has_federations_directives_and_none_of_ours() {
    let sdl = composable();
    let registry = schema::registry(true);
    let document = apollo_compiler::ast::Document::parse(sdl.clone(), "subgraph.graphql").expect("an SDL");
    let definition = |name: &str| document.definitions.iter().find(|known| known.name().is_some_and(|of| of == name));
    let mut entities = 0;
    for (name, ty) in registry.types.iter().filter(|(name, _)| !name.starts_with('_')) {
        let Some(found) = definition(name) else {
            // What the specification defines, and what only our directives use.
            assert!(["Access", "Boolean", "Float", "ID", "Int", "String"].contains(&name.as_str()), "{name}");
            continue;
        };
        let directives: Vec<&str> = found.directives().iter().map(|directive| directive.name.as_str()).collect();
        let is_node = registry.types["Node"].is_possible_type(name) && matches!(ty, MetaType::Object { .. });
        entities += usize::from(is_node);
        let expected: &[&str] = match ty {
            _ if is_node => &["key"],
            MetaType::Scalar { .. } => &["specifiedBy"],
            MetaType::InputObject { oneof: true, .. } => &["oneOf"],
            _ if name == "PageInfo" => &["shareable"],
            _ => &[],
        };
        assert_eq!(directives, expected, "{name}");
    }
    assert!(entities > 15, "{entities}");
    for gone in ["@requires", "@access", "@inPlan(", "@cost", "@listSize", "_Any", "_Entity", "_Service", "_entities"] {
        assert!(!sdl.contains(gone), "{gone}");
    }
    // With what it is for.
    assert!(sdl.contains("Human identifier, stable for life"));
}

#[test]
fn the_binary_prints_what_a_router_composes() {
    let folder = tempfile::tempdir().expect("a folder");
    let printed = Process::spawn(folder.path(), &["schema", "--federation"], &[]).ended();
    assert_eq!(printed.status.code(), Some(0), "{}", printed.stderr);
    assert_eq!(printed.stdout, composable());
}

/// A gateway with two subgraphs beside the server. What it forwards of a caller is what the caller may see.
#[tokio::test]
async fn a_gateway_answers_from_this_server_and_others() {
    let app = TestApp::start(&[("TODO_SERVER_FEDERATION", "on".to_owned())]).await;
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let (one, two, foreign) =
        (app.item(&acme, "one").await, app.item(&acme, "two").await, app.item(&rival, "theirs").await);
    let address = app.listen().await;
    let Some(mut gateway) = Script::run(&["federation.mjs"], &[("ADDRESS", &address)]) else { return };
    let composed = gateway.next("composed").await;
    assert_eq!(composed, json!({ "errors": [], "sdl": composable() }));

    let query = "{ invoices { id item { id title stars } } items(first: 1) { nodes { stars tags { name } } } }";
    let mut ask = async |items: &[&String], headers: Value| {
        let invoice = |(number, id): (usize, &&String)| json!({ "id": number.to_string(), "item": { "__typename": "Item", "id": id } });
        let invoices: Vec<Value> = items.iter().enumerate().map(invoice).collect();
        gateway.ask(&json!({ "query": query, "headers": headers, "invoices": invoices })).await
    };
    let viewer = json!({ "authorization": format!("Bearer {}", acme.viewer.token) });
    let invoice = |number: &str, id: &str, title: &str| json!({ "id": number, "item": { "id": id, "title": title, "stars": id.len() } });
    let answer = ask(&[&one, &two], viewer.clone()).await;
    assert_eq!(answer["errors"], Value::Null, "{answer:#}");
    assert_eq!(answer["data"]["invoices"], json!([invoice("0", &one, "one"), invoice("1", &two, "two")]));
    assert_eq!(answer["data"]["items"]["nodes"], json!([{ "stars": two.len(), "tags": [] }]));
    // What is another tenant's has no title, and by the schema no item is without.
    let answer = ask(&[&one, &foreign], viewer).await;
    assert_eq!(
        answer["data"]["invoices"],
        json!([invoice("0", &one, "one"), { "id": "1", "item": null }]),
        "{answer:#}"
    );
    let answer = ask(&[&one], json!({})).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], json!("UNAUTHENTICATED"), "{answer:#}");
}
