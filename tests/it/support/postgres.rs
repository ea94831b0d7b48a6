//! The PostgreSQL server that the tests run on, beside SQLite.
//!
//! [`server`] gives the one server of this test process, or `None` where there is none:
//!
//! 1. `TEST_DATABASE_URL`, when set and not empty, names a running server
//!    (`postgres://user:password@host:port/database`). The user must be allowed to create schemas in that database;
//!    nothing outside the schemas made here is touched.
//! 2. Otherwise a private cluster is made from the newest server binaries found here and lives as long as the process.
//! 3. Without binaries the PostgreSQL half of the tests has nothing to run on. That is an error instead when
//!    `TEST_REQUIRE_POSTGRES=1`.
//!
//! One line on stderr, past the capture of `cargo test`, says which of the three it was.
//!
//! The tests share the server, and each works in a schema of its own: [`Server::create_schema`],
//! [`Server::schema_url`], [`Server::drop_schema`].
//!
//! # The private cluster
//!
//! It listens on a free port of 127.0.0.1 and lets every local user in without a password, so it is no place for real
//! data. Text sorts by code point (locale `C.UTF-8`); the server of `TEST_DATABASE_URL` may sort by a language.
//!
//! Under `cargo nextest` each test is a process and starts a cluster of its own, about a second each time. Name a
//! running server with `TEST_DATABASE_URL` there.
//!
//! Neither destructors nor signal handlers run in every way a process can end, so a small shell script supervises the
//! cluster: it waits on a pipe that only the test process holds open, and when the kernel closes it, stops the server
//! and removes its folder. What it can't outlive is a SIGKILL of its own, which leaves both behind. It needs a Unix.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, iter};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection, DbBackend, DbErr, Statement};

/// How long a cluster may take from nothing to its first connection. Far above the usual second, for machines that
/// compile beside it.
const START_LIMIT: Duration = Duration::from_mins(1);

/// Another process can take the free port before the server has it; then the next start gets another one.
const START_ATTEMPTS: usize = 5;

/// Settings of the private cluster: what it holds need not survive a crash, and it keeps to loopback and its folder.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=300",
    "shared_buffers=128MB",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",
    "jit=off",
    // Shared memory as files of the folder: nothing stays in /dev/shm after a kill, and a container's small one can't
    // fill up.
    "dynamic_shared_memory_type=mmap",
    "logging_collector=off",
];

/// Makes the cluster, runs it until standard input ends, and removes its folder.
///
/// A server that ends by itself ends the script too, with the server's status; while the folder has a file `away`, it is
/// awaited, and the server started again. SIGQUIT stops a server at once, without
/// a checkpoint; it is repeated because one that has only just been started still ignores it.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
folder=$1 initdb=$2 postgres=$3 port=$4
shift 4
exec 3<&0 </dev/null

remove() { rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }; }
init() {
    "$initdb" --pgdata="$folder/data" --locale="$1" --encoding=UTF8 --auth=trust --username=test --no-sync
}
init C.UTF-8 || init C || { remove; exit 1; }

while :; do
    "$postgres" -D "$folder/data" -p "$port" "$@" 3<&- &
    server=$!
    (
        while read -r _; do :; done <&3
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
            kill -QUIT "$server" || exit 0
            sleep 0.1
        done
        kill -KILL "$server"
    ) 2>/dev/null &
    watcher=$!

    wait "$server"
    status=$?
    kill -KILL "$watcher" 2>/dev/null
    [ -e "$folder/away" ] || break
    ( while read -r _; do :; done <&3; : >"$folder/over"; rm -f "$folder/away" ) &
    watcher=$!
    while [ -e "$folder/away" ]; do sleep 0.1; done
    kill -KILL "$watcher" 2>/dev/null
    [ ! -e "$folder/over" ] || break
done
remove
exit "$status"
"#;

/// A running PostgreSQL server, shared by all tests of this process.
pub struct Server {
    url: String,
    /// The supervisor of a private cluster. Its standard input is the pipe that keeps the cluster alive.
    supervisor: Option<Child>,
    /// Of a private cluster.
    folder: PathBuf,
}

/// All processes of a cluster stand still, connections stay open; they go on when it is dropped.
pub struct Paused(Vec<i32>);

