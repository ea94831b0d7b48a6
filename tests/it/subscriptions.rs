//! The live ledger: every event once, in order, for whoever may see it, as long as they may.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_graphql::registry::MetaType;
use chrono::Duration as Span;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use todo_platform::{
    api::{
        endpoint::{Client, Envelope, Started, stream::Step},
        schema,
    },
    data::actor::Origin,
    graphql::field_tags::{SAME_FOR_ALL, has},
    platform::auth::session::Credential,
};

use crate::support::{
    app::TestApp,
    redis::RedisServer,
    socket::{DEADLINE, Frame, Socket},
    world::{Company, Person},
};
use todo_test_macros::databases;

/// The fields of subscriptions whose answers are shared, by type.
fn shared_fields() -> Vec<(String, Vec<String>)> {
    let registry = schema::registry(false);
    let of = |ty: &MetaType| {
        let fields = ty.fields().into_iter().flat_map(|fields| fields.values());
        fields.filter(|field| has(field, SAME_FOR_ALL)).map(|field| field.name.clone()).collect::<Vec<String>>()
    };
    let types = registry.types.iter().map(|(name, ty)| (name.clone(), of(ty)));
    types.filter(|(_, fields)| !fields.is_empty()).collect()
}

const LIVE: &str = "subscription { events { events { sequence type subjectId cursor } cursor isLive } }";

fn after(cursor: &Value) -> Value {
    json!({ "after": cursor })
}

/// [`LIVE`] with only the variables that are there: a null filter is refused.
fn from(variables: Value) -> (String, Value) {
    let has = |name: &str| variables.get(name).is_some();
    let (mut declared, mut passed) = (Vec::new(), Vec::new());
    for (name, kind) in [("after", "Cursor"), ("filter", "EventFilter")] {
        if has(name) {
            declared.push(format!("${name}: {kind}"));
            passed.push(format!("{name}: ${name}"));
        }
    }
    let text = format!(
        "subscription({}) {{ events({}) {{ events {{ sequence type subjectId cursor }} cursor isLive }} }}",
        declared.join(", "),
        passed.join(", ")
    );
    (text, variables)
}

async fn subscribe(socket: &mut Socket, variables: Value) {
    let (query, variables) = if variables == json!({}) { (LIVE.to_owned(), variables) } else { from(variables) };
    socket.subscribe(&query, variables).await;
}

fn sequences(events: &[Value]) -> Vec<i64> {
    events.iter().map(|event| event["sequence"].as_str().expect("a sequence").parse().expect("a number")).collect()
}

/// The whole ledger, by the list.
async fn ledger(app: &TestApp, company: &Company) -> Vec<i64> {
    let mut all = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let query = "query($after: Cursor) { events(first: 100, after: $after) { nodes { sequence } pageInfo { hasNextPage endCursor } } }";
        let page = app.call(company, &company.owner, query).vars(after(&cursor)).data().await;
        all.extend(sequences(page["events"]["nodes"].as_array().expect("events")));
        cursor = page["events"]["pageInfo"]["endCursor"].clone();
        if page["events"]["pageInfo"]["hasNextPage"] == json!(false) {
            return all;
        }
    }
}

/// A create; gives the payload's cursor.
async fn write(app: &TestApp, company: &Company, person: &Person, title: &str) -> Value {
    let create = "mutation($title: String!) { itemCreate(input: {title: $title}) { cursor userErrors { code } } }";
    app.call(company, person, create).vars(json!({ "title": title })).done().await["cursor"].clone()
}

async fn done(app: &TestApp, company: &Company, person: &Person, mutation: &str) -> Value {
    app.call(company, person, &format!("mutation {{ {mutation} }}")).done().await
}

#[databases]
async fn one_reads_ones_own_write(app: TestApp) {
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.viewer).await;
    subscribe(&mut socket, json!({})).await;
    let begun = socket.batch().await;
    assert_eq!((&begun["events"], &begun["isLive"]), (&json!([]), &json!(true)), "at once, with a cursor to resume by");
    for number in 0..5 {
        let cursor = write(&app, &acme, &acme.member, &format!("item {number}")).await;
        let batch = socket.batch().await;
        assert_eq!((&batch["cursor"], &batch["isLive"]), (&cursor, &json!(true)));
        assert_eq!((&batch["events"][0]["cursor"], &batch["events"][0]["type"]), (&cursor, &json!("ITEM_CREATED")));
    }
    // From the first cursor on, the same again; from the last nothing.
    let mut again = app.socket_of(&acme, &acme.viewer).await;
    subscribe(&mut again, after(&begun["cursor"])).await;
    let batch = again.batch().await;
    assert_eq!(batch["events"].as_array().map(Vec::len), Some(5));
    subscribe(&mut again, after(&batch["cursor"])).await;
    let nothing = again.batch().await;
    assert_eq!((&nothing["events"], &nothing["cursor"]), (&json!([]), &batch["cursor"]));
}

