//! API keys: what they may do, how long, from where, and who may make them.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use std::{collections::BTreeSet, net::SocketAddr};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use chrono::Duration;
use serde_json::{Value, json};
use todo_platform::base::id::kind;

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, Reply, problem},
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const KEY: &str =
    "apiKey { id name hint scopes ipAllowlist createdBy { id } lastUsedAt expiresAt revokedAt version } secret";

fn make<'a>(app: &'a TestApp, acme: &Company, by: &Person, input: Value) -> Call<'a> {
    mutate(app, acme, by, ("apiKeyCreate", KEY), input)
}

fn change<'a>(app: &'a TestApp, acme: &Company, by: &Person, id: &str, patch: Value) -> Call<'a> {
    mutate(app, acme, by, ("apiKeyUpdate", KEY), json!({ "id": id, "patch": patch }))
}

fn revoke<'a>(app: &'a TestApp, acme: &Company, by: &Person, id: &str) -> Call<'a> {
    mutate(app, acme, by, ("apiKeyRevoke", "deletedId"), json!({ "id": id }))
}

/// What a key is told: the status, the code and the reason; `None` for one that is let in.
async fn refusal(app: &TestApp, key: &str) -> Option<(StatusCode, String, String)> {
    told(app.gql("{ viewer { actor { id } } }").key(key).reply().await)
}

