//! Callbacks of other systems: who is let in, what they do, and that it happens once.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::TimeDelta;
use futures_util::future::join_all;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{
    app::TestApp,
    client::{Reply, problem},
    world::Company,
};
use todo_test_macros::databases;

struct Hook {
    id: String,
    path: String,
    secret: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("text: {value}")).to_owned()
}

/// The HMAC-SHA256 of GitHub and Stripe.
pub fn hexadecimal_hmac(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
    mac.update(body.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl TestApp {
    async fn hook(&self, company: &Company, input: Value) -> Hook {
        let mut input = input;
        if input["name"].is_null() {
            input["name"] = json!("Door");
        }
        let create = "mutation($input: InboundHookCreateInput!) { inboundHookCreate(input: $input) { inboundHook { id url } \
                      secret userErrors { code path message } } }";
        let made = self.call(company, &company.admin, create).vars(json!({ "input": input })).done().await;
        let url = text(&made["inboundHook"]["url"]);
        let path = url.split_once("/callbacks/").expect("a callback's address").1.to_owned();
        Hook { id: text(&made["inboundHook"]["id"]), path: format!("/callbacks/{path}"), secret: text(&made["secret"]) }
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.http(request.body(Body::from(body.to_owned())).expect("a request")).await
    }

    /// A callback signed as Standard Webhooks has it, at `seconds` from now.
    async fn generic(&self, hook: &Hook, id: &str, seconds: i64, body: &Value) -> Reply {
        let at = self.clock.now().timestamp() + seconds;
        let webhook = standardwebhooks::Webhook::new(&hook.secret).expect("a secret");
        let signature = webhook.sign(id, at, body.to_string().as_bytes()).expect("text");
        self.signed(hook, id, at, &signature, body.to_string()).await
    }

    /// The same of any bytes, which that library does not sign.
    async fn generic_bytes(&self, hook: &Hook, id: &str, body: &[u8]) -> Reply {
        let at = self.clock.now().timestamp();
        let key = BASE64_STANDARD.decode(hook.secret.trim_start_matches("whsec_")).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        [format!("{id}.{at}.").as_bytes(), body].iter().for_each(|part| mac.update(part));
        let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        self.signed(hook, id, at, &signature, body.to_vec()).await
    }

    async fn signed(&self, hook: &Hook, id: &str, at: i64, signature: &str, body: impl Into<Body>) -> Reply {
        let request = Request::post(&hook.path).header("webhook-id", id).header("webhook-timestamp", at.to_string());
        self.http(request.header("webhook-signature", signature).body(body.into()).expect("a request")).await
    }

    async fn github(&self, hook: &Hook, delivery: &str, event: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let signature = format!("sha256={}", hexadecimal_hmac(&hook.secret, &body));
        let headers =
            [("x-hub-signature-256", signature.as_str()), ("x-github-event", event), ("x-github-delivery", delivery)];
        self.post(&hook.path, &headers, &body).await
    }

    /// Titles and statuses of all items, oldest first.
    async fn titles(&self, company: &Company) -> Vec<(String, String)> {
        let query = "{ items(first: 50, orderBy: [{field: IDENTIFIER}]) { nodes { title status } } }";
        let data = self.call(company, &company.viewer, query).data().await;
        let nodes = data["items"]["nodes"].as_array().expect("items").clone();
        nodes.iter().map(|item| (text(&item["title"]), text(&item["status"]))).collect()
    }

    /// Outcomes and reasons of a hook's receipts, newest first.
    async fn receipts(&self, company: &Company, hook: &Hook) -> Vec<(String, Option<String>)> {
        self.settle().await;
        let query = "query($id: ID!) { node(id: $id) { ... on InboundHook { receipts(first: 50) { nodes { outcome error } } } } }";
        let data = self.call(company, &company.admin, query).vars(json!({ "id": hook.id })).data().await;
        let nodes = data["node"]["receipts"]["nodes"].as_array().expect("receipts").clone();
        nodes.iter().map(|one| (text(&one["outcome"]), one["error"].as_str().map(str::to_owned))).collect()
    }
}

fn mapping() -> Value {
    json!({
        "title": { "pointer": "/alert/name", "default": "Untitled alert" },
        "description": { "pointer": "/alert/text" },
        "priority": { "default": "HIGH" },
    })
}

/// A monitor's alert becomes an item: as the hook, once.
#[databases]
async fn a_signed_callback_makes_an_item(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "name": "Monitor", "action": "ITEM_CREATE", "mapping": mapping() })).await;
    assert!(hook.secret.starts_with("whsec_"));
    let body = json!({ "alert": { "name": "Disk full", "text": "97 % of /var" } });
    let reply = app.generic(&hook, "msg_1", 0, &body).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json());
    let first = reply.json();
    assert_eq!((&first["outcome"], &first["items"]), (&json!("APPLIED"), &json!(["ACME-1"])));

    let query = "{ item(id: \"ACME-1\") { title description priority createdBy { __typename id displayName \
                 ... on InboundHookActor { inboundHook { id } } } events(last: 1) { nodes { type actor { id } } } } }";
    let item = app.call(&acme, &acme.admin, query).data().await["item"].clone();
    assert_eq!(item["title"], "Disk full");
    assert_eq!((&item["description"], &item["priority"]), (&json!("97 % of /var"), &json!("HIGH")));
    let actor = json!({ "__typename": "InboundHookActor", "id": hook.id, "displayName": "Monitor", "inboundHook": { "id": hook.id } });
    assert_eq!(item["createdBy"], actor);
    assert_eq!(item["events"]["nodes"][0], json!({ "type": "ITEM_CREATED", "actor": { "id": hook.id } }));

    // Again, signed anew a little later: nothing new.
    let again = app.generic(&hook, "msg_1", 10, &body).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!((&again.json()["outcome"], &again.json()["receiptId"]), (&json!("DUPLICATE"), &first["receiptId"]));
    assert_eq!(app.titles(&acme).await.len(), 1);
    // The default where the pointer leads nowhere; a number is written out.
    app.generic(&hook, "msg_2", 0, &json!({ "alert": {} })).await;
    app.generic(&hook, "msg_3", 0, &json!({ "alert": { "name": 42 } })).await;
    let titles: Vec<String> = app.titles(&acme).await.into_iter().map(|(title, _)| title).collect();
    assert_eq!(titles, ["Disk full", "Untitled alert", "42"]);
    let outcomes: Vec<String> = app.receipts(&acme, &hook).await.into_iter().map(|(outcome, _)| outcome).collect();
    assert_eq!(outcomes, ["APPLIED", "APPLIED", "DUPLICATE", "APPLIED"]);
    let query = "query($id: ID!) { node(id: $id) { ... on InboundReceipt { deliveryId event { type subject { ... on Item { title } } } } } }";
    let receipt = app.call(&acme, &acme.admin, query).vars(json!({ "id": first["receiptId"] })).data().await;
    assert_eq!(receipt["node"]["deliveryId"], "msg_1");
    assert_eq!(receipt["node"]["event"], json!({ "type": "ITEM_CREATED", "subject": { "title": "Disk full" } }));
}