/// More than a page of history, and writes meanwhile.
#[databases]
async fn history_and_presence_meet_without_a_seam(app: TestApp) {
    let acme = app.company("acme").await;
    let start = app.call(&acme, &acme.owner, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
    let titles: Vec<Value> = (0..20).map(|n| json!({ "title": format!("subtask {n}") })).collect();
    for _ in 0..13 {
        app.create(&acme, &acme.member, "item", json!({ "title": "with subtasks", "subtasks": titles })).await;
    }
    let mut socket = app.socket_of(&acme, &acme.owner).await;
    subscribe(&mut socket, after(&start)).await;
    let more = async {
        for number in 0..30 {
            write(&app, &acme, &acme.member, &format!("meanwhile {number}")).await;
        }
        write(&app, &acme, &acme.member, "the last").await
    };
    let reading = async {
        let (mut seen, mut was_live) = (Vec::new(), false);
        while seen.len() < 13 * 21 + 31 {
            let batch = socket.batch().await;
            let is_live = batch["isLive"] == json!(true);
            assert!(is_live || !was_live, "history comes first");
            was_live = is_live;
            seen.extend(sequences(batch["events"].as_array().expect("events")));
        }
        seen
    };
    let (_, seen) = tokio::join!(more, reading);
    let whole = ledger(&app, &acme).await;
    assert_eq!(seen, whole[whole.len() - seen.len()..]);
}

#[databases]
async fn one_sees_what_one_may(app: TestApp) {
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let mut owner = Socket::of(&address, &acme, &acme.owner).await;
    let mut member = Socket::of(&address, &acme, &acme.member).await;
    let (_, key) = app.api_key(&acme, &acme.owner, &["MEMBER_READ"]).await;
    let mut integration = Socket::let_in(&address, json!({ "x-api-key": key })).await;
    for socket in [&mut owner, &mut member, &mut integration] {
        subscribe(socket, json!({})).await;
        socket.batch().await;
    }
    app.item(&acme, "work").await;
    done(&app, &acme, &acme.owner, "invitationCreate(input: {email: \"new@example.com\"}) { userErrors { code } }")
        .await;
    done(&app, &acme, &acme.owner, "organizationUpdate(input: {patch: {name: \"Acme Inc\"}}) { userErrors { code } }")
        .await;
    let is_last = |event: &Value| event["type"] == "ORGANIZATION_UPDATED";
    let types = |events: Vec<Value>| -> Vec<String> {
        events.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(types(owner.events_until(is_last).await), ["ITEM_CREATED", "MEMBER_INVITED", "ORGANIZATION_UPDATED"]);
    assert_eq!(types(member.events_until(is_last).await), ["ITEM_CREATED", "ORGANIZATION_UPDATED"]);
    assert_eq!(types(integration.events_until(is_last).await), ["ORGANIZATION_UPDATED"]);
}

/// Two implementations of one filter: the database's, for history, and ours, for what is live.
#[databases]
async fn a_filter_says_the_same_live_as_in_the_list(app: TestApp) {
    let acme = app.company("acme").await;
    let start = app.call(&acme, &acme.owner, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let item = app.create(&acme, &acme.owner, "item", json!({ "title": "of the team", "teamId": team })).await;
    let filters = [
        json!({ "types": ["ITEM_CREATED", "COMMENT_CREATED"] }),
        json!({ "types": [] }),
        json!({ "subjectIds": [item, team] }),
        json!({ "itemIds": [item] }),
        json!({ "teamIds": [team] }),
        json!({ "actorIds": [acme.member.id] }),
        json!({ "excludeViewer": true }),
        json!({ "excludeViewer": false }),
        json!({ "occurredAt": { "gt": "-PT1H" } }),
        json!({ "occurredAt": { "gte": "2026-03-02T09:00:00Z", "lt": "2026-03-02T09:00:01Z" } }),
        json!({ "occurredAt": { "lte": "2026-03-02T08:59:59Z" } }),
        json!({ "occurredAt": { "isNull": true } }),
        json!({ "occurredAt": { "isNull": false } }),
        json!({ "types": ["COMMENT_CREATED"], "itemIds": [item], "actorIds": [acme.owner.id] }),
    ];
    let mut socket = app.socket_of(&acme, &acme.owner).await;
    let mut by_id = std::collections::HashMap::new();
    for filter in &filters {
        let (query, variables) = from(json!({ "filter": filter }));
        by_id.insert(socket.subscribe(&query, variables).await, Vec::new());
    }
    // Without a filter: says when all has come.
    let whole = socket.subscribe(LIVE, json!({})).await;
    by_id.insert(whole.clone(), Vec::new());
    for _ in 0..by_id.len() {
        socket.batch().await;
    }
    app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "Hello" })).await;
    app.create(&acme, &acme.owner, "comment", json!({ "itemId": item, "body": "Hello" })).await;
    app.clock.advance(Span::seconds(30));
    app.item(&acme, "of nobody").await;
    done(
        &app,
        &acme,
        &acme.owner,
        &format!("teamUpdate(input: {{id: \"{team}\", patch: {{name: \"Hard core\"}}}}) {{ userErrors {{ code }} }}"),
    )
    .await;
    let last = write(&app, &acme, &acme.owner, "the last").await;
    let before_last =
        |events: &[Value]| events.iter().filter(|event| event["cursor"] != last).cloned().collect::<Vec<_>>();
    // Each subscriber gets a batch in turn; the one without a filter is not the first to hear.
    let mut rest = 0;
    while rest < 200 {
        rest += 1;
        let Ok(Frame::Json(message)) = tokio::time::timeout(Duration::from_millis(500), socket.next()).await else {
            break;
        };
        let events = message["payload"]["data"]["events"]["events"].as_array().expect("events").clone();
        by_id.get_mut(message["id"].as_str().unwrap_or_default()).expect("one of ours").extend(events);
    }
    assert_eq!(by_id[&whole].len(), 5);
    for (number, filter) in filters.iter().enumerate() {
        let live = before_last(&by_id[&format!("op-{}", number + 1)]);
        let query = "query($filter: EventFilter!) { events(first: 100, filter: $filter) { nodes { sequence type subjectId cursor } } }";
        let listed = app.call(&acme, &acme.owner, query).vars(json!({ "filter": filter })).data().await;
        let listed: Vec<Value> = before_last(listed["events"]["nodes"].as_array().expect("events"));
        let begun = sequences(&by_id[&whole])[0];
        let listed: Vec<Value> =
            listed.into_iter().filter(|event| sequences(std::slice::from_ref(event))[0] >= begun).collect();
        // What is relative is relative to when it was asked: half a minute apart here.
        assert_eq!(live, listed, "{filter}");
        // History, by the database, under the same filter.
        let mut again = app.socket_of(&acme, &acme.owner).await;
        subscribe(&mut again, json!({ "after": start, "filter": filter })).await;
        let history = again.batch().await;
        let history = before_last(history["events"].as_array().expect("events"));
        assert!(history.ends_with(&live), "{filter}");
    }
}

