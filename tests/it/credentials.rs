//! Passwords, addresses, mailed tokens, and the end of an account.

use chrono::Duration;
use serde_json::{Value, json};
use todo_platform::{
    base::policy::Permission,
    data::{actor::Origin, db::identity::OrganizationChoice, entity::api_key},
    platform::auth::token::Verified,
};

use crate::{
    sessions::{log_of, sign_in},
    support::{
        app::TestApp,
        client::{Call, problem},
        world::{Company, PASSWORD, Person},
    },
};
use todo_test_macros::databases;

const NEW_PASSWORD: &str = "a longer horse battery";
const WHO: &str = "{ viewer { user { id } } }";
const SIGN_IN: &str = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: \
    $password}) { accessToken userErrors { code path } } }";
const CHANGE: &str = "mutation($current: String!, $new: String!) { passwordChange(input: {currentPassword: $current, \
    newPassword: $new}) { user { id } userErrors { code path } } }";
const REQUEST: &str =
    "mutation($email: String!) { passwordResetRequest(input: {email: $email}) { userErrors { code path } cursor } }";
const COMPLETE: &str = "mutation($token: String!, $password: String!) { passwordResetComplete(input: {token: $token, \
    newPassword: $password}) { accessToken viewer { user { id email emailVerifiedAt } } userErrors { code path } } }";
const VERIFY: &str = "mutation($token: String!) { emailVerify(input: {token: $token}) { user { email emailVerifiedAt \
    version } userErrors { code path } } }";
const MOVE: &str = "mutation($email: String!, $password: String!) { emailChangeRequest(input: {newEmail: $email, \
    password: $password}) { userErrors { code path } } }";
const DELETE: &str = "mutation($password: String!) { userDelete(input: {password: $password}) { deletedId \
    userErrors { code path details } } }";

const TO_VERIFY: &str = "Confirm your e-mail address";
const TO_RESET: &str = "Choose a new password";

fn signs_in<'a>(app: &'a TestApp, email: &str, password: &str) -> Call<'a> {
    app.gql(SIGN_IN).vars(json!({ "email": email, "password": password }))
}

fn moves<'a>(app: &'a TestApp, person: &Person, to: &str) -> Call<'a> {
    app.gql(MOVE).vars(json!({ "email": to, "password": PASSWORD })).token(&person.token)
}

fn verifies<'a>(app: &'a TestApp, token: &str) -> Call<'a> {
    app.gql(VERIFY).vars(json!({ "token": token }))
}

fn completes<'a>(app: &'a TestApp, token: &str) -> Call<'a> {
    app.gql(COMPLETE).vars(json!({ "token": token, "password": NEW_PASSWORD }))
}

/// Asks for a reset; gives the mailed token.
async fn reset_token(app: &TestApp, person: &Person) -> String {
    app.gql(REQUEST).vars(json!({ "email": person.email })).done().await;
    app.email(&person.email, TO_RESET).await.token()
}

/// An API key that a member made, with all scopes; gives its text.
async fn api_key(app: &TestApp, company: &Company, person: &Person) -> String {
    let text = app.state.mint.mint().expect("a key");
    let Verified::Good { user, session, .. } = app.state.keys.verify(&person.token).await.expect("the key ring") else {
        panic!("a live token");
    };
    let choice = OrganizationChoice::Slug(company.slug.clone());
    let signed_in = app.state.db.identify(session, user, Some(&choice)).await.expect("a database");
    let signed_in = signed_in.expect("a session");
    let scope = signed_in.scope(&app.state.db, 0, Origin::command("test")).expect("a membership");
    let tx = scope.write(Permission::ApiKeyManage).await.expect("a write");
    let scopes: Vec<String> = Permission::all().map(Permission::name).collect();
    tx.insert(api_key::Model {
        id: app.clock.new_id(),
        name: "robot".to_owned(),
        lookup: text.lookup,
        secret_hash: text.hash,
        previous_hash: None,
        previous_until: None,
        scopes: json!(scopes),
        ip_allowlist: json!([]),
        created_by_id: user,
        created_at: app.clock.now(),
        last_used_at: None,
        expires_at: None,
        revoked_at: None,
        version: 1,
        organization_id: scope.organization_id(),
        hash_secret_id: None,
        created_by_key_id: None,
        document_set_id: None,
    })
    .await
    .expect("a row");
    tx.commit_unrecorded((), "made by a test").await.expect("a commit");
    text.text
}

