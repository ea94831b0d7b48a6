//! Many items by one mutation: all or none, or each on its own.

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

const RESULTS: &str = "succeeded failed results { index id item { id title status version } userErrors { code path } }";

fn bulk<'a>(app: &'a TestApp, acme: &Company, what: &str, input: Value) -> Call<'a> {
    mutate(app, acme, &acme.admin, (&format!("itemBulk{what}"), RESULTS), input)
}

async fn items(app: &TestApp, acme: &Company, count: usize) -> Vec<String> {
    let made = (0..count).map(|n| json!({ "title": format!("item {n}") })).collect::<Vec<_>>();
    let done = bulk(app, acme, "Create", json!({ "items": made })).done().await;
    let id = |result: &Value| result["id"].as_str().expect("an id").to_owned();
    done["results"].as_array().expect("a list").iter().map(id).collect()
}

/// Per item: its codes and paths.
fn problems(payload: &Value) -> Vec<Vec<(String, String)>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |error: &Value| {
        let path: Vec<String> = error["path"].as_array().expect("a path").iter().map(text).collect();
        (text(&error["code"]), path.join("."))
    };
    let all = payload["results"].as_array().expect("a list").iter();
    all.map(|result| result["userErrors"].as_array().expect("a list").iter().map(of).collect()).collect()
}

