//! A client's own copy of an organization: made by a snapshot, kept by what the ledger says has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use fastrand::Rng;
use futures_util::future::join_all;
use serde_json::{Value, json};
use todo_platform::{
    base::{
        id::{Kind, kind},
        policy::Permission,
    },
    data::{
        actor::Origin,
        db::OrgScope,
        entity::EventType,
        ledger::{LedgerCursor, NewEvent, retention},
    },
};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::Call,
        socket::Events,
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

// ── what is compared: the objects' own fields, and whom and what they name ──

const ORGANIZATION: &str = "__typename id name slug itemPrefix timeZone plan { tier } updatedAt version";
const MEMBERSHIP: &str = "__typename id role memberStatus: status joinedAt version";
const TEAM: &str = "__typename id name description members(first: 10) { nodes { id } } createdAt updatedAt version";
const TAG: &str = "__typename id name color createdAt updatedAt version";
const ITEM: &str = "__typename id identifier title description itemStatus: status priority dueAt estimatedHours \
    team { id } parent { id } assignees { id } tags { id } createdAt updatedAt startedAt completedAt archivedAt deletedAt \
    version";
const RELATION: &str = "__typename id kind isInverse relatedItem: item { id } createdAt";
const COMMENT: &str = "__typename id body item { id } parent { id } createdAt editedAt version";

/// Objects by id.
type Objects = BTreeMap<String, Value>;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn fragments() -> String {
    format!(
        "... on Organization {{ {ORGANIZATION} }} ... on Membership {{ {MEMBERSHIP} }} ... on Team {{ {TEAM} }} \
         ... on Tag {{ {TAG} }} ... on Item {{ {ITEM} }} ... on Comment {{ {COMMENT} }} \
         ... on ItemRelation {{ {RELATION} }}"
    )
}

fn sync_document() -> String {
    format!(
        "query($after: Cursor, $first: Int!, $types: [SyncType!]) {{ sync(after: $after, first: $first, types: $types) {{ \
         nodes {{ {} }} removedIds cursor hasMore }} }}",
        fragments()
    )
}

/// One page.
fn page<'a>(app: &'a TestApp, acme: &Company, by: &Person, after: &Value, first: i32, types: &Value) -> Call<'a> {
    app.call(acme, by, &sync_document()).vars(json!({ "after": after, "first": first, "types": types }))
}

/// The largest page of all fields within the limit of cost.
const MOST: i32 = 30;

/// A client's copy.
#[derive(Clone)]
struct Copy {
    objects: Objects,
    cursor: Value,
    types: Value,
}

impl Copy {
    fn of(types: Value) -> Self {
        Self { objects: Objects::new(), cursor: Value::Null, types }
    }

    fn new() -> Self {
        Self::of(Value::Null)
    }

    /// One page, applied.
    async fn pull(&mut self, app: &TestApp, acme: &Company, by: &Person, first: i32) -> Value {
        let page = page(app, acme, by, &self.cursor, first, &self.types).data().await["sync"].clone();
        let (nodes, removed) = (list(&page["nodes"]), list(&page["removedIds"]));
        assert!(nodes.len() + removed.len() <= usize::try_from(first).expect("a size"), "{page:#}");
        for node in nodes {
            self.objects.insert(text(&node["id"]).to_owned(), node.clone());
        }
        for id in removed {
            self.objects.remove(text(id));
        }
        self.cursor = page["cursor"].clone();
        page
    }

    /// Pages until there is no more; gives them.
    async fn catch_up(&mut self, app: &TestApp, acme: &Company, by: &Person, first: i32) -> Vec<Value> {
        let mut pages = Vec::new();
        loop {
            pages.push(self.pull(app, acme, by, first).await);
            if pages[pages.len() - 1]["hasMore"] == false {
                return pages;
            }
            assert!(pages.len() < 10_000, "it never ends");
        }
    }
}

/// A copy made by `sync`, and kept by the stream of events or by `sync`, as it happens.
struct Follower {
    copy: Copy,
    stream: Option<Events>,
}

impl Follower {
    /// Reads the stream up to the ledger's end; opens it where it was cut.
    async fn follow(&mut self, app: &TestApp, acme: &Company, by: &Person) {
        let end = app.call(acme, by, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
        if self.copy.cursor == end {
            return;
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let document = format!(
                    "subscription($after: Cursor) {{ events(after: $after) {{ events {{ subjectId subject {{ {} }} }} cursor }} }}",
                    fragments()
                );
                let call = app.call(acme, by, &document).vars(json!({ "after": self.copy.cursor }));
                call.events().await.expect("a stream")
            }
        };
        while self.copy.cursor != end {
            let (_, _, data) = stream.next().await.expect("it goes on");
            let answer: Value = serde_json::from_str(&data).expect("JSON");
            assert!(answer.get("errors").is_none(), "{answer:#}");
            let batch = &answer["data"]["events"];
            for event in list(&batch["events"]) {
                match &event["subject"] {
                    Value::Null => drop(self.copy.objects.remove(text(&event["subjectId"]))),
                    // Of a type that isn't kept.
                    subject if subject.get("id").is_none() => {}
                    subject => drop(self.copy.objects.insert(text(&subject["id"]).to_owned(), subject.clone())),
                }
            }
            self.copy.cursor = batch["cursor"].clone();
        }
        self.stream = Some(stream);
    }
}

/// The ids that pages told of: as nodes, and as removed.
fn told(pages: &[Value]) -> (Vec<String>, Vec<String>) {
    let ids = |field: &str| -> Vec<String> {
        let entries = pages.iter().flat_map(|page| list(&page[field]));
        entries.map(|entry| text(if field == "nodes" { &entry["id"] } else { entry }).to_owned()).collect()
    };
    (ids("nodes"), ids("removedIds"))
}

