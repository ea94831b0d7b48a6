//! Items: what a create makes, what a patch changes, the tree, the archive and the trash.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use std::collections::BTreeSet;

use chrono::Duration;
use futures_util::future::join_all;
use serde_json::{Value, json};
use todo_platform::{base::id::kind, data::ledger::LedgerCursor};

use crate::support::{
    app::TestApp,
    client::{Call, problem},
    world::{Company, Person},
};
use todo_test_macros::databases;

const ITEM: &str = "id identifier title description status priority dueAt estimatedHours actualHours team { id } \
    parent { id } assignees { id } tags { id } createdBy { id } createdAt updatedAt startedAt completedAt archivedAt \
    deletedAt version isOverdue subtaskProgress { done total }";

/// The mutation `field(input: $input)` as a member of an organization, with `selection` beside the errors.
pub fn mutate<'a>(
    app: &'a TestApp,
    company: &Company,
    person: &Person,
    (field, selection): (&str, &str),
    input: Value,
) -> Call<'a> {
    let (first, rest) = field.split_at(1);
    let query = format!(
        "mutation($input: {}{rest}Input!) {{ {field}(input: $input) {{ {selection} cursor \
         userErrors {{ code path message details }} }} }}",
        first.to_uppercase(),
    );
    app.call(company, person, &query).vars(json!({ "input": input }))
}

/// A mutation of items by the member.
fn by_member<'a>(app: &'a TestApp, company: &Company, field: &str, input: Value) -> Call<'a> {
    mutate(app, company, &company.member, (field, &format!("item {{ {ITEM} }}")), input)
}

/// A mutation of items by the admin.
fn by_admin<'a>(app: &'a TestApp, company: &Company, field: &str, input: Value) -> Call<'a> {
    mutate(app, company, &company.admin, (field, &format!("item {{ {ITEM} }}")), input)
}

async fn make(app: &TestApp, company: &Company, input: Value) -> Value {
    by_member(app, company, "itemCreate", input).done().await["item"].clone()
}

async fn patch(app: &TestApp, company: &Company, id: &Value, patch: Value) -> Value {
    by_member(app, company, "itemUpdate", json!({ "id": id, "patch": patch })).done().await["item"].clone()
}

fn refused_patch<'a>(app: &'a TestApp, company: &Company, id: &Value, patch: Value) -> Call<'a> {
    by_member(app, company, "itemUpdate", json!({ "id": id, "patch": patch }))
}

/// One item as it stands, null when it isn't there.
async fn read(app: &TestApp, company: &Company, id: &Value) -> Value {
    let query = format!("query($id: ID!) {{ item(id: $id) {{ {ITEM} }} }}");
    app.call(company, &company.viewer, &query).vars(json!({ "id": id })).data().await["item"].clone()
}

async fn progress(app: &TestApp, company: &Company, id: &Value) -> (i64, i64) {
    let item = read(app, company, id).await;
    let number = |name: &str| item["subtaskProgress"][name].as_i64().expect("a number");
    (number("done"), number("total"))
}

/// The newest `count` events, `(type, subject)`, oldest first.
async fn newest(app: &TestApp, company: &Company, count: usize) -> Vec<(String, String)> {
    let query = "query($n: Int!) { events(last: $n) { nodes { type subjectId } } }";
    let data = app.call(company, &company.owner, query).vars(json!({ "n": count })).data().await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let nodes = data["events"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| (text(&node["type"]), text(&node["subjectId"]))).collect()
}

/// Where the ledger stands.
async fn head(app: &TestApp, company: &Company) -> Value {
    app.call(company, &company.owner, "{ events(last: 1) { nodes { sequence } } }").data().await["events"]["nodes"][0]
        ["sequence"]
        .clone()
}

/// Titles of a list, sorted.
async fn titles(app: &TestApp, company: &Company, scope: &str) -> Vec<String> {
    let query = "query($scope: ItemScope!) { items(scope: $scope, first: 100, orderBy: [{field: TITLE}]) { \
                 nodes { title } } }";
    let data = app.call(company, &company.viewer, query).vars(json!({ "scope": scope })).data().await;
    let nodes = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| node["title"].as_str().unwrap_or_default().to_owned()).collect()
}

fn ids(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().cloned().unwrap_or_default();
    list.iter().map(|entry| entry["id"].as_str().unwrap_or_default().to_owned()).collect()
}

fn set<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.map(str::to_owned).into()
}

/// A string id as the API takes it.
fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// A tree `root` › `child` › `grandchild`, their ids.
async fn tree(app: &TestApp, company: &Company) -> [Value; 3] {
    let root = make(app, company, json!({ "title": "root" })).await["id"].clone();
    let child = make(app, company, json!({ "title": "child", "parentId": root })).await["id"].clone();
    let grandchild = make(app, company, json!({ "title": "grandchild", "parentId": child })).await["id"].clone();
    [root, child, grandchild]
}

#[databases]
async fn everything_given_to_a_create_is_kept(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "Core" })).await;
    let tag = app.create(&acme, &acme.admin, "tag", json!({ "name": "bug" })).await;
    let parent = app.item(&acme, "parent").await;
    let input = json!({
        "title": "  Ship it  ", "description": "*now*", "status": "IN_REVIEW", "priority": "URGENT",
        "dueAt": "2026-03-01T10:00:00+01:00", "estimatedHours": 2.5, "teamId": team, "parentId": parent,
        "assigneeIds": [acme.member.id, acme.viewer.id, acme.member.id], "tagIds": [tag],
    });
    let item = make(&app, &acme, input).await;
    let expected = json!({
        "id": item["id"], "identifier": "ACME-2", "title": "Ship it", "description": "*now*",
        "status": "IN_REVIEW", "priority": "URGENT", "dueAt": "2026-03-01T09:00:00.000Z", "estimatedHours": 2.5,
        "actualHours": null, "team": { "id": team }, "parent": { "id": parent },
        "assignees": item["assignees"], "tags": [{ "id": tag }], "createdBy": { "id": acme.member.id },
        "createdAt": "2026-03-02T09:00:00.000Z", "updatedAt": "2026-03-02T09:00:00.000Z",
        "startedAt": "2026-03-02T09:00:00.000Z", "completedAt": null, "archivedAt": null, "deletedAt": null,
        "version": 1, "isOverdue": true, "subtaskProgress": { "done": 0, "total": 0 },
    });
    assert_eq!(item, expected);
    assert_eq!(ids(&item["assignees"]), set([&acme.member.id, &acme.viewer.id]));
    assert_eq!(read(&app, &acme, &item["id"]).await, item, "what is read is what was answered");
}