#[databases]
async fn items_and_comments_are_changed(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "Ship it").await;
    let update = json!({ "item": { "pointer": "/ref" }, "status": { "pointer": "/to" }, "estimatedHours": { "pointer": "/hours" } });
    let update = app.hook(&acme, json!({ "action": "ITEM_UPDATE", "mapping": update })).await;
    let comment = json!({ "item": { "pointer": "/ref" }, "body": { "pointer": "/says" } });
    let comment = app.hook(&acme, json!({ "action": "COMMENT_CREATE", "mapping": comment })).await;
    let done = app.generic(&update, "1", 0, &json!({ "ref": "acme-1", "to": "DONE", "hours": "2.5" })).await;
    assert_eq!(done.json()["items"], json!(["ACME-1"]), "{}", done.json());
    let said = app.generic(&comment, "1", 0, &json!({ "ref": "ACME-1", "says": "Deployed" })).await;
    assert_eq!(said.json()["outcome"], "APPLIED", "{}", said.json());
    let query = "{ item(id: \"ACME-1\") { status estimatedHours comments(first: 5) { nodes { body author { displayName } } } } }";
    let item = app.call(&acme, &acme.viewer, query).data().await["item"].clone();
    assert_eq!((&item["status"], &item["estimatedHours"]), (&json!("DONE"), &json!(2.5)));
    assert_eq!(item["comments"]["nodes"], json!([{ "body": "Deployed", "author": { "displayName": "Door" } }]));

    // What can't be done says why, and may be sent again.
    for (id, body, words) in [
        ("2", json!({ "ref": "ACME-99", "to": "DONE" }), "no such item"),
        ("3", json!({ "to": "DONE" }), "item: nothing at /ref, and no default"),
        ("4", json!({ "ref": "ACME-1", "to": "SOMEDAY" }), "SOMEDAY"),
        ("5", json!({ "ref": "ACME-1", "to": ["DONE"] }), "not a value that this field takes"),
    ] {
        let failed = app.generic(&update, id, 0, &body).await;
        assert_eq!(failed.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let message = text(&failed.json()["error"]["message"]);
        assert!(message.contains(words), "{body}: {message}");
    }
    app.item(&acme, "Later there").await;
    let retried = app.generic(&update, "2", 0, &json!({ "ref": "ACME-2", "to": "DONE" })).await;
    assert_eq!(retried.json()["outcome"], "APPLIED", "a failure does not use the id up");
    let failures = app.receipts(&acme, &update).await;
    assert_eq!(failures.iter().filter(|(outcome, error)| outcome == "FAILED" && error.is_some()).count(), 4);
}

