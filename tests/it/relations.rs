//! Relations between items: seen from both ends, never a circle of blocks, gone with their items.

use futures_util::future::join_all;
use serde_json::{Value, json};
use todo_platform::base::id::kind;

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::Company,
    },
};
use todo_test_macros::databases;

fn relate<'a>(app: &'a TestApp, acme: &Company, from: &str, kind: &str, to: &str) -> Call<'a> {
    let input = json!({ "itemId": from, "kind": kind, "relatedItemId": to });
    mutate(app, acme, &acme.member, ("itemRelationCreate", "relation { id kind isInverse item { id } }"), input)
}

/// Relations of an item: kind, whether it is seen from the other end, and the other's title.
async fn relations(app: &TestApp, acme: &Company, id: &str) -> Vec<(String, bool, String)> {
    let query = "query($id: ID!) { item(id: $id) { relations { kind isInverse item { title } } } }";
    let data = app.call(acme, &acme.viewer, query).vars(json!({ "id": id })).data().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seen =
        |relation: &Value| (text(&relation["kind"]), relation["isInverse"] == true, text(&relation["item"]["title"]));
    data["item"]["relations"].as_array().expect("a list").iter().map(seen).collect()
}

/// Titles of the items that are blocked: by their own field, by the filter, and by what its opposite leaves out.
async fn blocked(app: &TestApp, acme: &Company) -> Vec<String> {
    let query = "{ all: items(scope: ALL, orderBy: [{field: TITLE}]) { nodes { title isBlocked } } \
                 are: items(scope: ALL, orderBy: [{field: TITLE}], filter: {isBlocked: true}) { nodes { title } } \
                 not: items(scope: ALL, filter: {isBlocked: false}) { totalCount } }";
    let data = app.call(acme, &acme.viewer, query).data().await;
    let titles = |nodes: &Value, which: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let nodes = nodes["nodes"].as_array().expect("a list").iter().filter(|node| which(node));
        nodes.map(|node| node["title"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let by_field = titles(&data["all"], &|node| node["isBlocked"] == true);
    let by_filter = titles(&data["are"], &|_| true);
    let all = data["all"]["nodes"].as_array().expect("a list").len();
    assert_eq!((&by_field, json!(all - by_field.len())), (&by_filter, data["not"]["totalCount"].clone()));
    by_field
}

async fn act(app: &TestApp, acme: &Company, field: &str, input: Value) {
    mutate(app, acme, &acme.admin, (field, ""), input).done().await;
}

#[databases]
async fn two_items_are_related_seen_from_both(app: TestApp) {
    let acme = app.company("acme").await;
    let (a, b, c) = (app.item(&acme, "a").await, app.item(&acme, "b").await, app.item(&acme, "c").await);
    let made = relate(&app, &acme, &a, "BLOCKS", &b).done().await["relation"].clone();
    assert_eq!((&made["kind"], &made["isInverse"], &made["item"]["id"]), (&json!("BLOCKS"), &json!(false), &json!(b)));
    relate(&app, &acme, &c, "DUPLICATES", &a).done().await;
    relate(&app, &acme, &a, "RELATES_TO", &c).done().await;
    let seen = |kind: &str, inverse, title: &str| (kind.to_owned(), inverse, title.to_owned());
    assert_eq!(
        relations(&app, &acme, &a).await,
        [seen("BLOCKS", false, "b"), seen("DUPLICATES", true, "c"), seen("RELATES_TO", false, "c")]
    );
    assert_eq!(relations(&app, &acme, &b).await, [seen("BLOCKS", true, "a")]);
    let query = "query($id: ID!) { item(id: $id) { relations(kinds: [DUPLICATES]) { kind } } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": a })).data().await;
    assert_eq!(data["item"]["relations"], json!([{ "kind": "DUPLICATES" }]));
    // By its own id it is seen from the item that it begins at.
    let node = "query($id: ID!) { node(id: $id) { ... on ItemRelation { isInverse item { title } } } }";
    let data = app.call(&acme, &acme.viewer, node).vars(json!({ "id": made["id"] })).data().await;
    assert_eq!(data["node"], json!({ "isInverse": false, "item": { "title": "b" } }));
    // Deleting it again is harmless.
    for _ in 0..2 {
        act(&app, &acme, "itemRelationDelete", json!({ "id": made["id"] })).await;
    }
    assert_eq!(relations(&app, &acme, &b).await, []);
    let query = "{ events(last: 2, filter: {types: [ITEM_RELATION_CREATED, ITEM_RELATION_DELETED]}) { nodes { type \
                 item { title } changes { field before after } subject { id } } } }";
    let events = app.call(&acme, &acme.viewer, query).data().await["events"]["nodes"].clone();
    let gone = [("itemId", json!(a)), ("kind", json!("BLOCKS")), ("relatedItemId", json!(b))];
    let gone: Vec<Value> =
        gone.iter().map(|(field, before)| json!({ "field": field, "before": before, "after": null })).collect();
    assert_eq!(
        events[1],
        json!({ "type": "ITEM_RELATION_DELETED", "item": { "title": "a" }, "changes": gone, "subject": null })
    );
}

