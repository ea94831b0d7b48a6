//! The real binary: how it starts, stops, and fails to.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::postgres;

/// How long anything may take before a test gives up on it; far more than a busy machine needs.
const DEADLINE: Duration = Duration::from_secs(120);
pub const KEY: &str = "a secret of thirty-two bytes or more";
const PASSWORD: &str = "correct horse battery";

/// What a child writes, line by line, as it comes.
struct Pipe {
    text: String,
    lines: Receiver<String>,
}

impl Pipe {
    fn of(source: impl Read + Send + 'static) -> Self {
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Self { text: String::new(), lines }
    }

    /// The next line; `None` at the end.
    fn next(&mut self, until: Instant) -> Option<String> {
        match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.text.push_str(&line);
                Some(line)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing more in time after:\n{}", self.text),
        }
    }

    fn drain(&mut self) {
        let until = Instant::now() + DEADLINE;
        while self.next(until).is_some() {}
    }
}

/// A running command. It ends with the test.
pub struct Process {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a command ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// The command, in `folder`, with these settings and none of whoever runs the tests.
    pub fn spawn(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::of(Self::command(folder, arguments, settings).stdin(Stdio::null()))
    }

    /// [`Process::spawn`], with this text on its standard input.
    pub fn fed(folder: &Path, arguments: &[&str], settings: &[(&str, &str)], text: &str) -> Self {
        let mut process = Self::of(Self::command(folder, arguments, settings).stdin(Stdio::piped()));
        let mut input = process.child.stdin.take().expect("its input");
        input.write_all(text.as_bytes()).expect("it reads");
        process
    }

    /// [`Process::spawn`] by `script`, which ends with `exec "$@"`: the process is the server.
    pub fn within(folder: &Path, script: &str, settings: &[(&str, &str)]) -> Self {
        let server = Self::command(folder, &[], settings);
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "sh"])
            .arg(server.get_program())
            .env_clear()
            .envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self::of(&mut command)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn command(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_todo-platform"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DATA_DIR", folder.join("data"))
            .env("PORT", "0")
            .envs(settings.iter().copied())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("the command starts");
        let stdout = Pipe::of(child.stdout.take().expect("its output"));
        let stderr = Pipe::of(child.stderr.take().expect("its log"));
        Self { child, stdout, stderr }
    }

    /// Waits until it serves; gives its URL.
    pub fn url(&mut self) -> String {
        let url = self.address();
        assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"), "{url}");
        url
    }

    /// Waits until it serves; gives the address that it says it listens on.
    fn address(&mut self) -> String {
        let until = Instant::now() + DEADLINE;
        while let Some(line) = self.stdout.next(until) {
            if let Some(url) = line.trim_end().strip_prefix("listening on ") {
                return url.to_owned();
            }
        }
        self.stderr.drain();
        panic!("it did not come to listen: {}{}", self.stdout.text, self.stderr.text);
    }

    pub fn terminate(&self) {
        let id = self.child.id();
        let sent = Command::new("/bin/sh").args(["-c", &format!("kill -TERM {id}")]).status();
        assert!(sent.expect("a shell").success());
    }

    /// Waits until it has ended by itself.
    pub fn ended(mut self) -> Ended {
        self.stdout.drain();
        self.stderr.drain();
        let status = self.child.wait().expect("a status");
        Ended { status, stdout: self.stdout.text.clone(), stderr: self.stderr.text.clone() }
    }

    /// Waits for it to fail, with all of these words and no panic.
    #[track_caller]
    pub fn fails(self, words: &[&str]) -> String {
        let ended = self.ended();
        assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
        assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains("RUST_BACKTRACE"), "{}", ended.stderr);
        assert!(!ended.stdout.contains("listening"), "{}", ended.stdout);
        for word in words {
            assert!(ended.stderr.contains(word), "{word:?} is not in {}", ended.stderr);
        }
        ended.stderr
    }
}

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub async fn gql(url: &str, token: Option<&str>, query: &str, variables: Value) -> Value {
    let request = reqwest::Client::new()
        .post(format!("{url}/graphql"))
        .timeout(DEADLINE)
        .json(&json!({ "query": query, "variables": variables }));
    let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
    request.send().await.expect("an answer").json().await.expect("JSON")
}

