//! The embedded database as a file: copied beside writers, put back elsewhere, and what is refused.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, Database};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    durability::{self, Journal},
    process::{KEY, Process, folder, gql, register},
};

const WRITERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(120);

fn settings(database: &str) -> [(&str, &str); 5] {
    [
        ("DATABASE_URL", database),
        ("SECRET_KEY", KEY),
        ("TODO_MODE", "embedded"),
        ("TODO_LIMITS_COST_PER_MINUTE", "0"),
        ("LOG_LEVEL", "error"),
    ]
}

/// A command on this database that succeeds; what it printed.
fn run(folder: &Path, arguments: &[&str], database: &str) -> String {
    let ended = Process::spawn(folder, arguments, &settings(database)).ended();
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended.stdout
}

/// A server on this database, and its URL.
pub fn serve(folder: &Path, database: &str) -> (Process, String) {
    tokio::task::block_in_place(|| {
        let mut server = Process::spawn(folder, &[], &settings(database));
        let url = server.url();
        (server, url)
    })
}

/// An organization of somebody's; their token.
pub async fn found(url: &str) -> String {
    let token = register(url, "ann").await["accessToken"].as_str().expect("a token").to_owned();
    let found = "mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }";
    gql(url, Some(&token), found, json!({})).await;
    token
}

/// People who write items all the time, until they are told to stop.
pub struct Writers {
    pub journal: Journal,
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    pub fn start(url: &str, token: &str) -> Self {
        let (journal, is_over) = (Journal::default(), Arc::new(AtomicBool::new(false)));
        let write = || tokio::spawn(durability::write(url.into(), token.into(), journal.clone(), is_over.clone()));
        Self { tasks: (0..WRITERS).map(|_| write()).collect(), journal, is_over }
    }

    /// What is acknowledged up to now.
    pub fn acknowledged(&self) -> Journal {
        Arc::new(self.journal.lock().expect("no panic").clone().into())
    }

