//! A Redis server of a test's own, which it may stop and start again.
//!
//! Without a `redis-server` on `PATH` there is none, the test passes and says so on stderr; with `TEST_REQUIRE_REDIS=1`
//! it fails instead. A small shell script supervises the server, as in `postgres.rs`: however the test process ends, the
//! server ends with it.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Once,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::postgres::announce;

/// How long a start may take; far above the usual 50 ms.
const START_LIMIT: Duration = Duration::from_mins(1);
/// Another process can take the free port before the server has it.
const START_ATTEMPTS: usize = 5;

/// Runs the server until standard input ends.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$1" --port "$2" --bind 127.0.0.1 --save '' --appendonly no --dir "$3" 3<&- &
server=$!
( while read -r _; do :; done <&3; kill -KILL "$server" ) 2>/dev/null &
watcher=$!
wait "$server"
kill -KILL "$watcher" 2>/dev/null
"#;

pub struct RedisServer {
    binary: PathBuf,
    port: u16,
    folder: TempDir,
    supervisor: Option<Child>,
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl RedisServer {
    /// `None` where there is no `redis-server`.
    pub fn start() -> Option<Self> {
        let on_path = env::var_os("PATH").unwrap_or_default();
        let binary = env::split_paths(&on_path).map(|folder| folder.join("redis-server")).find(|path| path.is_file());
        let Some(binary) = binary else {
            let missing = "no redis-server on PATH";
            assert!(env::var("TEST_REQUIRE_REDIS").as_deref() != Ok("1"), "TEST_REQUIRE_REDIS=1, but {missing}");
            static SAID: Once = Once::new();
            SAID.call_once(|| announce(&format!("Redis tests are SKIPPED: {missing}")));
            return None;
        };
        for _ in 0..START_ATTEMPTS {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            let port = listener.local_addr().expect("its address").port();
            drop(listener);
            let folder = tempfile::tempdir().expect("a temporary folder");
            let mut server = Self { binary: binary.clone(), port, folder, supervisor: None };
            if server.try_start() {
                return Some(server);
            }
        }
        panic!("redis-server did not start on {START_ATTEMPTS} free ports");
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Ends the server at once; what it held is gone.
    pub fn stop(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            let _ = supervisor.wait();
        }
    }

    /// Starts it again, empty, on the same port.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "redis-server starts again on port {}", self.port);
    }

    fn try_start(&mut self) -> bool {
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "redis-for-tests"])
            .arg(&self.binary)
            .arg(self.port.to_string())
            .arg(self.folder.path())
            .stdin(Stdio::piped())
            // Never this process's own: whoever reads the tests' output waits until all its writers are gone.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("/bin/sh runs");
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if self.answers() {
                self.supervisor = Some(supervisor);
                return true;
            }
            if matches!(supervisor.try_wait(), Ok(Some(_))) {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        drop(supervisor.stdin.take());
        let _ = supervisor.wait();
        false
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else { return false };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut answer = [0; 5];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG"
    }
}