#[databases]
async fn a_create_of_a_title_alone_has_defaults(app: TestApp) {
    let acme = app.company("acme").await;
    let item = make(&app, &acme, json!({ "title": "x" })).await;
    let expected = json!({
        "id": item["id"], "identifier": "ACME-1", "title": "x", "description": null, "status": "TODO",
        "priority": "MEDIUM", "dueAt": null, "estimatedHours": null, "actualHours": null, "team": null,
        "parent": null, "assignees": [], "tags": [], "createdBy": { "id": acme.member.id },
        "createdAt": "2026-03-02T09:00:00.000Z", "updatedAt": "2026-03-02T09:00:00.000Z", "startedAt": null,
        "completedAt": null, "archivedAt": null, "deletedAt": null, "version": 1, "isOverdue": false,
        "subtaskProgress": { "done": 0, "total": 0 },
    });
    assert_eq!(item, expected);
}

#[databases]
async fn twenty_creates_at_once_number_without_gaps(app: TestApp) {
    let acme = app.company("acme").await;
    let calls = (0..20).map(|n| make(&app, &acme, json!({ "title": format!("item {n}") })));
    let made = join_all(calls).await;
    let numbers: BTreeSet<String> = made.iter().map(|item| text(&item["identifier"]).to_owned()).collect();
    let expected: BTreeSet<String> = (1..=20).map(|n| format!("ACME-{n}")).collect();
    assert_eq!(numbers, expected);
}

#[databases]
async fn a_failed_create_takes_no_number(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "one").await;
    let absent = app.clock.new_id::<kind::Team>().to_string();
    by_member(&app, &acme, "itemCreate", json!({ "title": "x", "teamId": absent })).refused().await;
    assert_eq!(make(&app, &acme, json!({ "title": "two" })).await["identifier"], "ACME-2");
}

#[databases]
async fn a_create_repeated_with_its_id_answers_with_the_same_item(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let id = app.clock.new_id::<kind::Item>().to_string();
    let input = json!({ "id": id, "title": "mine", "assigneeIds": [acme.member.id] });
    let first = make(&app, &acme, input.clone()).await;
    assert_eq!(first["id"], id.as_str());
    let before = head(&app, &acme).await;
    app.clock.advance(Duration::seconds(5));
    assert_eq!(make(&app, &acme, input).await, first);
    for changed in [
        json!({ "id": id, "title": "mine", "assigneeIds": [acme.admin.id] }),
        json!({ "id": id, "title": "other", "assigneeIds": [acme.member.id] }),
        json!({ "id": id, "title": "mine" }),
        json!({ "id": id, "title": "mine", "assigneeIds": [acme.member.id], "subtasks": [{ "title": "more" }] }),
    ] {
        let refused = by_member(&app, &acme, "itemCreate", changed.clone()).refused().await;
        assert_eq!(refused, problem("TAKEN", "input.id"), "{changed}");
    }
    assert_eq!(head(&app, &acme).await, before, "neither wrote an event");
    // The id of another tenant's item simply works.
    let theirs = make(&app, &other, json!({ "id": id, "title": "theirs" })).await;
    assert_eq!((&theirs["id"], &theirs["identifier"]), (&json!(id), &json!("OTHE-1")));
    assert_eq!(read(&app, &acme, &json!(id)).await["title"], "mine");
}

#[databases]
async fn a_create_with_subtasks_repeated_answers_with_the_same_item(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.clock.new_id::<kind::Item>().to_string();
    let input = json!({ "id": id, "title": "root", "subtasks": [{ "title": "a" }, { "title": "b", "subtasks": [
        { "title": "c" },
    ] }] });
    let first = make(&app, &acme, input.clone()).await;
    let before = head(&app, &acme).await;
    assert_eq!(make(&app, &acme, input).await, first);
    assert_eq!(head(&app, &acme).await, before);
}

/// A client that sends a create again because the answer to the first is late.
#[databases]
async fn the_same_create_sent_twice_at_once_makes_one_item(app: TestApp) {
    let acme = app.company("acme").await;
    for round in 0..5 {
        let input = json!({ "id": app.clock.new_id::<kind::Item>().to_string(), "title": format!("item {round}") });
        let made = join_all((0..4).map(|_| make(&app, &acme, input.clone()))).await;
        assert!(made.windows(2).all(|pair| pair[0] == pair[1]), "{made:#?}");
    }
    assert_eq!(titles(&app, &acme, "ACTIVE").await.len(), 5);
}

/// The original accepted whatever id it was given.
#[databases]
async fn what_another_tenant_owns_can_not_be_referred_to(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let foreign = [
        ("assigneeIds", "assigneeIds.0", other.member.id.clone()),
        ("teamId", "teamId", app.create(&other, &other.admin, "team", json!({ "name": "T" })).await),
        ("tagIds", "tagIds.0", app.create(&other, &other.admin, "tag", json!({ "name": "t" })).await),
        ("parentId", "parentId", app.item(&other, "theirs").await),
    ];
    let absent = [
        ("assigneeIds", "assigneeIds.0", app.clock.new_id::<kind::User>().to_string()),
        ("teamId", "teamId", app.clock.new_id::<kind::Team>().to_string()),
        ("tagIds", "tagIds.0", app.clock.new_id::<kind::Tag>().to_string()),
        ("parentId", "parentId", app.clock.new_id::<kind::Item>().to_string()),
    ];
    let item = make(&app, &acme, json!({ "title": "mine" })).await;
    let before = head(&app, &acme).await;
    for (field, path, id) in foreign.iter().chain(&absent) {
        let plural = field.ends_with("Ids");
        let mut input = json!({ "title": "new" });
        input[field] = if plural { json!([id]) } else { json!(id) };
        let refused = by_member(&app, &acme, "itemCreate", input).refused().await;
        assert_eq!(refused, problem("NOT_FOUND", &format!("input.{path}")), "create {field} {id}");
        let (name, value) = match *field {
            "assigneeIds" => ("assignees", json!({ "add": [id] })),
            "tagIds" => ("tags", json!({ "set": [id] })),
            field => (field, json!(id)),
        };
        let mut change = json!({ "title": "changed" });
        change[name] = value;
        let refused = refused_patch(&app, &acme, &item["id"], change).refused().await;
        assert_eq!(refused, problem("NOT_FOUND", &format!("input.patch.{name}")), "update {field} {id}");
    }
    assert_eq!(read(&app, &acme, &item["id"]).await, item);
    assert_eq!(titles(&app, &acme, "ALL").await, ["mine"]);
    assert_eq!(head(&app, &acme).await, before);
    // Their items are as absent as none at all.
    for field in ["itemUpdate", "itemArchive", "itemUnarchive", "itemDelete", "itemRestore"] {
        let mut input = json!({ "id": foreign[3].2 });
        if field == "itemUpdate" {
            input["patch"] = json!({ "title": "stolen" });
        }
        assert_eq!(by_member(&app, &acme, field, input).refused().await, problem("NOT_FOUND", "input.id"), "{field}");
    }
}