/// Whoever does not hold the secret learns nothing, not even whether there is a hook.
#[databases]
async fn the_forged_and_the_late_are_turned_away(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let body = json!({ "alert": { "name": "Forged" } });
    let other = Hook {
        secret: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        path: hook.path.clone(),
        id: hook.id.clone(),
    };
    let forged = app.generic(&other, "1", 0, &body).await;
    let nowhere = Hook { path: "/callbacks/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".to_owned(), ..other };
    let absent = app.generic(&nowhere, "1", 0, &body).await;
    let shown = |reply: &Reply| {
        let mut answer = reply.json();
        answer["error"]["requestId"] = Value::Null;
        (reply.status, answer)
    };
    assert_eq!(shown(&forged), shown(&absent));
    assert_eq!((forged.status, &forged.json()["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("BAD_SIGNATURE")));
    for seconds in [-301, 301] {
        let late = app.generic(&hook, "2", seconds, &body).await;
        assert_eq!((late.status, &late.json()["error"]["code"]), (StatusCode::UNAUTHORIZED, &json!("BAD_TIME")));
    }
    for path in [hook.path.as_str(), nowhere.path.as_str()] {
        assert_eq!(app.post(path, &[], "{}").await.status, StatusCode::UNAUTHORIZED, "no signature at all");
    }
    // Another body under a good signature.
    let at = app.clock.now().timestamp();
    let good = standardwebhooks::Webhook::new(&hook.secret).expect("a secret").sign("3", at, b"{}").expect("text");
    let at = at.to_string();
    let headers = [("webhook-id", "3"), ("webhook-timestamp", at.as_str()), ("webhook-signature", good.as_str())];
    assert_eq!(app.post(&hook.path, &headers, "{ }").await.status, StatusCode::UNAUTHORIZED);
    assert!(app.titles(&acme).await.is_empty());
    let receipts = app.receipts(&acme, &hook).await;
    // One a minute: what proves nothing writes no rows without end.
    assert!(matches!(&receipts[..], [(outcome, _)] if outcome == "REJECTED"), "{receipts:?}");
    for seconds in [-299, 299] {
        let timely = app.generic(&hook, &format!("in time {seconds}"), seconds, &body).await;
        assert_eq!(timely.status, StatusCode::OK);
    }
}

/// Managing hooks is not doing what they do: whoever renews a hook's secret could send with it.
#[databases]
async fn renewing_a_hook_takes_what_it_does(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let (_, manager) = app.api_key(&acme, &acme.owner, &["WEBHOOK_MANAGE"]).await;
    let rotate = "mutation($id: ID!) { inboundHookRotateSecret(input: {id: $id}) { secret userErrors { code path } } }";
    let update = "mutation($id: ID!, $patch: InboundHookPatch!) { inboundHookUpdate(input: {id: $id, patch: $patch}) { userErrors { code path } } }";
    let refused = app.gql(rotate).key(&manager).vars(json!({ "id": hook.id })).refused().await;
    assert_eq!(refused[0].0, "FORBIDDEN");
    let other = json!({ "title": { "default": "Theirs" } });
    let refused =
        app.gql(update).key(&manager).vars(json!({ "id": hook.id, "patch": { "mapping": other } })).refused().await;
    assert_eq!(refused[0].0, "FORBIDDEN");
    app.gql(update).key(&manager).vars(json!({ "id": hook.id, "patch": { "isEnabled": false } })).done().await;
    let refused =
        app.gql(update).key(&manager).vars(json!({ "id": hook.id, "patch": { "isEnabled": true } })).refused().await;
    assert_eq!(refused[0].0, "FORBIDDEN");
}

/// Addresses that are no text are addresses that nobody has.
#[databases]
async fn odd_addresses_are_nobodys(app: TestApp) {
    for path in ["/callbacks/%00", "/callbacks/%FF", "/callbacks/a%20b"] {
        let reply = app.post(path, &[], "{}").await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["code"]),
            (StatusCode::UNAUTHORIZED, &json!("BAD_SIGNATURE")),
            "{path}"
        );
    }
}

/// Eight at a time: one effect, the rest are duplicates.
#[databases]
async fn the_same_at_the_same_time_happens_once(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let body = json!({ "alert": { "name": "Once" } });
    let replies = join_all((0..8).map(|_| app.generic(&hook, "msg_1", 0, &body))).await;
    let mut outcomes: Vec<String> = replies.iter().map(|reply| text(&reply.json()["outcome"])).collect();
    outcomes.sort();
    assert_eq!(outcomes, [vec!["APPLIED"], vec!["DUPLICATE"; 7]].concat());
    assert_eq!(app.titles(&acme).await.len(), 1);
}

/// GitHub without a mapping.
#[databases]
async fn github_opens_and_finishes_items(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "name": "GitHub", "provider": "GITHUB" })).await;
    let ping = app.github(&hook, "d0", "ping", &json!({ "zen": "Design for failure." })).await;
    assert_eq!((ping.status, &ping.json()["outcome"]), (StatusCode::OK, &json!("IGNORED")));
    let issue = json!({ "action": "opened", "issue": { "title": "It crashes", "body": "Badly.", "html_url": "https://github.com/a/b/issues/7" } });
    let opened = app.github(&hook, "d1", "issues", &issue).await;
    assert_eq!(opened.json()["items"], json!(["ACME-1"]), "{}", opened.json());
    // The same body under another delivery's id, which nobody signed.
    let replayed = app.github(&hook, "d2", "issues", &issue).await;
    assert_eq!(replayed.json()["outcome"], "DUPLICATE");
    let query = "{ item(id: \"ACME-1\") { description } }";
    let item = app.call(&acme, &acme.viewer, query).data().await;
    assert_eq!(item["item"]["description"], "Badly.\n\nhttps://github.com/a/b/issues/7");
    app.item(&acme, "Two").await;
    app.item(&acme, "Three").await;

    let push = |branch: &str| {
        json!({ "ref": format!("refs/heads/{branch}"), "repository": { "default_branch": "main" }, "commits": [
        { "message": "Fixes ACME-1 and acme-3, see ACME-2", "url": "https://github.com/a/b/commit/1" },
        { "message": "closes ACME-77", "url": "https://github.com/a/b/commit/2" },
    ] })
    };
    let elsewhere = app.github(&hook, "d3", "push", &push("topic")).await;
    assert_eq!(elsewhere.json()["outcome"], "IGNORED");
    let pushed = app.github(&hook, "d4", "push", &push("main")).await.json();
    assert_eq!((&pushed["outcome"], &pushed["items"]), (&json!("APPLIED"), &json!(["ACME-1", "ACME-3"])));
    assert!(text(&pushed["reason"]).contains("ACME-77"), "{pushed}");
    let statuses: Vec<String> = app.titles(&acme).await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(statuses, ["DONE", "TODO", "DONE"]);
    let query = "{ item(id: \"ACME-3\") { comments(first: 5) { nodes { body } } } }";
    let item = app.call(&acme, &acme.viewer, query).data().await;
    assert_eq!(
        item["item"]["comments"]["nodes"],
        json!([{ "body": "Done by https://github.com/a/b/commit/1: Fixes ACME-1 and acme-3, see ACME-2" }])
    );

    let merged = |is_merged: bool| json!({ "action": "closed", "pull_request": { "merged": is_merged, "title": "Rework", "body": "Resolves ACME-2.\nFixes ACME-1", "html_url": "https://github.com/a/b/pull/9" } });
    assert_eq!(app.github(&hook, "d5", "pull_request", &merged(false)).await.json()["outcome"], "IGNORED");
    let done = app.github(&hook, "d6", "pull_request", &merged(true)).await.json();
    assert_eq!((&done["items"], &done["reason"]), (&json!(["ACME-2"]), &json!("Left out: ACME-1 is done already.")));
}