/// Types of the newest events.
async fn events(app: &TestApp, acme: &Company, last: usize) -> Vec<String> {
    let query = format!("{{ events(last: {last}) {{ nodes {{ type }} }} }}");
    let data = app.call(acme, &acme.owner, &query).data().await;
    let nodes = data["events"]["nodes"].as_array().expect("a list").iter();
    nodes.map(|node| node["type"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn sequence(app: &TestApp, acme: &Company) -> Value {
    let data = app.call(acme, &acme.owner, "{ events(last: 1) { nodes { sequence } } }").data().await;
    data["events"]["nodes"][0]["sequence"].clone()
}

/// Parents count what is below them.
async fn counts_are_right(app: &TestApp, acme: &Company) {
    let query = "query($after: Cursor) { items(scope: ALL, first: 100, after: $after) { pageInfo { hasNextPage endCursor } \
                 nodes { id status parent { id } subtaskProgress { total done } } } }";
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let page = app.call(acme, &acme.owner, query).vars(json!({ "after": after })).data().await["items"].clone();
        all.extend(page["nodes"].as_array().cloned().expect("a list"));
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
    for parent in &all {
        let below: Vec<&Value> = all.iter().filter(|item| item["parent"]["id"] == parent["id"]).collect();
        let done = below.iter().filter(|below| below["status"] == "DONE").count();
        assert_eq!(parent["subtaskProgress"], json!({ "total": below.len(), "done": done }), "{parent:#}");
    }
}

#[databases]
async fn many_are_changed_alike_with_an_event_each(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let ids = items(&app, &acme, 4).await;
    assert_eq!(events(&app, &acme, 4).await, ["ITEM_CREATED"; 4]);
    let patch = json!({ "status": "DONE", "tags": { "add": [tag] }, "assignees": { "set": [acme.member.id] } });
    let with_links = "succeeded failed results { index id item { id title status version tags { name } assignees { id } } \
                      userErrors { code path } }";
    let update = |input: Value| mutate(&app, &acme, &acme.admin, ("itemBulkUpdate", with_links), input);
    let done = update(json!({ "select": { "ids": &ids[..3] }, "patch": patch })).done().await;
    assert_eq!((&done["succeeded"], &done["failed"]), (&json!(3), &json!(0)));
    for (index, result) in done["results"].as_array().expect("a list").iter().enumerate() {
        let expected = json!({
            "index": index, "id": ids[index], "userErrors": [],
            "item": { "id": ids[index], "title": format!("item {index}"), "status": "DONE", "version": 2,
                      "tags": [{ "name": "bug" }], "assignees": [{ "id": acme.member.id }] },
        });
        assert_eq!(result, &expected);
    }
    assert_eq!(events(&app, &acme, 4).await, ["ITEM_CREATED", "ITEM_UPDATED", "ITEM_UPDATED", "ITEM_UPDATED"]);
    // Of those that are so already nothing is written.
    let before = sequence(&app, &acme).await;
    let done = bulk(&app, &acme, "Update", json!({ "select": { "ids": ids }, "patch": patch })).done().await;
    assert_eq!((&done["succeeded"], &done["results"][0]["item"]["version"]), (&json!(4), &json!(2)));
    assert_eq!(events(&app, &acme, 1).await, ["ITEM_UPDATED"]);
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<i64>().ok()).expect("a number");
    assert_eq!(number(&sequence(&app, &acme).await), number(&before) + 1);
    // Archiving is an event of its own; sets are taken apart, too.
    let patch = json!({ "status": "ARCHIVED", "tags": { "remove": [tag] }, "assignees": { "set": [] } });
    let done = update(json!({ "select": { "ids": &ids[..2] }, "patch": patch })).done().await;
    assert_eq!(done["results"][1]["item"]["tags"], json!([]));
    assert_eq!(done["results"][1]["item"]["assignees"], json!([]));
    assert_eq!(events(&app, &acme, 2).await, ["ITEM_ARCHIVED"; 2]);
}

#[databases]
async fn one_that_fails_takes_all_along_or_none(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let theirs = app.item(&rival, "theirs").await;
    let ids = items(&app, &acme, 2).await;
    let trashed = app.item(&acme, "old").await;
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), json!({ "id": trashed })).done().await;
    let select = json!({ "ids": [ids[0], theirs, trashed, ids[1], ids[0]] });
    let expected = [
        vec![],
        problem("NOT_FOUND", "input.select.ids.1"),
        problem("INVALID_STATE", "input.select.ids.2"),
        vec![],
        problem("INVALID", "input.select.ids.4"),
    ];
    let before = sequence(&app, &acme).await;
    let atomic = json!({ "select": select, "patch": { "priority": "URGENT" } });
    let refused = bulk(&app, &acme, "Update", atomic.clone()).data().await["itemBulkUpdate"].clone();
    assert_eq!(problems(&refused), expected);
    assert_eq!((&refused["succeeded"], &refused["failed"], &refused["cursor"]), (&json!(0), &json!(5), &Value::Null));
    let indexes: Vec<&Value> =
        refused["userErrors"].as_array().expect("a list").iter().map(|error| &error["details"]["index"]).collect();
    assert_eq!(indexes, [&json!(1), &json!(2), &json!(4)]);
    assert!(refused["results"][0]["item"].is_null(), "nothing was written");
    assert_eq!(sequence(&app, &acme).await, before);
    // Who doesn't ask for `userErrors` is told at the top level.
    let query = "mutation($input: ItemBulkUpdateInput!) { itemBulkUpdate(input: $input) { succeeded } }";
    assert_eq!(app.call(&acme, &acme.admin, query).vars(json!({ "input": atomic })).error_code().await, "NOT_FOUND");

    let each = json!({ "select": select, "patch": { "priority": "URGENT" }, "mode": "BEST_EFFORT" });
    let done = bulk(&app, &acme, "Update", each).done().await;
    assert_eq!(problems(&done), expected);
    assert_eq!((&done["succeeded"], &done["failed"]), (&json!(2), &json!(3)));
    assert_eq!(done["results"][3]["item"]["version"], 2);
    // What the patch names is missing for all alike.
    let absent = app.clock.new_id::<kind::Tag>().to_string();
    let patch = json!({ "tags": { "add": [absent] } });
    for mode in ["ATOMIC", "BEST_EFFORT"] {
        let input = json!({ "select": { "ids": ids }, "patch": patch, "mode": mode });
        assert_eq!(bulk(&app, &acme, "Update", input).refused().await, problem("NOT_FOUND", "input.patch.tags"));
    }
}

