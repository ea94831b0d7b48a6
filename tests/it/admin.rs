//! The operator's commands: the real binary, beside a running server and on the same database.

use chrono::Duration;
use serde_json::{Value, json};
use todo_platform::{
    base::enums::SecurityEventKind,
    data::entity::{security_event, user},
};

use crate::{
    items::mutate,
    plans::{plan_of, used},
    process::{Ended, KEY, Process, folder},
    support::{app::TestApp, client::problem, postgres, world::Company},
};
use sea_orm::ColumnTrait;
use todo_test_macros::databases;

fn settings(app: &TestApp) -> Vec<(&'static str, String)> {
    vec![
        ("DATABASE_URL", app.state.config.database.url.clone()),
        ("SECRET_KEY", KEY.to_owned()),
        ("TODO_DATABASE_MAX_CONNECTIONS", "4".to_owned()),
    ]
}

pub async fn process(app: &TestApp, arguments: &[&str], input: Option<&str>) -> Process {
    // Waiting for the command stops this test's one thread: a write left under way would keep the command from writing.
    app.settle().await;
    let folder = folder();
    let settings = settings(app);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let arguments = [&["admin"], arguments].concat();
    match input {
        Some(text) => Process::fed(folder.path(), &arguments, &settings, text),
        None => Process::spawn(folder.path(), &arguments, &settings),
    }
}

/// Runs `admin …`, which succeeds; gives what it printed.
pub async fn admin(app: &TestApp, arguments: &[&str]) -> String {
    succeeded(process(app, arguments, None).await.ended())
}

#[track_caller]
fn succeeded(ended: Ended) -> String {
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    ended.stdout
}

async fn sign_in(app: &TestApp, email: &str, password: &str) -> Value {
    let query = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: \
                 $password}) { accessToken refreshToken userErrors { code } } }";
    app.gql(query).vars(json!({ "email": email, "password": password })).done().await
}

/// The newest events of an organization, with who did what.
async fn told(app: &TestApp, token: &str, slug: &str) -> Vec<(String, String)> {
    let query = "{ events(last: 20) { nodes { type actor { displayName } } } }";
    let data = app.gql(query).token(token).at(slug).data().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = data["events"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| (text(&node["type"]), text(&node["actor"]["displayName"]))).collect()
}

fn by_system(kind: &str) -> (String, String) {
    (kind.to_owned(), "System".to_owned())
}

/// Identities are remembered for a second; what another process did is seen after it.
fn a_moment_later(app: &TestApp) {
    app.clock.advance(Duration::seconds(2));
}

async fn item_refused(app: &TestApp, acme: &Company) -> Vec<(String, String)> {
    mutate(app, acme, &acme.member, ("itemCreate", ""), json!({ "title": "one more" })).refused().await
}

#[databases]
async fn an_owner_is_made_with_the_organization(app: TestApp) {
    let create = [
        "create-owner",
        "--email",
        "Ann@Example.com",
        "--username",
        "ann",
        "--full-name",
        "Ann Onym",
        "--organization",
        "acme",
        "--name",
        "Acme Corp",
    ];
    let printed = admin(&app, &create).await;
    let mut lines = printed.lines();
    let sentence = lines.next().unwrap_or_default();
    assert!(
        sentence.contains("Ann@Example.com owns the organization acme") && sentence.contains("ENTERPRISE"),
        "{printed}"
    );
    let password = lines.next().expect("the password that was made up").to_owned();
    assert!(password.len() >= 20 && lines.next().is_none(), "{printed}");
    let ann = sign_in(&app, "ann@example.com", &password).await;
    let token = ann["accessToken"].as_str().expect("a token");
    let query = "{ viewer { role user { fullName } organization { name slug } } }";
    let viewer = app.gql(query).token(token).data().await;
    let expected = json!({ "role": "OWNER", "user": { "fullName": "Ann Onym" },
        "organization": { "name": "Acme Corp", "slug": "acme" } });
    assert_eq!(viewer["viewer"], expected);
    let events = vec![by_system("ORGANIZATION_CREATED"), by_system("MEMBER_JOINED")];
    assert_eq!(told(&app, token, "acme").await, events);

    // Again: everything is there, and the password is not made anew.
    let printed = admin(&app, &create).await;
    assert!(printed.contains("was there already") && printed.lines().count() == 1, "{printed}");
    assert_eq!(told(&app, token, "acme").await, events);
    sign_in(&app, "ann@example.com", &password).await;

    // Another one, into the same organization, with a password of the operator's.
    let second = [
        "create-owner",
        "--email",
        "bob@example.com",
        "--username",
        "bob",
        "--organization",
        "acme",
        "--password-stdin",
    ];
    let printed = succeeded(process(&app, &second, Some("chosen by the operator\n")).await.ended());
    assert!(printed.contains("the person is new.") && printed.lines().count() == 1, "{printed}");
    sign_in(&app, "bob@example.com", "chosen by the operator").await;
    assert_eq!(told(&app, token, "acme").await.last(), Some(&by_system("MEMBER_JOINED")));
}