#[databases]
async fn gitlab_has_its_token_or_its_signature(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "provider": "GITLAB" })).await;
    let issue = |title: &str| {
        json!({ "object_attributes": { "action": "open", "title": title, "description": "", "url": "https://gitlab.com/a/b/-/issues/1" } }).to_string()
    };
    let headers = |token: &'static str| [("x-gitlab-token", token), ("x-gitlab-event", "Issue Hook")];
    let secret: &'static str = hook.secret.clone().leak();
    let opened = app.post(&hook.path, &headers(secret), &issue("By token")).await;
    assert_eq!(opened.json()["items"], json!(["ACME-1"]), "{}", opened.json());
    assert_eq!(app.post(&hook.path, &headers("whsec_wrong"), &issue("No")).await.status, StatusCode::UNAUTHORIZED);
    let at = app.clock.now().timestamp();
    let body = issue("Signed");
    let signature =
        standardwebhooks::Webhook::new(secret).expect("a secret").sign("u1", at, body.as_bytes()).expect("text");
    let at = at.to_string();
    let signed = [
        ("webhook-id", "u1"),
        ("webhook-timestamp", at.as_str()),
        ("webhook-signature", signature.as_str()),
        ("x-gitlab-event", "Issue Hook"),
    ];
    assert_eq!(app.post(&hook.path, &signed, &body).await.json()["items"], json!(["ACME-2"]));
    // A bad signature beside a good token is no callback of theirs.
    let mut both = signed.to_vec();
    both[2].1 = "v1,AAAA";
    both.push(("x-gitlab-token", secret));
    assert_eq!(app.post(&hook.path, &both, &issue("No")).await.status, StatusCode::UNAUTHORIZED);
    let merge = json!({ "object_attributes": { "action": "merge", "title": "Fixes ACME-1", "description": null, "url": "https://gitlab.com/mr/1" } });
    let merged = app
        .post(&hook.path, &[("x-gitlab-token", secret), ("x-gitlab-event", "Merge Request Hook")], &merge.to_string())
        .await;
    assert_eq!(merged.json()["items"], json!(["ACME-1"]));
}