#[databases]
async fn a_filter_names_them_with_their_number(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = items(&app, &acme, 3).await;
    app.item(&acme, "another").await;
    let by = |clause: Value, count: i32| {
        let filter = json!({ "where": clause, "expectedCount": count });
        bulk(&app, &acme, "Update", json!({ "select": { "filter": filter }, "patch": { "status": "IN_REVIEW" } }))
    };
    let titled = json!({ "title": { "startsWith": "item" } });
    let path = "input.select.filter.expectedCount";
    assert_eq!(by(titled.clone(), 2).refused().await, problem("CONFLICT", path));
    assert_eq!(by(titled.clone(), 4).refused().await, problem("CONFLICT", path));
    assert_eq!(by(titled.clone(), 501).refused().await, problem("OUT_OF_RANGE", path));
    for nothing in [json!({}), json!({ "and": [{}, { "not": {} }] })] {
        assert_eq!(by(nothing, 4).refused().await, problem("REQUIRED", "input.select.filter.where"));
    }
    let done = by(titled, 3).done().await;
    let found: Vec<&Value> = done["results"].as_array().expect("a list").iter().map(|result| &result["id"]).collect();
    assert_eq!(found, ids.iter().map(|id| json!(id)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    // None at all is as good as any number.
    assert_eq!(by(json!({ "title": { "eq": "nobody's" } }), 0).done().await["succeeded"], 0);
    // A filter within a mutation is held to what any filter is.
    let deep = json!({ "and": vec![json!({}); 400] });
    assert_eq!(by(deep, 1).error_code().await, "BAD_REQUEST");
}

#[databases]
async fn trees_go_to_the_trash_and_come_back(app: TestApp) {
    let acme = app.company("acme").await;
    let tree = |title: &str| {
        let below =
            json!([{ "title": "below", "subtasks": [{ "title": "deep" }] }, { "title": "done", "status": "DONE" }]);
        app.create(&acme, &acme.member, "item", json!({ "title": title, "subtasks": below }))
    };
    let (a, b) = (tree("a").await, tree("b").await);
    let query = "{ items(filter: {title: {in: [\"below\", \"deep\"]}}) { nodes { id title parent { id } } } }";
    let data = app.call(&acme, &acme.owner, query).data().await;
    let find = |title: &str, parent: &str| {
        let nodes = data["items"]["nodes"].as_array().expect("a list");
        let found = nodes.iter().find(|node| node["title"] == title && node["parent"]["id"] == parent);
        found.and_then(|node| node["id"].as_str()).expect("an item").to_owned()
    };
    let below_a = find("below", &a);
    let deep_b = find("deep", &find("below", &b));
    let select = |ids: &[&String]| json!({ "select": { "ids": ids } });
    // `deep` of b goes by itself; then all of a, with `below` named besides, and the rest of b.
    bulk(&app, &acme, "Delete", select(&[&deep_b])).done().await;
    counts_are_right(&app, &acme).await;
    let done = bulk(&app, &acme, "Delete", select(&[&below_a, &a, &b, &deep_b])).done().await;
    assert_eq!(done["succeeded"], 4);
    counts_are_right(&app, &acme).await;
    let left = app.call(&acme, &acme.owner, "{ items(scope: ALL) { totalCount } }").data().await;
    assert_eq!(left["items"]["totalCount"], 0);
    // Alone, what is below another in the trash can't come back; what went with its parent comes back with it.
    let refused = bulk(&app, &acme, "Restore", select(&[&below_a])).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.select.ids.0"));
    let refused = bulk(&app, &acme, "Restore", select(&[&deep_b, &a])).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.select.ids.0"));
    let input = json!({ "select": { "ids": [deep_b, a] }, "mode": "BEST_EFFORT" });
    let done = bulk(&app, &acme, "Restore", input).done().await;
    assert_eq!(problems(&done), [problem("INVALID_STATE", "input.select.ids.0"), vec![]]);
    counts_are_right(&app, &acme).await;
    let done = bulk(&app, &acme, "Restore", select(&[&deep_b, &b, &a])).done().await;
    assert_eq!(done["succeeded"], 3);
    counts_are_right(&app, &acme).await;
    let back = app.call(&acme, &acme.owner, "{ items(scope: ALL) { totalCount } }").data().await;
    assert_eq!(back["items"]["totalCount"], 8);
    let quota = "{ organization { plan { quotas { resource used } } } }";
    let data = app.call(&acme, &acme.owner, quota).data().await;
    let quotas = data["organization"]["plan"]["quotas"].as_array().expect("a list");
    assert!(quotas.contains(&json!({ "resource": "ITEMS", "used": "8" })), "{quotas:?}");
}

#[databases]
async fn many_are_created_all_or_each(app: TestApp) {
    let acme = app.company("acme").await;
    let parent = app.item(&acme, "parent").await;
    let id = app.clock.new_id::<kind::Item>().to_string();
    let all = json!([
        { "title": "one", "id": id, "parentId": parent },
        { "title": "" },
        { "title": "three", "subtasks": [{ "title": "below" }] },
        { "title": "again", "id": id },
        { "title": "four", "estimatedHours": -1 },
    ]);
    let expected = [
        vec![],
        problem("REQUIRED", "input.items.1.title"),
        vec![],
        problem("TAKEN", "input.items.3.id"),
        problem("OUT_OF_RANGE", "input.items.4.estimatedHours"),
    ];
    let before = sequence(&app, &acme).await;
    let refused = bulk(&app, &acme, "Create", json!({ "items": all })).data().await["itemBulkCreate"].clone();
    assert_eq!((problems(&refused), &refused["succeeded"]), (expected.to_vec(), &json!(0)));
    assert_eq!(sequence(&app, &acme).await, before);
    let each = json!({ "items": all, "mode": "BEST_EFFORT" });
    let done = bulk(&app, &acme, "Create", each.clone()).done().await;
    assert_eq!((problems(&done), &done["succeeded"]), (expected.to_vec(), &json!(2)));
    assert_eq!(events(&app, &acme, 3).await, ["ITEM_CREATED"; 3]);
    counts_are_right(&app, &acme).await;
    let data = app.call(&acme, &acme.owner, "{ items { totalCount } }").data().await;
    assert_eq!(data["items"]["totalCount"], 4);
    let none = bulk(&app, &acme, "Create", json!({ "items": [] })).refused().await;
    assert_eq!(none, problem("REQUIRED", "input.items"));
}

/// What is asked for each is priced; what became of it comes with the write.
#[databases]
async fn five_hundred_at_once_fit_the_limit_of_an_operation(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = items(&app, &acme, 500).await;
    let update = json!({ "select": { "ids": ids }, "patch": { "status": "DONE" } });
    assert_eq!(bulk(&app, &acme, "Update", update).done().await["succeeded"], 500);
    for what in ["Delete", "Restore"] {
        let input = json!({ "select": { "ids": ids } });
        assert_eq!(bulk(&app, &acme, what, input).done().await["succeeded"], 500);
    }
    assert_eq!(events(&app, &acme, 1).await, ["ITEM_RESTORED"]);
}

#[databases]
async fn more_than_five_hundred_are_refused(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "one").await;
    let ids = vec![id.clone(); 501];
    let update = json!({ "select": { "ids": ids }, "patch": { "status": "DONE" } });
    assert_eq!(bulk(&app, &acme, "Update", update).refused().await, problem("TOO_MANY", "input.select.ids"));
    let below = vec![json!({ "title": "below" }); 100];
    let many = vec![json!({ "title": "one", "subtasks": below }); 5];
    let create = bulk(&app, &acme, "Create", json!({ "items": many }));
    assert_eq!(create.refused().await, problem("TOO_MANY", "input.items"));
    // With what is below them.
    let parents = items(&app, &acme, 3).await;
    for parent in &parents {
        let below = vec![json!({ "title": "below", "parentId": parent }); 180];
        bulk(&app, &acme, "Create", json!({ "items": below })).done().await;
    }
    let refused = bulk(&app, &acme, "Delete", json!({ "select": { "ids": parents } })).refused().await;
    assert_eq!(refused, problem("TOO_MANY", "input.select"));
    bulk(&app, &acme, "Delete", json!({ "select": { "ids": &parents[..2] } })).done().await;
    bulk(&app, &acme, "Restore", json!({ "select": { "ids": &parents[..2] } })).done().await;
}

#[databases]
async fn statements_do_not_grow_with_the_items(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let parents = items(&app, &acme, 5).await;
    let mut counts = Vec::new();
    for many in [2, 100] {
        let input = |n: usize| json!({ "title": n.to_string(), "tagIds": [tag], "parentId": parents[n % 2] });
        let mut steps = Vec::new();
        let mut step = async |what: &str, input: Value| {
            app.call(&acme, &acme.admin, "{ viewer { role } }").data().await;
            app.take_statements();
            let call = mutate(&app, &acme, &acme.admin, (&format!("itemBulk{what}"), "results { id }"), input);
            let done = call.done().await;
            steps.push(app.take_statements().len());
            done
        };
        let made = step("Create", json!({ "items": (0..many).map(input).collect::<Vec<_>>() })).await;
        let ids: Vec<Value> = made["results"].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect();
        let patch = json!({ "status": "DONE", "tags": { "set": [] }, "assignees": { "add": [acme.member.id] } });
        step("Update", json!({ "select": { "ids": ids }, "patch": patch })).await;
        step("Delete", json!({ "select": { "ids": ids } })).await;
        step("Restore", json!({ "select": { "ids": ids } })).await;
        counts.push(steps);
    }
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0].iter().all(|count| *count <= 20), "{counts:?}");
    counts_are_right(&app, &acme).await;
}