#[databases]
async fn a_wrong_subtask_is_named_by_its_place(app: TestApp) {
    let acme = app.company("acme").await;
    let absent = app.clock.new_id::<kind::Tag>().to_string();
    let input = json!({ "title": "root", "subtasks": [
        { "title": "fine" }, { "title": "child", "subtasks": [{ "title": "x", "tagIds": [absent] }] },
    ] });
    let refused = by_member(&app, &acme, "itemCreate", input).refused().await;
    assert_eq!(refused, problem("NOT_FOUND", "input.subtasks.1.subtasks.0.tagIds.0"));
    assert_eq!(titles(&app, &acme, "ALL").await, Vec::<String>::new());
}

#[databases]
async fn a_stale_version_is_refused_with_the_present_item(app: TestApp) {
    let acme = app.company("acme").await;
    let id = make(&app, &acme, json!({ "title": "a" })).await["id"].clone();
    let update = |version: i32, title: &str| {
        by_member(&app, &acme, "itemUpdate", json!({ "id": id, "ifVersion": version, "patch": { "title": title } }))
    };
    app.clock.advance(Duration::seconds(1));
    let second = update(1, "b").done().await["item"].clone();
    assert_eq!((&second["version"], &second["updatedAt"]), (&json!(2), &json!("2026-03-02T09:00:01.000Z")));
    assert_eq!(second["createdAt"], "2026-03-02T09:00:00.000Z");
    let stale = update(1, "c").data().await["itemUpdate"].clone();
    assert_eq!(stale["item"], second, "the present state comes along");
    assert_eq!(stale["userErrors"][0]["code"], "CONFLICT");
    assert_eq!(stale["userErrors"][0]["path"], json!(["input", "ifVersion"]));
    assert_eq!(stale["userErrors"][0]["details"], json!({ "version": 2 }));
    assert_eq!(stale["cursor"], Value::Null);
    for field in ["itemArchive", "itemUnarchive", "itemDelete", "itemRestore"] {
        let stale = by_member(&app, &acme, field, json!({ "id": id, "ifVersion": 1 })).refused().await;
        assert_eq!(stale, problem("CONFLICT", "input.ifVersion"), "{field}");
    }
    assert_eq!(patch(&app, &acme, &id, json!({ "title": "d" })).await["version"], 3, "without a version it goes");
}

#[databases]
async fn of_two_updates_of_one_version_exactly_one_succeeds(app: TestApp) {
    let acme = app.company("acme").await;
    let id = make(&app, &acme, json!({ "title": "a" })).await["id"].clone();
    for version in 1..=5 {
        let update = |title: &'static str| {
            let patch = json!({ "title": format!("{title}{version}") });
            let input = json!({ "id": id, "ifVersion": version, "patch": patch });
            by_member(&app, &acme, "itemUpdate", input).data()
        };
        let (one, two) = futures_util::join!(update("one"), update("two"));
        let won = [&one, &two].map(|data| data["itemUpdate"]["userErrors"] == json!([]));
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{one:#}\n{two:#}");
        let lost = if won[0] { &two } else { &one };
        assert_eq!(lost["itemUpdate"]["userErrors"][0]["code"], "CONFLICT");
        assert_eq!(lost["itemUpdate"]["item"]["version"], version + 1);
    }
    assert_eq!(read(&app, &acme, &id).await["version"], 6);
}

#[databases]
async fn a_patch_that_changes_nothing_leaves_no_trace(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.admin, "tag", json!({ "name": "bug" })).await;
    let input = json!({ "title": "a", "dueAt": "2026-03-05T00:00:00Z", "estimatedHours": 1.5, "tagIds": [tag],
        "assigneeIds": [acme.member.id], "description": "d", "status": "DONE" });
    let item = make(&app, &acme, input).await;
    let before = head(&app, &acme).await;
    app.clock.advance(Duration::seconds(5));
    for nothing in [
        json!({}),
        json!({ "title": " a ", "description": "d", "status": "DONE", "priority": "MEDIUM" }),
        json!({ "dueAt": "2026-03-05T01:00:00+01:00", "estimatedHours": 1.5, "actualHours": null }),
        json!({ "teamId": null, "parentId": null }),
        json!({ "assignees": { "set": [acme.member.id] }, "tags": { "add": [tag] } }),
        json!({ "assignees": { "remove": [acme.viewer.id] }, "tags": {} }),
    ] {
        assert_eq!(patch(&app, &acme, &item["id"], nothing.clone()).await, item, "{nothing}");
    }
    assert_eq!(head(&app, &acme).await, before);
}

#[databases]
async fn null_clears_and_absent_keeps(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "Core" })).await;
    let parent = app.item(&acme, "parent").await;
    let input = json!({ "title": "a", "description": "d", "dueAt": "2026-03-05T00:00:00Z", "estimatedHours": 1,
        "teamId": team, "parentId": parent });
    let item = make(&app, &acme, input).await;
    let item = patch(&app, &acme, &item["id"], json!({ "actualHours": 3 })).await;
    for (field, shown) in [
        ("description", "description"),
        ("dueAt", "dueAt"),
        ("estimatedHours", "estimatedHours"),
        ("actualHours", "actualHours"),
        ("teamId", "team"),
        ("parentId", "parent"),
    ] {
        let before = read(&app, &acme, &item["id"]).await;
        assert_ne!(before[shown], Value::Null, "{field} was kept until now");
        let mut change = json!({});
        change[field] = Value::Null;
        let mut expected = before.clone();
        expected[shown] = Value::Null;
        expected["version"] = json!(before["version"].as_i64().unwrap_or(0) + 1);
        assert_eq!(patch(&app, &acme, &item["id"], change).await, expected, "{field}");
    }
    for field in ["title", "status", "priority"] {
        let mut change = json!({ "actualHours": 7 });
        change[field] = Value::Null;
        let refused = refused_patch(&app, &acme, &item["id"], change).refused().await;
        assert_eq!(refused, problem("REQUIRED", &format!("input.patch.{field}")));
    }
    assert_eq!(read(&app, &acme, &item["id"]).await["actualHours"], Value::Null);
}

#[databases]
async fn assignees_and_tags_change_as_sets(app: TestApp) {
    let acme = app.company("acme").await;
    let bug = app.create(&acme, &acme.admin, "tag", json!({ "name": "bug" })).await;
    let ui = app.create(&acme, &acme.admin, "tag", json!({ "name": "ui" })).await;
    let id = make(&app, &acme, json!({ "title": "a" })).await["id"].clone();
    let (ann, bob, cid) = (acme.member.id.as_str(), acme.admin.id.as_str(), acme.viewer.id.as_str());
    for (change, expected) in [
        (json!({ "set": [ann, bob] }), set([ann, bob])),
        (json!({ "add": [cid, bob] }), set([ann, bob, cid])),
        (json!({ "add": [], "remove": [ann] }), set([bob, cid])),
        (json!({ "add": [ann], "remove": [bob, cid] }), set([ann])),
        (json!({ "set": [] }), set([])),
    ] {
        let item = patch(&app, &acme, &id, json!({ "assignees": change })).await;
        assert_eq!(ids(&item["assignees"]), expected, "{change}");
    }
    for (change, expected) in [
        (json!({ "set": [bug] }), set([&bug])),
        (json!({ "add": [ui] }), set([&bug, &ui])),
        (json!({ "remove": [bug] }), set([&ui])),
    ] {
        assert_eq!(ids(&patch(&app, &acme, &id, json!({ "tags": change })).await["tags"]), expected);
    }
    for both in [json!({ "set": [ann], "add": [bob] }), json!({ "set": [], "remove": [] })] {
        let refused = refused_patch(&app, &acme, &id, json!({ "assignees": both })).refused().await;
        assert_eq!(refused, problem("INVALID", "input.patch.assignees"));
    }
    let mixed = refused_patch(&app, &acme, &id, json!({ "tags": { "set": [ui], "remove": [ui] } })).refused().await;
    assert_eq!(mixed, problem("INVALID", "input.patch.tags"));
    let wrong = json!({ "assignees": { "add": [acme.member.membership_id] } });
    assert_eq!(refused_patch(&app, &acme, &id, wrong).error_code().await, "BAD_REQUEST", "people, not memberships");
}

