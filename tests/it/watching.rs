//! Watching items: a person's own matter, which no event tells of.

use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

fn watch<'a>(app: &'a TestApp, acme: &Company, who: &Person, id: &str, watching: bool) -> Call<'a> {
    mutate(app, acme, who, ("itemWatch", "item { isWatchedByViewer }"), json!({ "id": id, "watching": watching }))
}

/// Who watches an item, and the titles that somebody watches: by the filter, and what its opposite leaves out.
async fn seen(app: &TestApp, acme: &Company, who: &Person, id: &str) -> (Vec<String>, Vec<String>) {
    let query = "query($id: ID!) { item(id: $id) { watchers(first: 10) { nodes { user { username } } } } \
                 own: items(filter: {isWatchedByViewer: true}, scope: ALL) { nodes { title isWatchedByViewer } } \
                 others: items(filter: {isWatchedByViewer: false}, scope: ALL) { nodes { isWatchedByViewer } } }";
    let data = app.call(acme, who, query).vars(json!({ "id": id })).data().await;
    let list = |value: &Value| value["nodes"].as_array().cloned().expect("a list");
    assert!(list(&data["own"]).iter().all(|item| item["isWatchedByViewer"] == true), "{data:#}");
    assert!(list(&data["others"]).iter().all(|item| item["isWatchedByViewer"] == false), "{data:#}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let watchers = list(&data["item"]["watchers"]).iter().map(|member| text(&member["user"]["username"])).collect();
    (watchers, list(&data["own"]).iter().map(|item| text(&item["title"])).collect())
}

#[databases]
async fn whoever_reads_an_item_may_watch_it(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let (a, b) = (app.item(&acme, "a").await, app.item(&acme, "b").await);
    let head = async || app.call(&acme, &acme.owner, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
    let before = head().await;
    for _ in 0..2 {
        let done = watch(&app, &acme, &acme.viewer, &a, true).done().await;
        assert_eq!(done["item"]["isWatchedByViewer"], true);
    }
    watch(&app, &acme, &acme.admin, &a, true).done().await;
    watch(&app, &acme, &acme.admin, &b, true).done().await;
    assert_eq!(head().await, before, "no event tells of it");
    let (watchers, own) = seen(&app, &acme, &acme.viewer, &a).await;
    assert_eq!((watchers.len(), own), (2, vec!["a".to_owned()]));
    // Asked again, it is what it is by now: such answers are not kept.
    for _ in 0..3 {
        assert_eq!(seen(&app, &acme, &acme.admin, &a).await.1.len(), 2);
    }
    let done = watch(&app, &acme, &acme.admin, &b, false).done().await;
    assert_eq!(done["item"]["isWatchedByViewer"], false);
    assert_eq!(seen(&app, &acme, &acme.admin, &a).await.1, ["a"]);
    // Neither what is another's, nor what is in the trash; and an API key watches nothing.
    let theirs = app.item(&rival, "theirs").await;
    assert_eq!(watch(&app, &acme, &acme.viewer, &theirs, true).refused().await, problem("NOT_FOUND", "input.id"));
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), json!({ "id": b })).done().await;
    assert_eq!(watch(&app, &acme, &acme.viewer, &b, true).refused().await, problem("INVALID_STATE", "input.id"));
    let (_, key) = app.api_key(&acme, &acme.admin, &["ITEM_READ", "ITEM_WRITE"]).await;
    let query = format!("mutation {{ itemWatch(input: {{id: \"{a}\", watching: true}}) {{ userErrors {{ code }} }} }}");
    assert_eq!(app.gql(query).key(&key).error_code().await, "FORBIDDEN");
}

#[databases]
async fn who_leaves_and_what_is_deleted_is_watched_no_more(app: TestApp) {
    let acme = app.company("acme").await;
    let a = app.item(&acme, "a").await;
    for who in [&acme.viewer, &acme.admin] {
        watch(&app, &acme, who, &a, true).done().await;
    }
    let input = json!({ "id": acme.viewer.membership_id });
    mutate(&app, &acme, &acme.owner, ("membershipRemove", "deletedId"), input).done().await;
    assert_eq!(seen(&app, &acme, &acme.admin, &a).await.0.len(), 1);
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), json!({ "id": a, "permanently": true })).done().await;
    let query = "{ items(filter: {isWatchedByViewer: true}, scope: ALL) { totalCount } }";
    assert_eq!(app.call(&acme, &acme.admin, query).data().await["items"]["totalCount"], 0);
}
