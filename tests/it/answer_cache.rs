//! Answers that are given again: only while nothing they are made of has changed, only to whoever may see them, and to
//! clients that have them already not at all.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use chrono::TimeDelta;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::Reply,
        world::{Company, Person},
    },
    sync::{Made, step},
};
use todo_test_macros::databases;

const TITLES: &str = "{ items(first: 20) { nodes { identifier title } } }";

/// Selects all that may be kept, and filters by other people, by teams and by tags.
const QUERIES: [&str; 6] = [
    "{ items(first: 20, orderBy: [{field: UPDATED_AT, direction: DESC}]) { totalCount pageInfo { hasNextPage } nodes { \
       id title description status priority version archivedAt completedAt team { name description version } \
       assignees { id displayName username fullName avatarUrl } tags { name color itemCount } \
       createdBy { id displayName } subtaskProgress { done total } parent { title } ancestors { title } isBlocked relations { kind isInverse item { title } } \
       subtasks(first: 3) { totalCount nodes { title } } \
       comments(first: 3) { totalCount nodes { body editedAt author { displayName } parent { body } \
         replies(first: 2) { nodes { body } } } } } } }",
    "{ items(first: 10, filter: {team: {hasViewer: true}}) { nodes { id title } } }",
    "{ items(first: 10, filter: {assignees: {some: {name: {contains: \"e\"}}}}) { nodes { id version } } }",
    "{ items(first: 10, filter: {tags: {isEmpty: false}}, scope: ALL) { nodes { id status tags { id name } } } }",
    "{ items(first: 10, scope: TRASHED) { nodes { id title deletedAt subtasks { nodes { id } } } } }",
    "{ item(id: \"ACME-1\") { id title status assignees { displayName } team { items(first: 3) { nodes { id } } } } }",
];

fn rename<'a>(app: &'a TestApp, acme: &Company, id: &str, title: &str) -> crate::support::client::Call<'a> {
    mutate(app, acme, &acme.owner, ("itemUpdate", "item { id }"), json!({ "id": id, "patch": { "title": title } }))
}

async fn call_oneself(app: &TestApp, acme: &Company, who: &Person, name: &str) {
    mutate(app, acme, who, ("userUpdate", "user { id }"), json!({ "patch": { "fullName": name } })).done().await;
}

async fn by_get(app: &TestApp, acme: &Company, who: &Person, query: &str, if_none_match: Option<&str>) -> Reply {
    let query = query.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    let mut request = Request::get(format!("/o/{}/graphql?query={query}", acme.slug))
        .header(header::AUTHORIZATION, format!("Bearer {}", who.token));
    if let Some(tags) = if_none_match {
        request = request.header(header::IF_NONE_MATCH, tags);
    }
    app.http(request.body(Body::empty()).expect("a request")).await
}

/// How many statements a call takes, and its data. Mail of before, whose statements come when they like, is waited for.
async fn counted(app: &TestApp, acme: &Company, query: &str) -> (usize, Value) {
    app.settle().await;
    app.take_statements();
    let data = app.call(acme, &acme.owner, query).data().await;
    (app.take_statements().len(), data)
}

#[databases]
async fn an_answer_is_given_again_until_something_changes(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "first").await;
    app.call(&acme, &acme.owner, "{ viewer { role } }").data().await;
    let (alone, first) = counted(&app, &acme, TITLES).await;
    // The second time is worth a look at the ledger; from then on it is all that is read.
    assert_eq!(counted(&app, &acme, TITLES).await, (alone + 1, first.clone()));
    for _ in 0..3 {
        assert_eq!(counted(&app, &acme, TITLES).await, (1, first.clone()));
    }
    rename(&app, &acme, &id, "second").done().await;
    app.call(&acme, &acme.owner, "{ viewer { role } }").data().await;
    let (statements, second) = counted(&app, &acme, TITLES).await;
    assert_eq!((statements, &second["items"]["nodes"][0]["title"]), (alone + 1, &json!("second")));
    assert_eq!(counted(&app, &acme, TITLES).await, (alone + 1, second.clone()));
    assert_eq!(counted(&app, &acme, TITLES).await, (1, second));
}

