//! `SECRET_KEY` is changed: what is under the old one works on, is encrypted anew, and the old one can go.

use sea_orm::prelude::Uuid;
use serde_json::{Value, json};
use todo_platform::{
    base::secret::{INBOUND_HOOK, INBOUND_HOOK_PREVIOUS, Place, SealedColumn, WEBHOOK, WEBHOOK_PREVIOUS},
    data::{
        actor::Origin,
        db::OrgScope,
        entity::{inbound_hook, signing_key, webhook},
    },
    platform::auth::token,
};

use crate::{
    items::mutate,
    process::{KEY, Process, folder},
    support::{app::TestApp, world::Company},
};
use todo_test_macros::databases;

const NEW: &str = "quite another secret of thirty-two bytes";

/// The server on another secret, with these of before.
async fn with_secret(app: &TestApp, present: &str, old: &[&str]) -> TestApp {
    app.another_instance(|config| {
        config.secret_key = Some(present.to_owned());
        config.secret_key_old = old.iter().map(|key| (*key).to_owned()).collect();
    })
    .await
}

/// `admin reencrypt` with the new secret and these of before: whether it succeeded, and what it said.
fn reencrypt(app: &TestApp, old: &str, arguments: &[&str]) -> (bool, String) {
    let folder = folder();
    let url = app.state.config.database.url.clone();
    let settings =
        [("DATABASE_URL", url.as_str()), ("SECRET_KEY", NEW), ("SECRET_KEY_OLD", old), ("TODO_MODE", "production")];
    let arguments = [&["admin", "reencrypt"], arguments].concat();
    let ended = Process::spawn(folder.path(), &arguments, &settings).ended();
    (ended.status.success(), format!("{}{}", ended.stdout, ended.stderr))
}

/// Every sealed value of the organization and the server, with where it stands.
async fn sealed(app: &TestApp, acme: &Company) -> Vec<(Place, Vec<u8>)> {
    let organization = acme.id.parse().expect("an id");
    let scope = OrgScope::of_system(&app.state.db, organization, Origin::command("test")).await.expect("a scope");
    let place = |column: SealedColumn, id: &str| Place::new(column, Some(organization), id);
    let mut found = Vec::new();
    for row in scope.find::<webhook::Entity>().all().await.expect("webhooks") {
        let id = row.id.to_string();
        found.push((place(WEBHOOK, &id), row.secret));
        found.extend(row.previous_secret.map(|secret| (place(WEBHOOK_PREVIOUS, &id), secret)));
    }
    for row in scope.find::<inbound_hook::Entity>().all().await.expect("hooks") {
        let id = row.id.to_string();
        found.push((place(INBOUND_HOOK, &id), row.secret));
        found.extend(row.previous_secret.map(|secret| (place(INBOUND_HOOK_PREVIOUS, &id), secret)));
    }
    let keys = app.state.db.find_global::<signing_key::Entity>(sea_orm::Condition::all()).await.expect("keys");
    found.extend(keys.into_iter().map(|row| (token::place(&row.id), row.secret)));
    found
}

async fn works(app: &TestApp, key: &str) -> bool {
    app.gql("{ viewer { actor { id } } }").key(key).reply().await.status == 200
}

/// A webhook and a hook, each rotated once.
async fn with_secrets(app: &TestApp, acme: &Company) {
    let made = [
        ("webhook", json!({ "url": "http://127.0.0.1:9/" })),
        ("inboundHook", json!({ "name": "Door", "provider": "GITHUB" })),
    ];
    for (kind, input) in made {
        let create = format!("{kind}Create");
        let row = mutate(app, acme, &acme.owner, (&create, &format!("{kind} {{ id }}")), input).done().await;
        let rotate = format!("{kind}RotateSecret");
        let input: Value = json!({ "id": row[kind]["id"] });
        mutate(app, acme, &acme.owner, (&rotate, "secret"), input).done().await;
    }
}

