//! How many blocks of memory a request asks for: a third of what a page takes of a processor is the allocator's work, and
//! unlike a time, the count is the same on a busy machine.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use allocation_counter::measure;
use sea_orm::DbBackend;
use serde_json::{Value, json};

use crate::{
    statements::BOARD,
    support::{app::TestApp, world::Company},
};
use todo_test_macros::databases;

/// On record for each request: allocations on SQLite, on PostgreSQL. More than a twentieth off either way fails: what has
/// become less is written down here, too.
const ON_RECORD: [(&str, u64, u64); 4] =
    [("nothing", 145, 145), ("board", 2557, 2444), ("item", 626, 631), ("create", 283, 283)];

/// What a future allocates: all of the server's work for a request but SQLite's own, and but what is done for several
/// requests by a task of its own, such as writing a group of creates.
async fn allocations<T>(work: impl Future<Output = T>) -> (T, u64) {
    let (mut work, mut count) = (pin!(work), 0);
    let done = poll_fn(|context| {
        let mut polled = std::task::Poll::Pending;
        count += measure(|| polled = work.as_mut().poll(context)).count_total;
        polled
    })
    .await;
    (done, count)
}

/// How many operations went on in the background, which is on other threads: what they allocate there is not counted.
fn sent_away(app: &TestApp) -> String {
    let metrics = app.state.metrics.text();
    let line = metrics.lines().find(|line| line.starts_with("todo_background_operations_total"));
    line.expect("a metric").to_owned()
}

/// Asks often enough that statements are prepared and caches warm, then takes the median: work beside it falls into one
/// request or the other. A busy machine makes an operation so slow that it goes to the background now and then.
async fn of_request(app: &TestApp, acme: &Company, document: &str, variables: &Value) -> u64 {
    let mut counts = Vec::new();
    for round in 0..200 {
        let before = sent_away(app);
        let call = app.call(acme, &acme.owner, document).vars(variables.clone());
        let (reply, count) = allocations(call.reply()).await;
        let answer = reply.json();
        assert!(answer.get("errors").is_none(), "{answer}");
        if round >= 15 && sent_away(app) == before {
            counts.push(count);
        }
        if counts.len() == 15 {
            break;
        }
    }
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// Runs a story again as the only one of its process: what others switch on for the whole process, such as a log, allocates
/// with every request.
async fn alone(story: &str) {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", story]).env(ALONE, "1").env("RUST_BACKTRACE", "0");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("a thread").expect("a process");
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.contains("1 passed") {
        // What it said is the message: a second place of panic, with its backtrace, would only hide it.
        println!("{}: {said}{}", output.status, String::from_utf8_lossy(&output.stderr));
        std::panic::resume_unwind(Box::new("the story failed in its own process"));
    }
}

/// Set where a story runs alone.
const ALONE: &str = "TEST_ALLOCATIONS_ALONE";

#[databases]
async fn a_request_allocates_no_more_than_is_on_record(app: TestApp) {
    let is_sqlite = app.state.db.backend() == DbBackend::Sqlite;
    if std::env::var_os(ALONE).is_none() {
        let database = if is_sqlite { "sqlite" } else { "postgres" };
        return alone(&format!("allocations::a_request_allocates_no_more_than_is_on_record::{database}")).await;
    }
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Team" })).await;
    let mut tags = Vec::new();
    for name in ["bug", "new"] {
        tags.push(app.create(&acme, &acme.owner, "tag", json!({ "name": name })).await);
    }
    let mut item = String::new();
    for number in 0..20 {
        let input = json!({
            "title": format!("item {number}"), "teamId": team, "tagIds": tags, "description": "what it is about",
            "assigneeIds": [acme.admin.id, acme.member.id],
        });
        item = app.create(&acme, &acme.member, "item", input).await;
    }
    for body in ["one", "two", "three", "four", "five"] {
        app.create(&acme, &acme.admin, "comment", json!({ "itemId": item, "body": body })).await;
    }
    app.settle().await;
    // Answers are made anew.
    let app = app.another_instance(|config| config.server.answer_cache_bytes = 0).await;
    let one = "query($id: ID!) { item(id: $id) { id title description status priority dueAt \
               comments(first: 20) { nodes { id body createdAt author { id displayName } } } } }";
    let create = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id title status } } }";
    let input = json!({ "title": "made", "teamId": team, "tagIds": tags });
    let requests = [
        ("nothing", "{ __typename }", json!({})),
        ("board", BOARD, json!({ "first": 20 })),
        ("item", one, json!({ "id": item })),
        ("create", create, json!({ "input": input })),
    ];
    let mut wrong = Vec::new();
    for ((name, document, variables), (_, sqlite, postgres)) in requests.iter().zip(ON_RECORD) {
        let recorded = if is_sqlite { sqlite } else { postgres };
        let count = of_request(&app, &acme, document, variables).await;
        if count.abs_diff(recorded) * 20 > recorded {
            wrong.push(format!("{name}: {count}, on record {recorded}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