/// Registers somebody; gives the payload.
pub async fn register(url: &str, name: &str) -> Value {
    let query = "mutation($input: UserRegisterInput!) { userRegister(input: $input) { accessToken refreshToken \
                 userErrors { code path message } } }";
    let input = json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD });
    let answer = gql(url, None, query, json!({ "input": input })).await;
    assert_eq!(answer["data"]["userRegister"]["userErrors"], json!([]), "{answer:#}");
    answer["data"]["userRegister"].clone()
}

// ── serving and stopping ──

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_and_keeps_what_was_written_over_a_restart() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let ann = register(&url, "ann").await;
    let token = ann["accessToken"].as_str().expect("a token").to_owned();
    server.terminate();
    assert_eq!(server.ended().status.code(), Some(0));

    let mut server = Process::spawn(folder.path(), &["serve"], &[]);
    let url = server.url();
    let who = gql(&url, Some(&token), "{ viewer { user { username } } }", json!({})).await;
    assert_eq!(who["data"]["viewer"]["user"]["username"], json!("ann"), "{who:#}");
}

/// For images without a shell: the binary asks itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_whether_the_server_is_ready() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[("HOST", "0.0.0.0")]);
    let address = server.address();
    let port = address.rsplit(':').next().unwrap_or_default();
    let settings = [("HOST", "0.0.0.0"), ("PORT", port)];
    let asked = Process::spawn(folder.path(), &["health"], &settings).ended();
    assert_eq!(asked.status.code(), Some(0), "{}", asked.stderr);
    assert!(asked.stdout.contains("\"status\":\"ready\""), "{}", asked.stdout);
    server.terminate();
    assert_eq!(server.ended().status.code(), Some(0));
    Process::spawn(folder.path(), &["health"], &settings).fails(&["/health/ready"]);
}

/// The tests' port is 0, any: an inbound hook's address has the one that it got.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_addresses_name_the_port_it_got() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let ann = register(&url, "ann").await;
    let token = ann["accessToken"].as_str().expect("a token");
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    gql(&url, Some(token), found, json!({})).await;
    let create = "mutation { inboundHookCreate(input: {name: \"CI\", action: ITEM_CREATE, \
                  mapping: {title: {default: \"Red\"}}}) { inboundHook { url } userErrors { message } } }";
    let made = gql(&url, Some(token), create, json!({})).await;
    let address =
        made["data"]["inboundHookCreate"]["inboundHook"]["url"].as_str().unwrap_or_else(|| panic!("{made:#}"));
    assert!(address.starts_with(&format!("{url}/callbacks/")), "{address}");
    let unsigned = reqwest::Client::new().post(address).timeout(DEADLINE).body("{}").send().await.expect("an answer");
    assert_eq!(unsigned.status(), 401);
}

/// Counted in memory, written at the end at the latest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_not_lost_when_it_is_stopped() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let ann = register(&url, "ann").await;
    let token = ann["accessToken"].as_str().expect("a token").to_owned();
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    gql(&url, Some(&token), found, json!({})).await;
    for _ in 0..7 {
        gql(&url, Some(&token), "query Counted { viewer { role } }", json!({})).await;
    }
    server.terminate();
    assert_eq!(server.ended().status.code(), Some(0));

    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let query = "{ organization { usage { operations { operation requests } } } }";
    let usage = gql(&url, Some(&token), query, json!({})).await;
    let operations = &usage["data"]["organization"]["usage"]["operations"];
    assert_eq!(operations, &json!([{ "operation": "Counted", "requests": "7" }]), "{usage:#}");
}

/// One request over a connection that stays open; gives the connection and the answer's head.
fn keep_alive(url: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a limit");
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("the request goes out");
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
    while reader.read_line(&mut head).expect("a line") > 2 {}
    (stream, head)
}

#[test]
fn sigterm_ends_it_with_success_although_a_connection_is_open() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let (mut idle, head) = keep_alive(&url);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // And one that has not said anything.
    let silent = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
    server.terminate();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("did not finish in time"), "an idle connection is no request: {}", ended.stderr);
    let mut rest = Vec::new();
    // What was left of the answer, then the end, or a reset.
    let _ = idle.read_to_end(&mut rest);
    drop(silent);
    assert!(TcpStream::connect(url.trim_start_matches("http://")).is_err(), "nothing listens any more");
}