#[databases]
async fn a_rotated_secret_works_on_for_the_grace(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let rotate = "mutation($id: ID!) { inboundHookRotateSecret(input: {id: $id, graceHours: 2}) { secret userErrors { code } } }";
    let rotated = app.call(&acme, &acme.admin, rotate).vars(json!({ "id": hook.id })).done().await;
    let fresh = Hook { secret: text(&rotated["secret"]), path: hook.path.clone(), id: hook.id.clone() };
    let body = json!({ "alert": { "name": "Signed" } });
    assert_eq!(app.generic(&hook, "1", 0, &body).await.status, StatusCode::OK);
    assert_eq!(app.generic(&fresh, "2", 0, &body).await.status, StatusCode::OK);
    app.clock.advance(TimeDelta::hours(2));
    assert_eq!(app.generic(&hook, "3", 0, &body).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(app.generic(&fresh, "4", 0, &body).await.status, StatusCode::OK);
}

/// A hook may what its maker may now, and no more.
#[databases]
async fn a_hook_stands_no_higher_than_its_maker(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let body = json!({ "alert": { "name": "As the admin" } });
    let update = "mutation($id: ID!, $patch: MembershipPatch!) { membershipUpdate(input: {id: $id, patch: $patch}) { userErrors { code message } } }";
    let change = async |patch: Value| {
        let vars = json!({ "id": acme.admin.membership_id, "patch": patch });
        app.call(&acme, &acme.owner, update).vars(vars).done().await;
    };
    change(json!({ "role": "VIEWER" })).await;
    let lowered = app.generic(&hook, "1", 0, &body).await;
    assert_eq!(lowered.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&lowered.json()["error"]["message"]).contains("ITEM_WRITE"), "{}", lowered.json());
    change(json!({ "role": "ADMIN" })).await;
    let hired = app.generic(&hook, "1", 0, &body).await;
    assert_eq!(hired.json()["outcome"], "APPLIED");
    change(json!({ "status": "SUSPENDED" })).await;
    assert_eq!(app.generic(&hook, "2", 0, &body).await.status, StatusCode::FORBIDDEN);
}

