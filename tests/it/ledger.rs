//! The ledger: one event a change, in gapless order, and what each caller sees of it.

use std::{collections::BTreeSet, net::SocketAddr};

use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, header},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::Duration;
use futures_util::future::join_all;
use sea_orm::ColumnTrait as _;
use serde_json::{Value, json};
use todo_platform::{
    base::{
        id::{TagId, kind},
        policy::Permission,
    },
    data::{actor::Origin, db::OrgScope, entity::tag},
};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const EVENT: &str = "id sequence cursor type occurredAt subjectId requestId actor { id } item { id } \
    changes { field before after }";

/// The whole ledger as somebody sees it, oldest first.
async fn ledger(app: &TestApp, acme: &Company, person: &Person) -> Vec<Value> {
    let query = format!(
        "query($after: Cursor) {{ events(first: 80, after: $after) {{ pageInfo {{ hasNextPage endCursor }} \
         nodes {{ {EVENT} }} }} }}"
    );
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = app.call(acme, person, &query).vars(json!({ "after": after })).data().await;
        all.extend(data["events"]["nodes"].as_array().cloned().unwrap_or_default());
        if data["events"]["pageInfo"]["hasNextPage"] != true {
            return all;
        }
        after = data["events"]["pageInfo"]["endCursor"].clone();
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn sequence(event: &Value) -> i64 {
    text(&event["sequence"]).parse().expect("a number as text")
}

/// Where the ledger's head stands: what `viewer.cursor` is made of.
async fn head(app: &TestApp, acme: &Company) -> i64 {
    let data = app.call(acme, &acme.owner, "{ viewer { cursor } }").data().await;
    position(&data["viewer"]["cursor"])
}

fn position(cursor: &Value) -> i64 {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text(cursor)).expect("base64url");
    i64::from_be_bytes(bytes[16..].try_into().expect("eight bytes after the organization"))
}

/// Fails unless the sequences are 1, 2, 3 … up to the head.
async fn is_gapless(app: &TestApp, acme: &Company) -> Vec<Value> {
    let events = ledger(app, acme, &acme.owner).await;
    let sequences: Vec<i64> = events.iter().map(sequence).collect();
    let expected: Vec<i64> = (1..).take(events.len()).collect();
    assert_eq!(sequences, expected);
    assert_eq!(head(app, acme).await, i64::try_from(events.len()).unwrap_or(0));
    events
}

/// Ids of the events that a filter finds for somebody.
async fn filtered(app: &TestApp, acme: &Company, person: &Person, filter: Value) -> BTreeSet<String> {
    let query = "query($f: EventFilter) { events(first: 100, filter: $f) { totalCount nodes { id } } }";
    let data = app.call(acme, person, query).vars(json!({ "f": filter })).data().await;
    let nodes = data["events"]["nodes"].as_array().cloned().unwrap_or_default();
    assert_eq!(data["events"]["totalCount"], nodes.len());
    nodes.iter().map(|node| text(&node["id"]).to_owned()).collect()
}

fn ids_where(events: &[Value], holds: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    events.iter().filter(|event| holds(event)).map(|event| text(&event["id"]).to_owned()).collect()
}

/// The commit itself takes no change without its event: nothing of it is there afterwards.
#[databases]
async fn a_write_without_an_event_is_not_committed(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test"));
    let scope = scope.await.expect("it is there");
    let before = head(&app, &acme).await;
    let by_id = || tag::Column::Id.eq(tag.parse::<TagId>().expect("an id"));
    let row = async || scope.find::<tag::Entity>().filter(by_id()).one().await.expect("a row").expect("it is there");
    let renamed = async || {
        let renamed = tag::Model { name: "renamed".to_owned(), ..row().await };
        let tx = scope.write(Permission::TagManage).await.expect("the server may");
        tx.update_whole(renamed).await.expect("the database answers");
        tx
    };
    let error = renamed().await.commit(()).await.expect_err("it has no event");
    assert!(error.describe().contains("without an event"), "{}", error.describe());
    assert_eq!(row().await.name, "bug");
    renamed().await.commit_unrecorded((), "made by a test").await.expect("it says why");
    assert_eq!(row().await.name, "renamed");
    assert_eq!(head(&app, &acme).await, before);
    // What changes nothing needs no event.
    scope.write(Permission::TagManage).await.expect("the server may").commit(()).await.expect("nothing was written");
}

