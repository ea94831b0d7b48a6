//! Registration, sessions, profiles.

use std::collections::BTreeSet;

use chrono::Duration;
use serde_json::json;

use crate::support::{
    app::TestApp,
    client::problem,
    world::{PASSWORD, Person},
};
use todo_test_macros::databases;

const SIGN_IN: &str = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, \
    password: $password}) { accessToken refreshToken viewer { user { id email } organization { slug } } \
    userErrors { code path message } } }";
const REFRESH: &str = "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { accessToken \
    refreshToken userErrors { code path message } } }";
const WHO: &str = "{ viewer { user { id } } }";

fn credentials(person: &Person) -> serde_json::Value {
    json!({ "email": person.email, "password": PASSWORD })
}

/// The original's integer subject locked everybody out.
#[databases]
async fn who_registers_can_sign_in_and_is_recognised(app: TestApp) {
    let ann = app.register("ann").await;
    let payload = app.gql(SIGN_IN).vars(credentials(&ann)).done().await;
    assert_eq!(payload["viewer"]["user"], json!({ "id": ann.id, "email": ann.email }));
    let token = payload["accessToken"].as_str().expect("a token");
    assert_eq!(app.gql(WHO).token(token).data().await["viewer"]["user"]["id"], json!(ann.id));
}

#[databases]
async fn a_wrong_password_and_an_unknown_account_are_answered_alike(app: TestApp) {
    let ann = app.register("ann").await;
    let wrong = json!({ "email": ann.email, "password": "not her password" });
    let unknown = json!({ "email": "nobody@example.com", "password": "not her password" });
    let mut answers = Vec::new();
    for variables in [wrong, unknown] {
        answers.push(app.gql(SIGN_IN).vars(variables).header("x-request-id", "same").answer().await);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0]["data"]["sessionCreate"]["userErrors"][0]["code"], json!("BAD_CREDENTIALS"));
}

#[databases]
async fn a_sixth_wrong_password_is_refused_even_when_right(app: TestApp) {
    let ann = app.register("ann").await;
    for _ in 0..5 {
        let wrong = json!({ "email": ann.email, "password": "not her password" });
        assert_eq!(app.gql(SIGN_IN).vars(wrong).refused().await, problem("BAD_CREDENTIALS", "input"));
    }
    let reply = app.gql(SIGN_IN).vars(credentials(&ann)).reply().await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], json!("RATE_LIMITED"));
    app.clock.advance(Duration::minutes(16));
    app.gql(SIGN_IN).vars(credentials(&ann)).done().await;
}

#[databases]
async fn an_alias_can_not_multiply_the_tries(app: TestApp) {
    let twice = "mutation { a: sessionCreate(input: {email: \"a@b.co\", password: \"x\"}) { accessToken } \
                 b: sessionCreate(input: {email: \"a@b.co\", password: \"y\"}) { accessToken } }";
    assert_eq!(app.gql(twice).error_code().await, "BAD_REQUEST");
}

#[databases]
async fn a_refresh_token_works_once_and_its_return_ends_the_session(app: TestApp) {
    let ann = app.register("ann").await;
    let first = app.gql(REFRESH).vars(json!({ "token": ann.refresh_token })).done().await;
    // Two tabs at once: within the overlap, the same token still gives a pair.
    let second = app.gql(REFRESH).vars(json!({ "token": ann.refresh_token })).done().await;
    assert_eq!(first["refreshToken"], second["refreshToken"], "one family, one successor");
    app.clock.advance(Duration::seconds(11));
    let stolen = app.gql(REFRESH).vars(json!({ "token": ann.refresh_token })).refused().await;
    assert_eq!(stolen, problem("BAD_CREDENTIALS", "input.refreshToken"));
    // The whole family is gone: the newest tokens too.
    let newest = app.gql(REFRESH).vars(json!({ "token": second["refreshToken"] })).refused().await;
    assert_eq!(newest, problem("BAD_CREDENTIALS", "input.refreshToken"));
    let reply = app.gql(WHO).token(second["accessToken"].as_str().expect("a token")).reply().await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.json()["errors"][0]["extensions"]["code"], json!("UNAUTHENTICATED"));
}