#[databases]
async fn the_servers_secret_can_be_changed(app: TestApp) {
    let acme = app.company("acme").await;
    with_secrets(&app, &acme).await;
    let (_, used) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    let (_, idle) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    assert_eq!(sealed(&app, &acme).await.len(), 5);

    // Both are accepted: nobody notices.
    let both = with_secret(&app, NEW, &[KEY]).await;
    let who = "{ viewer { user { id } } }";
    both.gql(who).token(&acme.owner.token).data().await;
    let refresh =
        "mutation($t: String!) { sessionRefresh(input: {refreshToken: $t}) { refreshToken userErrors { code } } }";
    let before = app.gql(refresh).vars(json!({ "t": acme.owner.refresh_token })).done().await;
    let after = both.gql(refresh).vars(json!({ "t": acme.owner.refresh_token })).done().await;
    assert_eq!(before, after, "the overlap goes across the change");
    for (place, value) in sealed(&app, &acme).await {
        both.state.secret.open(&place, &value).expect("under the old one");
        assert!(!both.state.secret.is_current(&value));
    }
    assert!(works(&both, &used).await, "its hash is under the old secret");
    assert!(works(&both, &used).await && works(&app, &idle).await);

    // Looked at, then done, then done again.
    let (succeeded, said) = reencrypt(&app, KEY, &["--dry-run"]);
    assert!(succeeded && said.contains("signing keys: 0 current, 1 to be encrypted anew"), "{said}");
    assert!(said.contains("API keys: 1 not used yet"), "{said}");
    assert!(sealed(&app, &acme).await.iter().all(|(_, value)| !both.state.secret.is_current(value)));
    let (succeeded, said) = reencrypt(&app, KEY, &[]);
    assert!(succeeded && said.contains("webhook secrets: 0 current, 1 encrypted anew, 0 unreadable"), "{said}");
    assert!(said.contains("Keep SECRET_KEY_OLD until the 1 API key(s) have been used"), "{said}");
    for (place, value) in sealed(&app, &acme).await {
        assert!(both.state.secret.is_current(&value), "{place:?}");
    }
    assert!(works(&both, &idle).await);
    let (succeeded, said) = reencrypt(&app, KEY, &[]);
    assert!(succeeded && said.contains("inbound hook secrets: 1 current, 0 encrypted anew"), "{said}");
    assert!(said.contains("Nothing is left: SECRET_KEY_OLD may go."), "{said}");

    // The new one alone.
    let alone = with_secret(&app, NEW, &[]).await;
    for (place, value) in sealed(&app, &acme).await {
        alone.state.secret.open(&place, &value).expect("under the new one");
    }
    alone.gql(who).token(&acme.owner.token).data().await;
    assert!(works(&alone, &used).await && works(&alone, &idle).await);
}

/// A value copied to another organization's row, or to another column, is none.
#[databases]
async fn a_sealed_value_is_bound_to_its_place(app: TestApp) {
    let acme = app.company("acme").await;
    with_secrets(&app, &acme).await;
    let values = sealed(&app, &acme).await;
    for (here, (place, _)) in values.iter().enumerate() {
        for (there, (_, value)) in values.iter().enumerate() {
            let opened = app.state.secret.open(place, value);
            assert_eq!(opened.is_ok(), here == there, "{place:?}");
        }
    }
    let other = Some(todo_platform::base::id::OrganizationId::from_uuid(Uuid::from_u128(7)));
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test")).await;
    let hook = scope.expect("a scope").find::<webhook::Entity>().one().await.expect("a row").expect("a webhook");
    assert!(app.state.secret.open(&Place::new(WEBHOOK, other, hook.id), &hook.secret).is_err());
}

#[databases]
async fn what_opens_under_no_secret_is_said(app: TestApp) {
    let acme = app.company("acme").await;
    with_secrets(&app, &acme).await;
    let third = "a third secret, of thirty-two bytes too";
    let (succeeded, said) = reencrypt(&app, third, &[]);
    assert!(!succeeded, "{said}");
    assert!(said.contains("SECRET_KEY"), "{said}");
    for (place, value) in sealed(&app, &acme).await {
        app.state.secret.open(&place, &value).expect("untouched");
    }
}