#[databases]
async fn the_sequence_has_no_gaps_after_a_mixed_history(app: TestApp) {
    let acme = app.company("acme").await;
    let member = |field: &'static str, input: Value| mutate(&app, &acme, &acme.member, (field, ""), input);
    let absent = app.clock.new_id::<kind::Tag>().to_string();
    let id = app.item(&acme, "a").await;
    member("itemCreate", json!({ "title": "x", "tagIds": [absent] })).refused().await;
    member("itemUpdate", json!({ "id": id, "patch": { "title": "b", "tags": { "add": [absent] } } })).refused().await;
    member("itemUpdate", json!({ "id": id, "ifVersion": 9, "patch": { "title": "b" } })).refused().await;
    member("itemUpdate", json!({ "id": id, "patch": { "title": "b" } })).done().await;
    member("itemUpdate", json!({ "id": id, "patch": { "title": "b" } })).done().await;
    member("itemCreate", json!({ "title": "r", "subtasks": [{ "title": "s" }, { "title": "t" }] })).done().await;
    member("tagCreate", json!({ "name": "bug" })).done().await;
    member("tagCreate", json!({ "name": "BUG" })).refused().await;
    member(
        "commentCreate",
        json!({ "itemId": id, "body": "c", "parentId": app.clock.new_id::<kind::Comment>().to_string() }),
    )
    .refused()
    .await;
    let taken = json!({ "title": "r", "subtasks": [{ "title": "s", "id": id }] });
    member("itemCreate", taken).refused().await;
    // Fails in the database, after the numbers were taken: nothing of it stays.
    let twice = app.clock.new_id::<kind::Item>().to_string();
    let twice = json!({ "title": "r", "subtasks": [{ "title": "s", "id": twice }, { "title": "t", "id": twice }] });
    member("itemCreate", twice).refused().await;
    member("itemDelete", json!({ "id": id })).done().await;
    mutate(&app, &acme, &acme.owner, ("organizationDelete", ""), json!({ "confirmSlug": "x" })).refused().await;
    let events = is_gapless(&app, &acme).await;
    assert_eq!(text(&events[events.len() - 1]["type"]), "ITEM_DELETED");
    let next = mutate(&app, &acme, &acme.member, ("itemCreate", "item { identifier }"), json!({ "title": "n" }));
    assert_eq!(next.done().await["item"]["identifier"], "ACME-5", "nor do the numbers have gaps");
}

#[databases]
async fn the_cursor_of_a_mutation_is_that_of_its_last_event(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "a").await;
    let input = json!({ "title": "r", "subtasks": [{ "title": "s" }] });
    for (field, input) in [
        ("itemCreate", input),
        ("itemUpdate", json!({ "id": id, "patch": { "title": "b" } })),
        ("commentCreate", json!({ "itemId": id, "body": "c" })),
        ("tagCreate", json!({ "name": "bug" })),
        ("itemDelete", json!({ "id": id })),
        // One that changes nothing stands where the ledger stands.
        ("itemDelete", json!({ "id": id })),
    ] {
        let done = mutate(&app, &acme, &acme.member, (field, ""), input).done().await;
        let events = ledger(&app, &acme, &acme.owner).await;
        assert_eq!(done["cursor"], events[events.len() - 1]["cursor"], "{field}");
    }
}

#[databases]
async fn eight_writers_at_once_leave_no_gap(app: TestApp) {
    let acme = app.company("acme").await;
    let shared = app.item(&acme, "shared").await;
    let before = head(&app, &acme).await;
    let writer = async |writer: usize| {
        for n in 0..10 {
            let (field, input) = match n % 3 {
                0 => ("itemCreate", json!({ "title": format!("{writer} {n}") })),
                1 => ("itemUpdate", json!({ "id": shared, "patch": { "title": format!("{writer} {n}") } })),
                _ => ("commentCreate", json!({ "itemId": shared, "body": format!("{writer} {n}") })),
            };
            app.clock.advance(Duration::milliseconds(1));
            mutate(&app, &acme, &acme.member, (field, ""), input).done().await;
        }
    };
    join_all((0..8).map(writer)).await;
    let events = is_gapless(&app, &acme).await;
    assert_eq!(head(&app, &acme).await, before + 80);
    let ids: BTreeSet<&str> = events.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(ids.len(), events.len());
    for pair in events.windows(2) {
        assert!(text(&pair[0]["occurredAt"]) <= text(&pair[1]["occurredAt"]), "{pair:#?}");
    }
}