#[databases]
async fn doors_close(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let body = json!({ "alert": { "name": "Late" } });
    let update = "mutation($id: ID!, $patch: InboundHookPatch!) { inboundHookUpdate(input: {id: $id, patch: $patch}) { inboundHook { isEnabled } userErrors { code path message } } }";
    app.call(&acme, &acme.admin, update).vars(json!({ "id": hook.id, "patch": { "isEnabled": false } })).done().await;
    let closed = app.generic(&hook, "1", 0, &body).await;
    assert_eq!((closed.status, &closed.json()["error"]["code"]), (StatusCode::FORBIDDEN, &json!("HOOK_DISABLED")));
    let delete = "mutation($id: ID!) { inboundHookDelete(input: {id: $id}) { deletedId userErrors { code } } }";
    for _ in 0..2 {
        app.call(&acme, &acme.admin, delete).vars(json!({ "id": hook.id })).done().await;
    }
    assert_eq!(app.generic(&hook, "1", 0, &body).await.status, StatusCode::UNAUTHORIZED);
    assert!(app.titles(&acme).await.is_empty());
}

#[databases]
async fn what_is_no_callback(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "provider": "GITHUB" })).await;
    let signed = |body: &str| format!("sha256={}", hexadecimal_hmac(&hook.secret, body));
    let broken = signed("{");
    let reply = app.post(&hook.path, &[("x-hub-signature-256", &broken), ("x-github-event", "push")], "{").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("BAD_REQUEST")));
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let reply = app.post(&hook.path, &[("x-hub-signature-256", &signed(&large))], &large).await;
    assert_eq!(
        (reply.status, &reply.json()["error"]["code"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("PAYLOAD_TOO_LARGE"))
    );
    let reply = app.get(&hook.path).await;
    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    assert_eq!(app.post("/callbacks/billing", &[], "{}").await.status, StatusCode::NOT_FOUND);
}

/// However long its id is, the same callback is done once.
#[databases]
async fn a_long_id_is_done_once(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let long = "x".repeat(4_000);
    let body = json!({ "alert": { "name": "Once" } });
    let mut outcomes = Vec::new();
    for id in [&long, &long, &long, &format!("{long}y")] {
        outcomes.push(text(&app.generic(&hook, id, 0, &body).await.json()["outcome"]));
    }
    assert_eq!(outcomes, ["APPLIED", "DUPLICATE", "DUPLICATE", "APPLIED"]);
    assert_eq!(app.titles(&acme).await.len(), 2);
}