/// Somebody else's answer to the same question, errors and all, under one request id.
async fn answer(call: Call<'_>) -> Value {
    call.header("x-request-id", "same").answer().await
}

#[databases]
async fn changing_the_password_ends_the_other_sessions(app: TestApp) {
    let ann = app.register("ann").await;
    let other = sign_in(&app, &ann, "a phone").await;
    let change =
        |current: &str, new: &str| app.gql(CHANGE).vars(json!({ "current": current, "new": new })).token(&ann.token);
    assert_eq!(change("not it", NEW_PASSWORD).refused().await, problem("BAD_CREDENTIALS", "input.currentPassword"));
    assert_eq!(change(PASSWORD, "short").refused().await, problem("TOO_SHORT", "input.newPassword"));
    app.gql(WHO).token(&other).data().await;

    let reset = reset_token(&app, &ann).await;
    let changed = change(PASSWORD, NEW_PASSWORD).done().await;
    assert_eq!(changed["user"]["id"], json!(ann.id));
    assert_eq!(app.gql(WHO).token(&other).reply().await.status, 401);
    app.gql(WHO).token(&ann.token).data().await;
    assert_eq!(signs_in(&app, &ann.email, PASSWORD).refused().await, problem("BAD_CREDENTIALS", "input"));
    // What failed is written down after the answer.
    app.settle().await;
    signs_in(&app, &ann.email, NEW_PASSWORD).done().await;
    assert_eq!(completes(&app, &reset).refused().await, problem("BAD_CREDENTIALS", "input.token"), "void by now");

    app.email(&ann.email, "Your password was changed").await;
    let log = log_of(&app, &ann.token).await;
    assert_eq!(log[..3], ["SIGNED_IN", "SIGN_IN_FAILED", "PASSWORD_CHANGED"]);
}

#[databases]
async fn a_reset_request_tells_nothing(app: TestApp) {
    let ann = app.register("ann").await;
    let mut seen = Vec::new();
    for email in [ann.email.as_str(), "nobody@example.com", "no address at all", "\0"] {
        app.settle().await;
        app.take_statements();
        let answer = answer(app.gql(REQUEST).vars(json!({ "email": email }))).await;
        let mut statements = app.take_statements();
        // What is done after the answer may have begun: it looks for the person, locked.
        statements.truncate(3);
        seen.push((answer, statements));
    }
    assert_eq!(seen[0].0, json!({ "data": { "passwordResetRequest": { "userErrors": [], "cursor": null } } }));
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    let messages = app.emails_to(&ann.email).await;
    let subjects: Vec<&str> = messages.iter().map(|message| message.header("subject")).collect();
    assert_eq!(subjects, [TO_VERIFY, TO_RESET]);
    assert!(app.emails_to("nobody@example.com").await.is_empty());
}

#[databases]
async fn a_mailed_token_sets_a_new_password_once(app: TestApp) {
    let ann = app.register("ann").await;
    let voided = reset_token(&app, &ann).await;
    let token = reset_token(&app, &ann).await;
    assert_eq!(completes(&app, &voided).refused().await, problem("BAD_CREDENTIALS", "input.token"));
    assert_eq!(completes(&app, "made up").refused().await, problem("BAD_CREDENTIALS", "input.token"));
    // A new password that will not do leaves the token as it is.
    let weak = app.gql(COMPLETE).vars(json!({ "token": token, "password": "short" }));
    assert_eq!(weak.refused().await, problem("TOO_SHORT", "input.newPassword"));

    let signed_in = completes(&app, &token).done().await;
    let user = &signed_in["viewer"]["user"];
    assert_eq!(user["id"], json!(ann.id));
    assert!(user["emailVerifiedAt"].is_string(), "whoever reads the mail has the address");
    let access = signed_in["accessToken"].as_str().expect("a token");
    app.gql(WHO).token(access).data().await;
    assert_eq!(app.gql(WHO).token(&ann.token).reply().await.status, 401, "every session before has ended");
    assert_eq!(signs_in(&app, &ann.email, PASSWORD).refused().await, problem("BAD_CREDENTIALS", "input"));
    signs_in(&app, &ann.email, NEW_PASSWORD).done().await;

    assert_eq!(completes(&app, &token).refused().await, problem("BAD_CREDENTIALS", "input.token"), "used");
    app.email(&ann.email, "Your password was changed").await;
    let log = log_of(&app, access).await;
    let reset = log.iter().position(|kind| kind == "PASSWORD_RESET").expect("a reset in the log");
    assert_eq!(log[reset..], ["PASSWORD_RESET", "PASSWORD_RESET_REQUESTED", "PASSWORD_RESET_REQUESTED", "SIGNED_IN"]);
}

