//! The npm clients `graphql-ws` and `graphql-sse` and the library `standardwebhooks`, as people use them; `tests/clients`
//! holds their scripts, and that of a federation's gateway.
//!
//! They need Node.js and `npm ci --prefix tests/clients`. Without them these tests pass and say so on stderr; with
//! `TEST_REQUIRE_NODE=1` they fail.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use todo_platform::base::clock::Clock;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc},
};

use crate::support::{
    app::TestApp,
    postgres::announce,
    receiver::{Received, Receiver},
    socket::DEADLINE,
    world::{Company, Person},
};

/// The folder of the scripts; `None` where they can't run.
pub fn folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let Some(missing) = missing(&folder) else { return Some(folder) };
    assert!(env::var("TEST_REQUIRE_NODE").as_deref() != Ok("1"), "TEST_REQUIRE_NODE=1, but {missing}");
    static SAID: Once = Once::new();
    SAID.call_once(|| announce(&format!("Tests with npm clients are SKIPPED: {missing}")));
    None
}

/// Why the scripts can't run here.
fn missing(folder: &Path) -> Option<&'static str> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    if !env::split_paths(&on_path).any(|folder| folder.join("node").is_file()) {
        return Some("no node on PATH");
    }
    // Which npm writes last.
    let is_installed = folder.join("node_modules/.package-lock.json").is_file();
    (!is_installed).then_some("the packages are not installed (npm ci --prefix tests/clients)")
}

/// A running script. It ends with the test.
pub struct Script {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    /// All that was read so far.
    said: Vec<Value>,
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Script {
    /// A client that tells a story as this person. `None` where it can't run.
    fn start(script: &str, story: &str, address: &str, company: &Company, person: &Person) -> Option<Self> {
        Self::run(&[script, story], &[("ADDRESS", address), ("TOKEN", &person.token), ("ORGANIZATION", &company.slug)])
    }

    /// `None` where it can't run.
    pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Option<Self> {
        let folder = folder()?;
        let mut child = Command::new("node")
            .args(arguments)
            .current_dir(folder)
            .env_remove("NODE_OPTIONS")
            .envs(environment.iter().copied())
            // Held open: the script ends when this process does.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("node runs");
        let (sender, lines) = mpsc::unbounded_channel();
        let stdout = child.stdout.take().expect("its output");
        let mut stderr = child.stderr.take().expect("its complaints");
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
            let mut complaints = String::new();
            let _ = stderr.read_to_string(&mut complaints);
            if !complaints.is_empty() {
                let _ = sender.send(complaints);
            }
        });
        Some(Self { child, lines, said: Vec::new() })
    }

    /// What it says next under this name; lines under other names are passed over, and are in `said`.
    pub async fn next(&mut self, name: &str) -> Value {
        let read = async {
            loop {
                let line = self.lines.recv().await?;
                let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                self.said.push(line);
                if let Some(value) = self.said.last().and_then(|line| line.get(name)) {
                    return Some(value.clone());
                }
            }
        };
        let found = tokio::time::timeout(DEADLINE, read).await;
        found.ok().flatten().unwrap_or_else(|| panic!("no `{name}` after {:#?}", self.said))
    }

    /// What it answers to a line of its input.
    pub async fn ask(&mut self, line: &Value) -> Value {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{line}").expect("it reads");
        self.next("result").await
    }

    /// The subjects of the next events, at least so many.
    async fn subjects(&mut self, count: usize) -> Vec<String> {
        let mut subjects = Vec::new();
        while subjects.len() < count {
            let batch = self.next("batch").await;
            let batch = &batch["data"]["events"];
            let events = batch["events"].as_array().unwrap_or_else(|| panic!("{:#?}", self.said));
            subjects.extend(events.iter().map(|event| event["subjectId"].as_str().unwrap_or_default().to_owned()));
        }
        subjects
    }

    fn times_said(&self, name: &str) -> usize {
        self.said.iter().filter(|line| line.get(name).is_some()).count()
    }
}

/// Between a client and a server: a network that fails.
struct Network {
    address: String,
    server: Arc<Mutex<String>>,
    is_up: Arc<AtomicBool>,
    cuts: broadcast::Sender<()>,
}