/// Two thousand live branches came of one token within its overlap.
#[databases]
async fn a_family_of_refresh_tokens_never_forks(app: TestApp) {
    let ann = app.register("ann").await;
    let trade = |token: String| app.gql(REFRESH).vars(json!({ "token": token }));
    let trades = (0..60).map(|_| trade(ann.refresh_token.clone()).done());
    let answers = futures_util::future::join_all(trades).await;
    let successors: BTreeSet<String> = answers.iter().map(|answer| answer["refreshToken"].to_string()).collect();
    assert_eq!(successors.len(), 1, "{successors:?}");
    for answer in answers.iter().take(3) {
        app.gql(WHO).token(answer["accessToken"].as_str().expect("a token")).data().await;
    }
    // Another instance, and one whose clock went on, answer the same.
    let other = app.another_instance(|_| {}).await;
    app.clock.advance(Duration::seconds(9));
    let there = other.gql(REFRESH).vars(json!({ "token": ann.refresh_token })).done().await;
    assert_eq!(there["refreshToken"], answers[0]["refreshToken"]);
    // Once the successor has been traded, its parent gives nothing any more, and harms nobody.
    let successor = answers[0]["refreshToken"].as_str().expect("a token").to_owned();
    let next = trade(successor).done().await;
    let refused = trade(ann.refresh_token.clone()).refused().await;
    assert_eq!(refused, problem("BAD_CREDENTIALS", "input.refreshToken"));
    app.gql(WHO).token(next["accessToken"].as_str().expect("a token")).data().await;
    let newest = trade(next["refreshToken"].as_str().expect("a token").to_owned()).done().await;
    assert_ne!(newest["refreshToken"], next["refreshToken"]);
    // Outside the overlap it ends the family.
    app.clock.advance(Duration::seconds(2));
    trade(ann.refresh_token.clone()).refused().await;
    assert_eq!(app.gql(WHO).token(newest["accessToken"].as_str().expect("a token")).reply().await.status, 401);
}

#[databases]
async fn an_access_token_ends_after_its_time_and_can_not_be_forged(app: TestApp) {
    let ann = app.register("ann").await;
    let mut forged = ann.token.clone();
    let last = if forged.pop() == Some('A') { 'Q' } else { 'A' };
    forged.push(last);
    let none = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJub25lIn0.eyJzdWIiOiJ1c3JfMDEifQ.";
    for token in [forged.as_str(), none, "nonsense", "a.b.c"] {
        let reply = app.gql(WHO).token(token).reply().await;
        assert_eq!(reply.status, 401, "{token}");
    }
    app.clock.advance(Duration::minutes(16));
    assert_eq!(app.gql(WHO).token(&ann.token).reply().await.status, 401);
    // Refreshing works although the stale token is still sent along.
    app.gql(REFRESH).vars(json!({ "token": ann.refresh_token })).token(&ann.token).done().await;
}

#[databases]
async fn signing_out_ends_the_session_at_once(app: TestApp) {
    let ann = app.register("ann").await;
    let out = "mutation { sessionRevoke(input: {}) { deletedId userErrors { code } } }";
    app.gql(out).token(&ann.token).done().await;
    assert_eq!(app.gql(WHO).token(&ann.token).reply().await.status, 401);
    let refreshed = app.gql(REFRESH).vars(json!({ "token": ann.refresh_token })).refused().await;
    assert_eq!(refreshed, problem("BAD_CREDENTIALS", "input.refreshToken"));
}

#[databases]
async fn a_session_of_somebody_else_can_not_be_ended(app: TestApp) {
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    let claims = bob.token.split('.').nth(1).expect("a JWT");
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).expect("base64");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("claims");
    let out = "mutation($id: ID!) { sessionRevoke(input: {id: $id}) { deletedId userErrors { code path } } }";
    let refused = app.gql(out).vars(json!({ "id": claims["sid"] })).token(&ann.token).refused().await;
    assert_eq!(refused, problem("NOT_FOUND", "input.id"));
    app.gql(WHO).token(&bob.token).data().await;
}

/// The original accepted any `organization_id` at registration.
#[databases]
async fn registering_into_an_organization_takes_an_invitation(app: TestApp) {
    let acme = app.company("acme").await;
    let named = format!(
        "mutation {{ userRegister(input: {{email: \"x1@example.com\", username: \"x1\", password: \"password1\", \
         organizationId: \"{}\"}}) {{ accessToken }} }}",
        acme.id
    );
    assert_eq!(app.gql(named).error_code().await, "GRAPHQL_VALIDATION_FAILED");
    let register = "mutation { userRegister(input: {email: \"x1@example.com\", username: \"x1\", \
        password: \"password1\", invitationToken: \"made-up\"}) { accessToken userErrors { code path } } }";
    assert_eq!(app.gql(register).refused().await, problem("NOT_FOUND", "input.invitationToken"));
    // Nothing was half-done: the address is still free.
    app.register("x1").await;
    let lonely = app.register("lonely").await;
    let code = app.gql("{ organization { id } }").token(&lonely.token).at("acme").error_code().await;
    assert_eq!(code, "ORGANIZATION_REQUIRED");
}