/// Two browsers, one token: it is redeemed under a lock.
#[databases]
async fn a_token_that_comes_twice_at_once_works_once(app: TestApp) {
    let ann = app.register("ann").await;
    let token = reset_token(&app, &ann).await;
    let answers = futures_util::future::join_all((0..4).map(|_| completes(&app, &token).answer())).await;
    let worked = answers.iter().filter(|answer| answer["data"]["passwordResetComplete"]["accessToken"].is_string());
    assert_eq!(worked.count(), 1, "{answers:#?}");
}

#[databases]
async fn a_token_ends_after_its_time_and_serves_one_purpose(app: TestApp) {
    let ann = app.register("ann").await;
    let verification = app.email(&ann.email, TO_VERIFY).await.token();
    let reset = reset_token(&app, &ann).await;
    assert_eq!(completes(&app, &verification).refused().await, problem("BAD_CREDENTIALS", "input.token"));
    assert_eq!(verifies(&app, &reset).refused().await, problem("BAD_CREDENTIALS", "input.token"));
    app.clock.advance(Duration::minutes(59));
    let late = reset_token(&app, &ann).await;
    app.clock.advance(Duration::minutes(60));
    assert_eq!(completes(&app, &late).refused().await, problem("EXPIRED", "input.token"));
    app.clock.advance(Duration::minutes(22 * 60 + 1));
    assert_eq!(verifies(&app, &verification).refused().await, problem("EXPIRED", "input.token"));
}

#[databases]
async fn a_new_account_proves_its_address_by_mail(app: TestApp) {
    let ann = app.register("ann").await;
    let token = app.email(&ann.email, TO_VERIFY).await.token();
    let verified = verifies(&app, &token).done().await;
    assert_eq!(verified["user"]["email"], json!(ann.email));
    assert!(verified["user"]["emailVerifiedAt"].is_string());
    assert_eq!(verifies(&app, &token).refused().await, problem("BAD_CREDENTIALS", "input.token"));
    assert_eq!(log_of(&app, &ann.token).await, ["EMAIL_VERIFIED", "SIGNED_IN"]);
    // Now invitations to the address show, and may be accepted by id.
    let acme = app.company("acme").await;
    let invite = "mutation { invitationCreate(input: {email: \"ann@example.com\"}) { userErrors { code } } }";
    app.call(&acme, &acme.owner, invite).done().await;
    let seen = app.gql("{ viewer { invitations { organizationName } } }").token(&ann.token).data().await;
    assert_eq!(seen["viewer"]["invitations"], json!([{ "organizationName": "acme" }]));
}