#[test]
fn a_request_under_way_is_finished_before_it_ends() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let body = json!({ "query": "{ server { version } }" }).to_string();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a limit");
    let (first, second) = body.split_at(5);
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("the head goes out");
    let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
    let mut line = String::new();
    // The server asks for the body: the request is under way.
    while reader.read_line(&mut line).expect("a line") > 2 {}
    assert!(line.starts_with("HTTP/1.1 100"), "{line}");
    stream.write_all(first.as_bytes()).expect("half of the body");
    server.terminate();
    let until = Instant::now() + DEADLINE;
    while !server.stderr.next(until).expect("the log goes on").contains("stopping") {}
    stream.write_all(second.as_bytes()).expect("the rest of the body");
    let mut answer = String::new();
    reader.read_to_string(&mut answer).expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"version\""), "{answer}");
    assert_eq!(server.ended().status.code(), Some(0));
}

#[test]
fn a_request_that_never_ends_does_not_hold_it_up_for_long() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[("TODO_SERVER_DRAIN", "100ms")]);
    let url = server.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                expect: 100-continue\r\ncontent-length: 100\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the head goes out");
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("the same connection"));
    while reader.read_line(&mut line).expect("a line") > 2 {}
    server.terminate();
    let ended = server.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("did not finish in time"), "{}", ended.stderr);
}

/// A balancer sees that it is going before nothing listens any more.
#[test]
fn before_the_door_closes_it_says_that_it_is_not_ready() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[("TODO_SERVER_DRAIN_DELAY", "10s")]);
    let url = server.url();
    let host = url.trim_start_matches("http://");
    let ask = || {
        let mut stream = TcpStream::connect(host).ok()?;
        let head = b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(head).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    assert!(ask().is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    server.terminate();
    let until = Instant::now() + DEADLINE;
    while !server.stderr.next(until).expect("the log goes on").contains("stopping") {}
    let answer = ask().expect("the server listens");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("draining"), "{answer}");
    assert_eq!(server.ended().status.code(), Some(0));
    assert!(TcpStream::connect(host).is_err(), "nothing listens any more");
}

/// More silent connections than the process may open files: it says so, and serves again when they are gone.
#[test]
fn running_out_of_files_is_survived_and_said() {
    let folder = folder();
    let mut command = Command::new("/bin/sh");
    let start = format!("ulimit -n 128 && exec {}", env!("CARGO_BIN_EXE_todo-platform"));
    command
        .args(["-c", &start])
        .env_clear()
        .env("DATA_DIR", folder.path().join("data"))
        .env("PORT", "0")
        .env("TODO_SERVER_MAX_CONNECTIONS", "1000")
        .env("TODO_SERVER_MAX_CONNECTIONS_PER_ADDRESS", "1000")
        .env("TODO_DATABASE_MAX_CONNECTIONS", "4")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut server = Process::of(&mut command);
    let url = server.url();
    let silent: Vec<_> = (0..200).filter_map(|_| TcpStream::connect(url.trim_start_matches("http://")).ok()).collect();
    let until = Instant::now() + DEADLINE;
    while !server.stderr.next(until).expect("the log goes on").contains("could not be accepted") {}
    // The silent ones are let go by themselves.
    let (_, head) = keep_alive(&url);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    drop(silent);
    server.terminate();
    assert_eq!(server.ended().status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compressed_answers_unpack_to_the_same_text() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let schema = format!("{}/schema.graphql", server.url());
    let mut texts = Vec::new();
    for (gzip, brotli) in [(false, false), (true, false), (false, true)] {
        let client = reqwest::Client::builder().gzip(gzip).brotli(brotli).build().expect("a client");
        let answer = client.get(&schema).timeout(DEADLINE).send().await.expect("an answer");
        texts.push(answer.text().await.expect("text"));
    }
    assert!(texts[0].contains("type Query") && texts[0] == texts[1] && texts[0] == texts[2]);
}

// ── failing to start ──

#[test]
fn a_busy_port_is_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    let address = format!("127.0.0.1:{port}");
    Process::spawn(folder.path(), &[], &[("PORT", &port)]).fails(&[&address, "PORT"]);
    assert!(!folder.path().join("data").exists(), "nothing is made before");
}