#[databases]
async fn where_much_changes_little_is_looked_up_in_vain(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "0").await;
    app.call(&acme, &acme.owner, "{ viewer { role } }").data().await;
    let (alone, _) = counted(&app, &acme, TITLES).await;
    let mut looks = 0;
    for n in 1..=100 {
        rename(&app, &acme, &id, &n.to_string()).done().await;
        let (statements, data) = counted(&app, &acme, TITLES).await;
        assert_eq!(data["items"]["nodes"][0]["title"], n.to_string());
        looks += statements - alone;
    }
    assert!((2..=16).contains(&looks), "{looks} looks in 100 askings");
}

#[databases]
async fn a_client_that_has_the_answer_is_told_so(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "first").await;
    let first = by_get(&app, &acme, &acme.owner, TITLES, None).await;
    assert_eq!(first.status, StatusCode::OK);
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(first.header("cache-control"), "private, no-cache");
    assert!(
        first.headers.get_all("vary").iter().any(|vary| vary.to_str().unwrap_or_default().contains("authorization"))
    );
    // Made anew, and found to be the same; then known without being made.
    app.settle().await;
    for statements in [None, Some(1)] {
        app.take_statements();
        let again = by_get(&app, &acme, &acme.owner, TITLES, Some(&format!("\"other\", {tag}"))).await;
        assert_eq!((again.status, again.header("etag"), again.body.len()), (StatusCode::NOT_MODIFIED, &*tag, 0));
        assert!(statements.is_none_or(|expected| app.take_statements().len() == expected));
        assert!(!again.header("ratelimit").is_empty());
    }
    rename(&app, &acme, &id, "second").done().await;
    let changed = by_get(&app, &acme, &acme.owner, TITLES, Some(&tag)).await;
    assert_eq!(
        (changed.status, &changed.json()["data"]["items"]["nodes"][0]["title"]),
        (StatusCode::OK, &json!("second"))
    );
    assert_ne!(changed.header("etag"), tag);
    // What has an error, and what comes by POST, has no tag.
    let missing = by_get(&app, &acme, &acme.owner, "{ items(first: 101) { nodes { id } } }", None).await;
    assert_eq!((missing.header("etag"), missing.header("cache-control")), ("", "no-store"));
    let posted = app.call(&acme, &acme.owner, TITLES).reply().await;
    assert_eq!((posted.header("etag"), posted.header("cache-control")), ("", "no-store"));
}

/// Cursors are part of a list's answer: they say where, not when.
#[databases]
async fn the_same_answer_has_the_same_tag_whenever_and_wherever_it_is_made(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    let query = "{ items(first: 1) { edges { cursor node { title } } pageInfo { endCursor } } }";
    let first = by_get(&app, &acme, &acme.owner, query, None).await;
    let tag = first.header("etag").to_owned();
    let other = app.another_instance(|_| ()).await;
    for instance in [&app, &other] {
        app.clock.advance(TimeDelta::seconds(7));
        let again = by_get(instance, &acme, &acme.owner, query, None).await;
        assert_eq!((again.header("etag"), again.json()), (&*tag, first.json()));
        let known = by_get(instance, &acme, &acme.owner, query, Some(&tag)).await;
        assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    }
    other.state.db.close().await;
}

#[databases]
async fn an_answer_from_the_cache_costs_what_it_cost(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    let left = |reply: Reply| {
        let level = reply.header("ratelimit").to_owned();
        let left = level.split(';').find_map(|part| part.strip_prefix("r=")).expect("what is left").to_owned();
        left.parse::<i64>().expect("a number")
    };
    let mut levels = Vec::new();
    for _ in 0..4 {
        levels.push(left(app.call(&acme, &acme.owner, TITLES).reply().await));
    }
    let cost = levels[0] - levels[1];
    assert!(cost > 1, "{levels:?}");
    assert!(levels.windows(2).all(|pair| pair[0] - pair[1] == cost), "{levels:?}");
    let tag = by_get(&app, &acme, &acme.owner, TITLES, None).await.header("etag").to_owned();
    let before = left(by_get(&app, &acme, &acme.owner, TITLES, None).await);
    assert_eq!(before - left(by_get(&app, &acme, &acme.owner, TITLES, Some(&tag)).await), 1);
}

