//! Manual order: items are moved between others, one row each, and never two to one place.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use std::collections::BTreeSet;

use futures_util::future::join_all;
use sea_orm::{ColumnTrait as _, ExprTrait as _, prelude::Expr};
use serde_json::{Value, json};
use todo_platform::data::{actor::Origin, db::OrgScope, entity::item};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::Company,
    },
};
use todo_test_macros::databases;

/// Titles in manual order, which their ranks say, too.
async fn order(app: &TestApp, acme: &Company) -> String {
    let query =
        "{ items(first: 100, orderBy: [{field: RANK}], filter: {parent: {isNull: true}}) { nodes { title rank } } }";
    let data = app.call(acme, &acme.viewer, query).data().await;
    let nodes = data["items"]["nodes"].as_array().expect("a list");
    let ranks: Vec<&str> = nodes.iter().filter_map(|node| node["rank"].as_str()).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
    assert_eq!(ranks.iter().collect::<BTreeSet<_>>().len(), nodes.len(), "each has a place of its own: {ranks:?}");
    nodes.iter().filter_map(|node| node["title"].as_str()).collect::<Vec<_>>().join(" ")
}

fn to<'a>(app: &'a TestApp, acme: &Company, id: &str, position: Value) -> Call<'a> {
    let input = json!({ "id": id, "patch": { "position": position } });
    mutate(app, acme, &acme.member, ("itemUpdate", "item { version rank }"), input)
}

async fn five(app: &TestApp, acme: &Company) -> Vec<String> {
    let mut ids = Vec::new();
    for title in ["a", "b", "c", "d", "e"] {
        ids.push(app.item(acme, title).await);
    }
    ids
}

/// A scope of the server, for what no client can do.
async fn scope(app: &TestApp, acme: &Company) -> OrgScope {
    let id = acme.id.parse().expect("an id");
    OrgScope::of_system(&app.state.db, id, Origin::command("test")).await.expect("the organization")
}

/// Writes a place into an item, as no move would.
async fn set_rank(app: &TestApp, acme: &Company, id: Option<&str>, rank: &str) {
    let tx = scope(app, acme).await.write_as_member().await.expect("a write");
    let condition = match id {
        Some(id) => item::Column::Id.eq(id.parse::<todo_platform::base::id::ItemId>().expect("an id")),
        None => Expr::val(1).eq(1),
    };
    tx.update_where::<item::Entity>(condition, vec![(item::Column::Rank, Expr::value(rank))]).await.expect("it works");
    tx.commit_unrecorded((), "made by a test").await.expect("it works");
}

#[databases]
async fn items_are_moved_between_others(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = five(&app, &acme).await;
    let [a, b, c, d, e] = [&ids[0], &ids[1], &ids[2], &ids[3], &ids[4]];
    assert_eq!(order(&app, &acme).await, "a b c d e", "as they were created");
    for (id, position, expected) in [
        (e, json!({ "afterId": a, "beforeId": b }), "a e b c d"),
        (a, json!({ "afterId": d }), "e b c d a"),
        (d, json!({ "beforeId": e }), "d e b c a"),
        (c, json!({ "afterId": e }), "d e c b a"),
        // Others may be between: right after the first.
        (a, json!({ "afterId": d, "beforeId": b }), "d a e c b"),
    ] {
        to(&app, &acme, id, position).done().await;
        assert_eq!(order(&app, &acme).await, expected);
    }
    // New ones come last.
    app.item(&acme, "f").await;
    assert_eq!(order(&app, &acme).await, "d a e c b f");
    // One that stands there already stays as it is.
    let before = to(&app, &acme, a, json!({ "afterId": d })).done().await["item"].clone();
    let after = to(&app, &acme, a, json!({ "afterId": d, "beforeId": e })).done().await["item"].clone();
    assert_eq!(before, after);
    // A move is a change like any other.
    let query = "{ events(last: 1, filter: {types: [ITEM_UPDATED]}) { nodes { changes { field } } } }";
    let data = app.call(&acme, &acme.viewer, query).data().await;
    assert_eq!(data["events"]["nodes"][0]["changes"], json!([{ "field": "rank" }]));
}

