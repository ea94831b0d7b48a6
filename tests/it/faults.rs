//! Faults of a running server that clients must hardly notice: it is told to stop with much under way, and one instance's
//! clock is wrong.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream as BlockingStream,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    deliveries, jobs,
    process::{KEY, Process, folder, gql, register},
    support::{app::TestApp, receiver::Receiver, socket::Socket},
};
use todo_test_macros::databases;

/// Requests under way, and as many sockets, when it is told to stop. `bench/faults.sh` has 200.
const MANY: usize = 50;
/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

// ── SIGTERM ──

/// A request of which half of the body is sent, so that it is under way for as long as the test likes.
struct UnderWay {
    stream: BufReader<TcpStream>,
    rest: String,
}

impl UnderWay {
    async fn begin(host: &str, token: &str, query: &str) -> Self {
        let body = json!({ "query": query }).to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = BufReader::new(TcpStream::connect(host).await.expect("a connection"));
        stream.write_all(head.as_bytes()).await.expect("the head goes out");
        let mut line = String::new();
        while stream.read_line(&mut line).await.expect("a line") > 2 {}
        assert!(line.starts_with("HTTP/1.1 100"), "{line}");
        let (first, rest) = body.split_at(9);
        stream.write_all(first.as_bytes()).await.expect("half of the body");
        Self { stream, rest: rest.to_owned() }
    }

    /// Sends the rest; gives all that comes until the connection ends.
    async fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).await.expect("the rest of the body");
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.expect("an answer, then the end");
        answer
    }
}

/// Asks on a connection of its own; `None` where nobody listens any more.
async fn knock(host: &str) -> Option<String> {
    let mut stream = TcpStream::connect(host).await.ok()?;
    let mut answer = String::new();
    // A reset reads as an empty answer.
    let _ = stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let until_end = tokio::time::timeout(Duration::from_secs(1), stream.read_to_string(&mut answer));
    let _ = until_end.await;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_is_told_to_stop_resets_nobody() {
    let folder = folder();
    let settings = [
        ("SECRET_KEY", KEY),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("TODO_SERVER_MAX_CONNECTIONS_PER_ADDRESS", "1000"),
        ("TODO_SERVER_DRAIN_DELAY", "1s"),
        // A busy machine may need more than the usual 20 s.
        ("TODO_SERVER_DRAIN", "100s"),
    ];
    let mut server = Process::spawn(folder.path(), &[], &settings);
    let url = server.url();
    let host = url.trim_start_matches("http://").to_owned();
    let token = register(&url, "ann").await["accessToken"].as_str().expect("a token").to_owned();
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    gql(&url, Some(&token), found, json!({})).await;
    let create = "mutation { itemCreate(input: {title: \"One\"}) { item { id } userErrors { code } } }";
    let mut under_way = Vec::new();
    for number in 0..MANY {
        let query = if number % 2 == 0 { create } else { "{ items(first: 3) { nodes { title } } }" };
        under_way.push(UnderWay::begin(&host, &token, query).await);
    }
    let mut sockets = Vec::new();
    for _ in 0..MANY {
        let init = json!({ "authorization": format!("Bearer {token}") });
        let mut socket = Socket::let_in(&host, init).await;
        socket.subscribe("subscription { events { events { type } } }", json!({})).await;
        sockets.push(socket);
    }

    server.terminate();
    // Not ready any more, and each answer is its connection's last: a proxy opens another, elsewhere.
    let until = Instant::now() + PATIENCE;
    let mut knocks: Vec<String> = Vec::new();
    while let Some(answer) = knock(&host).await {
        assert!(Instant::now() < until, "it closes");
        knocks.push(answer);
    }
    let resets = knocks.iter().filter(|answer| !answer.starts_with("HTTP/1.1 ")).count();
    // Between the last look at who is at the door and its closing is a moment that no program can make shorter.
    assert!(resets <= 1, "{resets} of {} were reset", knocks.len());
    let last = knocks.iter().rfind(|answer| answer.starts_with("HTTP/1.1 ")).expect("it was open for a second");
    assert!(last.starts_with("HTTP/1.1 503") && last.contains("connection: close"), "{last}");
    // Nobody can connect any more; what is under way is answered, and every socket is told where it stands.
    let mut answers = JoinSet::new();
    for one in under_way {
        answers.spawn(one.finish());
    }
    let answers = answers.join_all().await;
    let good = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200") && !answer.contains("\"errors\""));
    assert_eq!(good.count(), MANY, "{answers:#?}");
    for mut socket in sockets {
        assert_eq!(socket.close_code().await, 1001);
    }
    let ended = tokio::task::block_in_place(|| server.ended());
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("did not finish in time"), "{}", ended.stderr);

    let mut server = Process::spawn(folder.path(), &[], &settings);
    let answer = gql(&server.url(), Some(&token), "{ items(first: 1) { totalCount } }", json!({})).await;
    assert_eq!(answer["data"]["items"]["totalCount"], json!(MANY / 2), "each acknowledged write, once");
}