impl Network {
    async fn before(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let (server, is_up) = (Arc::new(Mutex::new(server)), Arc::new(AtomicBool::new(true)));
        let cuts = broadcast::Sender::new(1);
        let (target, up, cut) = (server.clone(), is_up.clone(), cuts.clone());
        tokio::spawn(async move {
            loop {
                let Ok((mut client, _)) = listener.accept().await else { continue };
                if !up.load(Ordering::Relaxed) {
                    continue;
                }
                let (server, mut cut) = (target.lock().expect("no test panics here").clone(), cut.subscribe());
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        Self { address, server, is_up, cuts }
    }

    /// New connections go to this server.
    fn lead_to(&self, server: String) {
        *self.server.lock().expect("no test panics here") = server;
    }

    fn cut(&self) {
        self.is_up.store(false, Ordering::Relaxed);
        let _ = self.cuts.send(());
    }

    fn mend(&self) {
        self.is_up.store(true, Ordering::Relaxed);
    }
}

/// Waits until the metrics have this line.
async fn becomes(app: &TestApp, line: &str) {
    let until = Instant::now() + DEADLINE;
    while !app.state.metrics.text().lines().any(|found| found == line) {
        assert!(Instant::now() < until, "{line}: {}", app.state.metrics.text());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn items(app: &TestApp, company: &Company, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(app.item(company, &format!("item {number}")).await);
    }
    ids
}

async fn operations(script: &str) {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let Some(mut script) = Script::start(script, "operations", &address, &acme, &acme.member) else { return };
    assert_eq!(script.next("query").await, json!({ "data": { "organization": { "slug": "acme" } } }));
    let begun = script.next("begun").await;
    assert_eq!(
        (&begun["data"]["events"]["events"], &begun["data"]["events"]["isLive"]),
        (&json!([]), &json!(true)),
        "{begun:#}"
    );
    for _ in 0..3 {
        let mutation = script.next("mutation").await;
        let batch = script.said.last().map(|line| line["batch"]["data"]["events"].clone()).unwrap_or_default();
        let created = &mutation["data"]["itemCreate"];
        assert_eq!(created["userErrors"], json!([]), "{mutation:#}");
        let event = json!({ "type": "ITEM_CREATED", "subjectId": created["item"]["id"], "cursor": created["cursor"] });
        assert_eq!(batch, json!({ "events": [event], "cursor": created["cursor"], "isLive": true }));
    }
    for code in ["GRAPHQL_VALIDATION_FAILED", "GRAPHQL_VALIDATION_FAILED", "INVALID_CURSOR"] {
        let invalid = script.next("invalid").await;
        assert_eq!(invalid["errors"][0]["extensions"]["code"], json!(code), "{invalid:#}");
    }
    script.next("disposed").await;
    becomes(&app, "todo_subscribers 0").await;
    becomes(&app, "todo_sockets 0").await;
}

/// Nothing is missed and nothing comes twice, when the network fails again and again and the server is replaced.
async fn follows(script: &str) -> Option<Script> {
    let app = TestApp::start(&[]).await;
    let acme = app.company("acme").await;
    let network = Network::before(app.listen().await).await;
    let mut script = Script::start(script, "follow", &network.address, &acme, &acme.viewer)?;
    script.next("batch").await;
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..3 {
        expected.extend(items(&app, &acme, 3).await);
        seen.extend(script.subjects(expected.len() - seen.len()).await);
        network.cut();
        becomes(&app, "todo_subscribers 0").await;
        expected.extend(items(&app, &acme, 3).await);
        network.mend();
    }
    seen.extend(script.subjects(expected.len() - seen.len()).await);
    let another = app.another_instance(|_| {}).await;
    network.lead_to(another.listen().await);
    app.state.live.stop().await;
    expected.extend(items(&another, &acme, 3).await);
    // A server that has ended closes what is kept alive.
    network.cut();
    network.mend();
    seen.extend(script.subjects(expected.len() - seen.len()).await);
    assert_eq!(seen, expected);
    becomes(&another, "todo_subscribers 1").await;
    assert!(script.times_said("connected") >= 5, "{:#?}", script.said);
    assert_eq!((script.times_said("error"), script.times_said("complete")), (0, 0), "{:#?}", script.said);
    Some(script)
}

#[tokio::test]
async fn graphql_ws_runs_operations() {
    operations("graphql-ws.mjs").await;
}

#[tokio::test]
async fn graphql_sse_runs_operations() {
    operations("graphql-sse.mjs").await;
}

#[tokio::test]
async fn graphql_ws_resumes() {
    let Some(script) = follows("graphql-ws.mjs").await else { return };
    assert!(script.said.iter().any(|line| line["closed"] == json!(1001)), "{:#?}", script.said);
}

#[tokio::test]
async fn graphql_sse_resumes() {
    follows("graphql-sse.mjs").await;
}

#[tokio::test]
async fn graphql_ws_is_told_when_the_session_has_ended() {
    let app = TestApp::start(&[("TODO_SUBSCRIPTIONS_POLL", "20ms".to_owned())]).await;
    let acme = app.company("acme").await;
    let address = app.listen().await;
    let Some(mut script) = Script::start("graphql-ws.mjs", "follow", &address, &acme, &acme.member) else { return };
    script.next("batch").await;
    let revoke = "mutation { sessionRevoke(input: {}) { deletedId userErrors { code } } }";
    app.call(&acme, &acme.member, revoke).done().await;
    let error = script.next("error").await;
    assert_eq!(error[0]["extensions"]["code"], json!("UNAUTHENTICATED"));
    assert_eq!(script.next("closed").await, json!(4403));
}

/// What the library makes of a request that came.
async fn verdict(library: &mut Script, received: &Received, secret: &str, body: &str) -> Value {
    let header = |name: &str| received.header(name).to_owned();
    let headers = json!({
        "webhook-id": header("webhook-id"),
        "webhook-timestamp": header("webhook-timestamp"),
        "webhook-signature": header("webhook-signature"),
    });
    library.ask(&json!({ "secret": secret, "headers": headers, "body": body })).await
}

/// Deliveries pass the check of another language's library, as it is used: by the real time, with the secret as it was
/// shown; during a rotation with either secret; and nothing that was changed on the way passes.
#[tokio::test]
async fn standardwebhooks_verifies() {
    let app = TestApp::start(&[]).await;
    let Some(mut library) = Script::run(&["standardwebhooks.mjs"], &[]) else { return };
    // Which the library compares with the signed time.
    app.clock.advance(Clock::system().now() - app.clock.now());
    let acme = app.company("acme").await;
    let receiver = Receiver::start().await;
    let create = "mutation($url: Url!) { webhookCreate(input: {url: $url, eventTypes: [ITEM_CREATED]}) { webhook { id } \
                  secret userErrors { code message } } }";
    let made = app.call(&acme, &acme.owner, create).vars(json!({ "url": receiver.url() })).done().await;
    let first = made["secret"].as_str().expect("a secret");
    let deliver = async || {
        app.item(&acme, "Größe & “quotes” \u{1f980}").await;
        app.worker.drain().await;
        receiver.take().pop().expect("a delivery")
    };

    let received = deliver().await;
    let body = String::from_utf8(received.body.clone()).expect("text");
    let verified = verdict(&mut library, &received, first, &body).await;
    assert_eq!(verified, json!({ "verified": received.json() }));
    let no_match = json!({ "refused": "No matching signature found" });
    let tampered = body.replace("Größe", "Grösse");
    assert_ne!(tampered, body);
    assert_eq!(verdict(&mut library, &received, first, &tampered).await, no_match);
    assert_eq!(verdict(&mut library, &received, first, &format!("{body} ")).await, no_match);
    let mut renamed = received.clone();
    renamed.headers.insert("webhook-id", "whd_01kb000000000000000000000".parse().expect("a header"));
    assert_eq!(verdict(&mut library, &renamed, first, &body).await, no_match);
    let mut later = received.clone();
    let timestamp: i64 = received.header("webhook-timestamp").parse().expect("seconds");
    later.headers.insert("webhook-timestamp", (timestamp + 1).into());
    assert_eq!(verdict(&mut library, &later, first, &body).await, no_match);

    let rotate =
        "mutation($id: ID!) { webhookRotateSecret(input: {id: $id, graceHours: 1}) { secret userErrors { code } } }";
    let rotated = app.call(&acme, &acme.owner, rotate).vars(json!({ "id": made["webhook"]["id"] })).done().await;
    let second = rotated["secret"].as_str().expect("a secret");
    assert_eq!(verdict(&mut library, &received, second, &body).await, no_match, "signed before the rotation");
    let received = deliver().await;
    let body = String::from_utf8(received.body.clone()).expect("text");
    for secret in [first, second] {
        let verified = verdict(&mut library, &received, secret, &body).await;
        assert_eq!(verified, json!({ "verified": received.json() }));
        assert_eq!(verdict(&mut library, &received, secret, &tampered).await, no_match);
    }
}