impl Paused {
    /// Stops a postmaster and its processes where they are. Linux tells whose children they are.
    pub fn of(postmaster: i32) -> Self {
        // First, so that it starts no others.
        let mut paused = Self(vec![postmaster]);
        signal("STOP", &paused.0);
        let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
        let children = children.expect("Linux's list of children");
        paused.0.extend(children.split_whitespace().map(|child| child.parse::<i32>().expect("a number")));
        signal("STOP", &paused.0[1..]);
        paused
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

/// Sends it to those of these processes that are there.
fn signal(name: &str, processes: &[i32]) {
    for process in processes {
        let _ = Command::new("/bin/sh").args(["-c", &format!("kill -{name} {process}")]).stderr(Stdio::null()).status();
    }
}

/// The server to test on, or `None` where there is none. The first call finds or starts it, and blocks meanwhile.
///
/// # Panics
///
/// When there should be a server and is none: `TEST_DATABASE_URL` can't be reached, a private cluster doesn't start,
/// or `TEST_REQUIRE_POSTGRES=1` and no binaries are found. Every call then panics with the same message.
#[track_caller]
pub fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Result<Option<Server>, String>> = OnceLock::new();
    match SERVER.get_or_init(find_or_start) {
        Ok(server) => server.as_ref(),
        Err(message) => panic!("{message}"),
    }
}

/// A cluster of a test's own, which it may hurt; `None` where there are no binaries. It ends with the value.
///
/// # Panics
///
/// Like [`server`].
pub fn own() -> Option<Server> {
    own_with(&[])
}

/// [`own`], with these settings instead of those of [`SETTINGS`].
pub fn own_with(settings: &[&str]) -> Option<Server> {
    server()?;
    let binaries = find_binaries()?;
    Some(start_cluster(&binaries, settings).unwrap_or_else(|message| panic!("{message}")))
}

impl Server {
    /// The whole database, by connections whose commits survive [`Server::crash`].
    pub fn durable_url(&self) -> String {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}options=-c%20synchronous_commit%3Don", self.url)
    }

    /// Kills one of the server's processes at once. The server then ends all connections and recovers, as after a crash.
    pub async fn crash(&self) {
        let db = connect(&self.url).await.expect("the server answers");
        let ask = Statement::from_string(DbBackend::Postgres, "SELECT pg_backend_pid()");
        let row = db.query_one_raw(ask).await.expect("the server answers").expect("a row");
        let pid: i32 = row.try_get_by_index(0).expect("a number");
        let killed = Command::new("/bin/sh").args(["-c", &format!("kill -KILL {pid}")]).status();
        assert!(killed.expect("a shell").success());
        drop(db);
    }

    /// The first process of a private cluster.
    fn postmaster(&self) -> i32 {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server runs");
        file.lines().next().and_then(|line| line.parse().ok()).expect("a process's number")
    }

    /// Stops all of the server's processes where they are.
    pub fn pause(&self) -> Paused {
        Paused::of(self.postmaster())
    }