#[databases]
async fn a_member_is_raised_to_owner(app: TestApp) {
    let acme = app.company("acme").await;
    let printed =
        admin(&app, &["create-owner", "--email", &acme.viewer.email, "--username", "x", "--organization", "acme"])
            .await;
    assert!(printed.contains("was there already"), "{printed}");
    a_moment_later(&app);
    let role = app.call(&acme, &acme.viewer, "{ viewer { role } }").data().await;
    assert_eq!(role["viewer"]["role"], "OWNER");
    assert_eq!(told(&app, &acme.owner.token, "acme").await.last(), Some(&by_system("MEMBER_UPDATED")));
    assert_eq!(used(&app, &acme, "MEMBERS").await, 4);
}

#[databases]
async fn an_owner_that_can_not_be_made_leaves_nothing(app: TestApp) {
    app.register("ann").await;
    let create = |email: &'static str, username: &'static str, slug: &'static str| {
        ["create-owner", "--email", email, "--username", username, "--organization", slug]
    };
    process(&app, &create("bob@example.com", "bob", "No Slug"), None).await.fails(&["--organization: 2 to 48"]);
    process(&app, &create("bob", "b", "acme"), None).await.fails(&["--email: ", "--username: "]);
    process(&app, &create("bob@example.com", "ann", "acme"), None).await.fails(&["--username: Already in use"]);
    let stdin = [&create("bob@example.com", "bob", "acme")[..], &["--password-stdin"]].concat();
    process(&app, &stdin, Some("short")).await.fails(&["the password: At least"]);
    process(&app, &stdin, Some("one line\nand another\n")).await.fails(&["more than one line"]);
    let people = app.state.db.find_global::<user::Entity>(user::Column::UsernameKey.eq("bob")).await.expect("people");
    assert!(people.is_empty());
    assert!(admin(&app, &["list-organizations"]).await.contains("0 organization(s)"));
}

#[databases]
async fn a_plan_is_set_by_the_rules_or_by_force(app: TestApp) {
    let acme = app.company("acme").await;
    app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let subtasks: Vec<Value> = (0..100).map(|n| json!({ "title": n.to_string() })).collect();
    app.create(&acme, &acme.member, "item", json!({ "title": "all", "subtasks": subtasks })).await;
    let printed = admin(&app, &["set-plan", "acme", "starter"]).await;
    assert_eq!(printed, "acme is now on the plan STARTER; it was on ENTERPRISE.\n");
    assert_eq!(told(&app, &acme.owner.token, "acme").await.last(), Some(&by_system("PLAN_CHANGED")));
    let printed = admin(&app, &["set-plan", &acme.id, "STARTER"]).await;
    assert!(printed.contains("already"), "{printed}");
    process(&app, &["set-plan", "acme", "FREE"], None).await.fails(&[
        "nothing was changed",
        "allows 100 items, 101 are in use",
        "does not include TEAMS",
        "--force",
    ]);
    a_moment_later(&app);
    assert_eq!(plan_of(&app, &acme).await["tier"], "STARTER");
    admin(&app, &["set-plan", "acme", "FREE", "--force"]).await;
    // Enforced at once, also by a server that has not noticed.
    assert_eq!(item_refused(&app, &acme).await, problem("QUOTA_EXCEEDED", "input"));
    a_moment_later(&app);
    assert_eq!(plan_of(&app, &acme).await["tier"], "FREE");

    process(&app, &["set-plan", "nobody", "FREE"], None).await.fails(&["there is no organization \"nobody\""]);
    let ended = process(&app, &["set-plan", "acme", "GOLD"], None).await.ended();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("PROFESSIONAL"), "{}", ended.stderr);
}

