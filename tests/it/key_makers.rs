//! API keys that make API keys: none reaches further than its maker, and all end with it.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use chrono::Duration;
use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::Company,
    },
};
use todo_test_macros::databases;

const KEY: &str = "apiKey { id } secret";
const HERE: &str = "10.1.2.3";

struct Key {
    id: String,
    secret: String,
}

impl Key {
    fn of(made: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { id: text(&made["apiKey"]["id"]), secret: text(&made["secret"]) }
    }
}

/// A mutation `field` of keys by a key, from within its network.
fn by_key<'a>(app: &'a TestApp, key: &Key, field: &str, input: Value) -> Call<'a> {
    let (first, rest) = field.split_at(1);
    let selection = if field == "apiKeyRevoke" { "deletedId" } else { KEY };
    let query = format!(
        "mutation($input: {}{rest}Input!) {{ {field}(input: $input) {{ {selection} userErrors {{ code path message }} }} }}",
        first.to_uppercase(),
    );
    app.gql(query).vars(json!({ "input": input })).key(&key.secret).from(HERE)
}

fn wanted(app: &TestApp, days: i64) -> Value {
    let end = app.clock.now() + Duration::days(days);
    json!({ "name": "Narrow", "scopes": ["API_KEY_MANAGE", "ITEM_READ"], "ipAllowlist": ["10.0.0.0/8"], "expiresAt": end })
}

/// A key of an admin, for ten days, from one network.
async fn narrow(app: &TestApp, acme: &Company) -> Key {
    let input = wanted(app, 10);
    Key::of(&mutate(app, acme, &acme.admin, ("apiKeyCreate", KEY), input).done().await)
}

fn with(mut input: Value, field: &str, value: Value) -> Value {
    input[field] = value;
    input
}

async fn works(app: &TestApp, key: &Key) -> bool {
    app.gql("{ viewer { actor { id } } }").key(&key.secret).from(HERE).reply().await.status == 200
}

/// An expiring, address-bound key made one that was neither.
#[databases]
async fn a_key_makes_none_that_reaches_further(app: TestApp) {
    let acme = app.company("acme").await;
    let key = narrow(&app, &acme).await;
    let base = wanted(&app, 10);
    for (field, value) in [
        ("scopes", json!(["API_KEY_MANAGE", "ITEM_WRITE"])),
        ("expiresAt", Value::Null),
        ("expiresAt", json!(app.clock.now() + Duration::days(11))),
        ("ipAllowlist", Value::Null),
        ("ipAllowlist", json!([])),
        ("ipAllowlist", json!(["10.0.0.0/7"])),
        ("ipAllowlist", json!(["10.1.0.0/16", "::1"])),
    ] {
        let refused = by_key(&app, &key, "apiKeyCreate", with(base.clone(), field, value.clone())).refused().await;
        assert_eq!(refused, problem("FORBIDDEN", &format!("input.{field}")), "{value}");
    }
    let inner = with(wanted(&app, 9), "ipAllowlist", json!(["10.1.0.0/16", "10.2.3.4"]));
    by_key(&app, &key, "apiKeyCreate", inner).done().await;
    by_key(&app, &key, "apiKeyCreate", base).done().await;
}

#[databases]
async fn a_key_widens_and_renews_none_beyond_itself(app: TestApp) {
    let acme = app.company("acme").await;
    let key = narrow(&app, &acme).await;
    let short = Key::of(&by_key(&app, &key, "apiKeyCreate", wanted(&app, 1)).done().await);
    let wide = json!({ "name": "Wide", "scopes": ["ITEM_READ"] });
    let wide = Key::of(&mutate(&app, &acme, &acme.admin, ("apiKeyCreate", KEY), wide).done().await);
    for target in [&key, &short] {
        for (field, value) in [("expiresAt", Value::Null), ("ipAllowlist", json!([]))] {
            let input = json!({ "id": target.id, "patch": { field: value } });
            let refused = by_key(&app, &key, "apiKeyUpdate", input).refused().await;
            assert_eq!(refused, problem("FORBIDDEN", &format!("input.patch.{field}")));
        }
    }
    let rotated = by_key(&app, &key, "apiKeyRotate", json!({ "id": wide.id })).refused().await;
    assert_eq!(rotated, problem("FORBIDDEN", "input.id"), "it would be given the wider key");
    // What stays within it may be done, and a wider key be made narrower.
    let longer = json!({ "id": short.id, "patch": { "expiresAt": app.clock.now() + Duration::days(10) } });
    by_key(&app, &key, "apiKeyUpdate", longer).done().await;
    by_key(&app, &key, "apiKeyRotate", json!({ "id": short.id })).done().await;
    let narrower = json!({ "id": wide.id, "patch": { "ipAllowlist": ["192.0.2.1"] } });
    by_key(&app, &key, "apiKeyUpdate", narrower).done().await;
    by_key(&app, &key, "apiKeyRotate", json!({ "id": key.id })).done().await;
}

#[databases]
async fn revoking_a_key_ends_what_it_made(app: TestApp) {
    let acme = app.company("acme").await;
    let first = narrow(&app, &acme).await;
    let second = Key::of(&by_key(&app, &first, "apiKeyCreate", wanted(&app, 5)).done().await);
    let third = Key::of(&by_key(&app, &second, "apiKeyCreate", wanted(&app, 4)).done().await);
    let apart = Key::of(&by_key(&app, &first, "apiKeyCreate", wanted(&app, 4)).done().await);
    let other = narrow(&app, &acme).await;
    // From the middle: what stands above and beside it goes on.
    mutate(&app, &acme, &acme.admin, ("apiKeyRevoke", "deletedId"), json!({ "id": second.id })).done().await;
    for (key, lives) in [(&first, true), (&second, false), (&third, false), (&apart, true), (&other, true)] {
        assert_eq!(works(&app, key).await, lives, "{}", key.id);
    }
    let fourth = Key::of(&by_key(&app, &apart, "apiKeyCreate", wanted(&app, 3)).done().await);
    // A key may end itself, and all of its own with it.
    by_key(&app, &first, "apiKeyRevoke", json!({ "id": first.id })).done().await;
    for (key, lives) in [(&first, false), (&apart, false), (&fourth, false), (&other, true)] {
        assert_eq!(works(&app, key).await, lives, "{}", key.id);
    }
    let events = "{ events(first: 100, filter: {types: [API_KEY_REVOKED]}) { nodes { subjectId } } }";
    let events = app.call(&acme, &acme.admin, events).data().await;
    assert_eq!(events["events"]["nodes"].as_array().map(Vec::len), Some(5), "{events:#}");
    let quota = "{ organization { plan { quotas { resource used } } } }";
    let quota = app.call(&acme, &acme.admin, quota).data().await;
    assert!(quota.to_string().contains("{\"resource\":\"API_KEYS\",\"used\":\"1\"}"), "{quota}");
}