/// A whole list, `(document, way)`: pages of `first` at the JSON pointer.
async fn whole(app: &TestApp, acme: &Company, document: &str, pointer: &str, into: &mut Vec<Value>) {
    let mut after = Value::Null;
    loop {
        let data = app.call(acme, &acme.owner, document).vars(json!({ "after": after })).data().await;
        let page = data.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {data:#}"));
        into.extend(list(&page["nodes"]).iter().cloned());
        if page["pageInfo"]["hasNextPage"] == false {
            return;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

/// Everything there is, as the lists answer it.
async fn world(app: &TestApp, acme: &Company) -> Objects {
    let page = "pageInfo { hasNextPage endCursor }";
    let mut found = Vec::new();
    let data = app.call(acme, &acme.owner, &format!("{{ organization {{ {ORGANIZATION} }} }}")).data().await;
    found.push(data["organization"].clone());
    for (field, selection) in [("members", MEMBERSHIP), ("teams", TEAM), ("tags", TAG)] {
        let document = format!(
            "query($after: Cursor) {{ organization {{ {field}(first: 50, after: $after) {{ {page} nodes {{ {selection} }} }} }} }}"
        );
        whole(app, acme, &document, &format!("/organization/{field}"), &mut found).await;
    }
    for scope in ["ALL", "TRASHED"] {
        let document = format!(
            "query($after: Cursor) {{ items(scope: {scope}, first: 50, after: $after) {{ {page} nodes {{ {ITEM} }} }} }}"
        );
        whole(app, acme, &document, "/items", &mut found).await;
        let document = format!(
            "query($after: Cursor) {{ items(scope: {scope}, first: 5, after: $after) {{ {page} nodes {{ \
             comments(first: 50) {{ pageInfo {{ hasNextPage }} nodes {{ {COMMENT} }} }} id relations {{ {RELATION} }} }} }} }}"
        );
        let mut items = Vec::new();
        whole(app, acme, &document, "/items", &mut items).await;
        for item in items {
            assert_eq!(item["comments"]["pageInfo"]["hasNextPage"], false, "more comments than this test reads");
            found.extend(list(&item["comments"]["nodes"]).iter().cloned());
            // Each is seen from both ends, from one alone where that is in the trash; it is synced as from where it begins.
            for seen in list(&item["relations"]) {
                let mut relation = seen.clone();
                if seen["isInverse"] == true {
                    relation["isInverse"] = json!(false);
                    relation["relatedItem"] = json!({ "id": item["id"] });
                }
                found.push(relation);
            }
        }
    }
    found.into_iter().map(|object| (text(&object["id"]).to_owned(), object)).collect()
}

/// Fails with what differs.
#[track_caller]
fn same(copy: &Objects, truth: &Objects, why: &str) {
    let ids: BTreeSet<&String> = copy.keys().chain(truth.keys()).collect();
    let differing: Vec<String> = ids
        .into_iter()
        .filter(|id| copy.get(*id) != truth.get(*id))
        .map(|id| format!("{id}\n  copy:  {:?}\n  truth: {:?}", copy.get(id), truth.get(id)))
        .collect();
    assert!(differing.is_empty(), "{why}:\n{}", differing.join("\n"));
}

fn only(objects: &Objects, types: &[&str]) -> Objects {
    let wanted = |object: &Value| types.contains(&text(&object["__typename"]));
    objects.iter().filter(|(_, object)| wanted(object)).map(|(id, object)| (id.clone(), object.clone())).collect()
}

/// One of everything, and several items with comments.
struct Furniture {
    tags: Vec<String>,
    team: String,
    items: Vec<String>,
    comments: Vec<String>,
}

async fn furnish(app: &TestApp, acme: &Company) -> Furniture {
    let mut furniture = Furniture { tags: vec![], team: String::new(), items: vec![], comments: vec![] };
    let members = json!([acme.member.id, acme.viewer.id]);
    furniture.team = app.create(acme, &acme.owner, "team", json!({ "name": "Core", "memberIds": members })).await;
    for name in ["bug", "ui", "old"] {
        furniture.tags.push(app.create(acme, &acme.owner, "tag", json!({ "name": name })).await);
    }
    for number in 0..4 {
        app.clock.advance(TimeDelta::milliseconds(5));
        let input =
            json!({ "title": format!("item {number}"), "teamId": furniture.team, "tagIds": [furniture.tags[0]] });
        let item = app.create(acme, &acme.member, "item", input).await;
        let comment = app.create(acme, &acme.member, "comment", json!({ "itemId": item, "body": "first" })).await;
        let reply = json!({ "itemId": item, "body": "second", "parentId": comment });
        furniture.comments.push(app.create(acme, &acme.member, "comment", reply).await);
        furniture.comments.push(comment);
        furniture.items.push(item);
    }
    furniture
}

/// A mutation by the owner, which must succeed.
async fn change(app: &TestApp, acme: &Company, field: &str, input: Value) {
    mutate(app, acme, &acme.owner, (field, ""), input).done().await;
}

async fn of_system(app: &TestApp, acme: &Company) -> OrgScope {
    let id = acme.id.parse().expect("an id");
    OrgScope::of_system(&app.state.db, id, Origin::command("test")).await.expect("it is there")
}

/// A ledger cursor of an organization's, whether it was ever given out or not.
fn position(acme: &Company, sequence: i64) -> Value {
    json!(LedgerCursor { organization_id: acme.id.parse().expect("an id"), epoch: 0, sequence }.encode())
}

async fn head(app: &TestApp, acme: &Company) -> i64 {
    of_system(app, acme).await.ledger_head().await.expect("the database answers")
}

#[databases]
async fn a_snapshot_is_the_world_whatever_the_size_of_its_pages(app: TestApp) {
    let acme = app.company("acme").await;
    furnish(&app, &acme).await;
    app.company("rival").await;
    let truth = world(&app, &acme).await;
    for first in [1, 2, 3, 7, 22, 23, 24, MOST] {
        let mut copy = Copy::new();
        let pages = copy.catch_up(&app, &acme, &acme.viewer, first).await;
        same(&copy.objects, &truth, &format!("first: {first}"));
        let (nodes, removed) = told(&pages);
        assert_eq!((nodes.len(), removed.len()), (truth.len(), 0), "each once");
        assert_eq!(pages.len(), truth.len().div_ceil(usize::try_from(first).expect("a size")), "full pages");
        let types: Vec<&str> =
            pages.iter().flat_map(|page| list(&page["nodes"])).map(|node| text(&node["__typename"])).collect();
        let mut order = types.clone();
        order.dedup();
        assert_eq!(order, ["Organization", "Membership", "Team", "Tag", "Item", "Comment"]);
        assert_eq!(copy.cursor, position(&acme, head(&app, &acme).await));
        let next = copy.pull(&app, &acme, &acme.viewer, first).await;
        assert_eq!(next, json!({ "nodes": [], "removedIds": [], "cursor": copy.cursor, "hasMore": false }));
    }
    // What a mutation answers is such a cursor, too.
    let viewer = app.call(&acme, &acme.viewer, "{ viewer { cursor } }").data().await;
    assert_eq!(viewer["viewer"]["cursor"], position(&acme, head(&app, &acme).await));
}

#[databases]
async fn what_changes_during_a_snapshot_is_in_what_follows(app: TestApp) {
    let acme = app.company("acme").await;
    let there = furnish(&app, &acme).await;
    let mut copy = Copy::new();
    // Into the items.
    for _ in 0..6 {
        assert_eq!(copy.pull(&app, &acme, &acme.viewer, 2).await["hasMore"], true);
    }
    assert!(copy.objects.contains_key(&there.items[0]) && !copy.objects.contains_key(&there.items[3]));
    // What has been walked past, what is yet to come, and what comes before it in order.
    change(&app, &acme, "organizationUpdate", json!({ "patch": { "name": "Renamed" } })).await;
    change(&app, &acme, "tagDelete", json!({ "id": there.tags[0] })).await;
    change(&app, &acme, "itemDelete", json!({ "id": there.items[0], "permanently": true })).await;
    change(&app, &acme, "itemUpdate", json!({ "id": there.items[3], "patch": { "title": "later" } })).await;
    change(&app, &acme, "tagCreate", json!({ "name": "new" })).await;
    change(&app, &acme, "membershipRemove", json!({ "id": acme.member.membership_id })).await;
    let mut last = Value::Null;
    while LedgerCursor::decode(text(&copy.cursor)).is_none() {
        last = copy.pull(&app, &acme, &acme.viewer, 2).await;
    }
    assert_eq!(last["hasMore"], true, "the ledger went on meanwhile");
    copy.catch_up(&app, &acme, &acme.viewer, 2).await;
    same(&copy.objects, &world(&app, &acme).await, "after the snapshot");
}

#[databases]
async fn each_object_is_told_once_however_often_it_changed(app: TestApp) {
    let acme = app.company("acme").await;
    let there = furnish(&app, &acme).await;
    let mut copy = Copy::new();
    copy.catch_up(&app, &acme, &acme.viewer, MOST).await;
    for number in 0..5 {
        for item in &there.items[..2] {
            change(&app, &acme, "itemUpdate", json!({ "id": item, "patch": { "title": format!("title {number}") } }))
                .await;
        }
    }
    change(&app, &acme, "tagUpdate", json!({ "id": there.tags[1], "patch": { "name": "UX" } })).await;
    for first in [1, 2, 3, 4] {
        let mut run = copy.clone();
        let pages = run.catch_up(&app, &acme, &acme.viewer, first).await;
        let (nodes, removed) = told(&pages);
        assert_eq!(nodes, [&there.items[0], &there.items[1], &there.tags[1]].map(Clone::clone), "by their last events");
        assert!(removed.is_empty());
        assert_eq!(pages.len(), [3, 2, 1, 1][usize::try_from(first).expect("a size") - 1], "no page for nothing");
        same(&run.objects, &world(&app, &acme).await, "after the changes");
    }
    // Changed again between two pages: once more, and no other.
    copy.pull(&app, &acme, &acme.viewer, 1).await;
    change(&app, &acme, "itemUpdate", json!({ "id": there.items[0], "patch": { "title": "again" } })).await;
    let (nodes, _) = told(&copy.catch_up(&app, &acme, &acme.viewer, 1).await);
    assert_eq!(nodes, [&there.items[1], &there.tags[1], &there.items[0]].map(Clone::clone));
}

#[databases]
async fn what_is_gone_for_good_is_removed(app: TestApp) {
    let acme = app.company("acme").await;
    let there = furnish(&app, &acme).await;
    let mut copy = Copy::new();
    copy.catch_up(&app, &acme, &acme.viewer, MOST).await;
    // In the trash it is still there, and says so.
    change(&app, &acme, "itemDelete", json!({ "id": there.items[0] })).await;
    let page = copy.pull(&app, &acme, &acme.viewer, MOST).await;
    assert_eq!(page["nodes"][0]["id"], there.items[0].as_str());
    assert!(page["nodes"][0]["deletedAt"].is_string());
    assert_eq!(page["removedIds"], json!([]));
    // For good, with the comments on it.
    change(&app, &acme, "itemDelete", json!({ "id": there.items[0], "permanently": true })).await;
    let page = copy.pull(&app, &acme, &acme.viewer, MOST).await;
    let removed: BTreeSet<&str> = list(&page["removedIds"]).iter().map(text).collect();
    assert_eq!(removed, [&there.items[0], &there.comments[0], &there.comments[1]].map(String::as_str).into());
    assert_eq!(page["nodes"], json!([]));
    // A comment with its answer, a tag, and a member with their place in a team.
    change(&app, &acme, "commentDelete", json!({ "id": there.comments[3] })).await;
    change(&app, &acme, "tagDelete", json!({ "id": there.tags[2] })).await;
    change(&app, &acme, "membershipRemove", json!({ "id": acme.member.membership_id })).await;
    let page = copy.pull(&app, &acme, &acme.viewer, MOST).await;
    let removed: BTreeSet<&str> = list(&page["removedIds"]).iter().map(text).collect();
    let gone = [&there.comments[2], &there.comments[3], &there.tags[2], &acme.member.membership_id];
    assert_eq!(removed, gone.map(String::as_str).into());
    let (nodes, _) = told(&[page]);
    assert_eq!(nodes, std::slice::from_ref(&there.team));
    // Made and gone since: told as gone, which harms nobody.
    let fleeting = app.create(&acme, &acme.owner, "tag", json!({ "name": "fleeting" })).await;
    change(&app, &acme, "tagDelete", json!({ "id": fleeting })).await;
    assert_eq!(copy.pull(&app, &acme, &acme.viewer, MOST).await["removedIds"], json!([fleeting]));
    same(&copy.objects, &world(&app, &acme).await, "at the end");
}

/// Ids are made by clients: those of two kinds may be the same but for the prefix.
#[databases]
async fn objects_of_two_kinds_may_share_the_rest_of_their_ids(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.clock.new_id::<kind::Tag>().to_string();
    let item = tag.replace("tag_", "itm_");
    let mut copy = Copy::new();
    copy.catch_up(&app, &acme, &acme.viewer, MOST).await;
    app.create(&acme, &acme.owner, "tag", json!({ "id": tag, "name": "twin" })).await;
    app.create(&acme, &acme.owner, "item", json!({ "id": item, "title": "twin" })).await;
    let (nodes, _) = told(&copy.catch_up(&app, &acme, &acme.viewer, 1).await);
    assert_eq!(nodes, [tag, item]);
}

#[databases]
async fn only_the_types_asked_for_are_told(app: TestApp) {
    let acme = app.company("acme").await;
    let there = furnish(&app, &acme).await;
    let mut copy = Copy::of(json!(["COMMENT", "TAG"]));
    let pages = copy.catch_up(&app, &acme, &acme.viewer, 4).await;
    same(&copy.objects, &only(&world(&app, &acme).await, &["Tag", "Comment"]), "the snapshot");
    assert_eq!(told(&pages).0.len(), 3 + 8);
    let before = copy.cursor.clone();
    change(&app, &acme, "itemUpdate", json!({ "id": there.items[0], "patch": { "title": "x" } })).await;
    let page = copy.pull(&app, &acme, &acme.viewer, 1).await;
    let now = position(&acme, head(&app, &acme).await);
    assert_eq!(
        page,
        json!({ "nodes": [], "removedIds": [], "cursor": now, "hasMore": false }),
        "past what others changed"
    );
    assert_ne!(before, now);
    change(&app, &acme, "tagUpdate", json!({ "id": there.tags[0], "patch": { "name": "Bug" } })).await;
    change(&app, &acme, "itemDelete", json!({ "id": there.items[1], "permanently": true })).await;
    let (nodes, removed) = told(&copy.catch_up(&app, &acme, &acme.viewer, 2).await);
    assert_eq!(nodes, [there.tags[0].clone()]);
    assert_eq!(removed.len(), 2, "the comments, not their item");
    same(&copy.objects, &only(&world(&app, &acme).await, &["Tag", "Comment"]), "the delta");
    // None at all: only the ledger's position.
    let page = page_of(&app, &acme, json!({ "types": [] })).await;
    let now = position(&acme, head(&app, &acme).await);
    assert_eq!(page, json!({ "nodes": [], "removedIds": [], "cursor": now, "hasMore": false }));
    let page = page_of(&app, &acme, json!({ "types": [], "after": before })).await;
    assert_eq!(page, json!({ "nodes": [], "removedIds": [], "cursor": now, "hasMore": false }));
}

#[databases]
async fn a_cursor_that_is_none_of_its_own_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    furnish(&app, &acme).await;
    let unfinished = page(&app, &acme, &acme.viewer, &Value::Null, 3, &json!(["TAG", "ITEM"])).data().await;
    let unfinished = &unfinished["sync"]["cursor"];
    let foreign = page(&app, &rival, &rival.viewer, &Value::Null, 3, &json!(["TAG", "MEMBERSHIP"])).data().await;
    let foreign = &foreign["sync"]["cursor"];
    let listed = app.call(&acme, &acme.viewer, "{ items(first: 1) { pageInfo { endCursor } } }").data().await;
    let beyond = |cursor: &Value| {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text(cursor)).expect("base64url");
        bytes[16..24].copy_from_slice(&i64::MAX.to_be_bytes());
        json!(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    };
    let elsewhere = |cursor: &Value| {
        let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text(cursor)).expect("base64url");
        // A type that the walk does not go through.
        bytes[25] = 0;
        json!(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    };
    let tagged = json!(["ITEM", "TAG"]);
    let refused = [
        (json!(""), Value::Null),
        (json!("garbage"), Value::Null),
        (json!("ÄÖÜ"), Value::Null),
        (listed["items"]["pageInfo"]["endCursor"].clone(), Value::Null),
        (position(&rival, 1), Value::Null),
        (position(&acme, head(&app, &acme).await + 1), Value::Null),
        (position(&acme, -1), Value::Null),
        (foreign.clone(), json!(["TAG", "MEMBERSHIP"])),
        (beyond(unfinished), tagged.clone()),
        (elsewhere(unfinished), tagged.clone()),
        // Other types: fewer, more, all.
        (unfinished.clone(), json!(["ITEM"])),
        (unfinished.clone(), json!(["ITEM", "TAG", "COMMENT"])),
        (unfinished.clone(), Value::Null),
    ];
    for (after, types) in refused {
        let code = page(&app, &acme, &acme.viewer, &after, 3, &types).error_code().await;
        assert_eq!(code, "INVALID_CURSOR", "{after} {types}");
    }
    // The order in which types are named makes no difference.
    page(&app, &acme, &acme.viewer, unfinished, 3, &tagged).data().await;
    for list in ["items", "events"] {
        let query = format!("query($after: Cursor) {{ {list}(after: $after) {{ nodes {{ id }} }} }}");
        let code = app.call(&acme, &acme.viewer, &query).vars(json!({ "after": unfinished })).error_code().await;
        assert_eq!(code, "INVALID_CURSOR", "{list}");
    }
    for first in [-1, 0, 501] {
        let query = "query($first: Int!) { sync(first: $first) { nodes { id } } }";
        let code = app.call(&acme, &acme.viewer, query).vars(json!({ "first": first })).error_code().await;
        assert_eq!(code, "BAD_REQUEST", "{first}");
    }
    assert_eq!(list(&page_of(&app, &acme, json!({ "first": 500 })).await["nodes"]).len(), 1 + 4 + 1 + 3 + 4 + 8);
}

#[databases]
async fn a_key_is_told_what_it_may_read(app: TestApp) {
    let acme = app.company("acme").await;
    let there = furnish(&app, &acme).await;
    let (_, key) = app.api_key(&acme, &acme.owner, &["MEMBER_READ"]).await;
    let query = "query($after: Cursor, $types: [SyncType!]) { sync(after: $after, types: $types) { \
                 nodes { __typename id } removedIds cursor hasMore } }";
    let ask = |after: Value, types: Value| app.gql(query).key(&key).vars(json!({ "after": after, "types": types }));
    let page = ask(Value::Null, Value::Null).data().await["sync"].clone();
    let types: BTreeSet<&str> = list(&page["nodes"]).iter().map(|node| text(&node["__typename"])).collect();
    assert_eq!(types, ["Membership", "Organization"].into());
    assert_eq!(list(&ask(Value::Null, json!(["ITEM", "TEAM"])).data().await["sync"]["nodes"]).len(), 0);
    // Nor does it learn that there was something.
    change(&app, &acme, "itemDelete", json!({ "id": there.items[0], "permanently": true })).await;
    change(&app, &acme, "itemUpdate", json!({ "id": there.items[1], "patch": { "title": "x" } })).await;
    let delta = ask(page["cursor"].clone(), Value::Null).data().await["sync"].clone();
    let now = position(&acme, head(&app, &acme).await);
    assert_eq!(delta, json!({ "nodes": [], "removedIds": [], "cursor": now, "hasMore": false }));
    change(&app, &acme, "membershipUpdate", json!({ "id": acme.viewer.membership_id, "patch": { "role": "MEMBER" } }))
        .await;
    let delta = ask(delta["cursor"].clone(), Value::Null).data().await["sync"].clone();
    assert_eq!(told(&[delta]), (vec![acme.viewer.membership_id.clone()], vec![]));
}

/// What an instance remembers of its callers is older than what the ledger tells.
#[databases]
async fn another_instance_tells_the_organization_as_it_is(app: TestApp) {
    let acme = app.company("acme").await;
    let other = app.another_instance(|_| {}).await;
    let mut copy = Copy::new();
    copy.catch_up(&other, &acme, &acme.viewer, MOST).await;
    change(&app, &acme, "organizationUpdate", json!({ "patch": { "name": "Renamed" } })).await;
    let page = copy.pull(&other, &acme, &acme.viewer, MOST).await;
    assert_eq!(page["nodes"][0]["name"], "Renamed");
    let mut fresh = Copy::of(json!(["ORGANIZATION"]));
    assert_eq!(fresh.pull(&other, &acme, &acme.viewer, 1).await["nodes"][0]["name"], "Renamed");
}

/// A page of ids alone, by the viewer.
async fn page_of(app: &TestApp, acme: &Company, arguments: Value) -> Value {
    let query = "query($after: Cursor, $first: Int! = 200, $types: [SyncType!]) { \
                 sync(after: $after, first: $first, types: $types) { nodes { id } removedIds cursor hasMore } }";
    app.call(acme, &acme.viewer, query).vars(arguments).data().await["sync"].clone()
}

// ── retention ──

const DAY: TimeDelta = TimeDelta::days(1);

fn days(days: u64) -> Option<Duration> {
    Some(Duration::from_secs(days * 86_400))
}

/// Sequences that the ledger still has.
async fn kept(app: &TestApp, acme: &Company) -> Vec<i64> {
    let events = app.state.db.events_after(acme.id.parse().expect("an id"), 0, 10_000).await;
    events.expect("the database answers").iter().map(|event| event.sequence).collect()
}

async fn purge(app: &TestApp, configured: Option<Duration>) {
    retention::run(&app.state.db, configured).await.expect("the database answers");
}

/// Records so many events at once, of nothing.
async fn record(app: &TestApp, acme: &Company, events: usize) {
    let mut tx = of_system(app, acme).await.write(Permission::ItemWrite).await.expect("the server may");
    for _ in 0..events {
        tx.record(NewEvent::new(EventType::TagUpdated, app.clock.new_id::<kind::Tag>().any(), Vec::new()));
    }
    tx.commit(()).await.expect("the database answers");
}

/// The company, its viewer in a session made now: time has gone by.
async fn back(app: &TestApp, acme: &Company) -> Company {
    Company { viewer: app.sign_in(&acme.viewer).await, owner: app.sign_in(&acme.owner).await, ..acme.clone() }
}

#[databases]
async fn a_cursor_from_before_what_is_kept_has_expired(app: TestApp) {
    let acme = app.company("acme").await;
    furnish(&app, &acme).await;
    let old = position(&acme, 3);
    let mut copy = Copy::new();
    copy.pull(&app, &acme, &acme.viewer, 5).await;
    let begun = position(&acme, head(&app, &acme).await);
    let unfinished = copy.cursor.clone();
    app.clock.advance(DAY * 2);
    let acme = back(&app, &acme).await;
    change(&app, &acme, "tagCreate", json!({ "name": "young" })).await;
    change(&app, &acme, "tagCreate", json!({ "name": "younger" })).await;
    purge(&app, days(1)).await;
    assert_eq!(kept(&app, &acme).await.len(), 2);
    let ask = |after: &Value| page(&app, &acme, &acme.viewer, after, 5, &Value::Null);
    assert_eq!(ask(&old).error_code().await, "CURSOR_EXPIRED");
    let live = "subscription($after: Cursor) { events(after: $after) { events { type } isLive } }";
    let follow = |after: &Value| app.call(&acme, &acme.viewer, live).vars(json!({ "after": after }));
    assert_eq!(follow(&old).error_code().await, "CURSOR_EXPIRED");
    let young = follow(&begun).data().await;
    assert_eq!(list(&young["events"]["events"]).len(), 2, "{young:#}");
    // It stands right before the oldest that is kept.
    assert_eq!(told(&[ask(&begun).data().await["sync"].clone()]).0.len(), 2);
    ask(&unfinished).data().await;
    app.clock.advance(DAY * 2);
    let acme = back(&app, &acme).await;
    purge(&app, days(1)).await;
    assert_eq!(kept(&app, &acme).await, [0; 0]);
    let ask = |after: &Value| page(&app, &acme, &acme.viewer, after, 5, &Value::Null);
    assert_eq!(ask(&begun).error_code().await, "CURSOR_EXPIRED");
    assert_eq!(
        ask(&unfinished).error_code().await,
        "CURSOR_EXPIRED",
        "what follows the snapshot is not known any more"
    );
    // The end is the end, whether or not anything is kept.
    let now = position(&acme, head(&app, &acme).await);
    assert_eq!(ask(&now).data().await["sync"]["hasMore"], false);
    let mut fresh = Copy::new();
    fresh.catch_up(&app, &acme, &acme.viewer, 5).await;
    same(&fresh.objects, &world(&app, &acme).await, "a new snapshot");
    assert_eq!(fresh.cursor, now);
}

#[databases]
async fn events_are_kept_as_long_as_the_plan_and_the_configuration_say(app: TestApp) {
    let acme = app.company("acme").await;
    let small = app.company("small").await;
    change(&app, &small, "planChange", json!({ "tier": "FREE" })).await;
    let limit = "{ server { limits { eventRetentionDays } } }";
    let days_of = |answer: Value| answer["server"]["limits"]["eventRetentionDays"].clone();
    assert_eq!(days_of(app.call(&acme, &acme.viewer, limit).data().await), Value::Null);
    assert_eq!(days_of(app.call(&small, &small.viewer, limit).data().await), 7);
    assert_eq!(days_of(app.gql(limit).data().await), Value::Null);
    let strict = app.another_instance(|config| config.ledger.retention = days(3)).await;
    assert_eq!(days_of(strict.call(&small, &small.viewer, limit).data().await), 3);
    assert_eq!(days_of(strict.gql(limit).data().await), 3);
    let lax = app.another_instance(|config| config.ledger.retention = days(30)).await;
    assert_eq!(days_of(lax.call(&acme, &acme.viewer, limit).data().await), 30);
    assert_eq!(days_of(lax.call(&small, &small.viewer, limit).data().await), 7);

    let (all, all_small) = (kept(&app, &acme).await, kept(&app, &small).await);
    app.clock.advance(DAY * 7);
    purge(&app, None).await;
    assert_eq!(
        (kept(&app, &acme).await, kept(&app, &small).await),
        (all.clone(), all_small.clone()),
        "not a moment early"
    );
    record(&app, &small, 1).await;
    app.clock.advance(TimeDelta::milliseconds(1));
    purge(&app, None).await;
    assert_eq!(kept(&app, &acme).await, all);
    assert_eq!(kept(&app, &small).await, [all_small.last().expect("events") + 1]);
    purge(&app, Some(Duration::MAX)).await;
    assert_eq!(kept(&app, &acme).await, all, "longer than the calendar");
    purge(&app, days(10)).await;
    assert_eq!(kept(&app, &acme).await, all);
    purge(&app, days(7)).await;
    assert_eq!(kept(&app, &acme).await, [0; 0]);
    assert_eq!(kept(&app, &small).await.len(), 1);
}

#[databases]
async fn what_is_kept_has_no_gaps(app: TestApp) {
    let acme = app.company("acme").await;
    let begun = head(&app, &acme).await;
    record(&app, &acme, 2_500).await;
    app.clock.advance(DAY * 2);
    record(&app, &acme, 7).await;
    // A clock that went back: what came after something young stays with it.
    app.clock.advance(-DAY * 2);
    record(&app, &acme, 1).await;
    app.clock.advance(DAY * 2);
    let expected: Vec<i64> = (begun + 2_501..=begun + 2_508).collect();
    let twice = [retention::run(&app.state.db, days(1)), retention::run(&app.state.db, days(1))];
    for done in join_all(twice).await {
        done.expect("the database answers");
    }
    assert_eq!(kept(&app, &acme).await, expected);
    assert_eq!(head(&app, &acme).await, begun + 2_508);
    let acme = back(&app, &acme).await;
    let query = "query($last: Int, $first: Int) { events(first: $first, last: $last) { totalCount \
                 nodes { sequence } pageInfo { hasPreviousPage hasNextPage } } }";
    let data = app.call(&acme, &acme.owner, query).vars(json!({ "first": 100 })).data().await;
    let sequences: Vec<String> = expected.iter().map(ToString::to_string).collect();
    let found: Vec<&str> = list(&data["events"]["nodes"]).iter().map(|node| text(&node["sequence"])).collect();
    assert_eq!(found, sequences);
    let data = app.call(&acme, &acme.owner, query).vars(json!({ "last": 5 })).data().await;
    assert_eq!(data["events"]["nodes"][0]["sequence"], sequences[3].as_str());
    assert_eq!(data["events"]["totalCount"], 8);
    // And it goes on where it was.
    change(&app, &acme, "tagCreate", json!({ "name": "next" })).await;
    assert_eq!(kept(&app, &acme).await.last(), Some(&(begun + 2_509)));
}

// ── a history made up at random ──

/// What a history has made: ids, of which some are gone by now.
#[derive(Default)]
pub struct Made {
    pub items: Vec<String>,
    pub relations: Vec<String>,
    pub comments: Vec<(String, String)>,
    pub tags: Vec<String>,
    pub teams: Vec<String>,
    pub members: Vec<Person>,
    pub joined: usize,
}

fn one_of<T: Clone>(rng: &mut Rng, of: &[T]) -> Option<T> {
    rng.choice(of).cloned()
}

/// One step: a mutation that makes sense more often than not. Refusals belong to it, failures don't.
pub async fn step(app: &TestApp, acme: &Company, rng: &mut Rng, made: &mut Made) -> bool {
    fn new_id<K: Kind>(app: &TestApp) -> String {
        app.clock.new_id::<K>().to_string()
    }
    let word = format!("w{}", rng.u32(..1_000_000));
    let item = one_of(rng, &made.items).unwrap_or_else(|| new_id::<kind::Item>(app));
    let other = one_of(rng, &made.items);
    let tag = one_of(rng, &made.tags).unwrap_or_else(|| new_id::<kind::Tag>(app));
    let team = one_of(rng, &made.teams).unwrap_or_else(|| new_id::<kind::Team>(app));
    let comment = one_of(rng, &made.comments).unwrap_or_else(|| (new_id::<kind::Comment>(app), item.clone()));
    let somebody = one_of(rng, &made.members).unwrap_or_else(|| acme.member.clone());
    let (field, input) = match rng.u8(..44) {
        0..=6 => {
            let id = new_id::<kind::Item>(app);
            let below = new_id::<kind::Item>(app);
            made.items.push(id.clone());
            let mut subtasks = json!([]);
            if rng.bool() {
                made.items.push(below.clone());
                subtasks = json!([{ "id": below, "title": "below" }]);
            }
            let tags = if made.tags.is_empty() || rng.bool() { json!([]) } else { json!([tag]) };
            let parent = other.filter(|_| rng.u8(..4) == 0);
            let mut input =
                json!({ "id": id, "title": word, "subtasks": subtasks, "tagIds": tags, "parentId": parent });
            if rng.bool() {
                input["assigneeIds"] = json!([somebody.id]);
            }
            ("itemCreate", input)
        }
        7..=13 => {
            let patch = match rng.u8(..7) {
                0 => json!({ "title": word }),
                1 => json!({ "status": (["TODO", "IN_PROGRESS", "DONE"][rng.usize(..3)]) }),
                2 => json!({ "description": if rng.bool() { json!(word) } else { Value::Null } }),
                3 => {
                    json!({ "teamId": if made.teams.is_empty() || rng.u8(..4) == 0 { Value::Null } else { json!(team) } })
                }
                4 => json!({ "tags": { (if rng.bool() { "add" } else { "remove" }): [tag] } }),
                5 => json!({ "assignees": { "set": [somebody.id] } }),
                _ => json!({ "parentId": other }),
            };
            ("itemUpdate", json!({ "id": item, "patch": patch }))
        }
        14 => ("itemArchive", json!({ "id": item })),
        15 => ("itemUnarchive", json!({ "id": item })),
        16..=17 => ("itemDelete", json!({ "id": item })),
        18..=19 => ("itemRestore", json!({ "id": item })),
        20 => ("itemDelete", json!({ "id": item, "permanently": true })),
        21..=23 => {
            let id = new_id::<kind::Comment>(app);
            made.comments.push((id.clone(), item.clone()));
            ("commentCreate", json!({ "id": id, "itemId": item, "body": word }))
        }
        24 => {
            let id = new_id::<kind::Comment>(app);
            made.comments.push((id.clone(), comment.1.clone()));
            ("commentCreate", json!({ "id": id, "itemId": comment.1, "parentId": comment.0, "body": word }))
        }
        25 => ("commentUpdate", json!({ "id": comment.0, "patch": { "body": word } })),
        26 => ("commentDelete", json!({ "id": comment.0 })),
        27..=28 => {
            let id = new_id::<kind::Tag>(app);
            made.tags.push(id.clone());
            ("tagCreate", json!({ "id": id, "name": word }))
        }
        29 => ("tagUpdate", json!({ "id": tag, "patch": { "color": format!("#{:06X}", rng.u32(..1 << 24)) } })),
        30 => match one_of(rng, &made.tags) {
            Some(into) if into != tag => ("tagMerge", json!({ "fromId": tag, "intoId": into })),
            _ => ("tagDelete", json!({ "id": tag })),
        },
        31..=32 => {
            let id = new_id::<kind::Team>(app);
            made.teams.push(id.clone());
            ("teamCreate", json!({ "id": id, "name": word, "memberIds": [acme.owner.id] }))
        }
        33 => {
            let members = json!({ (if rng.bool() { "add" } else { "remove" }): [somebody.id] });
            ("teamUpdate", json!({ "id": team, "patch": { "members": members, "description": word } }))
        }
        34 => ("teamDelete", json!({ "id": team })),
        35 => {
            let teams = json!({ (if rng.bool() { "add" } else { "remove" }): [team] });
            ("membershipUpdate", json!({ "id": somebody.membership_id, "patch": { "teams": teams } }))
        }
        40..=42 => {
            let id = new_id::<kind::ItemRelation>(app);
            made.relations.push(id.clone());
            let kind = ["BLOCKS", "DUPLICATES", "RELATES_TO"][rng.usize(..3)];
            let related = other.unwrap_or_else(|| new_id::<kind::Item>(app));
            ("itemRelationCreate", json!({ "id": id, "itemId": item, "kind": kind, "relatedItemId": related }))
        }
        43 => {
            let id = one_of(rng, &made.relations).unwrap_or_else(|| new_id::<kind::ItemRelation>(app));
            ("itemRelationDelete", json!({ "id": id }))
        }
        36 => {
            let (role, status) = (["MEMBER", "VIEWER"][rng.usize(..2)], ["ACTIVE", "SUSPENDED"][rng.usize(..2)]);
            ("membershipUpdate", json!({ "id": somebody.membership_id, "patch": { "role": role, "status": status } }))
        }
        37 => ("membershipRemove", json!({ "id": somebody.membership_id, "reassignToId": acme.owner.id })),
        38 => {
            made.joined += 1;
            let name = format!("joined-{}", made.joined);
            made.members.push(join(app, acme, &name, one_of(rng, &made.teams)).await);
            return true;
        }
        _ if rng.bool() => ("planChange", json!({ "tier": (["PROFESSIONAL", "ENTERPRISE"][rng.usize(..2)]) })),
        _ => ("organizationUpdate", json!({ "patch": { "name": word } })),
    };
    let answer = mutate(app, acme, &acme.owner, (field, ""), input.clone()).data().await;
    answer[field]["userErrors"] == json!([])
}

/// Somebody new, by an invitation into a team, where that is still there.
async fn join(app: &TestApp, acme: &Company, name: &str, team: Option<String>) -> Person {
    let email = format!("{name}@example.com");
    let invite = |teams: Value| {
        let input = json!({ "email": email, "role": "MEMBER", "teamIds": teams });
        mutate(app, acme, &acme.owner, ("invitationCreate", "token"), input).data()
    };
    let mut invited = invite(json!(team.into_iter().collect::<Vec<_>>())).await["invitationCreate"].clone();
    if invited["userErrors"] != json!([]) {
        invited = invite(json!([])).await["invitationCreate"].clone();
    }
    app.accept(&acme.slug, name, text(&invited["token"])).await
}

/// A history of so many steps, and those that were refused, with clients that ask at random moments for pages of random sizes, and miss nothing.
async fn history(app: &TestApp, seed: u64, steps: usize) {
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let acme = app.company("acme").await;
    let mut made = Made { members: vec![acme.admin.clone(), acme.member.clone()], ..Made::default() };
    let mut full = Copy::new();
    let mut partial = Copy::of(json!(["TEAM", "ITEM", "COMMENT"]));
    let mut follower = Follower { copy: Copy::new(), stream: None };
    follower.copy.catch_up(app, &acme, &acme.owner, 7).await;
    let (mut done, mut tried) = (0, 0);
    while done < steps {
        tried += 1;
        assert!(tried < steps * 4, "seed {seed}: only {done} steps of {tried} were possible");
        app.clock.advance(TimeDelta::milliseconds(rng.i64(0..50)));
        done += usize::from(step(app, &acme, &mut rng, &mut made).await);
        if rng.u8(..4) == 0 {
            full.pull(app, &acme, &acme.viewer, rng.i32(1..=9)).await;
        }
        if rng.u8(..6) == 0 {
            partial.pull(app, &acme, &acme.viewer, rng.i32(1..=5)).await;
        }
        match rng.u8(..12) {
            0 => follower.stream = None,
            1 => {
                follower.stream = None;
                follower.copy.catch_up(app, &acme, &acme.owner, rng.i32(1..=9)).await;
            }
            2 | 3 => follower.follow(app, &acme, &acme.owner).await,
            _ => {}
        }
    }
    follower.follow(app, &acme, &acme.owner).await;
    full.catch_up(app, &acme, &acme.viewer, rng.i32(1..=9)).await;
    partial.catch_up(app, &acme, &acme.viewer, rng.i32(1..=9)).await;
    let truth = world(app, &acme).await;
    same(&full.objects, &truth, &format!("seed {seed}: the copy and the lists"));
    same(&follower.copy.objects, &truth, &format!("seed {seed}: the copy that follows the stream and the lists"));
    same(
        &partial.objects,
        &only(&truth, &["Team", "Item", "Comment"]),
        &format!("seed {seed}: the copy of some types"),
    );
    let mut fresh = Copy::new();
    fresh.catch_up(app, &acme, &acme.viewer, 10).await;
    same(&fresh.objects, &truth, &format!("seed {seed}: a snapshot and the lists"));
    assert_eq!(fresh.cursor, full.cursor, "seed {seed}");
}

#[databases]
async fn a_copy_follows_any_history_1(app: TestApp) {
    history(&app, 1, 150).await;
}

#[databases]
async fn a_copy_follows_any_history_2(app: TestApp) {
    history(&app, 2, 150).await;
}

#[databases]
async fn a_copy_follows_any_history_3(app: TestApp) {
    history(&app, 3, 150).await;
}

/// Another history each time.
#[databases]
async fn a_copy_follows_any_history_anew(app: TestApp) {
    history(&app, fastrand::u64(..), 150).await;
}

#[databases]
async fn a_copy_follows_writers_at_work(app: TestApp) {
    let acme = app.company("acme").await;
    furnish(&app, &acme).await;
    let writer = async |seed: u64| {
        let mut rng = Rng::with_seed(seed);
        // Names of those who join are one's own.
        let mut made = Made { joined: 1_000 * usize::try_from(seed).expect("a small one"), ..Made::default() };
        for _ in 0..25 {
            app.clock.advance(TimeDelta::milliseconds(1));
            step(&app, &acme, &mut rng, &mut made).await;
        }
    };
    let mut copy = Copy::new();
    let reader = async {
        for first in (1..8).cycle().take(40) {
            copy.pull(&app, &acme, &acme.viewer, first).await;
        }
    };
    futures_util::join!(join_all([11, 12, 13].map(writer)), reader);
    copy.catch_up(&app, &acme, &acme.viewer, 5).await;
    same(&copy.objects, &world(&app, &acme).await, "the copy and the lists");
}