#[databases]
async fn an_item_has_twenty_assignees_and_fifty_tags_at_most(app: TestApp) {
    let acme = app.company("acme").await;
    let mut people = vec![acme.owner.id.clone(), acme.admin.id.clone(), acme.member.id.clone()];
    for n in 0..18 {
        people.push(app.join(&acme.owner, "acme", &format!("p{n}"), "VIEWER").await.id);
    }
    let tags =
        join_all((0..51).map(|n| app.create(&acme, &acme.admin, "tag", json!({ "name": format!("tag {n}") })))).await;
    let refused = by_member(&app, &acme, "itemCreate", json!({ "title": "x", "assigneeIds": people, "tagIds": tags }));
    let expected = [("TOO_MANY", "input.assigneeIds"), ("TOO_MANY", "input.tagIds")];
    let expected = expected.map(|(code, path)| (code.to_owned(), path.to_owned()));
    assert_eq!(refused.refused().await, expected);
    let full = json!({ "title": "x", "assigneeIds": people[..20], "tagIds": tags[..50] });
    let item = make(&app, &acme, full).await;
    assert_eq!((ids(&item["assignees"]).len(), ids(&item["tags"]).len()), (20, 50));
    for (field, extra) in [("assignees", &people[20]), ("tags", &tags[50])] {
        let mut change = json!({});
        change[field] = json!({ "add": [extra] });
        let refused = refused_patch(&app, &acme, &item["id"], change.clone()).refused().await;
        assert_eq!(refused, problem("TOO_MANY", &format!("input.patch.{field}")));
        change[field] = json!({ "set": if field == "tags" { &tags } else { &people } });
        let refused = refused_patch(&app, &acme, &item["id"], change).refused().await;
        assert_eq!(refused, problem("TOO_MANY", &format!("input.patch.{field}")));
    }
    let swapped = json!({ "assignees": { "add": [people[20]], "remove": [people[0]] } });
    assert_eq!(ids(&patch(&app, &acme, &item["id"], swapped).await["assignees"]).len(), 20);
}

#[databases]
async fn a_status_moves_its_instants_along(app: TestApp) {
    let acme = app.company("acme").await;
    let id = make(&app, &acme, json!({ "title": "a" })).await["id"].clone();
    let at = |minute: u32| json!(format!("2026-03-02T09:0{minute}:00.000Z"));
    for (status, started, completed) in [
        ("IN_PROGRESS", at(1), Value::Null),
        ("IN_REVIEW", at(1), Value::Null),
        ("DONE", at(1), at(3)),
        ("IN_PROGRESS", at(1), Value::Null),
        ("TODO", Value::Null, Value::Null),
        ("DONE", at(6), at(6)),
        ("TODO", Value::Null, Value::Null),
    ] {
        app.clock.advance(Duration::minutes(1));
        let item = patch(&app, &acme, &id, json!({ "status": status })).await;
        assert_eq!((&item["startedAt"], &item["completedAt"]), (&started, &completed), "{status}");
    }
    let done = make(&app, &acme, json!({ "title": "b", "status": "DONE" })).await;
    assert_eq!((&done["startedAt"], &done["completedAt"]), (&at(7), &at(7)));
}

#[databases]
async fn the_archive_remembers_the_status(app: TestApp) {
    let acme = app.company("acme").await;
    let done = make(&app, &acme, json!({ "title": "a", "status": "DONE" })).await;
    let id = &done["id"];
    app.clock.advance(Duration::minutes(1));
    let archived = by_member(&app, &acme, "itemArchive", json!({ "id": id })).done().await["item"].clone();
    let mut expected = done.clone();
    for (field, value) in [
        ("status", json!("ARCHIVED")),
        ("archivedAt", json!("2026-03-02T09:01:00.000Z")),
        ("updatedAt", json!("2026-03-02T09:01:00.000Z")),
        ("version", json!(2)),
    ] {
        expected[field] = value;
    }
    assert_eq!(archived, expected);
    let before = head(&app, &acme).await;
    let again = by_member(&app, &acme, "itemArchive", json!({ "id": id })).done().await["item"].clone();
    assert_eq!((again, head(&app, &acme).await), (archived, before), "archiving again is harmless");
    let back = by_member(&app, &acme, "itemUnarchive", json!({ "id": id })).done().await["item"].clone();
    assert_eq!((&back["status"], &back["archivedAt"]), (&json!("DONE"), &Value::Null));
    assert_eq!((&back["completedAt"], &back["startedAt"]), (&done["completedAt"], &done["startedAt"]));
    let before = head(&app, &acme).await;
    let again = by_member(&app, &acme, "itemUnarchive", json!({ "id": id })).done().await["item"].clone();
    assert_eq!((again, head(&app, &acme).await), (back, before), "unarchiving again is harmless");
}

#[databases]
async fn setting_the_status_archived_is_archiving(app: TestApp) {
    let acme = app.company("acme").await;
    let id = make(&app, &acme, json!({ "title": "a", "status": "IN_REVIEW" })).await["id"].clone();
    let archived = patch(&app, &acme, &id, json!({ "status": "ARCHIVED" })).await;
    assert_eq!(archived["archivedAt"], "2026-03-02T09:00:00.000Z");
    let back = by_member(&app, &acme, "itemUnarchive", json!({ "id": id })).done().await["item"].clone();
    assert_eq!(back["status"], "IN_REVIEW", "the patch remembered it too");
    by_member(&app, &acme, "itemArchive", json!({ "id": id })).done().await;
    let done = patch(&app, &acme, &id, json!({ "status": "DONE" })).await;
    assert_eq!((&done["archivedAt"], &done["status"]), (&Value::Null, &json!("DONE")));
    let types: Vec<String> = newest(&app, &acme, 4).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(types, ["ITEM_ARCHIVED", "ITEM_UNARCHIVED", "ITEM_ARCHIVED", "ITEM_UNARCHIVED"]);
    let created = by_member(&app, &acme, "itemCreate", json!({ "title": "b", "status": "ARCHIVED" })).refused();
    assert_eq!(created.await, problem("INVALID", "input.status"));
}