/// A connection that was made in time and says something only after the door has closed is answered, too.
#[test]
fn a_first_request_that_is_late_is_answered() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let host = url.trim_start_matches("http://");
    let mut early: Vec<_> = (0..20).map(|_| BlockingStream::connect(host).expect("a connection")).collect();
    server.terminate();
    for stream in &mut early {
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    for stream in &mut early {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer, then the end");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(server.ended().status.code(), Some(0));
}

// ── a clock that is wrong ──

const SKEW: TimeDelta = TimeDelta::minutes(10);

/// What one queues whose clock is fast is due at once for the others, too, and the other way about: each has measured how
/// far the database's clock is from its own.
#[databases]
async fn what_is_queued_is_due_at_once_whatever_clocks_say(app: TestApp) {
    let acme = app.company("acme").await;
    let (fast, slow) = (app.with_clock_ahead(SKEW).await, app.with_clock_ahead(-SKEW).await);
    // As `maintenance::compare_clocks` does where clocks follow the system.
    fast.clock.note_database(-SKEW);
    slow.clock.note_database(SKEW);
    let rounds = [(&fast, [&app, &slow]), (&app, [&slow, &fast]), (&slow, [&fast, &app])];
    for (round, (writer, workers)) in rounds.into_iter().enumerate() {
        let mut company = app.company(&format!("company-{round}")).await;
        deliveries::webhook(&app, &company, "http://127.0.0.1:1/").await;
        // By a token of its own: others' may not be valid yet.
        company.member = writer.sign_in(&company.member).await;
        writer.item(&company, "One").await;
        for worker in workers {
            let held = deliveries::claim(worker, PATIENCE).await;
            assert_eq!(held.len(), round + 1, "it is due, as those before it");
            for queue in held {
                worker.state.db.release_queue(queue).await.expect("given back");
            }
        }
    }
    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    jobs::many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;
    jobs::delete(&fast, &acme, "tag", &tag).await;
    assert!(slow.state.db.claim_job().await.expect("a look").is_some(), "it is due");
    for one in [&fast, &slow] {
        one.state.db.close().await;
    }
}

/// One of two instances is ten minutes ahead.
#[databases]
async fn a_token_of_an_instance_with_a_fast_clock_is_not_valid_yet(app: TestApp) {
    let acme = app.company("acme").await;
    let fast = app.with_clock_ahead(SKEW).await;
    let query = "{ viewer { role } }";
    let member = fast.sign_in(&acme.member).await;
    fast.call(&acme, &member, query).data().await;
    // What a slow clock signed is good where it is later, as long as it lives.
    fast.call(&acme, &acme.member, query).data().await;
    let answer = app.call(&acme, &member, query).answer().await;
    let error = &answer["errors"][0];
    assert_eq!(error["extensions"]["code"], "UNAUTHENTICATED", "{answer:#}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("not valid yet")), "{answer:#}");
    // A few seconds are no matter, and time makes it good.
    app.clock.advance(SKEW - TimeDelta::seconds(20));
    app.call(&acme, &member, query).data().await;
    fast.state.db.close().await;
}

/// The ledger's order is that of its sequence, whatever clocks say; each event has the time of who wrote it.
#[databases]
async fn the_ledger_keeps_its_order_whatever_clocks_say(app: TestApp) {
    let acme = app.company("acme").await;
    let fast = app.with_clock_ahead(SKEW).await;
    let mut socket = app.socket_of(&acme, &acme.member).await;
    socket.subscribe("subscription { events { events { sequence type occurredAt } } }", json!({})).await;
    socket.batch().await;
    for number in 0..6 {
        let writer = if number % 2 == 0 { &app } else { &fast };
        writer.item(&acme, &number.to_string()).await;
    }
    let mut live: Vec<Value> = Vec::new();
    while live.len() < 6 {
        let events = socket.batch().await["events"].as_array().expect("events").clone();
        live.extend(events.into_iter().filter(|event| event["type"] == "ITEM_CREATED"));
    }
    let query = "{ events(last: 6) { nodes { sequence type occurredAt } } }";
    let listed =
        app.call(&acme, &acme.owner, query).data().await["events"]["nodes"].as_array().expect("events").clone();
    let by_sequence = |events: &[Value]| -> Vec<i64> {
        let number = |event: &Value| event["sequence"].as_str().expect("a sequence").parse().expect("a number");
        events.iter().map(number).collect()
    };
    let sequences = by_sequence(&live);
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
    let mut listed_sequences = by_sequence(&listed);
    listed_sequences.sort_unstable();
    assert_eq!(sequences, listed_sequences);
    for (number, event) in live.iter().enumerate() {
        let at: DateTime<Utc> = event["occurredAt"].as_str().expect("an instant").parse().expect("an instant");
        let clock = if number % 2 == 0 { &app.clock } else { &fast.clock };
        assert_eq!(at, clock.now(), "{event}");
    }
    fast.state.db.close().await;
}

/// Leases go by the database's clock: who is ahead takes nothing early that somebody else holds.
#[databases]
async fn leases_are_kept_whatever_clocks_say(app: TestApp) {
    let acme = app.company("acme").await;
    let (fast, slow) = (app.with_clock_ahead(SKEW).await, app.with_clock_ahead(-SKEW).await);
    let receiver = Receiver::start().await;
    deliveries::webhook(&app, &acme, &receiver.url()).await;
    app.item(&acme, "One").await;
    let held = deliveries::claim(&app, PATIENCE).await;
    assert_eq!(held.len(), 1);
    for other in [&fast, &slow] {
        assert!(deliveries::claim(other, PATIENCE).await.is_empty(), "it is held");
    }
    app.state.db.release_queue(held[0]).await.expect("given back");
    // The one who is ahead sends it, once; then nobody finds anything to send.
    let stop = tokio_util::sync::CancellationToken::new();
    let working: Vec<_> = [&app, &fast, &slow].map(|one| tokio::spawn(one.worker.clone().run(stop.clone()))).into();
    let until = Instant::now() + PATIENCE;
    while receiver.received().is_empty() {
        assert!(Instant::now() < until, "it is sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.cancel();
    for worker in working {
        worker.await.expect("it stops");
    }
    assert_eq!(receiver.received().len(), 1, "sent once");

    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    jobs::many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;
    jobs::delete(&app, &acme, "tag", &tag).await;
    let job = app.state.db.claim_job().await.expect("a look").expect("there is a job");
    for other in [&fast, &slow] {
        assert!(other.state.db.claim_job().await.expect("a look").is_none(), "it is held");
    }
    app.state.db.release_job(&job).await.expect("given back");
    jobs::runner(&fast).drain().await;
    assert_eq!(jobs::events(&app, &acme, "ITEM_UPDATED").await, jobs::MANY, "one event for each item");
    for one in [&fast, &slow] {
        one.state.db.close().await;
    }
}