    /// Waits for so many items more.
    pub async fn write_more(&self, items: usize) {
        let enough = self.journal.lock().expect("no panic").len() + items;
        let until = Instant::now() + PATIENCE;
        while self.journal.lock().expect("no panic").len() < enough {
            assert!(Instant::now() < until, "writes go on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn stop(self) -> Journal {
        self.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a writer");
        }
        self.journal
    }
}

/// The ledger has no gap, its head is its last event, and what is counted is what is there.
pub async fn is_whole(url: &str, token: &str) {
    let (mut expected, mut after) = (1_i64, Value::Null);
    loop {
        let query = "query($after: Cursor) { events(first: 100, after: $after) { nodes { sequence } \
                     pageInfo { hasNextPage endCursor } } }";
        let answer = gql(url, Some(token), query, json!({ "after": after })).await;
        let events = &answer["data"]["events"];
        for node in events["nodes"].as_array().unwrap_or_else(|| panic!("{answer:#}")) {
            assert_eq!(node["sequence"], expected.to_string(), "no gap");
            expected += 1;
        }
        if events["pageInfo"]["hasNextPage"] == false {
            break;
        }
        after = events["pageInfo"]["endCursor"].clone();
    }
    let made =
        gql(url, Some(token), "mutation { itemCreate(input: {title: \"next\"}) { item { id } } }", json!({})).await;
    assert!(made["data"]["itemCreate"]["item"]["id"].is_string(), "{made:#}");
    let query = "{ events(last: 1) { nodes { sequence } } items { totalCount } \
                 organization { plan { quotas { resource used } } } }";
    let answer = gql(url, Some(token), query, json!({})).await;
    let data = &answer["data"];
    assert_eq!(data["events"]["nodes"][0]["sequence"], expected.to_string(), "{answer:#}");
    let quotas = data["organization"]["plan"]["quotas"].as_array().unwrap_or_else(|| panic!("{answer:#}"));
    let items = quotas.iter().find(|quota| quota["resource"] == "ITEMS").expect("items are counted");
    assert_eq!(items["used"].to_string().trim_matches('"'), data["items"]["totalCount"].to_string());
}

/// The ledger's position now.
pub async fn position(url: &str, token: &str) -> Value {
    gql(url, Some(token), "{ viewer { cursor } }", json!({})).await["data"]["viewer"]["cursor"].clone()
}

/// Whether `sync` takes a cursor; the error's code where it does not.
pub async fn refusal_of(url: &str, token: &str, cursor: &Value) -> Value {
    let query = "query($after: Cursor!) { sync(after: $after) { hasMore } }";
    gql(url, Some(token), query, json!({ "after": cursor })).await["errors"][0]["extensions"]["code"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_backup_is_in_it() {
    let (here, there) = (folder(), folder());
    let database = format!("sqlite://{}", here.path().join("data.db").display());
    let (server, url) = serve(here.path(), &database);
    let token = found(&url).await;
    let writers = Writers::start(&url, &token);
    writers.write_more(20).await;
    let (before, early) = (writers.acknowledged(), position(&url, &token).await);
    let file = here.path().join("backup.sqlite").display().to_string();
    let printed = tokio::task::block_in_place(|| run(here.path(), &["backup", &file], &database));
    assert!(printed.contains("1 organization(s)") && printed.contains("SECRET_KEY"), "{printed}");
    writers.write_more(20).await;
    let late = position(&url, &token).await;
    let refused = tokio::task::block_in_place(|| {
        Process::spawn(here.path(), &["backup", &file], &settings(&database)).fails(&["is there", "--force"]);
        run(here.path(), &["backup", "--force", &file], &database);
        // In use: nobody takes it away from a server.
        Process::spawn(here.path(), &["restore", &file, "--force"], &settings(&database))
            .fails(&["has it open", "stop the server"])
    });
    assert!(!refused.contains("panicked"));
    let after = writers.acknowledged();
    fs::remove_file(&file).expect("it is there");
    tokio::task::block_in_place(|| run(here.path(), &["backup", &file], &database));
    let journal = writers.stop().await;
    durability::is_all_there(&url, &token, &journal).await;

    let elsewhere = format!("sqlite://{}", there.path().join("new/todo.sqlite").display());
    let printed = tokio::task::block_in_place(|| run(there.path(), &["restore", &file], &elsewhere));
    assert!(printed.contains("is restored: 1 organization(s)") && printed.contains("INVALID_CURSOR"), "{printed}");
    let (restored, new_url) = serve(there.path(), &elsewhere);
    for journal in [&before, &after] {
        durability::is_all_there(&new_url, &token, journal).await;
    }
    is_whole(&new_url, &token).await;

    // Cursors of the life before: refused, also when the ledger has got past them.
    let head: i64 = journal.lock().expect("no panic").values().count().try_into().expect("a number");
    let writers = Writers::start(&new_url, &token);
    writers.write_more(usize::try_from(head).expect("a number").min(30)).await;
    writers.stop().await;
    for cursor in [&early, &late] {
        assert_eq!(refusal_of(&new_url, &token, cursor).await, "INVALID_CURSOR");
        assert_eq!(refusal_of(&url, &token, cursor).await, Value::Null, "still good where they are from");
    }
    let own = position(&new_url, &token).await;
    assert_eq!(refusal_of(&new_url, &token, &own).await, Value::Null);
    assert_eq!(refusal_of(&url, &token, &own).await, "INVALID_CURSOR");

    // In its own place, over what is there: the life before is kept beside it.
    drop(restored);
    tokio::task::block_in_place(|| {
        Process::spawn(there.path(), &["restore", &file], &settings(&elsewhere)).fails(&["is there", "--force"]);
        let printed = run(there.path(), &["restore", &file, "--force"], &elsewhere);
        assert!(printed.contains("What was there is "), "{printed}");
    });
    let names: Vec<String> = fs::read_dir(there.path().join("new"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 2, "the database, and the one before: {names:?}");
    let (_restored, new_url) = serve(there.path(), &elsewhere);
    assert_eq!(refusal_of(&new_url, &token, &own).await, "INVALID_CURSOR", "another life again");
    is_whole(&new_url, &token).await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_whole_backup_is_refused() {
    let folder = folder();
    let database = format!("sqlite://{}", folder.path().join("data.db").display());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let fails = |arguments: &[&str], words: &[&str]| {
        tokio::task::block_in_place(|| Process::spawn(folder.path(), arguments, &settings(&database)).fails(words));
    };
    fails(&["backup", &path("b")], &["there is no database"]);
    tokio::task::block_in_place(|| run(folder.path(), &["migrate"], &database));
    tokio::task::block_in_place(|| run(folder.path(), &["backup", &path("good")], &database));
    let good = fs::read(path("good")).expect("a backup");
    fs::write(path("short"), &good[..good.len() / 2]).expect("it is written");
    fs::write(path("text"), "no database at all, but some text that is longer than a header".repeat(20)).expect("text");
    fs::write(path("empty"), "").expect("nothing");
    let mut scratched = good.clone();
    let middle = scratched.len() / 2;
    scratched[middle..middle + 4096].fill(0xa5);
    fs::write(path("scratched"), &scratched).expect("it is written");
    let other = Database::connect(format!("sqlite://{}?mode=rwc", path("other"))).await.expect("a database");
    other.execute_unprepared("CREATE TABLE organization (id integer)").await.expect("a table");
    other.close().await.expect("it closes");

    // The header says which journal it has, and is not looked at.
    let pages = || fs::read(folder.path().join("data.db")).expect("the database").split_off(100);
    let before = pages();
    for (file, reason) in [
        ("short", "damaged"),
        ("scratched", "damaged"),
        ("text", "no database of this server's"),
        ("empty", "no database of this server's"),
        ("other", "no database of this server's"),
        ("absent", "can't be read"),
    ] {
        fails(&["restore", "--force", &path(file)], &[reason]);
    }
    assert!(pages() == before, "it is untouched");
    let left = fs::read_dir(folder.path())
        .expect("a folder")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().contains("restoring"));
    assert_eq!(left.count(), 0);

    // What lies in the place is no database, either: it is kept.
    fs::write(folder.path().join("data.db"), "scribbled over".repeat(100)).expect("it is written");
    let printed = tokio::task::block_in_place(|| run(folder.path(), &["restore", "--force", &path("good")], &database));
    assert!(printed.contains("can't be read"), "{printed}");
    let (_server, url) = serve(folder.path(), &database);
    found(&url).await;

    let postgres = "postgres://somebody@127.0.0.1:1/none";
    for arguments in [["backup", "x"], ["restore", "x"]] {
        let ended = tokio::task::block_in_place(|| {
            Process::spawn(folder.path(), &arguments, &settings(postgres)).fails(&["PostgreSQL", "docs/backup.md"])
        });
        assert!(ended.contains("pg_basebackup") || ended.contains("admin restored"), "{ended}");
    }
}

#[test]
fn a_backup_that_is_killed_leaves_the_one_before() {
    let folder = folder();
    let database = format!("sqlite://{}", folder.path().join("data.db").display());
    run(folder.path(), &["fill", "--organizations", "1", "--items", "1500", "--people", "20"], &database);
    let file = folder.path().join("backup");
    let name = file.display().to_string();
    run(folder.path(), &["backup", &name], &database);
    let before = fs::read(&file).expect("a backup");
    let partial = folder.path().join("backup.partial");
    let mut killed = 0;
    for _ in 0..5 {
        let process = Process::spawn(folder.path(), &["backup", "--force", &name], &settings(&database));
        let until = Instant::now() + PATIENCE;
        while !partial.metadata().is_ok_and(|partial| partial.len() > 0) {
            assert!(Instant::now() < until, "it begins");
            thread::sleep(Duration::from_micros(200));
        }
        // By SIGKILL.
        drop(process);
        killed += usize::from(partial.exists());
        assert!(fs::read(&file).expect("a backup") == before, "the same as before");
        let _ = fs::remove_file(&partial);
    }
    assert!(killed > 0, "one was killed while it wrote");
    // What a dead one has left is no obstacle.
    fs::write(&partial, "left over").expect("it is written");
    run(folder.path(), &["backup", "--force", &name], &database);
    assert!(!partial.exists());
    let elsewhere = format!("sqlite://{}", folder.path().join("elsewhere.db").display());
    run(folder.path(), &["restore", &name], &elsewhere);
}