#[databases]
async fn subtasks_come_two_levels_deep_in_one_create(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.clock.new_id::<kind::Item>().to_string();
    let input = json!({ "title": "root", "subtasks": [
        { "title": "a", "status": "DONE" },
        { "title": "b", "id": id, "subtasks": [{ "title": "c", "assigneeIds": [acme.admin.id] }] },
    ] });
    let root = make(&app, &acme, input).await;
    assert_eq!(root["subtaskProgress"], json!({ "done": 1, "total": 2 }));
    assert_eq!(root["identifier"], "ACME-1");
    let query = "query($id: ID!) { item(id: $id) { subtasks(first: 5, orderBy: [{field: IDENTIFIER}]) { totalCount nodes { title identifier subtasks(first: 5) { nodes { \
                 title identifier assignees { id } ancestors { title } } } } } } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": root["id"] })).data().await;
    let below = json!([{ "title": "c", "identifier": "ACME-4", "assignees": [{ "id": acme.admin.id }],
        "ancestors": [{ "title": "root" }, { "title": "b" }] }]);
    let expected = json!({ "totalCount": 2, "nodes": [
        { "title": "a", "identifier": "ACME-2", "subtasks": { "nodes": [] } },
        { "title": "b", "identifier": "ACME-3", "subtasks": { "nodes": below } },
    ] });
    assert_eq!(data["item"]["subtasks"], expected);
    assert_eq!(read(&app, &acme, &json!(id)).await["title"], "b");
    let created = newest(&app, &acme, 4).await;
    assert!(created.iter().all(|(kind, _)| kind == "ITEM_CREATED"), "one event each: {created:?}");

    let three = json!({ "title": "0", "subtasks": [{ "title": "1", "subtasks": [{ "title": "2", "subtasks": [
        { "title": "3" },
    ] }] }] });
    let refused = by_member(&app, &acme, "itemCreate", three).refused().await;
    assert_eq!(refused, problem("INVALID", "input.subtasks.0.subtasks.0.subtasks"));
    let named = json!({ "title": "0", "subtasks": [{ "title": "1", "parentId": root["id"] }] });
    let refused = by_member(&app, &acme, "itemCreate", named).refused().await;
    assert_eq!(refused, problem("INVALID", "input.subtasks.0.parentId"));
    let taken = json!({ "title": "0", "subtasks": [{ "title": "1", "id": id }] });
    let refused = by_member(&app, &acme, "itemCreate", taken).refused().await;
    assert_eq!(refused, problem("TAKEN", "input.subtasks.0.id"));
    assert_eq!(titles(&app, &acme, "ALL").await, ["a", "b", "c", "root"]);
}

#[databases]
async fn an_item_can_not_be_its_own_ancestor(app: TestApp) {
    let acme = app.company("acme").await;
    let [root, child, grandchild] = tree(&app, &acme).await;
    for parent in [&root, &child, &grandchild] {
        let refused = refused_patch(&app, &acme, &root, json!({ "parentId": parent })).refused().await;
        assert_eq!(refused, problem("CYCLE", "input.patch.parentId"));
    }
    assert_eq!(read(&app, &acme, &root).await["parent"], Value::Null);
    let moved = patch(&app, &acme, &grandchild, json!({ "parentId": root })).await;
    assert_eq!(moved["parent"], json!({ "id": root }));
    patch(&app, &acme, &child, json!({ "parentId": grandchild })).await;
}

/// Each alone is fine; both together would be a loop.
#[databases]
async fn two_moves_at_once_can_not_make_a_loop(app: TestApp) {
    let acme = app.company("acme").await;
    for _ in 0..4 {
        let a = make(&app, &acme, json!({ "title": "a" })).await["id"].clone();
        let b = make(&app, &acme, json!({ "title": "b" })).await["id"].clone();
        let one = refused_patch(&app, &acme, &a, json!({ "parentId": b })).data();
        let two = refused_patch(&app, &acme, &b, json!({ "parentId": a })).data();
        let (one, two) = futures_util::join!(one, two);
        let won = [&one, &two].iter().filter(|data| data["itemUpdate"]["userErrors"] == json!([])).count();
        assert_eq!(won, 1, "{one:#}\n{two:#}");
    }
}

#[databases]
async fn a_tree_is_ten_levels_deep_at_most(app: TestApp) {
    let acme = app.company("acme").await;
    let mut chain = vec![make(&app, &acme, json!({ "title": "0" })).await["id"].clone()];
    for level in 1..=10 {
        let parent = &chain[level - 1];
        chain.push(make(&app, &acme, json!({ "title": level.to_string(), "parentId": parent })).await["id"].clone());
    }
    let refused = by_member(&app, &acme, "itemCreate", json!({ "title": "x", "parentId": chain[10] })).refused();
    assert_eq!(refused.await, problem("OUT_OF_RANGE", "input.parentId"));
    let below = json!({ "title": "x", "parentId": chain[9], "subtasks": [{ "title": "y" }] });
    let refused = by_member(&app, &acme, "itemCreate", below).refused().await;
    assert_eq!(refused[0].0, "OUT_OF_RANGE");
    let [root, _, grandchild] = tree(&app, &acme).await;
    let refused = refused_patch(&app, &acme, &root, json!({ "parentId": chain[8] })).refused().await;
    assert_eq!(refused, problem("OUT_OF_RANGE", "input.patch.parentId"), "what hangs below counts too");
    patch(&app, &acme, &root, json!({ "parentId": chain[7] })).await;
    let query = "query($id: ID!) { item(id: $id) { ancestors { id } } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": grandchild })).data().await;
    assert_eq!(data["item"]["ancestors"].as_array().map(Vec::len), Some(10));
    assert_eq!(data["item"]["ancestors"][0]["id"], chain[0], "the root comes first");
}