#[databases]
async fn cursors_that_are_no_good_are_told_apart(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let foreign = app.call(&rival, &rival.owner, "{ viewer { cursor } }").data().await["viewer"]["cursor"].clone();
    let list = app.call(&acme, &acme.owner, "{ events(first: 1) { pageInfo { endCursor } } }").data().await;
    let future = todo_platform::data::ledger::LedgerCursor {
        organization_id: acme.id.parse().expect("an id"),
        epoch: 0,
        sequence: i64::MAX,
    };
    let mut socket = app.socket_of(&acme, &acme.owner).await;
    for cursor in [json!("nonsense"), foreign, list["events"]["pageInfo"]["endCursor"].clone(), json!(future.encode())]
    {
        subscribe(&mut socket, after(&cursor)).await;
        assert_eq!(socket.error_code().await, "INVALID_CURSOR", "{cursor}");
    }
}

#[databases]
async fn whoever_may_no_longer_call_is_cut_off(app: TestApp) {
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let name = |n: usize| format!("guest{n}");
    let mut guests = Vec::new();
    for number in 0..4 {
        guests.push(app.join(&acme.owner, "acme", &name(number), "MEMBER").await);
    }
    let (key_id, key) = app.api_key(&acme, &acme.owner, &["ITEM_READ"]).await;
    let (_, orphan) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    let mut sockets = Vec::new();
    for guest in &guests {
        sockets.push(Socket::of(&address, &acme, guest).await);
    }
    sockets.push(Socket::let_in(&address, json!({ "x-api-key": key })).await);
    sockets.push(Socket::let_in(&address, json!({ "x-api-key": orphan })).await);
    let mut staying = Socket::of(&address, &acme, &acme.viewer).await;
    for socket in sockets.iter_mut().chain([&mut staying]) {
        subscribe(socket, json!({})).await;
        socket.batch().await;
    }
    let member = |guest: &Person| guest.membership_id.clone();
    done(
        &app,
        &acme,
        &acme.owner,
        &format!(
            "membershipRemove(input: {{id: \"{}\"}}) {{ userErrors {{ code message path }} }}",
            member(&guests[0])
        ),
    )
    .await;
    done(&app, &acme, &acme.owner, &format!("membershipUpdate(input: {{id: \"{}\", patch: {{status: SUSPENDED}}}}) {{ userErrors {{ code message path }} }}", member(&guests[1]))).await;
    done(&app, &acme, &guests[2], "sessionRevoke(input: {}) { userErrors { code } }").await;
    done(
        &app,
        &acme,
        &guests[3],
        &format!(
            "userDelete(input: {{password: \"{}\"}}) {{ userErrors {{ code message path }} }}",
            crate::support::world::PASSWORD
        ),
    )
    .await;
    done(&app, &acme, &acme.owner, &format!("apiKeyRevoke(input: {{id: \"{key_id}\"}}) {{ userErrors {{ code }} }}"))
        .await;
    done(
        &app,
        &acme,
        &acme.owner,
        &format!(
            "membershipRemove(input: {{id: \"{}\"}}) {{ userErrors {{ code message path }} }}",
            acme.admin.membership_id
        ),
    )
    .await;
    for (number, socket) in sockets.iter_mut().enumerate() {
        let mut code = String::new();
        loop {
            match socket.next().await {
                Frame::Json(message) if message["type"] == "error" => {
                    code = message["payload"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned();
                }
                Frame::Json(_) => {}
                Frame::Closed(closed, _) => {
                    assert_eq!((code.as_str(), closed), ("UNAUTHENTICATED", 4403), "{number}");
                    break;
                }
                Frame::Gone => panic!("{number} is gone"),
            }
        }
    }
    let cursor = write(&app, &acme, &acme.member, "for whoever is left").await;
    staying.events_until(|event| event["cursor"] == cursor).await;
    // An organization that is gone has no subscribers.
    done(
        &app,
        &acme,
        &acme.owner,
        "organizationDelete(input: {confirmSlug: \"acme\"}) { userErrors { code message path } }",
    )
    .await;
    assert_eq!(staying.close_code().await, 4403);
}

#[databases]
async fn a_lowered_role_stops_what_it_may_not_see_at_once(app: TestApp) {
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.admin).await;
    subscribe(&mut socket, json!({})).await;
    socket.batch().await;
    let invite =
        |name: &str| format!("invitationCreate(input: {{email: \"{name}@example.com\"}}) {{ userErrors {{ code }} }}");
    done(&app, &acme, &acme.owner, &invite("before")).await;
    done(
        &app,
        &acme,
        &acme.owner,
        &format!(
            "membershipUpdate(input: {{id: \"{}\", patch: {{role: MEMBER}}}}) {{ userErrors {{ code message path }} }}",
            acme.admin.membership_id
        ),
    )
    .await;
    done(&app, &acme, &acme.owner, &invite("after")).await;
    app.item(&acme, "work").await;
    let events = socket.events_until(|event| event["type"] == "ITEM_CREATED").await;
    let types: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert_eq!(types, ["MEMBER_INVITED", "MEMBER_UPDATED", "ITEM_CREATED"]);
}