/// Every mutation that changes what an organization has.
#[databases]
async fn every_change_is_told_with_before_and_after(app: TestApp) {
    let acme = app.company("acme").await;
    let mut told: BTreeSet<String> = BTreeSet::new();
    let id_of = |kind: &str| match kind {
        "item" => app.clock.new_id::<kind::Item>().to_string(),
        "tag" => app.clock.new_id::<kind::Tag>().to_string(),
        "team" => app.clock.new_id::<kind::Team>().to_string(),
        "comment" => app.clock.new_id::<kind::Comment>().to_string(),
        "relation" => app.clock.new_id::<kind::ItemRelation>().to_string(),
        "key" => app.clock.new_id::<kind::ApiKey>().to_string(),
        "webhook" => app.clock.new_id::<kind::Webhook>().to_string(),
        "set" => app.clock.new_id::<kind::DocumentSet>().to_string(),
        "hook" => app.clock.new_id::<kind::InboundHook>().to_string(),
        _ => app.clock.new_id::<kind::Invitation>().to_string(),
    };
    let (item, sub) = (id_of("item"), id_of("item"));
    let (tag, into, team) = (id_of("tag"), id_of("tag"), id_of("team"));
    let (relation, bulk) = (id_of("relation"), id_of("item"));
    let (comment, invitation, second) = (id_of("comment"), id_of("invitation"), id_of("invitation"));
    let (key, webhook, hook, set) = (id_of("key"), id_of("webhook"), id_of("hook"), id_of("set"));
    let url = "http://127.0.0.1:1/";
    let membership = &acme.viewer.membership_id;
    let change = |field: &str, before: Value, after: Value| json!([field, before, after]);
    let none = Value::Null;
    let steps = [
        (
            "tagCreate",
            json!({ "id": tag, "name": "bug" }),
            "TAG_CREATED",
            &tag,
            change("name", none.clone(), json!("bug")),
        ),
        (
            "tagCreate",
            json!({ "id": into, "name": "ui" }),
            "TAG_CREATED",
            &into,
            change("color", none.clone(), json!("#3B82F6")),
        ),
        (
            "tagUpdate",
            json!({ "id": tag, "patch": { "name": "Bug" } }),
            "TAG_UPDATED",
            &tag,
            change("name", json!("bug"), json!("Bug")),
        ),
        (
            "teamCreate",
            json!({ "id": team, "name": "T" }),
            "TEAM_CREATED",
            &team,
            change("name", none.clone(), json!("T")),
        ),
        (
            "teamUpdate",
            json!({ "id": team, "patch": { "members": { "add": [acme.member.id] } } }),
            "TEAM_UPDATED",
            &team,
            change("memberIds", json!([]), json!([acme.member.id])),
        ),
        (
            "itemCreate",
            json!({ "id": item, "title": "a", "tagIds": [tag], "teamId": team }),
            "ITEM_CREATED",
            &item,
            change("tagIds", none.clone(), json!([tag])),
        ),
        (
            "itemCreate",
            json!({ "id": sub, "title": "s", "parentId": item }),
            "ITEM_CREATED",
            &sub,
            change("parentId", none.clone(), json!(item)),
        ),
        (
            "itemUpdate",
            json!({ "id": item, "patch": { "dueAt": "2026-03-05T00:00:00Z" } }),
            "ITEM_UPDATED",
            &item,
            change("dueAt", none.clone(), json!("2026-03-05T00:00:00.000Z")),
        ),
        (
            "itemArchive",
            json!({ "id": item }),
            "ITEM_ARCHIVED",
            &item,
            change("status", json!("TODO"), json!("ARCHIVED")),
        ),
        (
            "itemUnarchive",
            json!({ "id": item }),
            "ITEM_UNARCHIVED",
            &item,
            change("status", json!("ARCHIVED"), json!("TODO")),
        ),
        (
            "itemBulkCreate",
            json!({ "items": [{ "id": bulk, "title": "b" }] }),
            "ITEM_CREATED",
            &bulk,
            change("title", none.clone(), json!("b")),
        ),
        (
            "itemBulkUpdate",
            json!({ "select": { "ids": [bulk] }, "patch": { "priority": "LOW" } }),
            "ITEM_UPDATED",
            &bulk,
            change("priority", json!("MEDIUM"), json!("LOW")),
        ),
        (
            "itemBulkDelete",
            json!({ "select": { "ids": [bulk] } }),
            "ITEM_DELETED",
            &bulk,
            change("deletedAt", none.clone(), json!("2026-03-02T09:00:00.000Z")),
        ),
        (
            "itemBulkRestore",
            json!({ "select": { "ids": [bulk] } }),
            "ITEM_RESTORED",
            &bulk,
            change("deletedAt", json!("2026-03-02T09:00:00.000Z"), none.clone()),
        ),
        (
            "itemRelationCreate",
            json!({ "id": relation, "itemId": item, "kind": "BLOCKS", "relatedItemId": sub }),
            "ITEM_RELATION_CREATED",
            &relation,
            change("kind", none.clone(), json!("BLOCKS")),
        ),
        (
            "itemRelationDelete",
            json!({ "id": relation }),
            "ITEM_RELATION_DELETED",
            &relation,
            change("relatedItemId", json!(sub), none.clone()),
        ),
        (
            "commentCreate",
            json!({ "id": comment, "itemId": item, "body": "c" }),
            "COMMENT_CREATED",
            &comment,
            change("body", none.clone(), json!("c")),
        ),
        (
            "commentUpdate",
            json!({ "id": comment, "patch": { "body": "d" } }),
            "COMMENT_UPDATED",
            &comment,
            change("body", json!("c"), json!("d")),
        ),
        (
            "commentDelete",
            json!({ "id": comment }),
            "COMMENT_DELETED",
            &comment,
            change("body", json!("d"), none.clone()),
        ),
        (
            "tagMerge",
            json!({ "fromId": tag, "intoId": into }),
            "TAG_DELETED",
            &tag,
            change("name", json!("Bug"), none.clone()),
        ),
        ("tagDelete", json!({ "id": into }), "TAG_DELETED", &into, change("name", json!("ui"), none.clone())),
        ("teamDelete", json!({ "id": team }), "TEAM_DELETED", &team, change("name", json!("T"), none.clone())),
        (
            "itemDelete",
            json!({ "id": sub }),
            "ITEM_DELETED",
            &sub,
            change("deletedAt", none.clone(), json!("2026-03-02T09:00:00.000Z")),
        ),
        (
            "itemRestore",
            json!({ "id": sub }),
            "ITEM_RESTORED",
            &sub,
            change("deletedAt", json!("2026-03-02T09:00:00.000Z"), none.clone()),
        ),
        (
            "itemDelete",
            json!({ "id": sub, "permanently": true }),
            "ITEM_PURGED",
            &sub,
            change("title", json!("s"), none.clone()),
        ),
        (
            "invitationCreate",
            json!({ "id": invitation, "email": "n@example.com" }),
            "MEMBER_INVITED",
            &invitation,
            change("email", none.clone(), json!("n@example.com")),
        ),
        ("invitationResend", json!({ "id": invitation }), "MEMBER_INVITED", &invitation, json!([])),
        (
            "invitationRevoke",
            json!({ "id": invitation }),
            "INVITATION_REVOKED",
            &invitation,
            change("role", json!("MEMBER"), none.clone()),
        ),
        (
            "invitationCreate",
            json!({ "id": second, "email": "new@example.com" }),
            "MEMBER_INVITED",
            &second,
            change("role", none.clone(), json!("MEMBER")),
        ),
        (
            "organizationUpdate",
            json!({ "patch": { "name": "Acme" } }),
            "ORGANIZATION_UPDATED",
            &acme.id,
            change("name", json!("acme"), json!("Acme")),
        ),
        (
            "planChange",
            json!({ "tier": "PROFESSIONAL" }),
            "PLAN_CHANGED",
            &acme.id,
            change("planTier", json!("ENTERPRISE"), json!("PROFESSIONAL")),
        ),
        (
            "membershipUpdate",
            json!({ "id": membership, "patch": { "role": "MEMBER" } }),
            "MEMBER_UPDATED",
            membership,
            change("role", json!("VIEWER"), json!("MEMBER")),
        ),
        (
            "userUpdate",
            json!({ "patch": { "fullName": "Ann" } }),
            "MEMBER_UPDATED",
            &acme.owner.membership_id,
            change("fullName", none.clone(), json!("Ann")),
        ),
        (
            "apiKeyCreate",
            json!({ "id": key, "name": "CI", "scopes": ["ITEM_READ"] }),
            "API_KEY_CREATED",
            &key,
            change("scopes", none.clone(), json!(["ITEM_READ"])),
        ),
        (
            "apiKeyUpdate",
            json!({ "id": key, "patch": { "name": "CD" } }),
            "API_KEY_UPDATED",
            &key,
            change("name", json!("CI"), json!("CD")),
        ),
        ("apiKeyRotate", json!({ "id": key }), "API_KEY_ROTATED", &key, json!([])),
        (
            "apiKeyRevoke",
            json!({ "id": key }),
            "API_KEY_REVOKED",
            &key,
            change("revokedAt", none.clone(), json!("2026-03-02T09:00:00.000Z")),
        ),
        (
            "documentSetCreate",
            json!({ "id": set, "name": "Web", "manifest": { "a": "{ __typename }" } }),
            "DOCUMENT_SET_CREATED",
            &set,
            change("documentCount", none.clone(), json!(1)),
        ),
        (
            "documentSetUpdate",
            json!({ "id": set, "patch": { "name": "App" } }),
            "DOCUMENT_SET_UPDATED",
            &set,
            change("name", json!("Web"), json!("App")),
        ),
        (
            "documentSetDelete",
            json!({ "id": set }),
            "DOCUMENT_SET_DELETED",
            &set,
            change("name", json!("App"), none.clone()),
        ),
        (
            "webhookCreate",
            json!({ "id": webhook, "url": url }),
            "WEBHOOK_CREATED",
            &webhook,
            change("url", none.clone(), json!(url)),
        ),
        (
            "webhookUpdate",
            json!({ "id": webhook, "patch": { "isEnabled": false } }),
            "WEBHOOK_UPDATED",
            &webhook,
            change("state", json!("ENABLED"), json!("PAUSED")),
        ),
        ("webhookRotateSecret", json!({ "id": webhook }), "WEBHOOK_SECRET_ROTATED", &webhook, json!([])),
        (
            "webhookDelete",
            json!({ "id": webhook }),
            "WEBHOOK_DELETED",
            &webhook,
            change("url", json!(url), none.clone()),
        ),
        (
            "inboundHookCreate",
            json!({ "id": hook, "name": "Door", "provider": "GITHUB" }),
            "INBOUND_HOOK_CREATED",
            &hook,
            change("provider", none.clone(), json!("GITHUB")),
        ),
        (
            "inboundHookUpdate",
            json!({ "id": hook, "patch": { "isEnabled": false } }),
            "INBOUND_HOOK_UPDATED",
            &hook,
            change("isEnabled", json!(true), json!(false)),
        ),
        ("inboundHookRotateSecret", json!({ "id": hook }), "INBOUND_HOOK_SECRET_ROTATED", &hook, json!([])),
        (
            "inboundHookDelete",
            json!({ "id": hook }),
            "INBOUND_HOOK_DELETED",
            &hook,
            change("name", json!("Door"), none.clone()),
        ),
        (
            "membershipRemove",
            json!({ "id": membership }),
            "MEMBER_REMOVED",
            membership,
            change("role", json!("MEMBER"), none.clone()),
        ),
    ];
    for (field, input, kind, subject, expected) in steps {
        let before = head(&app, &acme).await;
        let call = mutate(&app, &acme, &acme.owner, (field, ""), input).header("x-request-id", field);
        let done = call.done().await;
        let events = ledger(&app, &acme, &acme.owner).await;
        let new: Vec<&Value> = events.iter().filter(|event| sequence(event) > before).collect();
        let event = new.last().expect("at least one event");
        assert_eq!((text(&event["type"]), text(&event["subjectId"])), (kind, subject.as_str()), "{field}");
        assert_eq!(event["cursor"], done["cursor"], "{field}");
        assert_eq!(event["actor"]["id"], acme.owner.id.as_str(), "{field}");
        assert!(new.iter().all(|event| event["requestId"] == field), "{field}");
        assert_eq!(event["occurredAt"], "2026-03-02T09:00:00.000Z");
        let changes = event["changes"].as_array().cloned().unwrap_or_default();
        let shown = changes.iter().map(|change| json!([change["field"], change["before"], change["after"]]));
        assert!(expected == json!([]) || shown.clone().any(|change| change == expected), "{field} {changes:#?}");
        assert!(changes.iter().all(|change| change["before"] != change["after"]), "{field} {changes:#?}");
        told.insert(field.to_owned());
    }
    // The two that begin and end with an organization, and the one that joins it, are told elsewhere.
    let apart = [
        "organizationCreate",
        "organizationDelete",
        "invitationAccept",
        "userRegister",
        "sessionCreate",
        "sessionRefresh",
        "sessionRevoke",
        "passwordChange",
        "passwordResetRequest",
        "passwordResetComplete",
        "emailChangeRequest",
        "emailVerify",
        "userDelete",
        // What somebody watches concerns nobody else.
        "itemWatch",
        // What an import makes is told; that it was asked for is not.
        "importCreate",
        "importCancel",
        // Deliveries are not in the ledger.
        "webhookTest",
        "webhookReplay",
        "webhookDeliveryRetry",
    ];
    let sdl = todo_platform::api::schema::registry(false);
    let all: BTreeSet<String> = match sdl.types.get("Mutation") {
        Some(async_graphql::registry::MetaType::Object { fields, .. }) => fields.keys().cloned().collect(),
        _ => BTreeSet::new(),
    };
    let known: BTreeSet<String> = told.into_iter().chain(apart.map(str::to_owned)).collect();
    assert_eq!(all, known, "a new mutation belongs into this table");
    is_gapless(&app, &acme).await;
}