#[databases]
async fn subtasks_are_listed_in_manual_order(app: TestApp) {
    let acme = app.company("acme").await;
    let below = json!([{ "title": "a" }, { "title": "b" }, { "title": "c" }]);
    let parent = app.create(&acme, &acme.member, "item", json!({ "title": "parent", "subtasks": below })).await;
    let query = "query($id: ID!) { item(id: $id) { subtasks { nodes { id title } } } }";
    let list = async || {
        let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": parent })).data().await;
        data["item"]["subtasks"]["nodes"].as_array().cloned().expect("a list")
    };
    let first = list().await;
    let titles = |nodes: &[Value]| nodes.iter().map(|node| node["title"].clone()).collect::<Vec<_>>();
    assert_eq!(titles(&first), ["a", "b", "c"]);
    let last = first[2]["id"].as_str().expect("an id").to_owned();
    to(&app, &acme, &last, json!({ "beforeId": first[0]["id"] })).done().await;
    assert_eq!(titles(&list().await), ["c", "a", "b"]);
}

#[databases]
async fn positions_that_make_no_sense_are_refused(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let ids = five(&app, &acme).await;
    let theirs = app.item(&rival, "theirs").await;
    for (position, code, path) in [
        (json!({}), "REQUIRED", "position"),
        (Value::Null, "REQUIRED", "position"),
        (json!({ "afterId": ids[0] }), "INVALID", "position.afterId"),
        (json!({ "afterId": theirs }), "NOT_FOUND", "position.afterId"),
        (json!({ "beforeId": theirs }), "NOT_FOUND", "position.beforeId"),
        (json!({ "afterId": ids[3], "beforeId": ids[1] }), "INVALID", "position"),
        (json!({ "afterId": ids[3], "beforeId": ids[3] }), "INVALID", "position"),
    ] {
        let refused = to(&app, &acme, &ids[0], position.clone()).refused().await;
        assert_eq!(refused, problem(code, &format!("input.patch.{path}")), "{position}");
    }
    assert_eq!(order(&app, &acme).await, "a b c d e");
}

/// All to one place at once, and the same in the other direction.
#[databases]
async fn moves_at_once_never_meet(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = five(&app, &acme).await;
    let mut moving = Vec::new();
    for n in 0..12 {
        moving.push(app.item(&acme, &format!("m{n}")).await);
    }
    for position in
        [json!({ "afterId": ids[0] }), json!({ "beforeId": ids[1] }), json!({ "afterId": ids[0], "beforeId": ids[4] })]
    {
        let answers = join_all(moving.iter().map(|id| to(&app, &acme, id, position.clone()).answer())).await;
        for answer in answers {
            assert_eq!(answer["data"]["itemUpdate"]["userErrors"], json!([]), "{answer:#}");
        }
        let order = order(&app, &acme).await;
        assert!(order.starts_with("a m") && order.ends_with(" b c d e"), "{position}: {order}");
    }
}

#[databases]
async fn places_that_have_grown_long_are_made_short_again(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = five(&app, &acme).await;
    let first = todo_platform::base::rank::of_number(1);
    // As after thousands of moves to the place after `a`.
    let long = format!("{first}{}V", "0".repeat(200));
    set_rank(&app, &acme, Some(&ids[1]), &long).await;
    set_rank(&app, &acme, Some(&ids[2]), &format!("{long}V")).await;
    assert_eq!(order(&app, &acme).await, "a b c d e");
    for id in [&ids[3], &ids[4]] {
        to(&app, &acme, id, json!({ "afterId": ids[1], "beforeId": ids[2] })).done().await;
    }
    assert_eq!(order(&app, &acme).await, "a b e d c", "each right after `b`");
    let data = app.call(&acme, &acme.viewer, "{ items(orderBy: [{field: RANK}]) { nodes { rank } } }").data().await;
    for node in data["items"]["nodes"].as_array().expect("a list") {
        assert!(node["rank"].as_str().expect("a rank").len() < 40, "{node}");
    }
}

/// Of before there was a manual order: what the job gives is what was shown before.
#[databases]
async fn items_of_before_are_in_the_order_of_their_numbers(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = five(&app, &acme).await;
    let ranks = async || {
        let query = "{ items(orderBy: [{field: IDENTIFIER}]) { nodes { rank } } }";
        app.call(&acme, &acme.viewer, query).data().await["items"]["nodes"].clone()
    };
    let made = ranks().await;
    set_rank(&app, &acme, None, "").await;
    assert_eq!(ranks().await, made);
    // Even then they can be moved.
    to(&app, &acme, &ids[4], json!({ "afterId": ids[0], "beforeId": ids[1] })).done().await;
    assert_eq!(app.state.db.place_items().await.expect("it works"), 4);
    assert_eq!(app.state.db.place_items().await.expect("it works"), 0);
    assert_eq!(order(&app, &acme).await, "a e b c d");
    set_rank(&app, &acme, None, "").await;
    app.state.db.place_items().await.expect("it works");
    assert_eq!(ranks().await, made);
}