#[databases]
async fn an_address_changes_once_the_new_one_is_proven(app: TestApp) {
    let acme = app.company("acme").await;
    let ann = &acme.member;
    let wrong = app.gql(MOVE).vars(json!({ "email": "new@example.com", "password": "not it" })).token(&ann.token);
    assert_eq!(wrong.refused().await, problem("BAD_CREDENTIALS", "input.password"));
    assert_eq!(moves(&app, ann, "nowhere").refused().await, problem("INVALID", "input.newEmail"));
    for taken in [&acme.owner.email, &ann.email.to_uppercase()] {
        assert_eq!(moves(&app, ann, taken).refused().await, problem("TAKEN", "input.newEmail"));
    }
    let reset = reset_token(&app, ann).await;
    moves(&app, ann, "New@Example.com").done().await;
    let token = app.email("New@Example.com", "Confirm your new e-mail address").await.token();
    let mine = app.gql("{ viewer { user { email } } }").token(&ann.token).data().await;
    assert_eq!(mine["viewer"]["user"]["email"], json!(ann.email), "the old one stays until then");
    signs_in(&app, &ann.email, PASSWORD).done().await;

    let moved = verifies(&app, &token).done().await;
    assert_eq!(moved["user"]["email"], json!("New@Example.com"));
    assert_eq!(moved["user"]["version"], json!(2));
    signs_in(&app, "new@example.com", PASSWORD).done().await;
    assert_eq!(signs_in(&app, &ann.email, PASSWORD).refused().await, problem("BAD_CREDENTIALS", "input"));
    app.email(&ann.email, "Your e-mail address was changed").await;
    assert_eq!(
        completes(&app, &reset).refused().await,
        problem("BAD_CREDENTIALS", "input.token"),
        "mailed to the old one"
    );

    let log = log_of(&app, &ann.token).await;
    assert!(log.iter().any(|kind| kind == "EMAIL_CHANGE_REQUESTED") && log.iter().any(|kind| kind == "EMAIL_VERIFIED"));
    let feed =
        app.call(&acme, &acme.owner, "{ events(last: 1) { nodes { type subjectId changes { field } } } }").data().await;
    let expected = json!({ "type": "MEMBER_UPDATED", "subjectId": ann.membership_id, "changes": [] });
    assert_eq!(feed["events"]["nodes"][0], expected, "fellow members' clients hear of it, without the addresses");
}

#[databases]
async fn an_address_that_was_taken_meanwhile_stays_whose_it_is(app: TestApp) {
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    moves(&app, &ann, "shared@example.com").done().await;
    moves(&app, &bob, "shared@example.com").done().await;
    let mut tokens: Vec<String> =
        app.emails_to("shared@example.com").await.iter().map(|message| message.token()).collect();
    let (bobs, anns) = (tokens.pop().expect("Bob's"), tokens.pop().expect("Ann's"));
    verifies(&app, &bobs).done().await;
    assert_eq!(verifies(&app, &anns).refused().await, problem("TAKEN", "input.token"));
    signs_in(&app, &ann.email, PASSWORD).done().await;
}

#[databases]
async fn the_last_owner_can_not_delete_their_account(app: TestApp) {
    let acme = app.company("acme").await;
    let side = app.found(&acme.owner, "side").await;
    let delete = app.gql(DELETE).vars(json!({ "password": PASSWORD })).token(&acme.owner.token);
    let payload = delete.data().await["userDelete"].clone();
    let error = &payload["userErrors"][0];
    assert_eq!((&error["code"], &error["path"]), (&json!("LAST_OWNER"), &json!(["input"])));
    let slugs: Vec<&Value> =
        error["details"]["organizations"].as_array().expect("a list").iter().map(|o| &o["slug"]).collect();
    assert_eq!(slugs, [&json!("acme"), &json!("side")]);
    assert_eq!(error["details"]["organizations"][1]["id"], json!(side));
    // Nothing was half done.
    let members = app.call(&acme, &acme.owner, "{ organization { members { totalCount } } }").data().await;
    assert_eq!(members["organization"]["members"]["totalCount"], json!(4));
}