#[databases]
async fn joining_is_told_in_the_organization_joined(app: TestApp) {
    let acme = app.company("acme").await;
    let events = ledger(&app, &acme, &acme.owner).await;
    let types: Vec<&str> = events.iter().map(|event| text(&event["type"])).collect();
    let expected = [
        "ORGANIZATION_CREATED",
        "MEMBER_JOINED",
        "MEMBER_INVITED",
        "MEMBER_JOINED",
        "MEMBER_INVITED",
        "MEMBER_JOINED",
        "MEMBER_INVITED",
        "MEMBER_JOINED",
    ];
    assert_eq!(types, expected);
    let joined = &events[3];
    assert_eq!(joined["subjectId"], acme.admin.membership_id.as_str());
    assert_eq!(joined["actor"]["id"], acme.admin.id.as_str());
    // Never what a secret is made of.
    assert!(!json!(events).to_string().contains("token"));
}

#[databases]
async fn members_see_the_work_and_admins_everything(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "a").await;
    let all = ledger(&app, &acme, &acme.admin).await;
    let hidden = ["MEMBER_INVITED", "INVITATION_REVOKED", "ORGANIZATION_CREATED"];
    let is_hidden = |event: &Value| hidden.contains(&text(&event["type"]));
    assert_eq!(all.iter().filter(|event| is_hidden(event)).count(), 4);
    for person in [&acme.member, &acme.viewer] {
        let seen: Vec<Value> = ledger(&app, &acme, person).await.iter().map(|event| event["id"].clone()).collect();
        let expected: Vec<Value> =
            all.iter().filter(|event| !is_hidden(event)).map(|event| event["id"].clone()).collect();
        assert_eq!(seen, expected);
        assert!(filtered(&app, &acme, person, json!({ "types": ["MEMBER_INVITED"] })).await.is_empty());
        let query = "query($id: ID!) { node(id: $id) { ... on Event { type } } }";
        for event in &all {
            let node = app.call(&acme, person, query).vars(json!({ "id": event["id"] })).data().await;
            assert_eq!(node["node"].is_null(), is_hidden(event), "{event:#}");
        }
        let ids: Vec<&Value> = all.iter().map(|event| &event["id"]).collect();
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { id } }";
        let nodes = app.call(&acme, person, query).vars(json!({ "ids": ids })).data().await;
        for (node, event) in nodes["nodes"].as_array().expect("a list").iter().zip(&all) {
            assert_eq!(node.is_null(), is_hidden(event));
        }
    }
    let query = "query($id: ID!) { node(id: $id) { ... on Event { type } } }";
    let node = app.call(&acme, &acme.admin, query).vars(json!({ "id": all[0]["id"] })).data().await;
    assert_eq!(node["node"]["type"], "ORGANIZATION_CREATED");
    let other = app.company("other").await;
    let node = app.call(&other, &other.owner, query).vars(json!({ "id": all[1]["id"] })).data().await;
    assert_eq!(node["node"], Value::Null, "another tenant's");
}