fn told(reply: Reply) -> Option<(StatusCode, String, String)> {
    let answer = reply.json();
    let extensions = &answer["errors"].as_array()?[0]["extensions"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some((reply.status, text(&extensions["code"]), text(&extensions["reason"])))
}

fn unauthenticated(reason: &str) -> Option<(StatusCode, String, String)> {
    Some((StatusCode::UNAUTHORIZED, "UNAUTHENTICATED".to_owned(), reason.to_owned()))
}

/// A call with this key from this address.
async fn from(app: &TestApp, key: &str, address: &str) -> Option<(StatusCode, String, String)> {
    let mut request = Request::post("/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header("x-api-key", key)
        .body(Body::from(json!({ "query": "{ viewer { actor { id } } }" }).to_string()))
        .expect("a request");
    let address: SocketAddr = address.parse().expect("an address");
    request.extensions_mut().insert(ConnectInfo(address));
    told(app.http(request).await)
}

#[databases]
async fn a_key_calls_as_itself(app: TestApp) {
    let acme = app.company("acme").await;
    let (id, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE"]).await;
    let query = "{ viewer { actor { __typename id displayName } user { id } role permissions organization { slug } \
                 memberships { organizationId } invitations { id } cursor } }";
    let by_header = app.gql(query).key(&key).data().await;
    assert_eq!(
        by_header["viewer"]["actor"],
        json!({ "__typename": "ApiKeyActor", "id": id, "displayName": "Integration" })
    );
    assert_eq!(by_header["viewer"]["user"], Value::Null);
    assert_eq!(by_header["viewer"]["role"], "ADMIN");
    assert_eq!(by_header["viewer"]["permissions"], json!(["ITEM_READ", "ITEM_WRITE"]));
    assert_eq!(by_header["viewer"]["organization"]["slug"], "acme");
    assert_eq!(by_header["viewer"]["memberships"], json!([]));
    assert_eq!(by_header["viewer"]["invitations"], json!([]));
    let as_bearer = app.gql(query).token(&key).data().await;
    assert_eq!(as_bearer, by_header);
    // Its organization is the request's; another one is a contradiction, whether it exists or not.
    assert_eq!(app.gql(query).key(&key).at("acme").data().await, by_header);
    assert_eq!(app.gql(query).key(&key).header("x-organization", &acme.id).data().await, by_header);
    for slug in ["rival", "nobody"] {
        if slug == "rival" {
            app.company(slug).await;
        }
        assert_eq!(app.gql(query).key(&key).at(slug).error_code().await, "BAD_REQUEST");
    }
    let two = app.gql(query).key(&key).token(&acme.owner.token);
    assert_eq!(two.error_code().await, "BAD_REQUEST", "two credentials");
    let twice = app.gql(query).key(&key).token(&key);
    assert_eq!(twice.data().await, by_header, "the same one twice");
}

#[databases]
async fn what_a_key_does_is_the_keys(app: TestApp) {
    let acme = app.company("acme").await;
    let (id, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE"]).await;
    let create = "mutation { itemCreate(input: {title: \"by a machine\"}) { item { id createdBy { __typename id } } \
                  userErrors { code } } }";
    let made = app.gql(create).key(&key).done().await;
    assert_eq!(made["item"]["createdBy"], json!({ "__typename": "ApiKeyActor", "id": id }));
    let query = "{ events(last: 1) { nodes { type actor { id displayName ... on ApiKeyActor { apiKey { id } } } } } }";
    let seen = app.call(&acme, &acme.admin, query).data().await;
    let actor = &seen["events"]["nodes"][0]["actor"];
    assert_eq!(actor, &json!({ "id": id, "displayName": "Integration", "apiKey": { "id": id } }));
    // Who may not manage keys sees who it was, and not the key.
    let seen = app.call(&acme, &acme.viewer, query).answer().await;
    let actor = &seen["data"]["events"]["nodes"][0]["actor"];
    assert_eq!(actor, &json!({ "id": id, "displayName": "Integration", "apiKey": null }));
    assert_eq!(seen["errors"][0]["extensions"]["code"], "FORBIDDEN");
    // The feed leaves out the key's own for the key alone.
    let own =
        "{ events(first: 100, filter: {excludeViewer: true, types: [ITEM_CREATED]}) { totalCount nodes { id } } }";
    assert_eq!(app.call(&acme, &acme.admin, own).data().await["events"]["totalCount"], 1);
}

/// Scopes to write are no scopes to read, neither through a payload nor through the ledger.
#[databases]
async fn a_key_that_may_only_write_reads_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let item = app.item(&acme, "private").await;
    let (_, key) = app.api_key(&acme, &acme.admin, &["ITEM_WRITE"]).await;
    let update =
        "mutation($id: ID!) { itemUpdate(input: {id: $id, patch: {}}) { item { title } cursor userErrors { code } } }";
    let done = app.gql(update).vars(json!({ "id": item })).key(&key).done().await;
    assert_eq!(done["item"], Value::Null);
    assert!(done["cursor"].is_string());
    let stale = update.replace("patch: {}", "ifVersion: 9, patch: {}");
    let call = app.gql(stale).vars(json!({ "id": item })).key(&key).data().await;
    assert_eq!(
        (&call["itemUpdate"]["item"], &call["itemUpdate"]["userErrors"][0]["code"]),
        (&Value::Null, &json!("CONFLICT"))
    );
    let seen = async |scopes: &[&str]| {
        let (_, key) = app.api_key(&acme, &acme.owner, scopes).await;
        let data = app.gql("{ events(first: 100) { nodes { type } } }").key(&key).data().await;
        let nodes = data["events"]["nodes"].as_array().cloned().unwrap_or_default();
        let types: BTreeSet<String> =
            nodes.iter().map(|node| node["type"].as_str().unwrap_or_default().to_owned()).collect();
        types.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(seen(&["ITEM_WRITE"]).await, [""; 0]);
    assert_eq!(seen(&["ITEM_READ"]).await, ["ITEM_CREATED"]);
    assert_eq!(seen(&["MEMBER_READ"]).await, ["MEMBER_JOINED"]);
    assert_eq!(
        seen(&["AUDIT_READ"]).await,
        ["API_KEY_CREATED", "ITEM_CREATED", "MEMBER_INVITED", "MEMBER_JOINED", "ORGANIZATION_CREATED"]
    );
}

#[databases]
async fn the_secret_is_shown_once(app: TestApp) {
    let acme = app.company("acme").await;
    let input = json!({ "name": " CI ", "scopes": ["ITEM_READ", "ITEM_READ"], "ipAllowlist": ["10.0.0.1", "2001:db8::/32"],
        "expiresAt": "2026-04-01T00:00:00Z" });
    let made = make(&app, &acme, &acme.owner, input).done().await;
    let secret = made["secret"].as_str().expect("the key");
    assert!(secret.starts_with("tdp_") && secret.len() == 4 + 16 + 1 + 43 + 1 + 6, "{secret}");
    let shown = &made["apiKey"];
    assert_eq!(shown["name"], "CI");
    assert_eq!(shown["scopes"], json!(["ITEM_READ"]));
    assert_eq!(shown["ipAllowlist"], json!(["10.0.0.1/32", "2001:db8::/32"]));
    assert_eq!(shown["expiresAt"], "2026-04-01T00:00:00.000Z");
    assert_eq!(shown["createdBy"]["id"], acme.owner.id.as_str());
    assert!(secret.starts_with(shown["hint"].as_str().expect("a hint")));
    let list =
        format!("{{ organization {{ apiKeys(first: 5) {{ totalCount nodes {{ {} }} }} }} }}", "id name hint scopes");
    let listed = app.call(&acme, &acme.admin, &list).data().await;
    assert_eq!(listed["organization"]["apiKeys"]["nodes"][0]["id"], shown["id"]);
    // Neither the list nor the ledger has more of it than the hint.
    let events = app
        .call(&acme, &acme.owner, "{ events(last: 1) { nodes { type changes { field before after } } } }")
        .data()
        .await;
    assert_eq!(events["events"]["nodes"][0]["type"], "API_KEY_CREATED");
    for text in [listed.to_string(), events.to_string()] {
        assert!(!text.contains(&secret[20..60]), "{text}");
    }
}

#[databases]
async fn a_bad_key_is_told_why(app: TestApp) {
    let acme = app.company("acme").await;
    let (id, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    assert_eq!(refusal(&app, &key).await, None);
    app.take_statements();
    for wrong in
        ["tdp_", "tdp_a_b_c", &key[..key.len() - 1], &key.replace("tdp_", "tdq_"), "sk_live_1", &format!("{key}x")]
    {
        assert_eq!(refusal(&app, wrong).await, unauthenticated("MALFORMED"), "{wrong}");
    }
    assert_eq!(app.take_statements().len(), 0, "the checksum is tested before the database is asked");
    // Well-formed, of a server with another secret: the look-up part is right, the secret isn't.
    let other = TestApp::start(&[]).await;
    let lookup = key.split('_').nth(1).expect("the look-up part").to_owned();
    let forged = other.state.mint.mint_for(lookup).expect("a key").text;
    assert_eq!(refusal(&app, &forged).await, unauthenticated("UNKNOWN"));
    assert_eq!(refusal(&app, &other.state.mint.mint().expect("a key").text).await, unauthenticated("UNKNOWN"));
    assert_eq!(refusal(&app, &key).await, None);
    revoke(&app, &acme, &acme.admin, &id).done().await;
    assert_eq!(refusal(&app, &key).await, unauthenticated("REVOKED"), "at once on this instance");
    assert_eq!(refusal(&app, &forged).await, unauthenticated("UNKNOWN"), "only who holds the secret is told");
    let ends = json!({ "name": "short", "scopes": ["ITEM_READ"], "expiresAt": "2026-03-02T09:10:00Z" });
    let made = make(&app, &acme, &acme.admin, ends).done().await;
    let key = made["secret"].as_str().expect("the key");
    assert_eq!(refusal(&app, key).await, None);
    app.clock.advance(Duration::minutes(10));
    assert_eq!(refusal(&app, key).await, unauthenticated("EXPIRED"));
    other.state.db.close().await;
}

#[databases]
async fn a_key_is_as_good_as_its_maker(app: TestApp) {
    let acme = app.company("acme").await;
    let (_, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE", "MEMBER_MANAGE", "TAG_MANAGE"]).await;
    let rights = async || {
        let viewer = app.gql("{ viewer { role permissions } }").key(&key).data().await;
        (viewer["viewer"]["role"].clone(), viewer["viewer"]["permissions"].clone())
    };
    assert_eq!(rights().await, (json!("ADMIN"), json!(["ITEM_READ", "ITEM_WRITE", "TAG_MANAGE", "MEMBER_MANAGE"])));
    let set = |patch: Value| {
        let input = json!({ "id": acme.admin.membership_id, "patch": patch });
        mutate(&app, &acme, &acme.owner, ("membershipUpdate", "membership { id }"), input)
    };
    set(json!({ "role": "MEMBER" })).done().await;
    assert_eq!(rights().await, (json!("MEMBER"), json!(["ITEM_READ", "ITEM_WRITE"])));
    let invite = "mutation { invitationCreate(input: {email: \"a@example.com\"}) { userErrors { code } } }";
    assert_eq!(app.gql(invite).key(&key).error_code().await, "FORBIDDEN");
    set(json!({ "status": "SUSPENDED" })).done().await;
    assert_eq!(refusal(&app, &key).await, unauthenticated("CREATOR_INACTIVE"));
    set(json!({ "status": "ACTIVE", "role": "ADMIN" })).done().await;
    assert_eq!(rights().await.0, "ADMIN");
    // Whoever goes for good takes their keys along, and the ledger says so.
    let input = json!({ "id": acme.admin.membership_id });
    mutate(&app, &acme, &acme.owner, ("membershipRemove", "deletedId"), input).done().await;
    assert_eq!(refusal(&app, &key).await, unauthenticated("REVOKED"));
    let events = app.call(&acme, &acme.owner, "{ events(last: 2) { nodes { type } } }").data().await;
    let types: Vec<&Value> =
        events["events"]["nodes"].as_array().into_iter().flatten().map(|event| &event["type"]).collect();
    assert_eq!(types, ["API_KEY_REVOKED", "MEMBER_REMOVED"]);
}

#[databases]
async fn nobody_makes_a_key_above_themselves(app: TestApp) {
    let acme = app.company("acme").await;
    let all = json!({ "name": "all", "scopes": ["ITEM_READ", "BILLING_MANAGE", "ORGANIZATION_DELETE"] });
    let call = make(&app, &acme, &acme.admin, all.clone());
    assert_eq!(call.refused().await, problem("FORBIDDEN", "input.scopes"));
    make(&app, &acme, &acme.owner, all).done().await;
    // A key that makes keys can't give what it lacks either, and its keys are its maker's.
    let (_, maker) = app.api_key(&acme, &acme.admin, &["API_KEY_MANAGE", "ITEM_READ"]).await;
    let by_key = |scopes: Value| {
        let query = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { apiKey { createdBy { id } } \
                     secret userErrors { code path } } }";
        app.gql(query).vars(json!({ "input": { "name": "child", "scopes": scopes } })).key(&maker)
    };
    assert_eq!(by_key(json!(["ITEM_READ", "ITEM_WRITE"])).refused().await, problem("FORBIDDEN", "input.scopes"));
    let child = by_key(json!(["ITEM_READ"])).done().await;
    assert_eq!(child["apiKey"]["createdBy"]["id"], acme.admin.id.as_str());
    let viewer = app.gql("{ viewer { permissions } }").key(child["secret"].as_str().expect("a key")).data().await;
    assert_eq!(viewer["viewer"]["permissions"], json!(["ITEM_READ"]));
}

#[databases]
async fn nobody_widens_or_renews_a_key_of_their_betters(app: TestApp) {
    let acme = app.company("acme").await;
    let input = json!({ "name": "owner's", "scopes": ["ITEM_READ"], "ipAllowlist": ["10.0.0.0/8"],
        "expiresAt": "2027-01-01T00:00:00Z" });
    let made = make(&app, &acme, &acme.owner, input).done().await;
    let id = made["apiKey"]["id"].as_str().expect("an id").to_owned();
    let rotate = mutate(&app, &acme, &acme.admin, ("apiKeyRotate", KEY), json!({ "id": id }));
    assert_eq!(rotate.refused().await, problem("FORBIDDEN", "input.id"));
    for wider in [
        json!({ "scopes": ["ITEM_READ", "ITEM_WRITE"] }),
        json!({ "ipAllowlist": ["10.0.0.0/8", "192.0.2.1"] }),
        json!({ "ipAllowlist": [] }),
        json!({ "ipAllowlist": null }),
        json!({ "expiresAt": null }),
        json!({ "expiresAt": "2028-01-01T00:00:00Z" }),
    ] {
        let call = change(&app, &acme, &acme.admin, &id, wider.clone());
        assert_eq!(call.refused().await, problem("FORBIDDEN", "input.id"), "{wider}");
    }
    for narrower in [
        json!({ "name": "renamed" }),
        json!({ "ipAllowlist": ["10.1.0.0/16"] }),
        json!({ "expiresAt": "2026-06-01T00:00:00Z" }),
    ] {
        change(&app, &acme, &acme.admin, &id, narrower).done().await;
    }
    revoke(&app, &acme, &acme.admin, &id).done().await;
    revoke(&app, &acme, &acme.admin, &id).done().await;
    let events = app.call(
        &acme,
        &acme.owner,
        "{ events(first: 100, filter: {types: [API_KEY_REVOKED]}) { totalCount nodes { id } } }",
    );
    assert_eq!(events.data().await["events"]["totalCount"], 1, "repeating is harmless, and no second event");
}

#[databases]
async fn a_rotated_key_works_on_for_its_grace(app: TestApp) {
    let acme = app.company("acme").await;
    let (id, old) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    let rotate = |by: &Person, hours: i32| {
        let input = json!({ "id": id, "graceHours": hours });
        mutate(&app, &acme, by, ("apiKeyRotate", KEY), input)
    };
    let new = rotate(&acme.admin, 2).done().await["secret"].as_str().expect("a key").to_owned();
    assert_eq!((refusal(&app, &old).await, refusal(&app, &new).await), (None, None));
    app.clock.advance(Duration::hours(2));
    assert_eq!((refusal(&app, &old).await, refusal(&app, &new).await), (unauthenticated("UNKNOWN"), None));
    let admin = app.sign_in(&acme.admin).await;
    let newest = rotate(&admin, 0).done().await["secret"].as_str().expect("a key").to_owned();
    assert_eq!((refusal(&app, &new).await, refusal(&app, &newest).await), (unauthenticated("UNKNOWN"), None));
    for wrong in [-1, 721] {
        assert_eq!(rotate(&admin, wrong).refused().await, problem("OUT_OF_RANGE", "input.graceHours"));
    }
}

#[databases]
async fn a_key_keeps_to_its_networks(app: TestApp) {
    let acme = app.company("acme").await;
    let allowed = json!(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::ffff:203.0.113.9"]);
    let input = json!({ "name": "office", "scopes": ["ITEM_READ"], "ipAllowlist": allowed });
    let made = make(&app, &acme, &acme.admin, input).done().await;
    let key = made["secret"].as_str().expect("the key");
    for inside in ["192.0.2.77:1", "198.51.100.7:1", "[2001:db8:1::1]:1", "203.0.113.9:1", "[::ffff:192.0.2.1]:1"] {
        assert_eq!(from(&app, key, inside).await, None, "{inside}");
    }
    for outside in ["192.0.3.1:1", "198.51.100.8:1", "[2001:db9::1]:1", "203.0.113.10:1", "[::1]:1"] {
        assert_eq!(from(&app, key, outside).await, unauthenticated("ADDRESS"), "{outside}");
    }
    assert_eq!(refusal(&app, key).await, unauthenticated("ADDRESS"), "from nowhere known");
    let wrong = json!({ "name": "x", "scopes": ["ITEM_READ"], "ipAllowlist": ["10.0.0.0/8", "10.0.0.0/99"] });
    assert_eq!(make(&app, &acme, &acme.admin, wrong).refused().await, problem("INVALID", "input.ipAllowlist.1"));
}

#[databases]
async fn another_instance_notices_within_a_second(app: TestApp) {
    let acme = app.company("acme").await;
    let (id, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    let other = app.another_instance(|_| ()).await;
    assert_eq!((refusal(&app, &key).await, refusal(&other, &key).await), (None, None));
    revoke(&app, &acme, &acme.admin, &id).done().await;
    assert_eq!(refusal(&app, &key).await, unauthenticated("REVOKED"), "this instance at once");
    app.clock.advance(Duration::milliseconds(1001));
    assert_eq!(refusal(&other, &key).await, unauthenticated("REVOKED"));
    other.state.db.close().await;
}

#[databases]
async fn an_identity_is_read_once_a_second(app: TestApp) {
    let acme = app.company("acme").await;
    let (_, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE"]).await;
    let look_ups = async || {
        // What was done before may still send its e-mails.
        app.settle().await;
        app.take_statements();
        app.gql("{ viewer { role } }").key(&key).data().await;
        app.gql("{ viewer { role } }").token(&acme.member.token).at("acme").data().await;
        let statements = app.take_statements();
        println!("{statements:#?}");
        statements.len()
    };
    assert_eq!(look_ups().await, 2);
    // Somebody's work is no reason to look again; a change of rights is.
    app.item(&acme, "work").await;
    assert_eq!(look_ups().await, 0);
    app.clock.advance(Duration::milliseconds(1001));
    assert_eq!(look_ups().await, 2);
    let input = json!({ "id": acme.viewer.membership_id, "patch": { "role": "MEMBER" } });
    mutate(&app, &acme, &acme.owner, ("membershipUpdate", "membership { id }"), input).done().await;
    assert_eq!(look_ups().await, 2);
}

#[databases]
async fn a_create_that_comes_twice_is_one(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.clock.new_id::<kind::ApiKey>().to_string();
    let input = json!({ "id": id, "name": "mine", "scopes": ["ITEM_READ"] });
    let first = make(&app, &acme, &acme.admin, input.clone()).done().await;
    let second = make(&app, &acme, &acme.admin, input).done().await;
    assert_eq!(first["apiKey"], second["apiKey"]);
    assert!(first["secret"].is_string() && second["secret"].is_null(), "a secret is shown once");
    let other = json!({ "id": id, "name": "other", "scopes": ["ITEM_READ"] });
    assert_eq!(make(&app, &acme, &acme.admin, other).refused().await, problem("TAKEN", "input.id"));
}

#[databases]
async fn every_problem_of_a_key_is_named(app: TestApp) {
    let acme = app.company("acme").await;
    let many: Vec<String> = (0..51).map(|n| format!("10.0.0.{n}")).collect();
    for (input, expected) in [
        (json!({ "name": " ", "scopes": ["ITEM_READ"] }), problem("REQUIRED", "input.name")),
        (json!({ "name": "n".repeat(101), "scopes": ["ITEM_READ"] }), problem("TOO_LONG", "input.name")),
        (json!({ "name": "n", "scopes": [] }), problem("REQUIRED", "input.scopes")),
        (
            json!({ "name": "n", "scopes": ["ITEM_READ"], "ipAllowlist": many }),
            problem("TOO_MANY", "input.ipAllowlist"),
        ),
        (
            json!({ "name": "n", "scopes": ["ITEM_READ"], "expiresAt": "2026-03-02T09:00:00Z" }),
            problem("OUT_OF_RANGE", "input.expiresAt"),
        ),
    ] {
        assert_eq!(make(&app, &acme, &acme.admin, input).refused().await, expected);
    }
    let (id, _) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    for (patch, expected) in [
        (json!({ "name": null }), problem("REQUIRED", "input.patch.name")),
        (json!({ "scopes": null }), problem("REQUIRED", "input.patch.scopes")),
        (json!({ "ipAllowlist": ["nowhere"] }), problem("INVALID", "input.patch.ipAllowlist.0")),
        (json!({ "expiresAt": "2020-01-01T00:00:00Z" }), problem("OUT_OF_RANGE", "input.patch.expiresAt")),
    ] {
        assert_eq!(change(&app, &acme, &acme.admin, &id, patch).refused().await, expected);
    }
    let stale = json!({ "id": id, "ifVersion": 7, "patch": { "name": "n" } });
    let call = mutate(&app, &acme, &acme.admin, ("apiKeyUpdate", KEY), stale);
    assert_eq!(call.refused().await, problem("CONFLICT", "input.ifVersion"));
    revoke(&app, &acme, &acme.admin, &id).done().await;
    let call = change(&app, &acme, &acme.admin, &id, json!({ "name": "n" }));
    assert_eq!(call.refused().await, problem("INVALID_STATE", "input.id"));
    let call = mutate(&app, &acme, &acme.admin, ("apiKeyRotate", KEY), json!({ "id": id }));
    assert_eq!(call.refused().await, problem("INVALID_STATE", "input.id"));
}

#[databases]
async fn keys_are_listed_newest_first(app: TestApp) {
    let acme = app.company("acme").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await.0);
        app.clock.advance(Duration::seconds(1));
    }
    revoke(&app, &acme, &acme.admin, &made[2]).done().await;
    let query = "query($after: Cursor) { organization { apiKeys(first: 2, after: $after) { totalCount nodes { id } \
                 pageInfo { hasNextPage endCursor } } } }";
    let (mut after, mut seen) = (Value::Null, Vec::new());
    loop {
        let page = app.call(&acme, &acme.admin, query).vars(json!({ "after": after })).data().await;
        let page = &page["organization"]["apiKeys"];
        assert_eq!(page["totalCount"], 5);
        seen.extend(
            page["nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|node| node["id"].as_str().unwrap_or_default().to_owned()),
        );
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    made.reverse();
    assert_eq!(seen, made);
}
