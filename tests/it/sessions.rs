//! A person's sessions and their security log.

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    client::problem,
    world::{PASSWORD, Person},
};
use todo_test_macros::databases;

const SESSIONS: &str = "{ viewer { sessions { id userAgent isCurrent } } }";
const REVOKE: &str = "mutation($input: SessionRevokeInput!) { sessionRevoke(input: $input) { deletedId \
                      userErrors { code path } } }";
const NODE: &str = "query($id: ID!) { node(id: $id) { __typename id } }";

/// Signs in from some device; gives the access token.
pub async fn sign_in(app: &TestApp, person: &Person, device: &str) -> String {
    let query = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: \
                 $password}) { accessToken userErrors { code } } }";
    let variables = json!({ "email": person.email, "password": PASSWORD });
    let payload = app.gql(query).vars(variables).header("user-agent", device).done().await;
    payload["accessToken"].as_str().expect("a token").to_owned()
}

/// The kinds in a person's security log, newest first.
pub async fn log_of(app: &TestApp, token: &str) -> Vec<String> {
    app.settle().await;
    let data = app.gql("{ viewer { securityEvents(first: 50) { nodes { kind } } } }").token(token).data().await;
    let nodes = data["viewer"]["securityEvents"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

#[databases]
async fn sessions_are_listed_newest_first_and_end_one_by_one(app: TestApp) {
    let acme = app.company("acme").await;
    let ann = &acme.member;
    let devices = ["a phone", "a tablet"];
    let mut tokens = Vec::new();
    for device in devices {
        app.clock.advance(chrono::Duration::seconds(1));
        tokens.push(sign_in(&app, ann, device).await);
    }
    let data = app.gql(SESSIONS).token(&tokens[0]).data().await;
    let sessions = data["viewer"]["sessions"].as_array().expect("a list").clone();
    let shown: Vec<Value> = sessions.iter().map(|s| json!([s["userAgent"], s["isCurrent"]])).collect();
    assert_eq!(shown, [json!(["a tablet", false]), json!(["a phone", true]), json!([null, false])]);

    // By id they are the person's alone.
    let tablet = json!({ "id": sessions[0]["id"] });
    let seen = app.gql(NODE).vars(tablet.clone()).token(&tokens[0]).data().await;
    assert_eq!(seen["node"], json!({ "__typename": "Session", "id": sessions[0]["id"] }));
    for other in [&acme.owner, &acme.admin] {
        assert_eq!(app.call(&acme, other, NODE).vars(tablet.clone()).data().await["node"], Value::Null);
    }

    let ended = app.gql(REVOKE).vars(json!({ "input": tablet })).token(&tokens[0]).done().await;
    assert_eq!(ended["deletedId"], sessions[0]["id"]);
    assert_eq!(app.gql(SESSIONS).token(&tokens[1]).reply().await.status, 401);
    let left = app.gql(SESSIONS).token(&tokens[0]).data().await;
    assert_eq!(left["viewer"]["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(app.gql(NODE).vars(tablet.clone()).token(&tokens[0]).data().await["node"], Value::Null);
    // Again is harmless, and no second entry in the log.
    app.gql(REVOKE).vars(json!({ "input": tablet })).token(&tokens[0]).done().await;
    let expected = ["SESSIONS_REVOKED", "SIGNED_IN", "SIGNED_IN", "SIGNED_IN"];
    assert_eq!(log_of(&app, &tokens[0]).await, expected);

    app.gql(REVOKE).vars(json!({ "input": { "everywhere": true } })).token(&tokens[0]).done().await;
    for token in [&tokens[0], &ann.token] {
        assert_eq!(app.gql(SESSIONS).token(token).reply().await.status, 401);
    }
}

#[databases]
async fn an_expired_session_is_not_listed(app: TestApp) {
    let ann = app.register("ann").await;
    app.clock.advance(chrono::Duration::days(31));
    let token = sign_in(&app, &ann, "later").await;
    let data = app.gql(SESSIONS).token(&token).data().await;
    assert_eq!(data["viewer"]["sessions"].as_array().map(Vec::len), Some(1));
}

#[databases]
async fn the_security_log_is_the_persons_own_and_pages_forward(app: TestApp) {
    let acme = app.company("acme").await;
    let ann = &acme.member;
    for _ in 0..4 {
        app.clock.advance(chrono::Duration::seconds(1));
        sign_in(&app, ann, "a phone").await;
    }
    let query = "query($after: Cursor) { viewer { securityEvents(first: 2, after: $after) { totalCount \
                 nodes { id kind createdAt userAgent } pageInfo { hasNextPage endCursor } } } }";
    let (mut after, mut found) = (Value::Null, Vec::new());
    loop {
        let data = app.gql(query).vars(json!({ "after": after })).token(&ann.token).data().await;
        let page = &data["viewer"]["securityEvents"];
        assert_eq!(page["totalCount"], json!(5));
        found.extend(page["nodes"].as_array().cloned().unwrap_or_default());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == json!(false) {
            break;
        }
    }
    assert_eq!(found.len(), 5);
    let times: Vec<&str> = found.iter().filter_map(|event| event["createdAt"].as_str()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    assert_eq!(found[0]["userAgent"], json!("a phone"));

    // A cursor of this list is no other list's, nor somebody else's.
    let foreign = app.gql(query).vars(json!({ "after": after })).token(&acme.admin.token);
    assert_eq!(foreign.error_code().await, "INVALID_CURSOR");
    let event = json!({ "id": found[0]["id"] });
    let own = app.call(&acme, ann, NODE).vars(event.clone()).data().await;
    assert_eq!(own["node"], json!({ "__typename": "SecurityEvent", "id": found[0]["id"] }));
    assert_eq!(app.call(&acme, &acme.owner, NODE).vars(event).data().await["node"], Value::Null);
}

#[databases]
async fn a_refresh_token_that_comes_twice_ends_its_session_and_is_logged(app: TestApp) {
    let ann = app.register("ann").await;
    let refresh = "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { accessToken \
                   userErrors { code path } } }";
    let stolen = json!({ "token": ann.refresh_token });
    let newest = app.gql(refresh).vars(stolen.clone()).done().await;
    app.clock.advance(chrono::Duration::minutes(1));
    let refused = app.gql(refresh).vars(stolen).refused().await;
    assert_eq!(refused, problem("BAD_CREDENTIALS", "input.refreshToken"));
    let newest = newest["accessToken"].as_str().expect("a token");
    assert_eq!(app.gql(SESSIONS).token(newest).reply().await.status, 401);
    let token = sign_in(&app, &ann, "a phone").await;
    assert_eq!(log_of(&app, &token).await, ["SIGNED_IN", "REFRESH_REUSED", "SIGNED_IN"]);
}

/// What is done only for an account that exists is not done on the answer's path.
#[databases]
async fn a_failing_sign_in_costs_the_same_for_known_and_unknown_accounts(app: TestApp) {
    let ann = app.register("ann").await;
    let query = "mutation($email: String!) { sessionCreate(input: {email: $email, password: \"wrong\"}) { \
                 accessToken userErrors { code path } } }";
    let mut costs = Vec::new();
    for email in [ann.email.as_str(), "nobody@example.com"] {
        app.settle().await;
        app.take_statements();
        let refused = app.gql(query).vars(json!({ "email": email })).refused().await;
        assert_eq!(refused, problem("BAD_CREDENTIALS", "input"));
        let mut statements = app.take_statements();
        // The log's own, which may have begun by now.
        statements.retain(|sql| !sql.contains("security_event"));
        costs.push(statements);
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0].len(), 4, "this try, all tries, person, password: {:#?}", costs[0]);
    let token = sign_in(&app, &ann, "a phone").await;
    assert_eq!(log_of(&app, &token).await, ["SIGNED_IN", "SIGN_IN_FAILED", "SIGNED_IN"]);
}