#[databases]
async fn an_address_is_the_auditors_alone(app: TestApp) {
    let acme = app.company("acme").await;
    let body = json!({ "query": "mutation { itemCreate(input: {title: \"a\"}) { userErrors { code } } }" });
    let mut request = Request::post("/o/acme/graphql")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", acme.member.token))
        .header("x-request-id", "from-somewhere")
        .body(Body::from(body.to_string()))
        .expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 7], 4711))));
    assert_eq!(app.http(request).await.json()["data"]["itemCreate"]["userErrors"], json!([]));
    let query = "{ events(last: 1) { nodes { type requestId ip } } }";
    let event = |ip: Value| json!({ "type": "ITEM_CREATED", "requestId": "from-somewhere", "ip": ip });
    let seen = app.call(&acme, &acme.admin, query).data().await;
    assert_eq!(seen["events"]["nodes"][0], event(json!("203.0.113.7")));
    let seen = app.call(&acme, &acme.member, query).answer().await;
    assert_eq!(seen["data"]["events"]["nodes"][0], event(Value::Null));
    assert_eq!(seen["errors"][0]["extensions"]["code"], "FORBIDDEN");
    assert_eq!(seen["errors"][0]["path"], json!(["events", "nodes", 0, "ip"]));
}

#[databases]
async fn a_request_is_recognised_in_all_it_did(app: TestApp) {
    let acme = app.company("acme").await;
    let two =
        "mutation { a: itemCreate(input: {title: \"a\"}) { cursor } b: tagCreate(input: {name: \"b\"}) { cursor } }";
    let data = app.call(&acme, &acme.member, two).header("x-request-id", "one-and-the-same").data().await;
    let events = ledger(&app, &acme, &acme.owner).await;
    let of: Vec<&Value> = events.iter().filter(|event| event["requestId"] == "one-and-the-same").collect();
    let cursors: Vec<&Value> = of.iter().map(|event| &event["cursor"]).collect();
    assert_eq!(cursors, [&data["a"]["cursor"], &data["b"]["cursor"]], "in the order they were asked for");
}

