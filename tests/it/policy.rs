//! Who may do what, field by field, run for real: one document for each guarded field and each kind of caller.

use std::{collections::BTreeSet, fmt::Write};

use async_graphql::registry::{MetaField, MetaType, Registry};
use serde_json::json;
use todo_platform::{api::schema, base::policy::Permission, graphql::rule::Rule};

use crate::support::{
    app::TestApp,
    receiver::Receiver,
    schema::{Documents, bare},
    world::Company,
};
use todo_test_macros::databases;

/// How to reach the guarded fields of a type: the document around `{{}}`. A new guarded type without a way fails.
fn way_to(type_name: &str) -> Option<&'static str> {
    Some(match type_name {
        "Organization" => "{ organization { {} } }",
        "Membership" => "{ organization { members(first: 1) { nodes { {} } } } }",
        "Invitation" => "{ organization { invitations(first: 1) { nodes { {} } } } }",
        "Webhook" => "{ organization { webhooks(first: 1) { nodes { {} } } } }",
        "User" => "{ item(id: \"ACME-3\") { createdBy { ... on User { {} } } } }",
        "Item" => "{ items(first: 1) { nodes { {} } } }",
        "Team" => "{ organization { teams(first: 1) { nodes { {} } } } }",
        "Plan" => "{ organization { plan { {} } } }",
        "Event" => "{ events(first: 1, filter: {types: [ITEM_CREATED]}) { nodes { {} } } }",
        "InboundHookActor" => "{ item(id: \"ACME-2\") { createdBy { ... on InboundHookActor { {} } } } }",
        "ApiKeyActor" => "{ item(id: \"ACME-1\") { createdBy { ... on ApiKeyActor { {} } } } }",
        _ => return None,
    })
}