#[databases]
async fn a_repeat_under_its_key_answers_the_same(app: TestApp) {
    let acme = app.company("acme").await;
    let ids = items(&app, &acme, 2).await;
    let absent = app.clock.new_id::<kind::Item>().to_string();
    for mode in ["BEST_EFFORT", "ATOMIC"] {
        let input =
            json!({ "select": { "ids": [ids[0], absent, ids[1]] }, "patch": { "priority": "LOW" }, "mode": mode });
        let send = || bulk(&app, &acme, "Update", input.clone()).header("Idempotency-Key", mode).data();
        let first = send().await;
        let before = sequence(&app, &acme).await;
        assert_eq!(send().await, first, "{mode}");
        assert_eq!(sequence(&app, &acme).await, before);
    }
    let create = json!({ "items": [{ "title": "a" }, { "title": "b" }] });
    let send = || bulk(&app, &acme, "Create", create.clone()).header("Idempotency-Key", "create").data();
    assert_eq!(send().await, send().await);
}

#[databases]
async fn who_may_not_read_items_is_given_their_ids_alone(app: TestApp) {
    let acme = app.company("acme").await;
    let (_, key) = app.api_key(&acme, &acme.admin, &["ITEM_WRITE"]).await;
    let query = "mutation($input: ItemBulkCreateInput!) { itemBulkCreate(input: $input) { succeeded results { id item { id } } \
                 userErrors { code } } }";
    let input = json!({ "items": [{ "title": "a" }] });
    let done = app.gql(query).key(&key).vars(json!({ "input": input })).done().await;
    assert_eq!((&done["succeeded"], &done["results"][0]["item"]), (&json!(1), &Value::Null));
    assert!(done["results"][0]["id"].is_string());
}