    /// Stops the server in order, as `pg_ctl stop` does: connections are ended, nothing listens.
    pub fn stop(&self) {
        let postmaster = self.postmaster();
        File::create(self.folder.join("away")).expect("a file");
        signal("INT", &[postmaster]);
        let until = Instant::now() + START_LIMIT;
        while self.folder.join("data/postmaster.pid").exists() {
            assert!(Instant::now() < until, "PostgreSQL stops");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a server again that was stopped, on its port.
    pub fn start_again(&self) {
        fs::remove_file(self.folder.join("away")).expect("it was stopped");
        let until = Instant::now() + START_LIMIT;
        while !is_ready(&self.folder) {
            assert!(Instant::now() < until, "PostgreSQL starts again");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A database URL whose connections see `schema` and nothing else: tables are made there and found there by their
    /// bare names.
    ///
    /// # Panics
    ///
    /// When the name has other characters than `a-z`, `0-9` and `_`, which would need quoting.
    pub fn schema_url(&self, schema: &str) -> String {
        assert_plain(schema);
        let separator = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{separator}options=-c%20search_path%3D{schema}", self.url)
    }

    /// Creates an empty schema whose name no other test has, on this server or in a later run, and returns the name.
    pub async fn create_schema(&self) -> String {
        let random = getrandom::u64().expect("the system gives random numbers");
        let schema = format!("test_{random:016x}");
        self.execute(&format!("CREATE SCHEMA {schema}")).await;
        schema
    }

    /// Drops a schema and all it holds, at the end of a test. In a private cluster this does nothing, since the cluster
    /// goes away as a whole.
    ///
    /// Close the test's own connections first: dropping waits for the transactions that still use the schema.
    pub async fn drop_schema(&self, schema: &str) {
        assert_plain(schema);
        if self.supervisor.is_none() {
            self.execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).await;
        }
    }

    /// Runs one statement on a connection of its own: a pool kept in the server would be tied to the async runtime of
    /// the test that made it.
    async fn execute(&self, sql: &str) {
        let result = async {
            let db = connect(&self.url).await?;
            db.execute_unprepared(sql).await?;
            db.close().await
        };
        if let Err(error) = result.await {
            panic!("{sql}: {error}");
        }
    }
}

fn assert_plain(schema: &str) {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    assert!(!schema.is_empty() && schema.chars().all(plain), "not a plain schema name: {schema:?}");
}

fn find_or_start() -> Result<Option<Server>, String> {
    if let Some(url) = env::var("TEST_DATABASE_URL").ok().filter(|url| !url.is_empty()) {
        let place = without_secrets(&url);
        let version = ask_version(&url).map_err(|error| format!("TEST_DATABASE_URL ({place}): {error}"))?;
        announce(&format!("PostgreSQL {version} of TEST_DATABASE_URL ({place})"));
        return Ok(Some(Server { url, supervisor: None, folder: PathBuf::new() }));
    }
    let Some(binaries) = find_binaries() else {
        let missing = "no server binaries (initdb, postgres) on PATH or in the usual places; \
                       install PostgreSQL or set TEST_DATABASE_URL";
        if env::var("TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1") {
            return Err(format!("TEST_REQUIRE_POSTGRES=1, but {missing}"));
        }
        announce(&format!("PostgreSQL tests are SKIPPED: {missing}"));
        return Ok(None);
    };
    let started = Instant::now();
    let server = start_cluster(&binaries, &[])?;
    let version = ask_version(&server.url).map_err(|error| format!("the private PostgreSQL server: {error}"))?;
    announce(&format!(
        "PostgreSQL {version} of {}, private server at {}, started in {:.1} s",
        binaries.display(),
        without_secrets(&server.url),
        started.elapsed().as_secs_f32(),
    ));
    Ok(Some(server))
}

/// Writes a line to stderr itself: the test harness captures only what the print macros write. The empty line before
/// it ends a `test … ` that the harness may have begun.
pub fn announce(line: &str) {
    // A closed stderr is no reason to fail tests.
    let _ = io::stderr().lock().write_all(format!("\n{line}\n").as_bytes());
}

/// The host, port and database of a URL, without the user, the password and the parameters.
fn without_secrets(url: &str) -> &str {
    let url = url.split_once('?').map_or(url, |(before, _)| before);
    let url = url.split_once("://").map_or(url, |(_, after)| after);
    url.rsplit_once('@').map_or(url, |(_, after)| after)
}

async fn connect(url: &str) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await
}

/// Connects and asks for the server's version, which also shows that tests will be let in.
fn ask_version(url: &str) -> Result<String, String> {
    let ask = async {
        let db = connect(url).await?;
        let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "SHOW server_version")).await?;
        let version: String = row.expect("SHOW gives one row").try_get("", "server_version")?;
        db.close().await?;
        Ok::<_, DbErr>(version.split(' ').next().unwrap_or_default().to_owned())
    };
    // In a thread of its own, because the caller may stand in an async runtime, where nothing else can be waited for.
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("an async runtime starts").block_on(ask)
        });
        asking.join().expect("asking for the version does not panic").map_err(|error| error.to_string())
    })
}

/// The folder with `initdb` and `postgres`: the first on `PATH`, else the highest version of those that packages
/// install outside of it.
fn find_binaries() -> Option<PathBuf> {
    find_tools(&["initdb", "postgres"])
}

/// The first folder with all of these.
pub(super) fn find_tools(names: &[&str]) -> Option<PathBuf> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&on_path)
        .chain(versioned("/usr/lib/postgresql", "", "bin")) // Debian
        .chain(versioned("/usr", "pgsql-", "bin")) // packages of postgresql.org for Red Hat
        .chain(versioned("/usr/lib", "postgresql", "bin")) // SUSE
        .chain(versioned("/usr/libexec", "postgresql", "")) // Alpine
        .chain(iter::once(PathBuf::from("/usr/local/pgsql/bin"))) // built from source
        .chain(versioned("/opt/homebrew/opt", "postgresql", "bin"))
        .chain(versioned("/usr/local/opt", "postgresql", "bin"))
        .chain(versioned("/Applications/Postgres.app/Contents/Versions", "", "bin"))
        .find(|folder| folder.is_absolute() && names.iter().all(|name| folder.join(name).is_file()))
}

/// The `below` folders of those in `parent` whose name is `prefix` and a version (`15`, `@16`, `9.6`), highest first.
fn versioned(parent: &str, prefix: &str, below: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let version = name.to_str()?.strip_prefix(prefix)?.trim_start_matches('@');
            let numbers = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
            Some((numbers, entry.path().join(below)))
        })
        .collect();
    found.sort_unstable_by_key(|(version, _)| Reverse(version.clone()));
    found.into_iter().map(|(_, folder)| folder)
}