/// What three queries by the time find, each asked three times; the same answer once.
async fn by_time(app: &TestApp, acme: &Company) -> Vec<String> {
    let mut found = Vec::new();
    for query in [
        "{ items(filter: {isOverdue: true}) { totalCount } }",
        "{ items(filter: {createdAt: {gte: \"-PT1H\"}}) { totalCount } }",
        "{ items { nodes { isOverdue } } }",
    ] {
        for _ in 0..3 {
            found.push(app.call(acme, &acme.owner, query).data().await.to_string());
        }
    }
    found.dedup();
    found
}

#[databases]
async fn what_depends_on_the_time_is_not_kept(app: TestApp) {
    let acme = app.company("acme").await;
    let due = (app.clock.now() + TimeDelta::hours(1)).to_rfc3339();
    app.create(&acme, &acme.owner, "item", json!({ "title": "soon", "dueAt": due })).await;
    let before = by_time(&app, &acme).await;
    app.clock.advance(TimeDelta::minutes(61));
    let acme = Company { owner: app.sign_in(&acme.owner).await, ..acme.clone() };
    let after = by_time(&app, &acme).await;
    assert_eq!((before.len(), after.len()), (3, 3));
    assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
    // Nor is the ledger looked at each time for what can't be kept; another spelling is asked for the first time.
    let (first, _) = counted(&app, &acme, "{ items(filter: {isOverdue: true}) { totalCount  } }").await;
    let (again, _) = counted(&app, &acme, "{ items(filter: {isOverdue: true}) { totalCount } }").await;
    assert_eq!(again, first);
}

#[databases]
async fn nobody_is_given_what_another_may_see(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    app.item(&acme, "ours").await;
    app.item(&rival, "theirs").await;
    let (_, writer) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    let (_, other) = app.api_key(&acme, &acme.admin, &["WEBHOOK_MANAGE"]).await;
    for _ in 0..4 {
        for (company, title) in [(&acme, "ours"), (&rival, "theirs")] {
            let data = app.call(company, &company.owner, TITLES).data().await;
            assert_eq!(data["items"]["nodes"][0]["title"], title);
        }
        assert_eq!(app.gql(TITLES).key(&writer).data().await["items"]["nodes"][0]["title"], "ours");
        assert_eq!(app.gql(TITLES).key(&other).error_code().await, "FORBIDDEN");
        assert_eq!(app.call(&rival, &acme.owner, TITLES).error_code().await, "ORGANIZATION_REQUIRED");
    }
    // Whoever is removed is refused at once.
    for _ in 0..3 {
        app.call(&acme, &acme.member, TITLES).data().await;
    }
    let input = json!({ "id": acme.member.membership_id });
    mutate(&app, &acme, &acme.owner, ("membershipRemove", "deletedId"), input).done().await;
    assert_eq!(app.call(&acme, &acme.member, TITLES).error_code().await, "ORGANIZATION_REQUIRED");
}