#[databases]
async fn the_progress_of_subtasks_stays_right(app: TestApp) {
    let acme = app.company("acme").await;
    let p = make(&app, &acme, json!({ "title": "p" })).await["id"].clone();
    let q = make(&app, &acme, json!({ "title": "q" })).await["id"].clone();
    let a = make(&app, &acme, json!({ "title": "a", "parentId": p })).await["id"].clone();
    let b = make(&app, &acme, json!({ "title": "b", "parentId": p, "status": "DONE" })).await["id"].clone();
    assert_eq!(progress(&app, &acme, &p).await, (1, 2), "created");
    patch(&app, &acme, &a, json!({ "status": "DONE" })).await;
    assert_eq!(progress(&app, &acme, &p).await, (2, 2), "done");
    patch(&app, &acme, &b, json!({ "status": "IN_REVIEW" })).await;
    assert_eq!(progress(&app, &acme, &p).await, (1, 2), "reopened");
    patch(&app, &acme, &a, json!({ "parentId": q, "status": "TODO" })).await;
    assert_eq!((progress(&app, &acme, &p).await, progress(&app, &acme, &q).await), ((0, 1), (0, 1)), "moved");
    patch(&app, &acme, &a, json!({ "parentId": p, "status": "DONE" })).await;
    assert_eq!((progress(&app, &acme, &p).await, progress(&app, &acme, &q).await), ((1, 2), (0, 0)), "moved back");
    by_member(&app, &acme, "itemArchive", json!({ "id": a })).done().await;
    assert_eq!(progress(&app, &acme, &p).await, (1, 2), "archived: as done as it was");
    by_member(&app, &acme, "itemUnarchive", json!({ "id": a })).done().await;
    assert_eq!(progress(&app, &acme, &p).await, (1, 2), "unarchived");
    by_member(&app, &acme, "itemDelete", json!({ "id": a })).done().await;
    assert_eq!(progress(&app, &acme, &p).await, (0, 1), "deleted");
    by_member(&app, &acme, "itemRestore", json!({ "id": a })).done().await;
    assert_eq!(progress(&app, &acme, &p).await, (1, 2), "restored");
    patch(&app, &acme, &a, json!({ "parentId": null })).await;
    assert_eq!(progress(&app, &acme, &p).await, (0, 1), "moved out");
    patch(&app, &acme, &a, json!({ "parentId": p })).await;
    by_admin(&app, &acme, "itemDelete", json!({ "id": a, "permanently": true })).done().await;
    assert_eq!(progress(&app, &acme, &p).await, (0, 1), "purged");
    by_member(&app, &acme, "itemDelete", json!({ "id": b })).done().await;
    by_admin(&app, &acme, "itemDelete", json!({ "id": b, "permanently": true })).done().await;
    assert_eq!(progress(&app, &acme, &p).await, (0, 0), "purged out of the trash");
}

#[databases]
async fn a_subtask_purged_while_its_parent_is_in_the_trash_no_longer_counts(app: TestApp) {
    let acme = app.company("acme").await;
    let [root, child, _] = tree(&app, &acme).await;
    by_member(&app, &acme, "itemDelete", json!({ "id": root })).done().await;
    by_admin(&app, &acme, "itemDelete", json!({ "id": child, "permanently": true })).done().await;
    by_member(&app, &acme, "itemRestore", json!({ "id": root })).done().await;
    assert_eq!(progress(&app, &acme, &root).await, (0, 0));
    assert_eq!(titles(&app, &acme, "ALL").await, ["root"]);
}

#[databases]
async fn deleting_takes_the_subtasks_to_the_trash(app: TestApp) {
    let acme = app.company("acme").await;
    let [root, child, grandchild] = tree(&app, &acme).await;
    app.item(&acme, "apart").await;
    by_member(&app, &acme, "itemArchive", json!({ "id": child })).done().await;
    assert_eq!(titles(&app, &acme, "ACTIVE").await, ["apart", "grandchild", "root"]);
    assert_eq!(titles(&app, &acme, "ARCHIVED").await, ["child"]);
    assert_eq!(titles(&app, &acme, "ALL").await, ["apart", "child", "grandchild", "root"]);
    app.clock.advance(Duration::seconds(1));
    let gone = by_member(&app, &acme, "itemDelete", json!({ "id": root })).done().await["item"].clone();
    assert_eq!((&gone["deletedAt"], &gone["version"]), (&json!("2026-03-02T09:00:01.000Z"), &json!(2)));
    assert_eq!(titles(&app, &acme, "ACTIVE").await, ["apart"]);
    assert_eq!(titles(&app, &acme, "ARCHIVED").await, Vec::<String>::new());
    assert_eq!(titles(&app, &acme, "ALL").await, ["apart"]);
    assert_eq!(titles(&app, &acme, "TRASHED").await, ["child", "grandchild", "root"]);
    let events = newest(&app, &acme, 3).await;
    let deleted: BTreeSet<String> = events.iter().map(|(_, subject)| subject.clone()).collect();
    assert_eq!(deleted, set([text(&root), text(&child), text(&grandchild)]));
    assert!(events.iter().all(|(kind, _)| kind == "ITEM_DELETED"), "{events:?}");
    // It still answers, by id, identifier and node.
    assert_eq!(read(&app, &acme, &grandchild).await["deletedAt"], "2026-03-02T09:00:01.000Z");
    assert_eq!(read(&app, &acme, &json!("ACME-1")).await["id"], root);
    let node = "query($id: ID!) { node(id: $id) { ... on Item { deletedAt } } }";
    let node = app.call(&acme, &acme.viewer, node).vars(json!({ "id": root })).data().await;
    assert_eq!(node["node"]["deletedAt"], "2026-03-02T09:00:01.000Z");
    let before = head(&app, &acme).await;
    let again = by_member(&app, &acme, "itemDelete", json!({ "id": root })).done().await["item"].clone();
    assert_eq!((again, head(&app, &acme).await), (gone, before), "deleting again is harmless");
}

#[databases]
async fn what_is_in_the_trash_is_not_written_to(app: TestApp) {
    let acme = app.company("acme").await;
    let item = make(&app, &acme, json!({ "title": "a" })).await;
    let id = &item["id"];
    let comment = app.create(&acme, &acme.member, "comment", json!({ "itemId": id, "body": "hello" })).await;
    by_member(&app, &acme, "itemDelete", json!({ "id": id })).done().await;
    let before = head(&app, &acme).await;
    let refused = refused_patch(&app, &acme, id, json!({ "title": "b" })).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.id"));
    for field in ["itemArchive", "itemUnarchive"] {
        let refused = by_member(&app, &acme, field, json!({ "id": id })).refused().await;
        assert_eq!(refused, problem("INVALID_STATE", "input.id"), "{field}");
    }
    let child = by_member(&app, &acme, "itemCreate", json!({ "title": "b", "parentId": id })).refused().await;
    assert_eq!(child, problem("INVALID_STATE", "input.parentId"));
    let other = json!({ "itemId": id, "body": "more" });
    let refused = mutate(&app, &acme, &acme.member, ("commentCreate", ""), other).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.itemId"));
    let edit = json!({ "id": comment, "patch": { "body": "changed" } });
    let refused = mutate(&app, &acme, &acme.member, ("commentUpdate", ""), edit).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.id"));
    let refused = mutate(&app, &acme, &acme.member, ("commentDelete", ""), json!({ "id": comment })).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.id"));
    assert_eq!(head(&app, &acme).await, before);
    let apart = make(&app, &acme, json!({ "title": "apart" })).await["id"].clone();
    let refused = refused_patch(&app, &acme, &apart, json!({ "parentId": id })).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.patch.parentId"));
}