#[test]
fn a_data_folder_that_can_not_be_made_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let below = file.join("data").display().to_string();
    Process::spawn(folder.path(), &[], &[("DATA_DIR", &below)]).fails(&[&below]);
    Process::spawn(folder.path(), &[], &[("DATA_DIR", &below), ("SECRET_KEY", KEY)]).fails(&[&below]);
    Process::spawn(folder.path(), &["migrate"], &[("DATA_DIR", &below), ("SECRET_KEY", KEY)]).fails(&[&below]);
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let folder = folder();
    fs::create_dir(folder.path().join("data")).expect("the folder");
    fs::write(folder.path().join("data/todo.sqlite"), "not a database, but long enough to be looked at\n".repeat(100))
        .expect("a file");
    let error = Process::spawn(folder.path(), &[], &[]).fails(&["database"]);
    assert!(error.contains("todo.sqlite") || error.contains("not a database"), "{error}");
}

#[test]
fn an_unreachable_postgresql_is_named_without_its_password() {
    let folder = folder();
    // A port that was free a moment ago, and nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let urls = [
        format!("postgres://me:hunter2@127.0.0.1:{port}/todo"),
        format!("postgres://me:hun@hunter2@127.0.0.1:{port}/todo"),
        format!("postgres://me:hunter2?@127.0.0.1:{port}/todo"),
        format!("postgresql://me@127.0.0.1:{port}/todo?password=hunter2&sslmode=disable"),
        format!("postgres://127.0.0.1:{port}/todo?user=me&password=hunter2"),
    ];
    for url in urls {
        for command in ["serve", "migrate"] {
            let settings = [
                ("DATABASE_URL", url.as_str()),
                ("SECRET_KEY", KEY),
                ("TODO_DATABASE_CONNECT_TIMEOUT", "1s"),
                ("TODO_DATABASE_ACQUIRE_TIMEOUT", "1s"),
                ("LOG_LEVEL", "debug"),
            ];
            let place = format!("127.0.0.1:{port}");
            let error = Process::spawn(folder.path(), &[command], &settings).fails(&["database", &place]);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn a_corrupt_settings_file_is_named() {
    let folder = folder();
    fs::write(folder.path().join("todo-platform.toml"), "port = = 1").expect("a file");
    Process::spawn(folder.path(), &[], &[]).fails(&["todo-platform.toml"]);
    fs::write(folder.path().join("other.toml"), "[server]\nplayground = \"maybe\"").expect("a file");
    Process::spawn(folder.path(), &["--config", "other.toml"], &[]).fails(&["other.toml", "server.playground"]);
    Process::spawn(folder.path(), &["--config", "missing.toml"], &[]).fails(&["missing.toml"]);
    Process::spawn(folder.path(), &["--config", "other.toml"], &[("TODO_NONSENSE", "1")]).fails(&["TODO_NONSENSE"]);
}

#[test]
fn a_variable_that_is_no_text_is_no_reason_to_panic() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let mut command = Command::new(env!("CARGO_BIN_EXE_todo-platform"));
    command
        .env_clear()
        .env("SOMEBODYS", std::ffi::OsStr::from_bytes(b"\xff\xfe"))
        .env("DATA_DIR", folder.path().join("data"));
    command
        .env("PORT", "0")
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Process::of(&mut command).url();
    // One of ours is named.
    command.env("TODO_LIMITS_COST", std::ffi::OsStr::from_bytes(b"\xff\xfe"));
    Process::of(&mut command).fails(&["TODO_LIMITS_COST"]);
}

#[test]
fn the_file_of_the_working_folder_is_read() {
    let folder = folder();
    fs::write(folder.path().join("todo-platform.toml"), "[server]\nplayground = false\n").expect("a file");
    let mut server = Process::spawn(folder.path(), &[], &[]);
    let url = server.url();
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(DEADLINE)).expect("a limit");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("the request goes out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("\"graphql\":\"/graphql\""), "{answer}");
}