#[databases]
async fn a_deleted_account_leaves_its_work_and_nothing_else(app: TestApp) {
    let acme = app.company("acme").await;
    let ann = &acme.admin;
    app.found(&acme.owner, "side").await;
    app.gql("mutation { invitationCreate(input: {email: \"acme-admin@example.com\"}) { token userErrors { code } } }")
        .token(&acme.owner.token)
        .at("side")
        .done()
        .await;
    let token = app.email(&ann.email, "Invitation to side").await.token();
    let accept = "mutation($token: String!) { invitationAccept(input: {token: $token}) { userErrors { code } } }";
    app.gql(accept).vars(json!({ "token": token })).token(&ann.token).done().await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core", "memberIds": [ann.id] })).await;
    let item = app.create(&acme, ann, "item", json!({ "title": "Hers", "assigneeIds": [ann.id] })).await;
    let key = api_key(&app, &acme, ann).await;
    app.gql("{ viewer { role } }").header("x-api-key", &key).data().await;

    let delete = |password: &str| app.gql(DELETE).vars(json!({ "password": password })).token(&ann.token);
    assert_eq!(delete("not it").refused().await, problem("BAD_CREDENTIALS", "input.password"));
    assert_eq!(delete(PASSWORD).done().await["deletedId"], json!(ann.id));

    assert_eq!(app.gql(WHO).token(&ann.token).reply().await.status, 401);
    assert_eq!(app.gql(WHO).header("x-api-key", &key).reply().await.status, 401);
    assert_eq!(signs_in(&app, &ann.email, PASSWORD).refused().await, problem("BAD_CREDENTIALS", "input"));
    let query = "query($item: ID!, $team: ID!, $user: ID!) { item(id: $item) { assignees { id } createdBy { \
                 __typename id displayName } } team: node(id: $team) { ... on Team { members { totalCount } } } \
                 user: node(id: $user) { id } \
                 events(last: 3) { nodes { type subjectId actor { displayName } changes { field } } } }";
    let vars = json!({ "item": item, "team": team, "user": ann.id });
    let data = app.call(&acme, &acme.owner, query).vars(vars).data().await;
    assert_eq!(data["item"]["assignees"], json!([]));
    let nameless = json!({ "__typename": "SystemActor", "id": ann.id, "displayName": "Deleted user" });
    assert_eq!(data["item"]["createdBy"], nameless);
    assert_eq!(data["team"]["members"]["totalCount"], json!(0));
    assert_eq!(data["user"], Value::Null);
    let events = data["events"]["nodes"].as_array().expect("events");
    let types: Vec<&Value> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, [&json!("ITEM_UPDATED"), &json!("API_KEY_REVOKED"), &json!("MEMBER_REMOVED")]);
    assert_eq!(events[1]["changes"], json!([{ "field": "revokedAt" }]));
    assert_eq!(events[2]["subjectId"], json!(ann.membership_id));
    assert_eq!(events[2]["actor"]["displayName"], json!("Deleted user"));
    let side = app.gql("{ events(last: 1) { nodes { type } } }").token(&acme.owner.token).at("side").data().await;
    assert_eq!(side["events"]["nodes"], json!([{ "type": "MEMBER_REMOVED" }]));
    // The address is free again.
    app.register("acme-admin").await;
}

#[databases]
async fn a_member_who_is_removed_takes_their_keys_along(app: TestApp) {
    let acme = app.company("acme").await;
    let key = api_key(&app, &acme, &acme.admin).await;
    app.gql(WHO).header("x-api-key", &key).data().await;
    let remove = "mutation($id: ID!) { membershipRemove(input: {id: $id}) { userErrors { code } } }";
    app.call(&acme, &acme.owner, remove).vars(json!({ "id": acme.admin.membership_id })).done().await;
    let reply = app.gql(WHO).header("x-api-key", &key).reply().await;
    assert_eq!(reply.json()["errors"][0]["extensions"]["reason"], json!("REVOKED"));
    let feed = app.call(&acme, &acme.owner, "{ events(last: 2) { nodes { type } } }").data().await;
    assert_eq!(feed["events"]["nodes"], json!([{ "type": "API_KEY_REVOKED" }, { "type": "MEMBER_REMOVED" }]));
}

#[databases]
async fn an_api_key_has_no_account(app: TestApp) {
    let acme = app.company("acme").await;
    let key = api_key(&app, &acme, &acme.owner).await;
    for (query, vars) in [
        (CHANGE, json!({ "current": PASSWORD, "new": NEW_PASSWORD })),
        (MOVE, json!({ "email": "new@example.com", "password": PASSWORD })),
        (DELETE, json!({ "password": PASSWORD })),
        ("mutation { sessionRevoke(input: {everywhere: true}) { userErrors { code } } }", json!({})),
    ] {
        let code = app.gql(query).vars(vars).header("x-api-key", &key).error_code().await;
        assert_eq!(code, "FORBIDDEN", "{query}");
    }
    let query = "{ viewer { user { id } sessions { id } securityEvents { totalCount nodes { id } } } }";
    let seen = app.gql(query).header("x-api-key", &key).data().await;
    let empty = json!({ "user": null, "sessions": [], "securityEvents": { "totalCount": 0, "nodes": [] } });
    assert_eq!(seen["viewer"], empty);
    app.gql(WHO).token(&acme.owner.token).data().await;
}

