//! The keys that sign access tokens: rotated without anybody noticing, and forgotten in time.

use std::{collections::BTreeSet, time::Duration as Span};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Duration;
use futures_util::future::join_all;
use sea_orm::ColumnTrait;
use serde_json::{Value, json};
use todo_platform::{
    base::id::{SessionId, UserId},
    data::entity::signing_key,
    jobs::maintenance,
    platform::auth::token::{REFRESH, Verified},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    app::TestApp,
    world::{PASSWORD, Person},
};
use todo_test_macros::databases;

const LIFE: Span = Span::from_secs(15 * 60);
const WHO: &str = "{ viewer { user { username } } }";

/// The id of the key that signed a token.
pub fn key_of(token: &str) -> String {
    let header = token.split('.').next().unwrap_or_default();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key id").to_owned()
}

/// Whether a server lets the holder of a token in.
async fn admits(app: &TestApp, token: &str) -> bool {
    let answer = app.gql(WHO).token(token).answer().await;
    match answer["errors"][0]["extensions"]["code"].as_str() {
        None => true,
        Some(code) => {
            assert_eq!(code, "UNAUTHENTICATED");
            false
        }
    }
}

async fn sign_in(app: &TestApp, person: &Person) -> String {
    let query = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: \
                 $password}) { accessToken userErrors { code } } }";
    let variables = json!({ "email": person.email, "password": PASSWORD });
    app.gql(query).vars(variables).done().await["accessToken"].as_str().unwrap_or_default().to_owned()
}

/// Who a token is for: to sign another of the same session by hand.
async fn claims(app: &TestApp, token: &str) -> (UserId, SessionId) {
    let Verified::Good { user, session, .. } = app.state.keys.verify(token).await.expect("the ring answers") else {
        panic!("a good token");
    };
    (user, session)
}

#[databases]
async fn a_token_signed_before_a_rotation_still_works(app: TestApp) {
    let ann = app.register("ann").await;
    let id = app.state.keys.rotate().await.expect("a new key");
    assert_ne!(key_of(&ann.token), id);
    assert!(admits(&app, &ann.token).await);
    let token = sign_in(&app, &ann).await;
    assert_eq!(key_of(&token), id, "it signs from now on");
    assert!(admits(&app, &token).await);
    // Nor does the session notice.
    let refresh = "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { accessToken \
                   userErrors { code } } }";
    let refreshed = app.gql(refresh).vars(json!({ "token": ann.refresh_token })).done().await;
    assert_eq!(key_of(refreshed["accessToken"].as_str().unwrap_or_default()), id);
}

/// Kept out of an instance that never heard of the rotation, an old key would sign for ever.
#[databases]
async fn after_its_retirement_a_key_signs_nothing_that_is_accepted(app: TestApp) {
    let ann = app.register("ann").await;
    let stale = app.another_instance(|_| {}).await;
    let (user, session) = claims(&app, &ann.token).await;
    app.state.keys.rotate().await.expect("a new key");
    // An instance may sign with it for as long as it takes to read the ring again.
    app.clock.advance(Duration::from_std(REFRESH).expect("a span"));
    let (last, ends) = stale.state.keys.sign(user, session, LIFE).expect("a token");
    assert!(admits(&app, &last).await);
    app.clock.set(ends - Duration::seconds(1));
    assert!(admits(&app, &last).await, "accepted to its end");
    let (late, _) = stale.state.keys.sign(user, session, LIFE).expect("a token");
    assert!(admits(&app, &late).await);
    app.clock.set(ends + Duration::seconds(30));
    assert!(!admits(&app, &late).await, "its key has retired, also in the memory of this instance");
    stale.state.keys.refresh().await.expect("the ring is read");
    assert!(!admits(&stale, &late).await);
    let (good, _) = stale.state.keys.sign(user, session, LIFE).expect("a token");
    assert!(admits(&app, &good).await && admits(&stale, &good).await);
    stale.state.db.close().await;
}