#[databases]
async fn restoring_brings_back_what_that_deletion_took(app: TestApp) {
    let acme = app.company("acme").await;
    let [root, child, grandchild] = tree(&app, &acme).await;
    let early = make(&app, &acme, json!({ "title": "early", "parentId": root })).await["id"].clone();
    by_member(&app, &acme, "itemDelete", json!({ "id": early })).done().await;
    by_member(&app, &acme, "itemDelete", json!({ "id": root })).done().await;
    for below in [&child, &early] {
        let refused = by_member(&app, &acme, "itemRestore", json!({ "id": below })).refused().await;
        assert_eq!(refused, problem("INVALID_STATE", "input.id"), "its parent comes first");
    }
    let back = by_member(&app, &acme, "itemRestore", json!({ "id": root })).done().await["item"].clone();
    assert_eq!((&back["deletedAt"], &back["subtaskProgress"]["total"]), (&Value::Null, &json!(1)));
    assert_eq!(titles(&app, &acme, "ACTIVE").await, ["child", "grandchild", "root"]);
    assert_eq!(titles(&app, &acme, "TRASHED").await, ["early"]);
    let events = newest(&app, &acme, 3).await;
    assert!(events.iter().all(|(kind, _)| kind == "ITEM_RESTORED"), "{events:?}");
    let before = head(&app, &acme).await;
    by_member(&app, &acme, "itemRestore", json!({ "id": root })).done().await;
    assert_eq!(head(&app, &acme).await, before, "restoring again is harmless");
    by_member(&app, &acme, "itemRestore", json!({ "id": early })).done().await;
    assert_eq!(progress(&app, &acme, &root).await, (0, 2));
    // Two deletions in one instant are still two.
    by_member(&app, &acme, "itemDelete", json!({ "id": grandchild })).done().await;
    by_member(&app, &acme, "itemDelete", json!({ "id": child })).done().await;
    by_member(&app, &acme, "itemRestore", json!({ "id": child })).done().await;
    assert_eq!(titles(&app, &acme, "TRASHED").await, ["grandchild"]);
}