// ── PostgreSQL ──

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_production_a_database_is_migrated_first() {
    let Some(postgres) = postgres::server() else { return };
    let folder = folder();
    let schema = postgres.create_schema().await;
    let url = postgres.schema_url(&schema);
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "production"),
        ("TODO_DATABASE_MAX_CONNECTIONS", "4"),
    ];
    Process::spawn(folder.path(), &[], &settings).fails(&["migrate"]);
    let migrated = Process::spawn(folder.path(), &["migrate"], &settings).ended();
    assert_eq!(migrated.status.code(), Some(0), "{}", migrated.stderr);
    assert!(migrated.stdout.contains("applied m20261123_000001_people"), "{}", migrated.stdout);
    let again = Process::spawn(folder.path(), &["migrate"], &settings).ended();
    assert_eq!(again.status.code(), Some(0), "{}", again.stderr);
    assert!(again.stdout.starts_with("0 "), "{}", again.stdout);
    {
        let mut server = Process::spawn(folder.path(), &[], &settings);
        let url = server.url();
        register(&url, "ann").await;
        server.terminate();
        assert_eq!(server.ended().status.code(), Some(0));
        // The e-mail to the new account is written by the time that the server has ended.
        let inside = |folder: &Path| -> Vec<_> {
            let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
            entries.collect()
        };
        let data = folder.path().join("data");
        assert_eq!(inside(&data), [data.join("mail")], "production keeps nothing but mail in the data folder");
        let messages = inside(&data.join("mail"));
        assert_eq!(messages.len(), 1, "{messages:?}");
    }
    postgres.drop_schema(&schema).await;
}

// ── the schema ──

#[test]
fn schema_graphql_is_what_the_binary_prints() {
    let folder = folder();
    // Needs no settings, good or bad.
    let printed = Process::spawn(folder.path(), &["schema"], &[("SECRET_KEY", "short")]).ended();
    assert_eq!(printed.status.code(), Some(0), "{}", printed.stderr);
    let file = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql")).expect("the file");
    assert!(
        printed.stdout == file,
        "schema.graphql has drifted from the code; refresh it with: cargo run -- schema > schema.graphql"
    );
    assert!(!folder.path().join("data").exists());
}

#[test]
fn an_unknown_command_is_said_with_the_known_ones() {
    let folder = folder();
    let ended = Process::spawn(folder.path(), &["serv"], &[]).ended();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("serv"), "{}", ended.stderr);
    let help = Process::spawn(folder.path(), &["--help"], &[]).ended();
    assert_eq!(help.status.code(), Some(0));
    for command in ["serve", "demo", "migrate", "health", "admin", "schema", "policy"] {
        assert!(help.stdout.contains(command), "{command}: {}", help.stdout);
    }
}

// ── the log ──

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_holds_no_secret_at_any_level() {
    let folder = folder();
    let mut server = Process::spawn(folder.path(), &[], &[("LOG_LEVEL", "trace"), ("SECRET_KEY", KEY)]);
    let url = server.url();
    let ann = register(&url, "ann").await;
    let sign_in = |password: &str| {
        let query = format!(
            "mutation SignIn {{ sessionCreate(input: {{email: \"ann@example.com\", password: \"{password}\"}}) {{ \
             accessToken refreshToken userErrors {{ code }} }} }}"
        );
        let url = url.clone();
        async move { gql(&url, None, &query, json!({})).await }
    };
    let wrong = "not her password at all";
    assert_eq!(sign_in(wrong).await["data"]["sessionCreate"]["userErrors"][0]["code"], json!("BAD_CREDENTIALS"));
    let signed = sign_in(PASSWORD).await["data"]["sessionCreate"].clone();
    let refresh = "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { accessToken refreshToken \
                   userErrors { code } } }";
    let refreshed =
        gql(&url, None, refresh, json!({ "token": signed["refreshToken"] })).await["data"]["sessionRefresh"].clone();
    let access = refreshed["accessToken"].as_str().expect("a token");
    gql(&url, Some(access), "{ viewer { user { id } } }", json!({})).await;
    // In a URL, where it does not belong.
    let client = reqwest::Client::new();
    let by_get =
        format!("{url}/graphql?query=%7Bserver%7Bversion%7D%7D&variables=%7B%22password%22:%22{}%22%7D", "in-a-url");
    client.get(by_get).bearer_auth(access).timeout(DEADLINE).send().await.expect("an answer");
    server.terminate();
    let log = server.ended().stderr;
    assert!(log.contains("\"operation\":\"SignIn\""), "requests are logged: {log}");
    let mut secrets = vec![PASSWORD.to_owned(), wrong.to_owned(), KEY.to_owned(), "in-a-url".to_owned()];
    for payload in [&ann, &signed, &refreshed] {
        for token in ["accessToken", "refreshToken"] {
            secrets.push(payload[token].as_str().expect("a token").to_owned());
        }
    }
    for secret in secrets {
        let at = log.lines().find(|line| line.contains(&secret));
        assert!(at.is_none(), "{secret} is in {at:?}");
    }
}