#[databases]
async fn events_are_found_by_each_filter(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "T" })).await;
    let a = app.create(&acme, &acme.member, "item", json!({ "title": "a", "teamId": team })).await;
    app.clock.advance(Duration::minutes(1));
    let b = app.item(&acme, "b").await;
    let comment = app.create(&acme, &acme.admin, "comment", json!({ "itemId": a, "body": "c" })).await;
    app.clock.advance(Duration::minutes(1));
    mutate(&app, &acme, &acme.admin, ("itemUpdate", ""), json!({ "id": b, "patch": { "title": "bb" } })).done().await;
    let all = ledger(&app, &acme, &acme.owner).await;
    let is = |event: &Value, field: &str, wanted: &str| text(&event[field]) == wanted;
    let of_item = |event: &Value, id: &str| text(&event["item"]["id"]) == id;
    let by = |event: &Value, id: &str| text(&event["actor"]["id"]) == id;
    let later = |event: &Value, than: &str| text(&event["occurredAt"]) >= than;
    for (filter, expected) in [
        (json!({}), ids_where(&all, |_| true)),
        (json!({ "types": ["ITEM_CREATED"] }), ids_where(&all, |event| is(event, "type", "ITEM_CREATED"))),
        (json!({ "types": [] }), BTreeSet::new()),
        (json!({ "subjectIds": [b] }), ids_where(&all, |event| is(event, "subjectId", &b))),
        (json!({ "subjectIds": [comment] }), ids_where(&all, |event| is(event, "subjectId", &comment))),
        (json!({ "itemIds": [a] }), ids_where(&all, |event| of_item(event, &a))),
        (json!({ "itemIds": [a, b] }), ids_where(&all, |event| of_item(event, &a) || of_item(event, &b))),
        (json!({ "teamIds": [team] }), ids_where(&all, |event| of_item(event, &a) || is(event, "subjectId", &team))),
        (json!({ "actorIds": [acme.member.id] }), ids_where(&all, |event| by(event, &acme.member.id))),
        (json!({ "excludeViewer": true }), ids_where(&all, |event| !by(event, &acme.owner.id))),
        (json!({ "excludeViewer": false }), ids_where(&all, |_| true)),
        (json!({ "occurredAt": { "gte": "-PT1M" } }), ids_where(&all, |event| later(event, "2026-03-02T09:01"))),
        (json!({ "occurredAt": { "gt": "-PT1M" } }), ids_where(&all, |event| later(event, "2026-03-02T09:02"))),
        (
            json!({ "itemIds": [b], "actorIds": [acme.admin.id] }),
            ids_where(&all, |event| of_item(event, &b) && by(event, &acme.admin.id)),
        ),
        (json!({ "itemIds": [app.clock.new_id::<kind::Item>().to_string()] }), BTreeSet::new()),
    ] {
        assert_eq!(filtered(&app, &acme, &acme.owner, filter.clone()).await, expected, "{filter}");
    }
    assert_eq!(ids_where(&all, |event| of_item(event, &a)).len(), 2, "with its comment");
    let unset = "query($f: EventFilter) { events(filter: $f) { nodes { id } } }";
    let seen = app.call(&acme, &acme.owner, unset).data().await;
    assert_eq!(seen, app.call(&acme, &acme.owner, "{ events { nodes { id } } }").data().await, "as left out");
}