#[databases]
async fn bulk_and_single_changes_at_once_all_come_through(app: TestApp) {
    let acme = app.company("acme").await;
    let parent = items(&app, &acme, 1).await.remove(0);
    let below: Vec<Value> = (0..20).map(|n| json!({ "title": n.to_string(), "parentId": parent })).collect();
    let made = bulk(&app, &acme, "Create", json!({ "items": below })).done().await;
    let mut ids: Vec<Value> = made["results"].as_array().expect("a list").iter().map(|one| one["id"].clone()).collect();
    ids.push(json!(parent));
    for round in 0..4 {
        let status = ["DONE", "TODO"][round % 2];
        let many = (0..3).map(|n| {
            let mut ids = ids.clone();
            ids.rotate_left(n * 5);
            let patch = json!({ "status": status, "estimatedHours": n });
            bulk(&app, &acme, "Update", json!({ "select": { "ids": ids }, "patch": patch })).answer()
        });
        let single = ids.iter().step_by(4).map(|id| {
            let patch = json!({ "title": format!("renamed {round}"), "status": status });
            mutate(&app, &acme, &acme.member, ("itemUpdate", ""), json!({ "id": id, "patch": patch })).answer()
        });
        let (many, single) = tokio::join!(join_all(many), join_all(single));
        for answer in many {
            assert_eq!(answer["data"]["itemBulkUpdate"]["succeeded"], 21, "{answer:#}");
        }
        for answer in single {
            assert_eq!(answer["data"]["itemUpdate"]["userErrors"], json!([]), "{answer:#}");
        }
        counts_are_right(&app, &acme).await;
    }
}