/// What is shared between subscribers must be the same for each of them.
#[databases]
async fn what_is_shared_is_the_same_for_all(app: TestApp) {
    let acme = app.company("acme").await;
    let other = app.join(&acme.owner, "acme", "another", "MEMBER").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "Red", "color": "#ff0000" })).await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core", "memberIds": [acme.member.id] })).await;
    let input = json!({ "title": "x", "teamId": team, "tagIds": [tag], "assigneeIds": [acme.member.id, other.id], "dueAt": "2026-03-01T00:00:00Z" });
    let item = app.create(&acme, &acme.member, "item", input).await;
    let below = app.item(&acme, "y").await;
    let relation = json!({ "itemId": item, "kind": "BLOCKS", "relatedItemId": below });
    crate::items::mutate(&app, &acme, &acme.member, ("itemRelationCreate", ""), relation).done().await;
    app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "Hello" })).await;
    app.create(&acme, &other, "comment", json!({ "itemId": item, "body": "Hello" })).await;
    let shared = shared_fields();
    let of = |name: &str| &shared.iter().find(|(ty, _)| ty == name).expect("a type").1;
    let plain = |name: &str, nested: &[(&str, String)]| {
        let fields = of(name).iter().map(|field| match nested.iter().find(|(name, _)| name == field) {
            Some((_, below)) => format!("{field} {below}"),
            None => field.clone(),
        });
        format!("{{ __typename {} }}", fields.collect::<Vec<_>>().join(" "))
    };
    let user = plain("User", &[]);
    let actor = format!("{{ __typename {} }}", of("Actor").join(" "));
    let (tag, team) = (plain("Tag", &[]), plain("Team", &[]));
    let relation = plain("ItemRelation", &[("item", "{ id }".to_owned())]);
    let item = plain(
        "Item",
        &[
            ("team", team.clone()),
            ("tags", tag.clone()),
            ("assignees", user.clone()),
            ("relations", relation.clone()),
            ("createdBy", actor.clone()),
        ],
    );
    let comment = plain("Comment", &[("item", "{ id }".to_owned()), ("author", actor.clone())]);
    // An item's status is another enumeration: both under one key would not merge.
    let membership = plain("Membership", &[("user", user.clone())]).replace(" status", " state: status");
    let subject = format!(
        "{{ __typename id ... on User {user} ... on Item {item} ... on Comment {comment} ... on Tag {tag} ... on Team {team} ... on Membership {membership} \
         ... on ItemRelation {relation} }}"
    );
    let event = plain(
        "Event",
        &[("actor", actor), ("subject", subject), ("item", item), ("changes", plain("FieldChange", &[]))],
    );
    let event = event.replace(" ip", "");
    let documents = [format!("{{ events(last: 20) {{ nodes {event} }} }}")];
    for document in documents {
        let mut answers = Vec::new();
        for person in [&acme.member, &other] {
            let mut answer = app.call(&acme, person, &document).data().await;
            answer["requestId"] = Value::Null;
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1]);
    }
    let listed: BTreeSet<&str> = shared.iter().map(|(ty, _)| ty.as_str()).collect();
    let compared = [
        "EventBatch",
        "Event",
        "FieldChange",
        "Node",
        "Actor",
        "User",
        "Item",
        "ItemRelation",
        "Comment",
        "Tag",
        "Team",
        "Membership",
    ];
    let compared = BTreeSet::from(compared);
    assert_eq!(listed, compared, "a type that nobody compares");
}