fn start_cluster(binaries: &Path, settings: &[&str]) -> Result<Server, String> {
    let mut attempts = iter::repeat_with(|| try_start_cluster(binaries, settings)).take(START_ATTEMPTS);
    let port_taken = |error: &String| error.contains("Address already in use");
    attempts
        .find(|attempt| !attempt.as_ref().is_err_and(port_taken))
        .unwrap_or_else(|| Err(format!("{START_ATTEMPTS} free ports were all taken before PostgreSQL had them")))
}

fn try_start_cluster(binaries: &Path, settings: &[&str]) -> Result<Server, String> {
    let no_files = |error: io::Error| format!("can't prepare a folder for PostgreSQL: {error}");
    let (folder, user) = private_folder().map_err(no_files)?;
    let log_path = folder.path().join("log");
    let log = File::create(&log_path).map_err(no_files)?;
    // The supervisor removes the folder; an open file can still be read then.
    let mut log_reader = File::open(&log_path).map_err(no_files)?;
    let port = free_port().map_err(|error| format!("no free port for PostgreSQL: {error}"))?;

    let mut supervisor = Command::new("/bin/sh");
    supervisor
        .args(["-c", SUPERVISOR, "postgres-for-tests"])
        .args([folder.path(), &binaries.join("initdb"), &binaries.join("postgres")])
        .arg(port.to_string())
        .args(SETTINGS.iter().chain(settings).flat_map(|setting| ["-c", setting]))
        // The unprivileged user may not be allowed into the present folder.
        .current_dir(folder.path())
        // Messages in English, for the port check above; and no search for the name of the local time zone.
        .envs([("LC_ALL", "C"), ("TZ", "UTC")])
        .stdin(Stdio::piped())
        // Never this process's own: whoever reads the tests' output waits until all its writers are gone.
        .stdout(log.try_clone().map_err(no_files)?)
        .stderr(log)
        // Apart from the terminal's foreground group, so that Ctrl-C ends the tests and not the supervisor.
        .process_group(0);
    if let Some((uid, gid)) = user {
        supervisor.uid(uid).gid(gid);
    }
    let mut supervisor = supervisor.spawn().map_err(|error| format!("can't run /bin/sh for PostgreSQL: {error}"))?;
    let folder = folder.keep();

    wait_until_ready(&folder, &mut supervisor).map_err(|reason| {
        let mut log = Vec::new();
        let _ = log_reader.read_to_end(&mut log);
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        format!("PostgreSQL from {} {reason}. The end of its log:\n{tail}", binaries.display())
    })?;
    let url = format!("postgres://test@{}:{port}/postgres?sslmode=disable", Ipv4Addr::LOCALHOST);
    Ok(Server { url, supervisor: Some(supervisor), folder })
}

/// A new temporary folder, and the user and group that own it when that is not the present user.
///
/// PostgreSQL refuses to run as root. Root gives the folder to an unprivileged user, in the one place that is sure to
/// be open to everybody.
pub(super) fn private_folder() -> io::Result<(tempfile::TempDir, Option<(u32, u32)>)> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("todo-test-postgres-");
    let folder = builder.tempdir()?;
    // Who owns a file just made is who this process runs as.
    if folder.path().metadata()?.uid() != 0 {
        return Ok((folder, None));
    }
    let folder = builder.tempdir_in("/tmp")?;
    let (uid, gid) = ["postgres", "nobody"]
        .iter()
        .find_map(|user| Some((id("-u", user)?, id("-g", user)?)))
        .ok_or_else(|| io::Error::other("running as root, and there is neither a user `postgres` nor `nobody`"))?;
    chown(folder.path(), Some(uid), Some(gid))?;
    Ok((folder, Some((uid, gid))))
}

/// What `id` says about a user, or `None` for one that doesn't exist.
fn id(what: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([what, user]).output().ok()?;
    str::from_utf8(&output.stdout).ok()?.trim().parse().ok()
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether the server accepts connections. It keeps its state in line 8 of this file.
fn is_ready(folder: &Path) -> bool {
    let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
    state.lines().nth(7).is_some_and(|line| line.trim_end() == "ready")
}

/// Waits until the server accepts connections. On failure the supervisor has ended, or will once it is dropped, which
/// closes its input.
fn wait_until_ready(folder: &Path, supervisor: &mut Child) -> Result<(), String> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        if is_ready(folder) {
            return Ok(());
        }
        match supervisor.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
            Ok(None) => return Err(format!("was not ready after {} s", START_LIMIT.as_secs())),
            Ok(Some(status)) => return Err(format!("did not start ({status})")),
            Err(error) => return Err(format!("can't be waited for: {error}")),
        }
    }
}