#[databases]
async fn what_is_finished_or_put_away_blocks_no_more(app: TestApp) {
    let acme = app.company("acme").await;
    let (a, b) = (app.item(&acme, "a").await, app.item(&acme, "b").await);
    assert_eq!(blocked(&app, &acme).await, [""; 0]);
    relate(&app, &acme, &a, "RELATES_TO", &b).done().await;
    let relation = relate(&app, &acme, &a, "BLOCKS", &b).done().await["relation"]["id"].clone();
    for (ends, begins, input) in [
        ("itemUpdate", "itemUpdate", Some(["DONE", "IN_REVIEW"])),
        ("itemArchive", "itemUnarchive", None),
        ("itemDelete", "itemRestore", None),
    ] {
        assert_eq!(blocked(&app, &acme).await, ["b"], "before {ends}");
        let input = |status: usize| match input {
            Some(statuses) => json!({ "id": a, "patch": { "status": statuses[status] } }),
            None => json!({ "id": a }),
        };
        act(&app, &acme, ends, input(0)).await;
        assert_eq!(blocked(&app, &acme).await, [""; 0], "after {ends}");
        act(&app, &acme, begins, input(1)).await;
    }
    act(&app, &acme, "itemRelationDelete", json!({ "id": relation })).await;
    assert_eq!(blocked(&app, &acme).await, [""; 0]);
}

#[databases]
async fn what_makes_no_sense_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let (a, b, c) = (app.item(&acme, "a").await, app.item(&acme, "b").await, app.item(&acme, "c").await);
    let theirs = app.item(&rival, "theirs").await;
    let refused = async |from: &str, kind: &str, to: &str, code: &str, field: &str| {
        let found = relate(&app, &acme, from, kind, to).refused().await;
        assert_eq!(found, problem(code, &format!("input.{field}")), "{kind}");
    };
    refused(&a, "BLOCKS", &a, "INVALID", "relatedItemId").await;
    refused(&a, "BLOCKS", &theirs, "NOT_FOUND", "relatedItemId").await;
    refused(&theirs, "BLOCKS", &a, "NOT_FOUND", "itemId").await;
    for kind in ["BLOCKS", "DUPLICATES", "RELATES_TO"] {
        relate(&app, &acme, &a, kind, &b).done().await;
        refused(&a, kind, &b, "TAKEN", "relatedItemId").await;
    }
    relate(&app, &acme, &b, "BLOCKS", &c).done().await;
    refused(&b, "BLOCKS", &a, "CYCLE", "relatedItemId").await;
    refused(&c, "BLOCKS", &a, "CYCLE", "relatedItemId").await;
    refused(&b, "DUPLICATES", &a, "CYCLE", "relatedItemId").await;
    refused(&b, "RELATES_TO", &a, "TAKEN", "relatedItemId").await;
    // Two ways to one item are no circle.
    relate(&app, &acme, &a, "BLOCKS", &c).done().await;
    act(&app, &acme, "itemDelete", json!({ "id": c })).await;
    refused(&c, "RELATES_TO", &a, "INVALID_STATE", "itemId").await;
    refused(&a, "RELATES_TO", &c, "INVALID_STATE", "relatedItemId").await;
    // The same again, with the same id, is the same relation.
    let id = app.clock.new_id::<kind::ItemRelation>().to_string();
    let input = |to: &str| json!({ "id": id, "itemId": b, "kind": "RELATES_TO", "relatedItemId": to });
    let d = app.item(&acme, "d").await;
    for _ in 0..2 {
        act(&app, &acme, "itemRelationCreate", input(&d)).await;
    }
    let other = mutate(&app, &acme, &acme.member, ("itemRelationCreate", ""), input(&a)).refused().await;
    assert_eq!(other, problem("TAKEN", "input.id"));
    let by_viewer = mutate(&app, &acme, &acme.viewer, ("itemRelationCreate", ""), input(&d));
    assert_eq!(by_viewer.error_code().await, "FORBIDDEN");
}

/// Each is to block the next, all at once: whoever comes last would close the ring.
#[databases]
async fn a_ring_of_blocks_made_at_once_stays_open(app: TestApp) {
    let acme = app.company("acme").await;
    for round in 0..5 {
        let mut items = Vec::new();
        for n in 0..6 {
            items.push(app.item(&acme, &format!("{round}.{n}")).await);
        }
        let made = (0..6).map(|n| relate(&app, &acme, &items[n], "BLOCKS", &items[(n + 1) % 6]).answer());
        let answers = join_all(made).await;
        let refused: Vec<&Value> = answers
            .iter()
            .flat_map(|answer| answer["data"]["itemRelationCreate"]["userErrors"].as_array().expect("a list"))
            .collect();
        assert_eq!((refused.len(), &refused[0]["code"]), (1, &json!("CYCLE")), "{answers:#?}");
    }
}