#[databases]
async fn deleting_for_good_takes_the_permission(app: TestApp) {
    let acme = app.company("acme").await;
    let [root, child, _] = tree(&app, &acme).await;
    let comment = json!({ "itemId": child, "body": "hello" });
    let comment = app.create(&acme, &acme.member, "comment", comment).await;
    let gone = by_member(&app, &acme, "itemDelete", json!({ "id": root, "permanently": true })).answer().await;
    assert_eq!(gone["errors"][0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(gone["errors"][0]["extensions"]["requiredPermission"], "ITEM_PURGE");
    assert_eq!(titles(&app, &acme, "ALL").await, ["child", "grandchild", "root"]);
    let stale = by_admin(&app, &acme, "itemDelete", json!({ "id": root, "permanently": true, "ifVersion": 9 }));
    assert_eq!(stale.refused().await, problem("CONFLICT", "input.ifVersion"));
    let gone = by_admin(&app, &acme, "itemDelete", json!({ "id": root, "permanently": true })).done().await;
    assert_eq!(gone["item"], Value::Null);
    assert_ne!(gone["cursor"], Value::Null);
    for scope in ["ALL", "TRASHED"] {
        assert_eq!(titles(&app, &acme, scope).await, Vec::<String>::new());
    }
    assert_eq!(read(&app, &acme, &root).await, Value::Null);
    let node = "query($id: ID!) { node(id: $id) { id } }";
    let node = app.call(&acme, &acme.viewer, node).vars(json!({ "id": comment })).data().await;
    assert_eq!(node["node"], Value::Null, "its comments are gone");
    let events = newest(&app, &acme, 3).await;
    assert!(events.iter().all(|(kind, _)| kind == "ITEM_PURGED"), "{events:?}");
    assert_eq!(make(&app, &acme, json!({ "title": "next" })).await["identifier"], "ACME-4", "numbers stay used");
}

#[databases]
async fn what_is_wrong_with_an_item_is_said_at_its_path(app: TestApp) {
    let acme = app.company("acme").await;
    let id = make(&app, &acme, json!({ "title": "a" })).await["id"].clone();
    let before = head(&app, &acme).await;
    for (field, value, code) in [
        ("title", json!(""), "REQUIRED"),
        ("title", json!("  \n "), "REQUIRED"),
        ("title", json!("x".repeat(501)), "TOO_LONG"),
        ("title", json!("a\0b"), "INVALID"),
        ("description", json!("x".repeat(50_001)), "TOO_LONG"),
        ("description", json!("\0"), "INVALID"),
        ("estimatedHours", json!(-0.5), "OUT_OF_RANGE"),
        ("estimatedHours", json!(100_000.5), "OUT_OF_RANGE"),
    ] {
        let mut input = json!({ "title": "fine" });
        input[field] = value.clone();
        let refused = by_member(&app, &acme, "itemCreate", input.clone()).refused().await;
        assert_eq!(refused, problem(code, &format!("input.{field}")));
        let refused =
            by_member(&app, &acme, "itemCreate", json!({ "title": "root", "subtasks": [input] })).refused().await;
        assert_eq!(refused, problem(code, &format!("input.subtasks.0.{field}")));
        let mut change = json!({});
        change[field] = value;
        let refused = refused_patch(&app, &acme, &id, change).refused().await;
        assert_eq!(refused, problem(code, &format!("input.patch.{field}")));
    }
    let refused = refused_patch(&app, &acme, &id, json!({ "actualHours": -1 })).refused().await;
    assert_eq!(refused, problem("OUT_OF_RANGE", "input.patch.actualHours"));
    // All at once, and what is just within is fine.
    let many = json!({ "title": "", "estimatedHours": -1 });
    assert_eq!(by_member(&app, &acme, "itemCreate", many).refused().await.len(), 2);
    assert_eq!(head(&app, &acme).await, before);
    let most = json!({ "title": "ü".repeat(500), "description": "", "estimatedHours": 100_000 });
    assert_eq!(make(&app, &acme, most).await["title"], "ü".repeat(500));
}

#[databases]
async fn an_item_is_found_by_id_and_by_identifier_in_any_case(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let id = app.item(&acme, "a").await;
    for reference in [id.as_str(), "ACME-1", "acme-1", "AcMe-1"] {
        assert_eq!(read(&app, &acme, &json!(reference)).await["id"], id.as_str(), "{reference}");
    }
    let absent = app.clock.new_id::<kind::Item>().to_string();
    for reference in [absent.as_str(), "ACME-2", "ACME-0", "OTHE-1", "ACME-99999999999999999999", "ACME-x"] {
        assert_eq!(read(&app, &acme, &json!(reference)).await, Value::Null, "{reference}");
    }
    for reference in [id.as_str(), "ACME-1"] {
        assert_eq!(read(&app, &other, &json!(reference)).await, Value::Null, "{reference}");
    }
}

#[databases]
async fn what_a_caller_may_do_follows_role_and_state(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "a").await;
    let can = async |person: &Person| {
        let query = "query($id: ID!) { item(id: $id) { viewerCan } }";
        let data = app.call(&acme, person, query).vars(json!({ "id": id })).data().await;
        let list = data["item"]["viewerCan"].as_array().cloned().unwrap_or_default();
        list.iter().map(|action| text(action).to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(can(&acme.viewer).await, set([]));
    assert_eq!(can(&acme.member).await, set(["UPDATE", "ARCHIVE", "DELETE", "COMMENT"]));
    for person in [&acme.admin, &acme.owner] {
        assert_eq!(can(person).await, set(["UPDATE", "ARCHIVE", "DELETE", "PURGE", "COMMENT"]));
    }
    by_member(&app, &acme, "itemArchive", json!({ "id": id })).done().await;
    assert_eq!(can(&acme.member).await, set(["UPDATE", "DELETE", "COMMENT"]));
    by_member(&app, &acme, "itemDelete", json!({ "id": id })).done().await;
    assert_eq!(can(&acme.viewer).await, set([]));
    assert_eq!(can(&acme.member).await, set(["RESTORE"]));
    assert_eq!(can(&acme.admin).await, set(["PURGE", "RESTORE"]));
    // And what it says is so.
    let refused = mutate(&app, &acme, &acme.viewer, ("itemRestore", ""), json!({ "id": id })).error_code().await;
    assert_eq!(refused, "FORBIDDEN");
    let create = mutate(&app, &acme, &acme.viewer, ("itemCreate", ""), json!({ "title": "x" })).error_code().await;
    assert_eq!(create, "FORBIDDEN");
}

#[databases]
async fn what_is_finished_is_not_overdue(app: TestApp) {
    let acme = app.company("acme").await;
    let item = make(&app, &acme, json!({ "title": "a", "dueAt": "2026-03-02T09:00:00Z" })).await;
    assert_eq!(item["isOverdue"], false, "due now is not past due");
    app.clock.advance(Duration::milliseconds(1));
    assert_eq!(read(&app, &acme, &item["id"]).await["isOverdue"], true);
    assert_eq!(patch(&app, &acme, &item["id"], json!({ "status": "DONE" })).await["isOverdue"], false);
    assert_eq!(patch(&app, &acme, &item["id"], json!({ "status": "IN_REVIEW" })).await["isOverdue"], true);
    assert_eq!(patch(&app, &acme, &item["id"], json!({ "status": "ARCHIVED" })).await["isOverdue"], false);
}

/// The number in `ACME-42`.
fn number_of(identifier: &Value) -> Option<i64> {
    identifier.as_str()?.rsplit_once('-')?.1.parse().ok()
}

/// Creates of an organization that come at once are written in groups; each is answered for itself.
#[databases]
async fn creates_that_come_at_once_have_each_their_own_outcome(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let foreign = app.create(&other, &other.owner, "tag", json!({ "name": "bug" })).await;
    let taken = app.item(&acme, "there").await;
    let twin = app.clock.new_id::<kind::Item>().to_string();
    let before = head(&app, &acme).await;
    let query = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { cursor item { id title \
                 createdBy { id } tags { id } subtasks { nodes { title } } events(last: 1) { nodes { sequence actor { id } } } } \
                 userErrors { code path } } }";
    let create = |person: &Person, input: Value| app.call(&acme, person, query).vars(json!({ "input": input }));
    let mut calls = Vec::new();
    for number in 0..48 {
        let (person, title) = (if number % 2 == 0 { &acme.member } else { &acme.admin }, format!("item {number}"));
        let input = match number % 8 {
            1 => json!({ "title": title, "tagIds": [tag], "subtasks": [{ "title": "sub" }] }),
            3 => json!({ "title": title, "tagIds": [tag, foreign] }),
            5 => json!({ "title": title, "id": taken }),
            7 => json!({ "title": "twin", "id": twin }),
            _ => json!({ "title": title, "tagIds": [tag] }),
        };
        calls
            .push(async move { (number, person.id.clone(), create(person, input).data().await["itemCreate"].clone()) });
    }
    let mut told: Vec<i64> = Vec::new();
    for (number, person, payload) in join_all(calls).await {
        match number % 8 {
            3 => {
                assert_eq!(payload["item"], Value::Null);
                assert_eq!(payload["userErrors"], json!([{ "code": "NOT_FOUND", "path": ["input", "tagIds", "1"] }]));
            }
            5 => assert_eq!(payload["userErrors"], json!([{ "code": "TAKEN", "path": ["input", "id"] }])),
            7 => assert_eq!((&payload["item"]["id"], &payload["userErrors"]), (&json!(twin), &json!([]))),
            kind => {
                assert_eq!(payload["userErrors"], json!([]));
                assert_eq!(payload["item"]["title"], format!("item {number}"));
                assert_eq!(payload["item"]["createdBy"]["id"], person);
                assert_eq!(payload["item"]["tags"], json!([{ "id": tag }]));
                let event = &payload["item"]["events"]["nodes"][0];
                assert_eq!(event["actor"]["id"], person, "told as done by whoever did it");
                let subtasks = usize::from(kind == 1);
                assert_eq!(payload["item"]["subtasks"]["nodes"].as_array().map(Vec::len), Some(subtasks));
                // The position just after its own events, its subtasks' included.
                let cursor = payload["cursor"].as_str().expect("a cursor");
                let position = LedgerCursor::decode(cursor).expect("a cursor").sequence;
                assert_eq!(json!((position - i64::from(kind == 1)).to_string()), event["sequence"]);
                told.extend(position - i64::from(kind == 1)..=position);
            }
        }
    }
    told.sort_unstable();
    let after = head(&app, &acme).await;
    // 5 of 8 are new items, one of them with a subtask; the twin is one item, whoever came first.
    let number = |head: &Value| head.as_str().and_then(|head| head.parse::<i64>().ok()).expect("a sequence");
    assert_eq!(number(&after) - number(&before), 6 * (5 + 1) + 1);
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "no two have one place");
    let numbers = app.call(&acme, &acme.owner, "{ items(first: 100) { nodes { identifier } } }").data().await;
    let numbers: BTreeSet<i64> = numbers["items"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|node| number_of(&node["identifier"]))
        .collect();
    assert_eq!(numbers, (1..=i64::try_from(numbers.len()).expect("a number")).collect(), "numbers without a gap");
}

#[databases]
async fn hours_have_two_decimals(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.clock.new_id::<kind::Item>().to_string();
    let query = "query($id: ID!) { item(id: $id) { estimatedHours actualHours version } }";
    // The same again, with the same id, is the same item.
    for _ in 0..2 {
        make(&app, &acme, json!({ "id": id, "title": "a", "estimatedHours": 1.239 })).await;
    }
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": id })).data().await;
    assert_eq!(data["item"], json!({ "estimatedHours": 1.24, "actualHours": null, "version": 1 }));
    // What is the same once it is rounded changes nothing.
    patch(&app, &acme, &json!(id), json!({ "estimatedHours": 1.2401, "actualHours": 0.004 })).await;
    patch(&app, &acme, &json!(id), json!({ "estimatedHours": 1.2399, "actualHours": -0.0 })).await;
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": id })).data().await;
    assert_eq!(data["item"], json!({ "estimatedHours": 1.24, "actualHours": 0.0, "version": 2 }));
}