#[databases]
async fn what_is_wrong_with_a_registration_is_said_at_once(app: TestApp) {
    app.register("ann").await;
    let register = "mutation($input: UserRegisterInput!) { userRegister(input: $input) { accessToken \
                    userErrors { code path message } } }";
    let wrong = json!({ "input": {
        "email": "nowhere", "username": "a b", "password": "short", "timeZone": "Moon/Crater",
    } });
    let refused = app.gql(register).vars(wrong).refused().await;
    let expected = [
        ("INVALID", "input.email"),
        ("INVALID", "input.username"),
        ("TOO_SHORT", "input.password"),
        ("INVALID", "input.timeZone"),
    ];
    assert_eq!(refused, expected.map(|(code, path)| (code.to_owned(), path.to_owned())));
    let taken = json!({ "input": { "email": "ANN@example.com", "username": "other", "password": PASSWORD } });
    assert_eq!(app.gql(register).vars(taken).refused().await, problem("TAKEN", "input.email"));
}

#[databases]
async fn a_profile_change_shows_in_every_ledger_of_the_person(app: TestApp) {
    let acme = app.company("acme").await;
    app.found(&acme.member, "side").await;
    let update = "mutation($patch: UserPatch!, $v: Int) { userUpdate(input: {patch: $patch, ifVersion: $v}) { \
                  user { fullName version } cursor userErrors { code path } } }";
    let patch = json!({ "patch": { "fullName": "Mem Ber" }, "v": 1 });
    let payload = app.call(&acme, &acme.member, update).vars(patch.clone()).done().await;
    assert_eq!(payload["user"], json!({ "fullName": "Mem Ber", "version": 2 }));
    for slug in ["acme", "side"] {
        let feed = app
            .gql("{ events(last: 1) { nodes { type changes { field before after } } } }")
            .token(&acme.member.token)
            .at(slug)
            .data()
            .await;
        let expected = json!({
            "type": "MEMBER_UPDATED",
            "changes": [{ "field": "fullName", "before": null, "after": "Mem Ber" }],
        });
        assert_eq!(feed["events"]["nodes"][0], expected, "{slug}");
    }
    let stale = app.call(&acme, &acme.member, update).vars(patch).answer().await;
    let stale = &stale["data"]["userUpdate"];
    assert_eq!(stale["userErrors"][0]["code"], json!("CONFLICT"));
    assert_eq!(stale["user"]["version"], json!(2), "the present state comes along");
}

/// What a mutation gives is seen by whoever it made the caller, in the organization it is about.
#[databases]
async fn a_payload_is_seen_from_where_it_leads(app: TestApp) {
    let acme = app.company("acme").await;
    let found = "mutation { organizationCreate(input: {name: \"Side\", slug: \"side\"}) { organization { slug \
                 members(first: 9) { nodes { user { id } } } } userErrors { code } } \
                 tagCreate(input: {name: \"after\"}) { tag { id } userErrors { code } } }";
    let data = app.call(&acme, &acme.owner, found).data().await;
    let members = &data["organizationCreate"]["organization"]["members"]["nodes"];
    assert_eq!(*members, json!([{ "user": { "id": acme.owner.id } }]), "its own members, not those of acme");
    // The next mutation is about the request's organization again.
    let tags = app.call(&acme, &acme.owner, "{ organization { tags { nodes { name } } } }").data().await;
    assert_eq!(tags["organization"]["tags"]["nodes"], json!([{ "name": "after" }]));

    let sign_in = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: \
                   $password}) { viewer { user { email membership { role } } organization { members { totalCount } } } \
                   userErrors { code } } }";
    let payload = app.gql(sign_in).vars(credentials(&acme.member)).done().await;
    assert_eq!(payload["viewer"]["user"]["membership"]["role"], json!("MEMBER"));
    assert_eq!(payload["viewer"]["organization"]["members"]["totalCount"], json!(4));

    let guest = app.register("guest").await;
    let invite = "mutation { invitationCreate(input: {email: \"guest@example.com\"}) { token userErrors { code } } }";
    let token = app.call(&acme, &acme.owner, invite).done().await["token"].clone();
    let accept = "mutation($token: String!) { invitationAccept(input: {token: $token}) { membership { \
                  user { id } teams { id } } userErrors { code } } }";
    let joined = app.gql(accept).vars(json!({ "token": token })).token(&guest.token).done().await;
    assert_eq!(joined["membership"], json!({ "user": { "id": guest.id }, "teams": [] }));
}
