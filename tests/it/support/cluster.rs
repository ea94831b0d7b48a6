//! PostgreSQL as an operator runs it: clusters in one folder, with an archive of their log, and PostgreSQL's own tools.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    free_port,
    postgres::{self, Paused, announce, find_tools, private_folder},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the server until standard input ends, then stops it as a crash would: the kernel closes the pipe whatever becomes of
/// the tests.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$@" 3<&- &
server=$!
( while read -r _; do :; done <&3; kill -QUIT "$server"; sleep 5; kill -KILL "$server" ) 2>/dev/null &
watcher=$!
wait "$server"
kill -KILL "$watcher" 2>/dev/null
"#;

/// A folder for clusters, and the tools to make and run them.
pub struct Clusters {
    folder: tempfile::TempDir,
    /// PostgreSQL does not run as root.
    user: Option<(u32, u32)>,
    binaries: PathBuf,
}

/// A running cluster. Dropped, it has crashed.
pub struct Cluster {
    supervisor: Child,
    port: u16,
}

impl Clusters {
    /// `None` where PostgreSQL is not here with its tools; says so.
    pub fn new() -> Option<Self> {
        postgres::server()?;
        let tools = ["initdb", "postgres", "psql", "pg_basebackup", "pg_verifybackup", "pg_dump", "pg_restore"];
        let Some(binaries) = find_tools(&tools) else {
            let required = std::env::var("TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
            assert!(!required, "TEST_REQUIRE_POSTGRES=1, but no folder has all of {tools:?}");
            announce("recovery tests are SKIPPED: no folder has PostgreSQL with all its tools");
            return None;
        };
        let (folder, user) = private_folder().expect("a folder");
        Some(Self { folder, user, binaries })
    }

    /// A file or folder in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: &str) -> Command {
        self.as_user(&self.binaries.join(program))
    }

    fn as_user(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).envs([("LC_ALL", "C"), ("TZ", "UTC")]).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs one of PostgreSQL's tools, which succeeds; what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let done = self.command(program).args(arguments).output().expect("it runs");
        assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).expect("text")
    }

    /// Stops all processes of the cluster in the folder `data` where they are.
    pub fn pause(&self, data: &str) -> Paused {
        let file = fs::read_to_string(self.path(data).join("postmaster.pid")).expect("it runs");
        Paused::of(file.lines().next().and_then(|line| line.parse().ok()).expect("a number"))
    }

    /// Runs a line of shell as whoever runs the clusters.
    pub fn shell(&self, line: &str) {
        let done = self.as_user(Path::new("/bin/sh")).args(["-c", line]).output().expect("a shell");
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts the cluster in the folder `data`, with these settings; returns when it takes connections that may write.
    pub fn start(&self, data: &str, settings: &[&str]) -> Cluster {
        self.start_until(data, settings, "f", free_port())
    }

    /// Starts the cluster in the folder `data` as one that follows another; returns when it takes connections.
    pub fn start_standby(&self, data: &str, settings: &[&str]) -> Cluster {
        self.start_until(data, settings, "t", free_port())
    }

    /// Crashes a cluster that follows another, and starts it where it was.
    pub fn restart_standby(&self, cluster: Cluster, data: &str, settings: &[&str]) -> Cluster {
        let port = cluster.port;
        drop(cluster);
        self.start_until(data, settings, "t", port)
    }

    /// `recovers`: what it says of being in recovery when it is ready.
    fn start_until(&self, data: &str, settings: &[&str], recovers: &str, port: u16) -> Cluster {
        let log = self.path(&format!("{data}.log"));
        let output = File::create(&log).expect("a log");
        let mut command = self.as_user(Path::new("/bin/sh"));
        command
            .args(["-c", SUPERVISOR, "postgres-for-tests"])
            .arg(self.binaries.join("postgres"))
            .args(["-D", data, "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories=", "-c", "dynamic_shared_memory_type=mmap"])
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("the log"))
            .stderr(output)
            .process_group(0);
        let cluster = Cluster { supervisor: command.spawn().expect("it starts"), port };
        let until = Instant::now() + PATIENCE;
        let url = cluster.url("postgres");
        let ask = |sql: &str| self.command("psql").args([&url, "-Atc", sql]).output().expect("psql");
        while ask("SELECT pg_is_in_recovery()").stdout.trim_ascii() != recovers.as_bytes() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < until, "it does not get ready:\n{said}");
            thread::sleep(Duration::from_millis(50));
        }
        cluster
    }
}

impl Cluster {
    /// One of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://test@{}:{}/{database}?sslmode=disable", Ipv4Addr::LOCALHOST, self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}