#[databases]
async fn organizations_are_listed(app: TestApp) {
    let acme = app.company("acme").await;
    let zeta = app.company("a-much-longer-name").await;
    app.item(&acme, "a").await;
    let id = app.item(&acme, "b").await;
    mutate(&app, &acme, &acme.member, ("itemDelete", ""), json!({ "id": id })).done().await;
    let listed: Value = serde_json::from_str(&admin(&app, &["list-organizations", "--json"]).await).expect("JSON");
    let row = |company: &Company, items: u32| {
        json!({ "id": company.id, "slug": company.slug, "plan": "ENTERPRISE",
        "members": 4, "items": items, "createdAt": "2026-03-02T09:00:00.000Z" })
    };
    assert_eq!(listed, json!([row(&zeta, 0), row(&acme, 1)]));
    let table = admin(&app, &["list-organizations"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((lines.len(), lines[3]), (4, "2 organization(s)"));
    for title in ["SLUG", "PLAN", "CREATED"] {
        let at = lines[0].find(title).expect("a title");
        for row in &lines[1..3] {
            assert_eq!(&row[at - 1..at], " ", "{table}");
            assert_ne!(&row[at..=at], " ", "{table}");
        }
    }
}

#[databases]
async fn a_person_is_signed_out_everywhere(app: TestApp) {
    let acme = app.company("acme").await;
    let second = sign_in(&app, &acme.owner.email, crate::support::world::PASSWORD).await;
    let printed = admin(&app, &["revoke-sessions", &acme.owner.email.to_uppercase()]).await;
    assert!(printed.starts_with("Ended 2 session(s) of acme-owner@example.com"), "{printed}");
    a_moment_later(&app);
    let second = second["accessToken"].as_str().expect("a token");
    for token in [acme.owner.token.as_str(), second] {
        assert_eq!(app.gql("{ viewer { role } }").token(token).error_code().await, "UNAUTHENTICATED");
    }
    let refresh =
        "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { userErrors { code path } } }";
    let refused = app.gql(refresh).vars(json!({ "token": acme.owner.refresh_token })).refused().await;
    assert_eq!(refused, problem("BAD_CREDENTIALS", "input.refreshToken"));
    app.call(&acme, &acme.admin, "{ viewer { role } }").data().await;
    let kind = security_event::Column::Kind.eq(SecurityEventKind::SessionsRevoked);
    let log = app.state.db.find_global::<security_event::Entity>(kind).await.expect("the log");
    let whose: Vec<String> = log.iter().map(|entry| entry.user_id.to_string()).collect();
    assert_eq!(whose.join(" "), acme.owner.id);
    process(&app, &["revoke-sessions", "nobody@example.com"], None).await.fails(&["nobody has the address"]);
}

#[databases]
async fn the_signing_key_is_rotated_under_a_running_server(app: TestApp) {
    let ann = app.register("ann").await;
    let printed = admin(&app, &["rotate-signing-key"]).await;
    assert!(printed.contains("signs from now on"), "{printed}");
    let key = printed.split_whitespace().nth(2).expect("the key's id").to_owned();
    app.state.keys.refresh().await.expect("the ring is read");
    app.gql("{ viewer { user { id } } }").token(&ann.token).data().await;
    let again = sign_in(&app, &ann.email, crate::support::world::PASSWORD).await;
    let again = again["accessToken"].as_str().expect("a token");
    app.gql("{ viewer { user { id } } }").token(again).data().await;
    assert_eq!(crate::keys::key_of(again), key);
}

/// Nothing is migrated from here, and nothing made.
#[tokio::test]
async fn a_database_that_lacks_schema_steps_is_left_alone() {
    let folder = folder();
    let commands: [&[&str]; 3] = [&["list-organizations"], &["set-plan", "acme", "FREE"], &["rotate-signing-key"]];
    for command in commands {
        Process::spawn(folder.path(), &[&["admin"], command].concat(), &[]).fails(&["lacks", "todo-platform migrate"]);
    }
    assert!(!folder.path().join("data/secret_key").exists());
    let Some(postgres) = postgres::server() else { return };
    let schema = postgres.create_schema().await;
    let url = postgres.schema_url(&schema);
    let settings = [("DATABASE_URL", url.as_str()), ("SECRET_KEY", KEY)];
    Process::spawn(folder.path(), &["admin", "list-organizations"], &settings)
        .fails(&["lacks", "todo-platform migrate"]);
    postgres.drop_schema(&schema).await;
}