#[databases]
async fn an_item_has_a_hundred_relations_at_most(app: TestApp) {
    let acme = app.company("acme").await;
    let a = app.item(&acme, "a").await;
    for n in 0..100 {
        let other = app.item(&acme, &n.to_string()).await;
        let (from, to) = if n % 2 == 0 { (&a, &other) } else { (&other, &a) };
        relate(&app, &acme, from, "RELATES_TO", to).done().await;
    }
    assert_eq!(relations(&app, &acme, &a).await.len(), 100);
    let other = app.item(&acme, "one more").await;
    assert_eq!(relate(&app, &acme, &a, "BLOCKS", &other).refused().await, problem("TOO_MANY", "input.itemId"));
    assert_eq!(relate(&app, &acme, &other, "BLOCKS", &a).refused().await, problem("TOO_MANY", "input.relatedItemId"));
}

#[databases]
async fn relations_leave_with_their_items(app: TestApp) {
    let acme = app.company("acme").await;
    let (a, b) = (app.item(&acme, "a").await, app.item(&acme, "b").await);
    let relation = relate(&app, &acme, &a, "BLOCKS", &b).done().await["relation"]["id"].clone();
    // In the trash it is left out, and comes back with the item.
    act(&app, &acme, "itemDelete", json!({ "id": a })).await;
    assert_eq!(relations(&app, &acme, &b).await, []);
    assert_eq!(relations(&app, &acme, &a).await.len(), 1, "seen from there");
    act(&app, &acme, "itemRestore", json!({ "id": a })).await;
    assert_eq!(relations(&app, &acme, &b).await.len(), 1);
    act(&app, &acme, "itemDelete", json!({ "id": b, "permanently": true })).await;
    assert_eq!(relations(&app, &acme, &a).await, []);
    let query = "{ events(last: 2) { nodes { type subjectId } } }";
    let events = app.call(&acme, &acme.viewer, query).data().await["events"]["nodes"].clone();
    assert_eq!(events[0], json!({ "type": "ITEM_RELATION_DELETED", "subjectId": relation }));
    assert_eq!(events[1]["type"], "ITEM_PURGED");
    let sync =
        app.call(&acme, &acme.viewer, "{ sync(types: [ITEM_RELATION]) { nodes { id } removedIds } }").data().await;
    assert_eq!(sync["sync"], json!({ "nodes": [], "removedIds": [] }));
}

/// A page may lead to a hundred others from each of its items: what that loads has a bound.
#[databases]
async fn the_relations_of_a_page_name_a_thousand_items_at_most(app: TestApp) {
    use todo_platform::data::{actor::Origin, db::OrgScope, entity::item_relation};
    let acme = app.company("acme").await;
    let mut ids: Vec<todo_platform::base::id::ItemId> = Vec::new();
    for _ in 0..3 {
        let made: Vec<Value> = (0..400).map(|n| json!({ "title": n.to_string() })).collect();
        let done = mutate(&app, &acme, &acme.admin, ("itemBulkCreate", "results { id }"), json!({ "items": made }));
        let done = done.done().await["results"].as_array().cloned().expect("a list");
        ids.extend(
            done.iter().filter_map(|result| result["id"].as_str()?.parse::<todo_platform::base::id::ItemId>().ok()),
        );
    }
    let organization_id = acme.id.parse().expect("an id");
    let scope =
        OrgScope::of_system(&app.state.db, organization_id, Origin::command("test")).await.expect("it is there");
    let tx = scope.write_as_member().await.expect("a write");
    // The last twelve, which are the newest, have 99 others each.
    let rows = ids[1188..].iter().enumerate().flat_map(|(n, from)| {
        ids[n * 99..][..99].iter().map(|to| item_relation::Model {
            organization_id,
            id: app.clock.new_id(),
            item_id: *from,
            related_item_id: *to,
            kind: todo_platform::base::enums::ItemRelationKind::Blocks,
            created_at: app.clock.now(),
        })
    });
    tx.insert_many(rows.collect()).await.expect("they go in");
    tx.commit_unrecorded((), "made by a test").await.expect("it works");
    let ask = |first: usize| {
        let query = format!("{{ items(first: {first}) {{ nodes {{ relations {{ item {{ title }} }} }} }} }}");
        app.call(&acme, &acme.viewer, &query)
    };
    let data = ask(10).data().await;
    let relations = |node: &Value| node["relations"].as_array().map_or(0, Vec::len);
    assert_eq!(data["items"]["nodes"].as_array().expect("a list").iter().map(relations).sum::<usize>(), 990);
    assert_eq!(ask(12).error_code().await, "QUERY_TOO_COMPLEX");
}