#[databases]
async fn wrong_passwords_count_wherever_they_are_typed_and_on_every_instance(app: TestApp) {
    let ann = app.register("ann").await;
    let second = app.another_instance(|_| ()).await;
    for instance in [&app, &second] {
        let vars = json!({ "current": "no", "new": NEW_PASSWORD });
        let change = instance.gql(CHANGE).vars(vars).token(&ann.token);
        assert_eq!(change.refused().await, problem("BAD_CREDENTIALS", "input.currentPassword"));
        app.clock.advance(Duration::seconds(30));
    }
    assert_eq!(signs_in(&second, &ann.email, "no").refused().await, problem("BAD_CREDENTIALS", "input"));
    let delete = app.gql(DELETE).vars(json!({ "password": "no" })).token(&ann.token);
    assert_eq!(delete.refused().await, problem("BAD_CREDENTIALS", "input.password"));
    let moved = second.gql(MOVE).vars(json!({ "email": "x@example.com", "password": "no" })).token(&ann.token);
    assert_eq!(moved.refused().await, problem("BAD_CREDENTIALS", "input.password"));

    // The right one comes too late, on both; the first try leaves the window in fourteen minutes.
    for instance in [&app, &second] {
        let vars = json!({ "current": PASSWORD, "new": NEW_PASSWORD });
        let reply = instance.gql(CHANGE).vars(vars).token(&ann.token).reply().await;
        let extensions = reply.json()["errors"][0]["extensions"].clone();
        assert_eq!((&extensions["code"], &extensions["retryAfterSeconds"]), (&json!("RATE_LIMITED"), &json!(14 * 60)));
        assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, "840"));
    }
    app.clock.advance(Duration::seconds(14 * 60));
    app.gql(CHANGE).vars(json!({ "current": PASSWORD, "new": NEW_PASSWORD })).token(&ann.token).done().await;
    second.settle().await;
    second.state.db.close().await;
}

#[databases]
async fn resets_may_be_asked_for_after_the_last_wrong_password_but_not_for_ever(app: TestApp) {
    let ann = app.register("ann").await;
    for _ in 0..5 {
        signs_in(&app, &ann.email, "no").refused().await;
    }
    assert_eq!(signs_in(&app, &ann.email, PASSWORD).error_code().await, "RATE_LIMITED");
    let token = reset_token(&app, &ann).await;
    completes(&app, &token).done().await;
    // Whoever has shown that the account is theirs may sign in from here again.
    signs_in(&app, &ann.email, NEW_PASSWORD).done().await;
    for email in [ann.email.as_str(), "nobody@example.com"] {
        let asked = if email == ann.email { 1 } else { 0 };
        for _ in asked..5 {
            app.gql(REQUEST).vars(json!({ "email": email })).done().await;
        }
        assert_eq!(app.gql(REQUEST).vars(json!({ "email": email })).error_code().await, "RATE_LIMITED", "{email}");
    }
}

#[databases]
async fn tokens_are_not_to_be_guessed(app: TestApp) {
    for number in 0..50 {
        let guess = format!("guess {number}");
        let call = if number % 2 == 0 { verifies(&app, &guess) } else { completes(&app, &guess) };
        assert_eq!(call.refused().await, problem("BAD_CREDENTIALS", "input.token"));
    }
    assert_eq!(verifies(&app, "one more").error_code().await, "RATE_LIMITED");
    assert_eq!(completes(&app, "one more").error_code().await, "RATE_LIMITED");
    app.clock.advance(Duration::hours(1));
    assert_eq!(verifies(&app, "an hour later").refused().await, problem("BAD_CREDENTIALS", "input.token"));
}