/// One statement an event for its reader, whoever listens; the answer is made once.
#[tokio::test]
async fn a_hundred_subscribers_cost_what_one_costs() {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.member).await;
    let query =
        "subscription { events { events { type subject { ... on Item { title assignees { displayName } } } } } }";
    let mut costs = Vec::new();
    for subscribers in [1, 49] {
        for _ in 0..subscribers {
            socket.subscribe(query, json!({})).await;
            socket.batch().await;
        }
        let before = costs.len();
        // Polls are on record too.
        for _ in 0..3 {
            app.take_statements();
            let title = "x";
            let create =
                format!("mutation {{ itemCreate(input: {{title: \"{title}\"}}) {{ userErrors {{ code }} }} }}");
            app.call(&acme, &acme.member, &create).done().await;
            for _ in 0..if before == 0 { 1 } else { 50 } {
                assert_eq!(socket.batch().await["events"][0]["subject"]["title"], json!(title));
            }
            let statements = app.take_statements();
            let of_stream = |sql: &&String| {
                !sql.contains("\"session\"") && !sql.contains("ledger_head") && sql.starts_with("SELECT")
            };
            costs.push(statements.iter().filter(of_stream).count());
        }
    }
    let (one, fifty) = (costs[..3].iter().min(), costs[3..].iter().min());
    assert_eq!(one, fifty, "{costs:?}");
}