#[databases]
async fn another_instance_takes_the_new_key(app: TestApp) {
    let ann = app.register("ann").await;
    let other = app.another_instance(|_| {}).await;
    let id = app.state.keys.rotate().await.expect("a new key");
    let token = sign_in(&app, &ann).await;
    // Many at once, so that those who come while the ring is being read are among them.
    let admitted = join_all((0..10).map(|_| admits(&other, &token))).await;
    assert!(admitted.iter().all(|admitted| *admitted), "{admitted:?}");
    assert_eq!(key_of(&sign_in(&other, &ann).await), id);

    let id = app.state.keys.rotate().await.expect("a new key");
    assert_ne!(key_of(&sign_in(&other, &ann).await), id, "it has not heard of it");
    other.state.keys.refresh().await.expect("the ring is read");
    assert_eq!(key_of(&sign_in(&other, &ann).await), id);
    other.state.db.close().await;
}

#[databases]
async fn rotating_twice_keeps_the_tokens_of_both(app: TestApp) {
    let ann = app.register("ann").await;
    app.state.keys.rotate().await.expect("a new key");
    app.clock.advance(Duration::minutes(5));
    let second = sign_in(&app, &ann).await;
    let id = app.state.keys.rotate().await.expect("a new key");
    let third = sign_in(&app, &ann).await;
    assert_eq!(key_of(&third), id);
    for token in [&ann.token, &second, &third] {
        assert!(admits(&app, token).await);
    }
    // The first is dropped, with its secret, by the rotation after its time.
    app.clock.advance(Duration::minutes(12));
    app.state.keys.rotate().await.expect("a new key");
    let known = app.state.db.find_global::<signing_key::Entity>(signing_key::Column::Id.ne("")).await.expect("keys");
    let known: BTreeSet<String> = known.into_iter().map(|key| key.id).collect();
    assert!(!known.contains(&key_of(&ann.token)) && known.contains(&key_of(&second)) && known.contains(&id));
    assert!(admits(&app, &third).await);
}

#[databases]
async fn of_rotations_at_once_one_key_signs(app: TestApp) {
    let ann = app.register("ann").await;
    let other = app.another_instance(|_| {}).await;
    let keys = join_all([app.state.keys.rotate(), other.state.keys.rotate(), app.state.keys.rotate()]).await;
    assert!(keys.iter().all(Result::is_ok), "{keys:?}");
    let signing = app.state.db.find_global::<signing_key::Entity>(signing_key::Column::RetiredAt.is_null()).await;
    assert_eq!(signing.expect("keys").len(), 1);
    for instance in [&app, &other] {
        instance.state.keys.refresh().await.expect("the ring is read");
        assert!(admits(instance, &sign_in(&app, &ann).await).await);
    }
    assert!(admits(&other, &ann.token).await);
    other.state.db.close().await;
}

/// Whoever invents key ids must not have the ring read each time; nor may a clock that jumps shut it.
#[databases]
async fn unknown_keys_are_looked_for_once_a_second(app: TestApp) {
    let ann = app.register("ann").await;
    let invent = |n: usize| {
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": format!("{n:032}") }).to_string();
        let rest = ann.token.split_once('.').expect("three parts").1;
        format!("{}.{rest}", BASE64_URL_SAFE_NO_PAD.encode(header))
    };
    let looked = |statements: Vec<String>| statements.iter().filter(|sql| sql.contains("signing_key")).count();
    app.take_statements();
    for n in 0..5 {
        assert!(!admits(&app, &invent(n)).await);
    }
    assert_eq!(looked(app.take_statements()), 1);
    app.clock.advance(Duration::hours(-2));
    assert!(!admits(&app, &invent(9)).await);
    assert_eq!(looked(app.take_statements()), 1);
}

#[databases]
async fn the_jobs_end_when_the_server_stops(app: TestApp) {
    let stop = CancellationToken::new();
    maintenance::start(&app.state, &stop);
    assert!(!app.state.background.is_empty());
    stop.cancel();
    app.state.background.close();
    let ended = tokio::time::timeout(Span::from_secs(60), app.state.background.wait()).await;
    assert!(ended.is_ok(), "they went on");
}