/// Headers are built from addresses that were checked, and names stay on their line.
#[databases]
async fn nobody_writes_into_a_letters_headers(app: TestApp) {
    let register = "mutation($input: UserRegisterInput!) { userRegister(input: $input) { accessToken viewer { user { id } } userErrors { code path } } }";
    let input = |email: &str| {
        json!({ "input": {
        "email": email, "username": "eve", "password": PASSWORD,
        "fullName": "Eve\r\nBcc: all@example.com\r\n\r\nClick here\u{2028}now",
    } })
    };
    for email in [
        "eve@example.com\r\nBcc: all@example.com",
        "eve@example.com,all@example.com",
        "eve@exa mple.com",
        "<eve@example.com>",
        "Eve <eve@example.com>",
    ] {
        assert_eq!(app.gql(register).vars(input(email)).refused().await, problem("INVALID", "input.email"), "{email}");
    }
    let eve = app.gql(register).vars(input("eve@example.com")).done().await;
    let token = eve["accessToken"].as_str().expect("a token");
    let message = app.email("eve@example.com", TO_VERIFY).await;
    assert!(message.text.starts_with("Hello Eve Bcc: all@example.com Click here now,\n"), "{}", message.text);

    let found = "mutation { organizationCreate(input: {name: \"Acme\\r\\nBcc: all@example.com\", slug: \"acme\"}) { userErrors { code } } }";
    app.gql(found).token(token).done().await;
    let invite =
        "mutation { invitationCreate(input: {email: \"bob@example.com\"}) { invitation { id } userErrors { code } } }";
    let invited = app.gql(invite).token(token).done().await;
    let invitation = app.email("bob@example.com", "Invitation to Acme Bcc: all@example.com").await;
    for message in [&message, &invitation] {
        let names: Vec<&str> = message.headers.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["From", "To", "Date", "Message-ID", "Subject", "Content-Type", "Content-Transfer-Encoding"];
        let mut sorted = (names.clone(), expected.to_vec());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1);
        assert_eq!(message.header("date"), "Mon, 02 Mar 2026 09:00:00 +0000");
        assert_eq!(message.header("from"), "\"Todo Platform\" <no-reply@localhost>");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &std::path::Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
            assert_eq!(mode(&message.path), 0o600);
            assert_eq!(mode(message.path.parent().expect("a folder")), 0o700);
        }
    }
    // Sent again: another token, the old one void.
    let resend = "mutation($id: ID!) { invitationResend(input: {id: $id}) { userErrors { code } } }";
    app.gql(resend).vars(json!({ "id": invited["invitation"]["id"] })).token(token).done().await;
    let again = app.email("bob@example.com", "Invitation to Acme Bcc: all@example.com").await;
    assert_ne!(again.token(), invitation.token());
    let join = |token: String| {
        let input =
            json!({ "email": "bob@example.com", "username": "bob", "password": PASSWORD, "invitationToken": token });
        app.gql(register).vars(json!({ "input": input }))
    };
    assert_eq!(join(invitation.token()).refused().await, problem("NOT_FOUND", "input.invitationToken"));
    join(again.token()).done().await;
    assert_eq!(app.emails_to("bob@example.com").await.len(), 2, "the invitation has proven the address");
}

/// One a document: aliases must not multiply the tries.
#[tokio::test]
async fn a_document_tries_one_password_or_token() {
    let app = TestApp::start(&[]).await;
    let fields = [
        "sessionCreate(input: {email: \"a@b.co\", password: \"x\"}) { accessToken }",
        "userRegister(input: {email: \"a@b.co\", username: \"ab\", password: \"x\"}) { accessToken }",
        "userDelete(input: {password: \"x\"}) { deletedId }",
        "passwordChange(input: {currentPassword: \"x\", newPassword: \"y\"}) { user { id } }",
        "passwordResetRequest(input: {email: \"a@b.co\"}) { cursor }",
        "passwordResetComplete(input: {token: \"x\", newPassword: \"y\"}) { accessToken }",
        "emailChangeRequest(input: {newEmail: \"a@b.co\", password: \"x\"}) { cursor }",
        "emailVerify(input: {token: \"x\"}) { user { id } }",
    ];
    for (place, field) in fields.iter().enumerate() {
        let other = fields[(place + 1) % fields.len()];
        for second in [field, &other] {
            let document = format!("mutation {{ a: {field} b: {second} }}");
            assert_eq!(app.gql(document).error_code().await, "BAD_REQUEST", "{field} {second}");
        }
    }
}