#[tokio::test]
async fn the_heartbeat_moves_the_cursor_past_what_is_hidden() {
    let app = TestApp::start(&[("TODO_SUBSCRIPTIONS_HEARTBEAT", "100ms".to_owned())]).await;
    let acme = app.company("acme").await;
    let mut socket = app.socket_of(&acme, &acme.member).await;
    subscribe(&mut socket, json!({ "filter": { "types": ["TAG_CREATED"] } })).await;
    let begun = socket.batch().await["cursor"].clone();
    let hidden = write(&app, &acme, &acme.member, "not a tag").await;
    assert_ne!(begun, hidden);
    loop {
        let beat = socket.batch().await;
        assert_eq!((&beat["events"], &beat["isLive"]), (&json!([]), &json!(true)));
        if beat["cursor"] == hidden {
            break;
        }
    }
}

#[tokio::test]
async fn an_expired_credential_ends_its_stream() {
    let app = TestApp::start(&[("TODO_SUBSCRIPTIONS_POLL", "20ms".to_owned())]).await;
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let create = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { secret userErrors { code message path } } }";
    let input = json!({ "name": "short", "scopes": ["ITEM_READ"], "expiresAt": "2026-03-02T10:00:00Z" });
    let key = app.call(&acme, &acme.owner, create).vars(json!({ "input": input })).done().await["secret"].clone();
    let mut by_key = Socket::let_in(&address, json!({ "x-api-key": key })).await;
    let mut by_token = Socket::of(&address, &acme, &acme.member).await;
    for socket in [&mut by_key, &mut by_token] {
        subscribe(socket, json!({})).await;
        socket.batch().await;
    }
    app.clock.advance(Span::minutes(16));
    assert_eq!(by_token.error_code().await, "UNAUTHENTICATED");
    assert_eq!(by_token.close_code().await, 4403);
    app.clock.advance(Span::minutes(45));
    assert_eq!(by_key.close_code().await, 4403);
}

/// Whoever doesn't read gets the batches that may wait, then is told; nobody else notices.
#[tokio::test]
async fn a_slow_consumer_is_told_and_resumes() {
    let app = TestApp::start(&[("TODO_SUBSCRIPTIONS_QUEUE", "4".to_owned())]).await;
    let acme = app.company("acme").await;
    let api = todo_platform::api::endpoint::Api::new(app.state.clone()).expect("the schema is valid");
    let meter = api.processor.meter(None);
    let client = Arc::new(Client {
        api,
        envelope: Envelope {
            credential: Some(Credential::bearer(&acme.member.token)),
            organization: (Some("acme".to_owned()), None),
            origin: Origin::command("test"),
            idempotency_key: None,
            is_read_only: false,
            can_stream: true,
            resume: None,
            include_cost: false,
            reuse: None,
            meter,
        },
    });
    let Started::Stream(_, slow) = client.start(async_graphql::Request::new(LIVE)).await else { panic!("a stream") };
    let mut slow = Box::pin(slow.into_stream());
    let Some(Step::Next { cursor: begun, .. }) = slow.next().await else { panic!("the beginning") };
    let mut quick = app.socket_of(&acme, &acme.member).await;
    subscribe(&mut quick, json!({})).await;
    quick.batch().await;
    for number in 0..12 {
        let cursor = write(&app, &acme, &acme.member, &format!("{number}")).await;
        quick.events_until(|event| event["cursor"] == cursor).await;
    }
    let Some(Step::Failed { errors, is_withdrawn: false }) = slow.next().await else { panic!("it fails") };
    assert!(errors.contains("SLOW_CONSUMER"), "{errors}");
    assert!(slow.next().await.is_none());
    let mut again = app.socket_of(&acme, &acme.member).await;
    subscribe(&mut again, after(&json!(begun.encode()))).await;
    assert_eq!(again.batch().await["events"].as_array().map(Vec::len), Some(12));
}