/// What the guard said: its code, or that it let the caller through.
async fn verdict(
    app: &TestApp,
    document: &str,
    variables: &serde_json::Value,
    token: Option<&str>,
    slug: &str,
) -> String {
    let mut call = app.gql(document).vars(variables.clone()).at(slug);
    if let Some(token) = token {
        call = call.token(token);
    }
    let answer = call.answer().await;
    let codes: BTreeSet<&str> = answer["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| error["extensions"]["code"].as_str())
        .filter(|code| matches!(*code, "UNAUTHENTICATED" | "FORBIDDEN" | "ORGANIZATION_REQUIRED" | "INTERNAL"))
        .collect();
    codes.first().map_or_else(|| "yes".to_owned(), |code| (*code).to_owned())
}

/// An organization with one of everything that guarded fields hang on: a team, an invitation, a webhook, the item ACME-1 made
/// by an API key, ACME-2 by an inbound hook, and ACME-3 by a person.
async fn furnished(app: &TestApp) -> Company {
    let acme = app.company("acme").await;
    app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let (_, key) = app.api_key(&acme, &acme.owner, &["ITEM_WRITE"]).await;
    let create = "mutation { itemCreate(input: {title: \"by a key\"}) { userErrors { code } } }";
    app.gql(create).key(&key).done().await;
    let hook = "mutation { inboundHookCreate(input: {name: \"Door\", provider: GITHUB}) { inboundHook { url } secret \
                userErrors { code } } }";
    let hook = app.call(&acme, &acme.owner, hook).done().await;
    let (url, secret) = (hook["inboundHook"]["url"].to_string(), hook["secret"].as_str().expect("a secret"));
    let path = url[url.find("/callbacks/").expect("an address")..].trim_matches('"');
    let body = json!({ "action": "opened", "issue": { "title": "by a hook" } }).to_string();
    let signature = format!("sha256={}", crate::inbound_hooks::hexadecimal_hmac(secret, &body));
    app.post(path, &[("x-hub-signature-256", &signature), ("x-github-event", "issues")], &body).await;
    app.create(&acme, &acme.owner, "item", json!({ "title": "by a person" })).await;
    let invite = "mutation { invitationCreate(input: {email: \"new@example.com\"}) { userErrors { code } } }";
    app.call(&acme, &acme.owner, invite).done().await;
    let receiver = Receiver::start().await;
    app.create(&acme, &acme.owner, "webhook", json!({ "url": receiver.url() })).await;
    acme
}

/// What a field declares.
fn declared(field: &MetaField) -> Option<Rule> {
    Rule::among(&field.directive_invocations).expect("it can be read")
}

/// The permission that the type needs which a field leads to, where whatever leads there does not need it anyway. Pages, and
/// what mutations answer with, are reached through fields that are checked.
fn needed_behind(registry: &Registry, type_name: &str, field: &MetaField) -> Option<Permission> {
    let is_reached_so = ["Connection", "Edge", "Payload", "BulkResult"].iter().any(|end| type_name.ends_with(end));
    let [target, parent] = [Rule::of_target(registry, field), Rule::of_type(registry, type_name)];
    match (target.expect("it can be read"), parent.expect("it can be read")) {
        (target, parent) if is_reached_so || target == parent => None,
        (Some(Rule::Requires(permission)), _) => Some(permission),
        _ => None,
    }
}

/// Every field that declares who may select it: its name, a document that selects it, and the variables.
fn guarded_fields() -> Vec<(String, String, serde_json::Value)> {
    let documents = Documents::new();
    // An id of no object: whoever is let through finds nothing.
    let absent = |_: &str| json!("itm_00000000000000000000000000");
    let mut rows = Vec::new();
    for (keyword, field) in documents.root_fields() {
        let variables = documents.least(field, &absent);
        let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
        let name = if keyword == "subscription" { format!("{keyword} {}", field.name) } else { field.name.clone() };
        rows.push((name, document, variables));
    }
    for (type_name, ty) in &documents.registry.types {
        let MetaType::Object { fields, .. } = ty else { continue };
        if matches!(type_name.as_str(), "Query" | "Mutation" | "Subscription") {
            continue;
        }
        for field in fields.values().filter(|field| declared(field).is_some()) {
            let way = way_to(type_name).unwrap_or_else(|| panic!("no way to {type_name}.{}", field.name));
            let selected = format!("{} {}", field.name, documents.selection(field));
            rows.push((format!("{type_name}.{}", field.name), way.replace("{}", &selected), json!({})));
        }
    }
    rows
}

#[databases]
async fn the_grid(app: TestApp) {
    let acme = furnished(&app).await;
    let rival = app.company("rival").await;
    let callers = [
        ("anonymous", None),
        ("outsider", Some(&rival.owner)),
        ("VIEWER", Some(&acme.viewer)),
        ("MEMBER", Some(&acme.member)),
        ("ADMIN", Some(&acme.admin)),
        ("OWNER", Some(&acme.owner)),
    ];
    let mut grid = format!("{:32}", "");
    for (caller, _) in callers {
        let _ = write!(grid, "{caller:22}");
    }
    for (name, document, variables) in guarded_fields() {
        let _ = write!(grid, "\n{name:32}");
        // Out of the throttle's window: some fields count a try for each caller.
        app.clock.advance(chrono::Duration::hours(1));
        for (_, caller) in callers {
            // Every try has a session of its own: some of the fields end it.
            let caller = match caller {
                Some(person) => Some(app.sign_in(person).await),
                None => None,
            };
            let token = caller.as_ref().map(|person| person.token.as_str());
            let verdict = verdict(&app, &document, &variables, token, "acme").await;
            let _ = write!(grid, "{verdict:22}");
        }
    }
    let grid: Vec<&str> = grid.lines().map(str::trim_end).collect();
    insta::assert_snapshot!("policy_grid", grid.join("\n"));
}

/// The same for an owner's API keys of one scope each: a column a scope.
#[databases]
async fn the_grid_of_scopes(app: TestApp) {
    let acme = furnished(&app).await;
    let scopes: Vec<String> = Permission::all().map(Permission::name).collect();
    // What hangs on an item or a team is reached with ITEM_READ besides.
    let (mut keys, mut readers) = (Vec::new(), Vec::new());
    for scope in &scopes {
        keys.push(app.api_key(&acme, &acme.owner, &[scope]).await.1);
        readers.push(app.api_key(&acme, &acme.owner, &["ITEM_READ", scope]).await.1);
    }
    let mut grid = String::new();
    for (number, scope) in scopes.iter().enumerate() {
        let _ = writeln!(grid, "{:2} {scope}", number + 1);
    }
    let _ = write!(grid, "\n{:32}", "");
    for number in 1..=scopes.len() {
        let _ = write!(grid, "{number:3}");
    }
    for (name, document, variables) in guarded_fields() {
        let _ = write!(grid, "\n{name:32}");
        for key in if name.contains('.') { &readers } else { &keys } {
            let cell = match verdict(&app, &document, &variables, Some(key), "acme").await.as_str() {
                "yes" => "+",
                "FORBIDDEN" => ".",
                other => panic!("{name}: {other}"),
            };
            let _ = write!(grid, "{cell:>3}");
        }
    }
    insta::assert_snapshot!("policy_grid_of_scopes", grid);
}

/// Below the roots, a field asks for what it declares and for what the type needs that it leads to: a key that holds
/// everything else is refused. A new way to a guarded type without a check fails.
#[databases]
async fn everything_but_the_permission_is_not_enough(app: TestApp) {
    let acme = furnished(&app).await;
    let documents = Documents::new();
    let mut tried = Vec::new();
    for (type_name, ty) in &documents.registry.types {
        let MetaType::Object { fields, .. } = ty else { continue };
        for field in fields.values() {
            let own = match declared(field) {
                Some(Rule::Requires(permission)) => Some(permission),
                _ => None,
            };
            let is_root = matches!(type_name.as_str(), "Query" | "Mutation" | "Subscription");
            let behind = needed_behind(&documents.registry, type_name, field);
            for permission in own.into_iter().chain(behind.filter(|_| behind != own)) {
                if is_root {
                    continue;
                }
                let way = way_to(type_name).unwrap_or_else(|| panic!("no way to {type_name}.{}", field.name));
                let document = way.replace("{}", &format!("{} {}", field.name, documents.selection(field)));
                let others: Vec<String> =
                    Permission::all().filter(|other| *other != permission).map(Permission::name).collect();
                let others: Vec<&str> = others.iter().map(String::as_str).collect();
                let (_, key) = app.api_key(&acme, &acme.owner, &others).await;
                let verdict = verdict(&app, &document, &json!({}), Some(&key), "acme").await;
                assert_eq!(verdict, "FORBIDDEN", "{type_name}.{} without {}", field.name, permission.name());
                tried.push(format!("{type_name}.{} {}", field.name, permission.name()));
            }
        }
    }
    insta::assert_snapshot!("policy_below_the_roots", tried.join("\n"));
}

/// What only some may see is null by `node`, like what isn't there.
#[databases]
async fn node_hides_what_a_type_requires(app: TestApp) {
    let acme = app.company("acme").await;
    let invite = "mutation { invitationCreate(input: {email: \"new@example.com\"}) { invitation { id } \
                  userErrors { code } } }";
    let invited = app.call(&acme, &acme.owner, invite).done().await;
    let node = "query($id: ID!) { node(id: $id) { id } }";
    let variables = json!({ "id": invited["invitation"]["id"] });
    for (person, visible) in [(&acme.owner, true), (&acme.admin, true), (&acme.member, false), (&acme.viewer, false)] {
        let data = app.call(&acme, person, node).vars(variables.clone()).data().await;
        assert_eq!(data["node"].is_object(), visible);
    }
}

#[test]
fn every_root_field_declares_who_may_select_it() {
    let documents = Documents::new();
    let undeclared: Vec<String> = documents
        .root_fields()
        .into_iter()
        .filter(|(_, field)| declared(field).is_none())
        .map(|(_, field)| field.name.clone())
        .collect();
    assert!(undeclared.is_empty(), "neither @requires nor @access: {undeclared:?}");
}

/// Behind a permission that every role holds a field is non-null, behind any other nullable.
#[test]
fn nullability_follows_the_permission() {
    use todo_platform::base::{enums::Role, policy::Permissions};
    let documents = Documents::new();
    for (type_name, ty) in &documents.registry.types {
        let MetaType::Object { fields, .. } = ty else { continue };
        for field in fields.values() {
            let Some(Rule::Requires(permission)) = declared(field) else { continue };
            let by_all = Permissions::of(Role::Viewer).contains(permission);
            let is_list = bare(&field.ty).ends_with("Connection") || field.ty.starts_with('[');
            if !by_all {
                assert!(!field.ty.ends_with('!'), "{type_name}.{} must be nullable", field.name);
            } else if is_list {
                assert!(field.ty.ends_with('!'), "{type_name}.{} must not be nullable", field.name);
            }
        }
    }
}

#[test]
fn the_policy_page_is_current() {
    let page = include_str!("../../docs/POLICY.md");
    assert!(
        page == schema::policy_page().expect("all can be read"),
        "docs/POLICY.md has drifted: cargo run -- policy > docs/POLICY.md"
    );
}

#[test]
fn the_schema_file_is_current() {
    let built =
        schema::sdl(&schema::build(&todo_platform::base::config::LimitsConfig::default(), false).expect("a schema"));
    assert!(
        include_str!("../../schema.graphql") == built,
        "schema.graphql has drifted: cargo run -- schema > schema.graphql"
    );
}