/// Whoever knows the address alone leaves a receipt a minute; the next one says how many there were.
#[databases]
async fn unsigned_posts_are_counted(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let headers = [("webhook-id", "1"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,AAAA")];
    for _ in 0..20 {
        assert_eq!(app.post(&hook.path, &[], "{}").await.status, StatusCode::UNAUTHORIZED);
        assert_eq!(app.post(&hook.path, &headers, "{}").await.status, StatusCode::UNAUTHORIZED);
    }
    let rejected = |reason: &str| ("REJECTED".to_owned(), Some(reason.to_owned()));
    assert_eq!(app.receipts(&acme, &hook).await, [rejected("The signature is not this hook's.")]);
    app.clock.advance(TimeDelta::minutes(1));
    app.post(&hook.path, &[], "{}").await;
    let receipts = app.receipts(&acme, &hook).await;
    assert_eq!(receipts.len(), 2);
    assert_eq!(
        receipts[0],
        rejected("The signature is not this hook's. 39 more were rejected since the last such receipt.")
    );
    // What is signed leaves its receipt all the same.
    assert_eq!(app.generic(&hook, "1", 0, &json!({ "alert": {} })).await.status, StatusCode::OK);
    assert_eq!(app.receipts(&acme, &hook).await.len(), 3);
}

/// What no client could say as an argument is refused, with a receipt, and nothing is changed.
#[databases]
async fn numbers_are_read_as_arguments_are(app: TestApp) {
    let acme = app.company("acme").await;
    let hours = json!({ "pointer": "/hours" });
    let item = json!({ "pointer": "/item" });
    let create = app
        .hook(
            &acme,
            json!({ "action": "ITEM_CREATE", "mapping": { "title": { "default": "New" }, "estimatedHours": hours } }),
        )
        .await;
    let update = app.hook(&acme, json!({ "action": "ITEM_UPDATE", "mapping": { "item": item, "estimatedHours": hours, "actualHours": hours } })).await;
    let made = app.generic(&create, "good", 0, &json!({ "hours": " 2.5 " })).await;
    assert_eq!(made.json()["outcome"], "APPLIED", "{}", made.json());
    let bad =
        ["NaN", "nan", "inf", "-inf", "Infinity", "-Infinity", "1e400", "0x10", "1_000", "", "2,5", "-1", "1e300"];
    for (number, bad) in
        bad.map(Value::from).into_iter().chain([json!(true), json!([1]), json!({}), json!(-1)]).enumerate()
    {
        let body = json!({ "hours": bad, "item": "ACME-1" });
        for hook in [&create, &update] {
            let reply = app.generic(hook, &number.to_string(), 0, &body).await;
            assert_eq!(
                (reply.status, &reply.json()["error"]["code"]),
                (StatusCode::UNPROCESSABLE_ENTITY, &json!("FAILED")),
                "{bad}"
            );
            let receipts = app.receipts(&acme, hook).await;
            assert!(
                receipts[0].0 == "FAILED" && receipts[0].1.as_ref().is_some_and(|reason| reason.contains("Hours")),
                "{bad}: {receipts:?}"
            );
        }
    }
    let query = "{ item(id: \"ACME-1\") { estimatedHours actualHours version } }";
    let item = app.call(&acme, &acme.viewer, query).data().await;
    assert_eq!(item["item"], json!({ "estimatedHours": 2.5, "actualHours": null, "version": 1 }));
    assert_eq!(app.titles(&acme).await.len(), 1);
    // Nor by a default.
    let make = "mutation($input: InboundHookCreateInput!) { inboundHookCreate(input: $input) { inboundHook { id } userErrors { code path message } } }";
    let change = "mutation($id: ID!, $mapping: JSON!) { inboundHookUpdate(input: {id: $id, patch: {mapping: $mapping}}) { inboundHook { id } userErrors { code path message } } }";
    for bad in ["NaN", "inf", "Infinity", "1e400"] {
        let mapping = json!({ "title": { "default": "New" }, "estimatedHours": { "default": bad } });
        let input = json!({ "name": "Door", "action": "ITEM_CREATE", "mapping": mapping });
        let refused = app.call(&acme, &acme.admin, make).vars(json!({ "input": input })).refused().await;
        assert_eq!(refused, problem("INVALID", "input.mapping.estimatedHours.default"), "{bad}");
        let refused =
            app.call(&acme, &acme.admin, change).vars(json!({ "id": create.id, "mapping": mapping })).refused().await;
        assert_eq!(refused, problem("INVALID", "input.patch.mapping.estimatedHours.default"), "{bad}");
    }
}

/// Lists are as long as an argument may be; none of it is lost in silence.
#[databases]
async fn lists_are_read_as_arguments_are(app: TestApp) {
    let acme = app.company("acme").await;
    let mapping = json!({ "title": { "default": "New" }, "assigneeIds": { "pointer": "/people" } });
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping })).await;
    let reply = app.generic(&hook, "1", 0, &json!({ "people": vec![acme.member.id.clone(); 21] })).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", reply.json());
    let reply = app.generic(&hook, "2", 0, &json!({ "people": [acme.member.id, 5] })).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.generic(&hook, "3", 0, &json!({ "people": acme.member.id })).await.status, StatusCode::OK);
}

/// Rightly signed, and no text: that is what is said. Half a surrogate pair, which is JSON and no text, is taken.
#[databases]
async fn bytes_that_are_no_text_are_told_apart(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let reply = app.generic_bytes(&hook, "1", b"{\"alert\": {\"name\": \"\xff\"}}").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("BAD_REQUEST")));
    assert_eq!(app.receipts(&acme, &hook).await[0].0, "REJECTED");
    let reply = app.generic_bytes(&hook, "2", br#"{"alert": {"name": "cut \ud83d"}}"#).await;
    assert_eq!(reply.json()["outcome"], "APPLIED", "{}", reply.json());
    assert_eq!(app.titles(&acme).await[0].0, "cut \u{fffd}");
}

/// Lists in many spellings; what is in code or in a comment is not said.
#[databases]
async fn closing_words_are_read_as_people_write_them(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "provider": "GITHUB" })).await;
    for number in 1..=6 {
        app.item(&acme, &format!("Item {number}")).await;
    }
    let text = "<!-- Write: fixes ACME-5 -->\nfixes：ACME-1，ACME-2、ACME-3/ACME-4's\n\n```\nfixes ACME-6\n```";
    let merged = json!({ "action": "closed", "pull_request": { "merged": true, "title": "Rework", "body": text, "html_url": "https://github.com/a/b/pull/9" } });
    let done = app.github(&hook, "d1", "pull_request", &merged).await.json();
    assert_eq!(done["items"], json!(["ACME-1", "ACME-2", "ACME-3", "ACME-4"]), "{done}");
}