/// A client that never reads holds up nobody, and is gone in the end.
#[tokio::test]
async fn a_client_that_never_reads_holds_up_nobody() {
    let settings = [("TODO_SOCKETS_PING", "100ms".to_owned()), ("TODO_SOCKETS_IDLE", "2s".to_owned())];
    let app = TestApp::start(&settings).await;
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let mut stalled = Socket::of(&address, &acme, &acme.member).await;
    let mut quick = Socket::of(&address, &acme, &acme.member).await;
    // Much for each event, so that the buffers between are soon full.
    let fat = "subscription { events { events { changes { field before after } subject { ... on Item { description } } } cursor } }";
    for _ in 0..20 {
        stalled.subscribe(fat, json!({})).await;
    }
    subscribe(&mut quick, json!({})).await;
    quick.batch().await;
    let text = "x".repeat(20_000);
    for number in 0..60 {
        let input = json!({ "title": format!("{number}"), "description": text });
        app.create(&acme, &acme.member, "item", input).await;
        quick.events_until(|event| event["type"] == "ITEM_CREATED").await;
    }
    let gone = async {
        while app.state.metrics.text().contains("todo_sockets 2") {
            tokio::time::sleep(Duration::from_millis(50)).await;
            // It is alive as long as it answers.
            let ping = tokio::time::timeout(Duration::from_millis(10), quick.next()).await;
            assert!(ping.is_err(), "{ping:?}");
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("the stalled socket is closed");
}

/// Two instances over one database, without Redis (the poll tells) and with (a message does).
#[tokio::test]
async fn what_one_instance_writes_another_tells() {
    let Some(server) = crate::support::postgres::server() else { return };
    let mut redis = RedisServer::start();
    for with_redis in [false, true] {
        let schema = server.create_schema().await;
        let mut settings = vec![("DATABASE_URL", server.schema_url(&schema))];
        if with_redis {
            let Some(redis) = &redis else { return };
            settings.push(("REDIS_URL", redis.url()));
        }
        let first = TestApp::start(&settings).await;
        let acme = first.company("acme").await;
        let second = first.another_instance(|_| {}).await;
        let mut socket = second.socket_of(&acme, &acme.admin).await;
        let mut leaving = second.socket_of(&acme, &acme.viewer).await;
        for socket in [&mut socket, &mut leaving] {
            subscribe(socket, json!({})).await;
            socket.batch().await;
        }
        for number in 0..3 {
            let cursor = write(&first, &acme, &acme.member, &format!("{number}")).await;
            socket.events_until(|event| event["cursor"] == cursor).await;
        }
        // A session that ends there ends here; a role that is lowered there hides what comes after it here.
        done(&first, &acme, &acme.viewer, "sessionRevoke(input: {}) { userErrors { code } }").await;
        assert_eq!(leaving.close_code().await, 4403);
        done(&first, &acme, &acme.owner, &format!("membershipUpdate(input: {{id: \"{}\", patch: {{role: MEMBER}}}}) {{ userErrors {{ code message path }} }}", acme.admin.membership_id)).await;
        done(&first, &acme, &acme.owner, "invitationCreate(input: {email: \"x@example.com\"}) { userErrors { code } }")
            .await;
        let cursor = write(&first, &acme, &acme.member, "after it").await;
        let events = socket.events_until(|event| event["cursor"] == cursor).await;
        assert!(events.iter().all(|event| event["type"] != "MEMBER_INVITED"), "{events:?}");
        let metrics = second.state.metrics.text();
        assert!(
            metrics.contains("todo_subscribers 1") && metrics.contains("todo_ledger_lag_seconds_count"),
            "{metrics}"
        );
        let source = if with_redis { "redis" } else { "poll" };
        assert!(metrics.contains(&format!("todo_ledger_wake_ups_total{{source=\"{source}\"}}")), "{metrics}");
        if with_redis && let Some(redis) = &mut redis {
            // Away: the poll goes on telling. Back: so does Redis.
            redis.stop();
            let cursor = write(&first, &acme, &acme.member, "without Redis").await;
            socket.events_until(|event| event["cursor"] == cursor).await;
            redis.start_again();
            let cursor = write(&first, &acme, &acme.member, "with Redis again").await;
            socket.events_until(|event| event["cursor"] == cursor).await;
        }
        for app in [&first, &second] {
            app.settle().await;
            app.state.db.close().await;
        }
        server.drop_schema(&schema).await;
    }
}