#[databases]
async fn an_item_tells_its_own_story(app: TestApp) {
    let acme = app.company("acme").await;
    let (a, b) = (app.item(&acme, "a").await, app.item(&acme, "b").await);
    app.create(&acme, &acme.admin, "comment", json!({ "itemId": a, "body": "c" })).await;
    app.create(&acme, &acme.admin, "comment", json!({ "itemId": b, "body": "d" })).await;
    mutate(&app, &acme, &acme.member, ("itemDelete", ""), json!({ "id": a })).done().await;
    let query = "query($id: ID!, $after: Cursor) { item(id: $id) { events(first: 2, after: $after) { totalCount \
                 pageInfo { hasNextPage endCursor } nodes { type item { id } } } } }";
    let page = async |after: Value| {
        let variables = json!({ "id": a, "after": after });
        app.call(&acme, &acme.viewer, query).vars(variables).data().await["item"]["events"].clone()
    };
    let first = page(Value::Null).await;
    let node = |kind: &str| json!({ "type": kind, "item": { "id": a } });
    assert_eq!((&first["totalCount"], &first["pageInfo"]["hasNextPage"]), (&json!(3), &json!(true)));
    assert_eq!(first["nodes"], json!([node("ITEM_CREATED"), node("COMMENT_CREATED")]));
    let second = page(first["pageInfo"]["endCursor"].clone()).await;
    assert_eq!(second["nodes"], json!([node("ITEM_DELETED")]));
    assert_eq!(second["pageInfo"]["hasNextPage"], false);
}

#[databases]
async fn an_event_outlives_its_subject(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.item(&acme, "a").await;
    let query = "query($id: ID!) { events(first: 5, filter: {itemIds: [$id]}) { nodes { type subjectId subject { id } \
                 item { id } } } }";
    let story = || app.call(&acme, &acme.member, query).vars(json!({ "id": id })).data();
    assert_eq!(story().await["events"]["nodes"][0]["subject"], json!({ "id": id }));
    let input = json!({ "id": id, "permanently": true });
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), input).done().await;
    let event = |kind: &str| json!({ "type": kind, "subjectId": id, "subject": null, "item": null });
    assert_eq!(story().await["events"]["nodes"], json!([event("ITEM_CREATED"), event("ITEM_PURGED")]));
}