/// Guesses cost their address, callbacks their hook.
#[databases]
async fn too_many_are_slowed_down(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    let strict = app
        .another_instance(|config| {
            config.limits.anonymous_cost_per_minute = 3;
            config.limits.cost_per_minute = Some(25);
        })
        .await;
    for _ in 0..3 {
        assert_eq!(strict.post("/callbacks/guess", &[], "{}").await.status, StatusCode::UNAUTHORIZED);
    }
    let reply = strict.post("/callbacks/guess", &[], "{}").await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!("RATE_LIMITED")));
    // Nor does it leave receipts without end.
    for _ in 0..3 {
        strict.post(&hook.path, &[], "{}").await;
    }
    assert!(app.receipts(&acme, &hook).await.is_empty());
    assert!(reply.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
    strict.clock.advance(TimeDelta::minutes(2));
    let body = json!({ "alert": {} });
    let statuses = join_all((0..3).map(|number| {
        let (strict, hook, body) = (&strict, &hook, &body);
        async move { strict.generic(hook, &number.to_string(), 0, body).await.status }
    }))
    .await;
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 2, "{statuses:?}");
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS));
    strict.state.db.close().await;
}

#[databases]
async fn a_hook_that_makes_no_sense_is_not_made(app: TestApp) {
    let acme = app.company("acme").await;
    let create = "mutation($input: InboundHookCreateInput!) { inboundHookCreate(input: $input) { inboundHook { id } userErrors { code path message } } }";
    let refused = async |input: Value| {
        let mut input = input;
        input["name"] = json!("Door");
        app.call(&acme, &acme.admin, create).vars(json!({ "input": input })).refused().await
    };
    assert_eq!(refused(json!({})).await, problem("REQUIRED", "input.action"));
    assert_eq!(
        refused(json!({ "provider": "GITHUB", "mapping": mapping() })).await,
        problem("INVALID", "input.mapping")
    );
    let of = |mapping: Value| json!({ "action": "ITEM_CREATE", "mapping": mapping });
    assert_eq!(refused(of(Value::Null)).await, problem("REQUIRED", "input.mapping"));
    assert_eq!(refused(of(json!({}))).await, problem("REQUIRED", "input.mapping.title"));
    let title = json!({ "pointer": "/t" });
    let with = |field: &str, entry: Value| of(json!({ "title": title, field: entry }));
    assert_eq!(refused(with("colour", json!({ "pointer": "/c" }))).await, problem("INVALID", "input.mapping.colour"));
    assert_eq!(refused(with("priority", json!({}))).await, problem("INVALID", "input.mapping.priority"));
    assert_eq!(
        refused(with("priority", json!({ "pointer": "no slash" }))).await,
        problem("INVALID", "input.mapping.priority.pointer")
    );
    assert_eq!(
        refused(with("priority", json!({ "default": "SOME" }))).await,
        problem("INVALID", "input.mapping.priority.default")
    );
    assert_eq!(
        refused(with("estimatedHours", json!({ "default": "many" }))).await,
        problem("INVALID", "input.mapping.estimatedHours.default")
    );
    assert_eq!(
        refused(with("priority", json!({ "path": "/p" }))).await,
        problem("INVALID", "input.mapping.priority.path")
    );
    let update = json!({ "action": "ITEM_UPDATE", "mapping": { "title": title } });
    assert_eq!(refused(update).await, problem("REQUIRED", "input.mapping.item"));
    // Nobody gives a hook what they may not do themselves.
    let (_, key) = app.api_key(&acme, &acme.owner, &["WEBHOOK_MANAGE", "ITEM_WRITE"]).await;
    let preset = json!({ "input": { "name": "Door", "provider": "GITHUB" } });
    assert_eq!(app.gql(create).key(&key).vars(preset).refused().await, problem("FORBIDDEN", "input.action"));
}

#[databases]
async fn receipts_are_purged(app: TestApp) {
    let acme = app.company("acme").await;
    let hook = app.hook(&acme, json!({ "action": "ITEM_CREATE", "mapping": mapping() })).await;
    app.generic(&hook, "1", 0, &json!({})).await;
    app.clock.advance(TimeDelta::days(31));
    app.generic(&hook, "2", 0, &json!({})).await;
    let month = std::time::Duration::from_secs(30 * 24 * 60 * 60);
    todo_platform::domains::inbound_hooks::service::purge(&app.state.db, month).await.expect("purged");
    let acme = Company { admin: app.sign_in(&acme.admin).await, ..acme };
    assert_eq!(app.receipts(&acme, &hook).await.len(), 1);
}