#[databases]
async fn a_profile_that_changes_is_seen(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "one").await;
    let patch = json!({ "assignees": { "set": [acme.member.id] } });
    mutate(&app, &acme, &acme.owner, ("itemUpdate", "item { id }"), json!({ "id": id, "patch": patch })).done().await;
    let query = "{ items { nodes { assignees { displayName } createdBy { displayName } } } }";
    let other = app.another_instance(|_| ()).await;
    // Also of somebody who has left, of whom the organization's ledger hears nothing.
    for (round, name) in ["One", "Two", "Three"].into_iter().enumerate() {
        if round == 1 {
            let input = json!({ "id": acme.member.membership_id });
            mutate(&app, &acme, &acme.owner, ("membershipRemove", "deletedId"), input).done().await;
        }
        let call = app.gql(format!(
            "mutation {{ userUpdate(input: {{patch: {{fullName: \"{name}\"}}}}) {{ userErrors {{ code }} }} }}"
        ));
        call.token(&acme.member.token).done().await;
        for instance in [&app, &other] {
            for _ in 0..3 {
                let data = instance.call(&acme, &acme.owner, query).data().await;
                assert_eq!(data["items"]["nodes"][0]["createdBy"]["displayName"], name);
            }
        }
    }
    other.state.db.close().await;
}

/// Whatever happens, two instances with caches say what one without says.
async fn history(app: &TestApp, seed: u64) {
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let acme = app.company("acme").await;
    let fresh = |config: &mut todo_platform::base::config::Config| config.database.identity_cache = Duration::ZERO;
    let other = app.another_instance(fresh).await;
    let truth = app
        .another_instance(|config| {
            fresh(config);
            config.server.answer_cache_bytes = 0;
            config.database.reference_cache_bytes = 0;
        })
        .await;
    let mut made = Made { members: vec![acme.admin.clone(), acme.member.clone()], ..Made::default() };
    for round in 0..150 {
        app.clock.advance(TimeDelta::milliseconds(rng.i64(0..50)));
        if rng.u8(..8) == 0 {
            call_oneself(app, &acme, &acme.owner, &format!("Owner {round}")).await;
        } else {
            step(app, &acme, &mut rng, &mut made).await;
        }
        let query = QUERIES[rng.usize(..QUERIES.len())];
        let who = [&acme.owner, &acme.viewer][rng.usize(..2)];
        let expected = truth.call(&acme, who, query).data().await;
        for _ in 0..rng.u8(1..4) {
            for instance in [app, &other] {
                let found = instance.call(&acme, who, query).data().await;
                assert_eq!(found, expected, "seed {seed}, round {round}: {query}");
            }
        }
    }
    let metrics = other.state.metrics.text();
    let hits = metrics.lines().find(|line| line.starts_with("todo_answer_cache_total{outcome=\"hit\"}"));
    assert!(hits.is_some(), "no answer was given again");
    other.state.db.close().await;
    truth.state.db.close().await;
}

#[databases]
async fn answers_follow_any_history(app: TestApp) {
    history(&app, 1).await;
}

/// Another one each time.
#[databases]
async fn answers_follow_any_history_anew(app: TestApp) {
    history(&app, fastrand::u64(..)).await;
}

/// Readers race a writer on two instances: after the write's own answer nobody sees what was before it.
#[databases]
async fn no_answer_is_older_than_an_acknowledged_write(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "0").await;
    let other = app.another_instance(|_| ()).await;
    let (acknowledged, done) = (std::sync::atomic::AtomicU64::new(0), std::sync::atomic::AtomicBool::new(false));
    let order = std::sync::atomic::Ordering::SeqCst;
    let write = async {
        for n in 1..=60_u64 {
            rename(&app, &acme, &id, &n.to_string()).done().await;
            acknowledged.store(n, order);
            // Room for answers to be kept and given again.
            for _ in 0..6 {
                tokio::task::yield_now().await;
            }
        }
        done.store(true, order);
    };
    let read = |instance: TestApp| {
        let (acme, acknowledged, done) = (&acme, &acknowledged, &done);
        async move {
            while !done.load(order) {
                let before = acknowledged.load(order);
                let data = instance.call(acme, &acme.viewer, TITLES).data().await;
                let title = data["items"]["nodes"][0]["title"].as_str().expect("a title").to_owned();
                assert!(title.parse::<u64>().expect("a number") >= before, "{title} after {before}");
            }
        }
    };
    tokio::join!(write, read(app.clone()), read(other.clone()), read(app.clone()), read(other.clone()));
    other.state.db.close().await;
}
