//! `import`: the real binary, beside a running server and on the same database. Samples are made by hand in the shape
//! that each tool gives its exports.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use todo_platform::{
    base::{
        enums::{ItemStatus, Priority},
        id::ItemId,
        policy::Permission,
    },
    data::{actor::Origin, db::OrgScope},
    domains::items::{
        create::Times,
        create_many::{Create, create_all_in},
        input::ItemCreateInput,
    },
};
use todo_test_macros::databases;

use crate::{
    items::mutate,
    process::{Ended, KEY, Process, folder},
    support::{app::TestApp, world::Company},
};

fn sample(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples").join(name)
}

async fn spawn(app: &TestApp, folder: &std::path::Path, arguments: &[&str]) -> Process {
    // Waiting for the command stops this test's one thread: a write left under way would keep the command from writing.
    app.settle().await;
    let settings = [
        ("DATABASE_URL", app.state.config.database.url.as_str()),
        ("SECRET_KEY", KEY),
        ("TODO_DATABASE_MAX_CONNECTIONS", "4"),
    ];
    let arguments = [&["import", "--organization", "acme"], arguments].concat();
    Process::spawn(folder, &arguments, &settings)
}

/// Imports a sample.
async fn import(app: &TestApp, name: &str, arguments: &[&str]) -> Ended {
    let (folder, path) = (folder(), sample(name));
    let arguments = [arguments, &[path.to_str().expect("a path")]].concat();
    spawn(app, folder.path(), &arguments).await.ended()
}

/// Imports a file of this content, which is named `tasks.csv`.
async fn import_bytes(app: &TestApp, content: impl AsRef<[u8]>, arguments: &[&str]) -> Ended {
    let folder = folder();
    std::fs::write(folder.path().join("tasks.csv"), content).expect("a file");
    let arguments = [arguments, &["tasks.csv"]].concat();
    spawn(app, folder.path(), &arguments).await.ended()
}

#[track_caller]
fn succeeds(ended: Ended, words: &[&str]) -> String {
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    for word in words {
        assert!(ended.stdout.contains(word), "{word:?} is not in {}", ended.stdout);
    }
    ended.stdout
}

/// Ends with 1, with these words in report or error, and no panic.
#[track_caller]
fn fails(ended: Ended, words: &[&str]) {
    let all = ended.stdout + &ended.stderr;
    assert_eq!(ended.status.code(), Some(1), "{all}");
    assert!(!all.contains("panicked"), "{all}");
    for word in words {
        assert!(all.contains(word), "{word:?} is not in {all}");
    }
}

/// Everything of the organization, by identifier. Times of the import itself are left out.
async fn items(app: &TestApp, acme: &Company) -> Value {
    let query = "{ items(first: 20, orderBy: {field: IDENTIFIER}) { nodes { identifier title description status \
                 priority dueAt estimatedHours createdAt completedAt startedAt team { name } parent { identifier } \
                 subtaskProgress { done total } assignees { username } tags { name color } \
                 comments(first: 3) { totalCount nodes { body } } createdBy { displayName } } } }";
    let data = app.call(acme, &acme.owner, query).data().await;
    let mut nodes = data["items"]["nodes"].clone();
    for node in nodes.as_array_mut().expect("items") {
        for time in ["createdAt", "startedAt", "completedAt"] {
            if node[time].as_str().is_some_and(|at| at > "2025") {
                node[time] = "at the import".into();
            }
        }
        node.as_object_mut().expect("an item").retain(|_, value| !value.is_null() && *value != json!([]));
        if node["comments"]["totalCount"] == 0 {
            node.as_object_mut().expect("an item").remove("comments");
        }
    }
    nodes
}

async fn titles(app: &TestApp, acme: &Company) -> Vec<String> {
    let items = items(app, acme).await;
    items.as_array().expect("items").iter().map(|item| item["title"].as_str().expect("a title").to_owned()).collect()
}

async fn events(app: &TestApp, acme: &Company) -> i64 {
    let data = app.call(acme, &acme.owner, "{ events(first: 1) { totalCount } }").data().await;
    data["events"]["totalCount"].as_i64().expect("a number")
}

/// What a format's sample becomes, and that another import of it changes nothing.
async fn golden(app: &TestApp, name: &str, arguments: &[&str], said: &[&str]) -> Value {
    let acme = app.company("acme").await;
    let before = events(app, &acme).await;
    let arguments = [&["--create-tags", "--create-teams"], arguments].concat();
    succeeds(import(app, name, &[&arguments[..], &["--check"]].concat()).await, &["Only checked"]);
    assert_eq!(events(app, &acme).await, before, "a check writes nothing");
    succeeds(import(app, name, &arguments).await, said);
    let made = items(app, &acme).await;
    let after = events(app, &acme).await;
    let again = succeeds(import(app, name, &arguments).await, &["Imported 0 item(s) into acme."]);
    assert!(again.contains("imported before"), "{again}");
    assert_eq!((events(app, &acme).await, items(app, &acme).await), (after, made.clone()), "again changes nothing");
    made
}

#[databases]
async fn github_issues_of_the_rest_api(app: TestApp) {
    let said = ["GitHub issues", "source: github.com/acme/shop", "1 pull requests left out", "2 comments left out"];
    insta::assert_json_snapshot!("github_rest", golden(&app, "github-rest.json", &[], &said).await);
}

#[databases]
async fn github_issues_of_gh(app: TestApp) {
    let made = golden(&app, "github-gh.json", &[], &["source: github.com/acme/shop", "1 comment(s)"]).await;
    insta::assert_json_snapshot!("github_gh", made);
    // The same issues, fetched otherwise, are the same items.
    let rest = import(&app, "github-rest.json", &["--create-tags"]).await;
    succeeds(rest, &["Imported 0 item(s) into acme."]);
}

#[databases]
async fn gitlab_issues_of_the_api(app: TestApp) {
    let said = ["GitLab issues", "source: gitlab.example.com/acme/tools/reports", "3 comments left out"];
    let made = golden(&app, "gitlab.json", &[], &said).await;
    insta::assert_json_snapshot!("gitlab", made);
    succeeds(import(&app, "gitlab.csv", &["--create-tags"]).await, &["Imported 0 item(s) into acme."]);
}

#[databases]
async fn gitlab_issues_as_csv(app: TestApp) {
    let made = golden(&app, "gitlab.csv", &[], &["GitLab issues", "title ← Title", "created ← Created At (UTC)"]).await;
    insta::assert_json_snapshot!("gitlab_csv", made);
}

#[databases]
async fn linear(app: TestApp) {
    insta::assert_json_snapshot!("linear", golden(&app, "linear.csv", &[], &["Linear's export", "1 team(s)"]).await);
}

#[databases]
async fn jira(app: TestApp) {
    let said = ["Jira's export", "tags ← Labels", "not used: Issue Type, Project key", "1 comment(s)"];
    insta::assert_json_snapshot!("jira", golden(&app, "jira.csv", &[], &said).await);
}

#[databases]
async fn trello(app: TestApp) {
    let said = ["a Trello board", "2 archived cards left out", "1 cards of the list \"Ideas\" taken as TODO"];
    insta::assert_json_snapshot!("trello", golden(&app, "trello.json", &[], &said).await);
    let archived = import(&app, "trello.json", &["--create-tags", "--archived", "--status", "ideas=IN_REVIEW"]).await;
    succeeds(archived, &["Imported 2 item(s) into acme."]);
}

#[databases]
async fn todoist(app: TestApp) {
    let said = ["a Todoist project", "1 sections left out", "1 due dates left out", "2 tag(s)"];
    insta::assert_json_snapshot!("todoist", golden(&app, "todoist.csv", &[], &said).await);
}

#[databases]
async fn vikunja(app: TestApp) {
    let said = ["Vikunja's export", "1 tasks of archived projects left out"];
    insta::assert_json_snapshot!("vikunja", golden(&app, "vikunja.json", &[], &said).await);
}

const TABLE: &str = "Id;Title;Notes;State;Urgency;Due date;Hours;Owner;Labels;Team;Parent\n\
    1;Plan;\"two\nlines\";doing;P1;2024-05-01;1,5;acme-member@example.com, ACME-ADMIN;bug, ui;Core;\n\
    2;Build;;todo;;01.06.2024 14:30;2h 30m;;bug;;1\n";

#[databases]
async fn a_table_is_mapped_by_its_header(app: TestApp) {
    let acme = app.company("acme").await;
    app.create(&acme, &acme.owner, "team", json!({ "name": "core" })).await;
    app.create(&acme, &acme.owner, "tag", json!({ "name": "Bug" })).await;
    fails(import_bytes(&app, TABLE, &[]).await, &["line 2", "tags (Labels)", "UNKNOWN_TAG", "--create-tags", "2 of 2"]);
    let said = succeeds(
        import_bytes(&app, TABLE, &["--create-tags"]).await,
        &["tasks.csv: CSV, UTF-8, separated by \";\"", "priority ← Urgency", "Imported 2 item(s), 1 tag(s) into acme."],
    );
    assert!(!said.contains("bad:"), "{said}");
    insta::assert_json_snapshot!("table", items(&app, &acme).await);

    // An item that was changed, or put into the trash, stays so; what is new is imported below what was there.
    let id = app.call(&acme, &acme.owner, "{ items(first: 1, orderBy: {field: IDENTIFIER}) { nodes { id } } }");
    let id = id.data().await["items"]["nodes"][0]["id"].clone();
    let patch = json!({ "id": id, "patch": { "title": "Planned" } });
    mutate(&app, &acme, &acme.owner, ("itemUpdate", ""), patch).done().await;
    let more = format!("{TABLE}3;Test;;qa;;;;;;;1\n");
    succeeds(import_bytes(&app, &more, &["--create-tags"]).await, &["Imported 1 item(s) into acme."]);
    assert_eq!(titles(&app, &acme).await, ["Planned", "Build", "Test"]);
    mutate(&app, &acme, &acme.owner, ("itemDelete", ""), json!({ "id": id })).done().await;
    let below = format!("{more}4;Late;;;;;;;;;1\n");
    fails(import_bytes(&app, &below, &["--create-tags"]).await, &["line 6", "INVALID_STATE", "in the trash"]);
}

#[databases]
async fn columns_and_words_can_be_told(app: TestApp) {
    let acme = app.company("acme").await;
    let table = "Vorgang,Stand,Wichtig,Wann,Wer,Egal\nA,wartet,1,3/4/2024,Max,x\n";
    fails(import_bytes(&app, table, &[]).await, &["NO_TITLE_COLUMN", "\"Vorgang\"", "--map"]);
    succeeds(
        import_bytes(&app, table, &["--map", "Vorgang=title", "--check"]).await,
        &["not used: Stand, Wichtig, Wann, Wer, Egal"],
    );
    fails(import_bytes(&app, table, &["--map", "Nix=title"]).await, &["NO_SUCH_COLUMN", "\"Nix\""]);
    let map = [
        "--map",
        "vorgang=title",
        "--map",
        "Stand=status",
        "--map",
        "Wichtig=priority",
        "--map",
        "Wann=due",
        "--map",
        "Wer=assignees",
    ];
    fails(
        import_bytes(&app, table, &map).await,
        &[
            "UNKNOWN_STATUS",
            "--status \"wartet=IN_PROGRESS\"",
            "UNKNOWN_PRIORITY",
            "AMBIGUOUS_DATE",
            "--dates dmy",
            "UNKNOWN_PERSON",
            "--person \"Max=ADDRESS\"",
        ],
    );
    let told = ["--status", "Wartet=IN_REVIEW", "--priority", "1=URGENT", "--dates", "dmy", "--person"];
    let person = format!("max={}", acme.member.email);
    let all = [&map[..], &told[..], &[&person]].concat();
    succeeds(import_bytes(&app, table, &all).await, &["Imported 1 item(s) into acme."]);
    let made = items(&app, &acme).await;
    let short = [&made[0]["status"], &made[0]["priority"], &made[0]["dueAt"], &made[0]["assignees"][0]["username"]];
    assert_eq!(json!(short), json!(["IN_REVIEW", "URGENT", "2024-04-03T23:59:59.000Z", "acme-member"]));
    let skipped = [
        &map[..],
        &[
            "--unknown-people",
            "skip",
            "--without",
            "status",
            "--without",
            "priority",
            "--without",
            "due",
            "--source",
            "other",
        ],
    ]
    .concat();
    succeeds(
        import_bytes(&app, table, &skipped).await,
        &["\"Max\" is no active member: left out 1 time(s)", "Imported 1"],
    );
}

#[databases]
async fn nothing_is_written_unless_all_is_good_or_the_bad_is_skipped(app: TestApp) {
    let acme = app.company("acme").await;
    let (longest, long) = ("x".repeat(500), "x".repeat(501));
    let table = format!(
        "id,title,due,parent\n1,{longest},,\n2,{long},,\n3,,,\n4,\"a\u{0}b\",,\n5,E,10000-01-01,\n6,F,soon,\n7,G\n8,\"\u{1b}[31mred\u{7}\",,\n\
         9,I,,2\n10,J,,9\n11,K,,11\n12,L,,404\n1,M,,\n,N,,\n"
    );
    let before = events(&app, &acme).await;
    let words = [
        "line 3 ",
        "TOO_LONG",
        "line 4 ",
        "REQUIRED",
        "NUL",
        "OUT_OF_RANGE",
        "\"soon\"",
        "BROKEN_LINE",
        "PARENT_IS_BAD",
        "CYCLE",
        "UNKNOWN_PARENT",
        "DUPLICATE_ID",
        "line 2 has the same id",
        "12 of 14 record(s) are bad",
        "Nothing was written",
        "--skip-bad",
    ];
    fails(import_bytes(&app, &table, &[]).await, &words);
    fails(import_bytes(&app, &table, &["--check", "--skip-bad"]).await, &["Only checked", "12 of 14"]);
    assert_eq!(events(&app, &acme).await, before);

    let cut = import_bytes(&app, &table, &["--check", "--cut"]).await;
    fails(cut, &["1 records with a text that was too long", "9 of 14 record(s) are bad"]);
    let report = import_bytes(&app, &table, &["--check", "--json"]).await;
    let report: Value = serde_json::from_str(&report.stdout).expect("JSON");
    let problems = report["problems"].as_array().expect("problems");
    let codes: Vec<String> = problems
        .iter()
        .map(|problem| {
            format!(
                "{} {} {}",
                problem["line"],
                problem["field"].as_str().unwrap_or("-"),
                problem["code"].as_str().expect("a code")
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            "3 title TOO_LONG",
            "4 title REQUIRED",
            "5 title INVALID",
            "6 due OUT_OF_RANGE",
            "7 due INVALID",
            "8 - BROKEN_LINE",
            "10 parent PARENT_IS_BAD",
            "11 parent PARENT_IS_BAD",
            "12 parent CYCLE",
            "13 parent UNKNOWN_PARENT",
            "14 id DUPLICATE_ID",
            "15 id REQUIRED",
        ]
    );
    assert_eq!(json!([report["records"], report["toBeImported"], report["bad"]]), json!([14, 2, 12]));

    let said = succeeds(import_bytes(&app, &table, &["--skip-bad"]).await, &["Imported 2 item(s) into acme."]);
    assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
    assert_eq!(titles(&app, &acme).await, [longest, "\u{1b}[31mred\u{7}".to_owned()]);
    assert_eq!(events(&app, &acme).await, before + 2);
}

#[databases]
async fn encodings_and_separators_are_found_out_and_said(app: TestApp) {
    let acme = app.company("acme").await;
    let text = "title,tags\nMüller,\n";
    let utf16 = |bytes_of: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(bytes_of).collect()
    };
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect();
    let variants: [(Vec<u8>, &str); 5] = [
        (text.into(), "CSV, UTF-8, separated by \",\""),
        (format!("\u{feff}{text}").into(), "UTF-8 by its byte order mark"),
        (utf16(u16::to_le_bytes), "UTF-16LE by its byte order mark"),
        (utf16(u16::to_be_bytes), "UTF-16BE by its byte order mark"),
        (latin.clone(), "windows-1252, which is a guess"),
    ];
    for (index, (bytes, said)) in variants.into_iter().enumerate() {
        let source = format!("variant {index}");
        succeeds(import_bytes(&app, bytes, &["--source", &source]).await, &[said, "Imported 1 item(s)"]);
    }
    assert_eq!(titles(&app, &acme).await, ["Müller"; 5]);
    fails(import_bytes(&app, &latin, &["--encoding", "utf-8"]).await, &["ENCODING", "line 2"]);
    fails(import_bytes(&app, b"title\nM\xc3\xbcller\nM\xc3\xb6ller\nM\xfcller\n", &[]).await, &["ENCODING", "line 4"]);
    fails(import_bytes(&app, b"PK\x03\x04rest", &[]).await, &["COMPRESSED", "unpack"]);
    let tabs = succeeds(import_bytes(&app, "title\tnote\r\nA\tb\r\n", &["--check"]).await, &["separated by tabs"]);
    assert!(tabs.contains("description ← note"), "{tabs}");
}

#[databases]
async fn what_can_not_be_read_is_refused_with_a_code(app: TestApp) {
    app.company("acme").await;
    let wide = vec!["c"; 1_000_000].join(",");
    let deep = "[".repeat(100_000);
    for (content, words) in [
        (String::new(), ["EMPTY", "tasks.csv"]),
        (wide, ["TOO_MANY_COLUMNS", "More than 1000 columns"]),
        (deep, ["NOT_JSON", "EOF"]),
        ("{\"a\": 1}".to_owned(), ["UNKNOWN_FORMAT", "IMPORTING.md"]),
        ("[{\"number\": 1, \"title\": \"x\"}]".to_owned(), ["NO_SOURCE", "--source"]),
        ("[{\"number\": 1, \"title\": \"x\"".to_owned(), ["NOT_JSON", "EOF"]),
        ("[{\"number\": \"one\", \"title\": \"x\", \"url\": 5}]".to_owned(), ["NOT_READABLE", "entry 1"]),
        ("title,x\nA,\"open\nB,2\n".to_owned(), ["UNCLOSED_QUOTE", "line 2"]),
    ] {
        fails(import_bytes(&app, content, &[]).await, &words);
    }
    fails(import_bytes(&app, "title\nA\n", &["--format", "trello"]).await, &["WRONG_FORMAT"]);
    let ended = spawn(&app, folder().path(), &["absent.csv"]).await.ended();
    fails(ended, &["absent.csv"]);
}

#[databases]
async fn the_plans_limits_hold_before_anything_is_written(app: TestApp) {
    let acme = app.company("acme").await;
    let plan = json!({ "tier": "STARTER" });
    mutate(&app, &acme, &acme.owner, ("planChange", ""), plan).done().await;
    let mut table = "title\n".to_owned();
    for number in 0..1001 {
        let _ = writeln!(table, "Item {number}");
    }
    fails(import_bytes(&app, &table, &["--check"]).await, &["QUOTA_EXCEEDED", "allows 1000 items", "add 1001"]);
    fails(import_bytes(&app, &table, &[]).await, &["QUOTA_EXCEEDED", "Nothing was written"]);
    assert!(titles(&app, &acme).await.is_empty());
}

#[databases]
async fn a_member_can_be_named_who_makes_the_items(app: TestApp) {
    let acme = app.company("acme").await;
    fails(import_bytes(&app, "title\nA\n", &["--as", "nobody@example.com"]).await, &["--as: nobody has the address"]);
    fails(import_bytes(&app, "title\nA\n", &["--as", &acme.viewer.email]).await, &["FORBIDDEN", "ITEM_WRITE"]);
    let teams = ["--as", &acme.member.email, "--create-teams", "--team", "New"];
    fails(import_bytes(&app, "title\nA\n", &teams).await, &["FORBIDDEN", "TEAM_MANAGE", "Nothing was written"]);
    let as_admin = [&["--as", acme.admin.email.as_str()], &teams[2..]].concat();
    succeeds(import_bytes(&app, "title\nA\n", &as_admin).await, &["Imported 1 item(s), 1 team(s)"]);
    let made = items(&app, &acme).await;
    assert_eq!((&made[0]["createdBy"]["displayName"], &made[0]["team"]["name"]), (&json!("acme-admin"), &json!("New")));
}

/// Killed somewhere in the middle, as often as it takes: each item is there once in the end.
#[databases]
async fn an_import_that_is_killed_goes_on_when_it_is_run_again(app: TestApp) {
    let acme = app.company("acme").await;
    const ALL: usize = 1_500;
    let mut table = "id,title,parent,tags\n".to_owned();
    for number in 0..ALL {
        let parent = if number % 10 == 0 { String::new() } else { (number - number % 10).to_string() };
        let _ = writeln!(table, "{number},Item {number},{parent},bulk");
    }
    let folder = folder();
    std::fs::write(folder.path().join("tasks.csv"), table).expect("a file");
    let arguments = ["--create-tags", "tasks.csv"];
    let count = async || {
        let data = app.call(&acme, &acme.owner, "{ items(first: 1) { totalCount } }").data().await;
        usize::try_from(data["items"]["totalCount"].as_u64().expect("a number")).expect("a size")
    };
    let process = spawn(&app, folder.path(), &arguments).await;
    while count().await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(process);
    let half = count().await;
    assert!(half > 0 && half <= ALL, "{half}");
    let again = spawn(&app, folder.path(), &arguments).await.ended();
    succeeds(again, &["imported before", "Imported"]);
    assert_eq!(count().await, ALL);
    let query =
        "{ items(first: 100, filter: {parent: {isNull: true}}) { totalCount nodes { subtaskProgress { total } } } }";
    let data = app.call(&acme, &acme.owner, query).data().await;
    assert_eq!(data["items"]["totalCount"], ALL / 10);
    let nodes = data["items"]["nodes"].as_array().expect("items");
    assert!(nodes.iter().all(|node| node["subtaskProgress"]["total"] == 9), "{data:#}");
    succeeds(spawn(&app, folder.path(), &arguments).await.ended(), &["Imported 0 item(s)"]);
}

fn create(title: &str, id: Option<ItemId>, parent_id: Option<ItemId>) -> Create {
    let input = ItemCreateInput {
        id,
        title: title.to_owned(),
        description: None,
        status: ItemStatus::Todo,
        priority: Priority::Medium,
        due_at: None,
        estimated_hours: None,
        team_id: None,
        parent_id,
        assignee_ids: None,
        tag_ids: None,
        subtasks: None,
    };
    Create { input, times: Times::default() }
}

/// What one create among many comes to, and how many statements all of them take.
#[databases]
async fn many_creates_have_outcomes_of_their_own(app: TestApp) {
    let acme = app.company("acme").await;
    let there: ItemId = app.item(&acme, "there").await.parse().expect("an id");
    let organization = acme.id.parse().expect("an id");
    let scope = OrgScope::of_system(&app.state.db, organization, Origin::command("test")).await.expect("a scope");
    let ids: Vec<ItemId> = (0..9).map(|_| app.clock.new_id()).collect();
    let creates = [
        create("root", Some(ids[0]), None),
        create("below it", Some(ids[1]), Some(ids[0])),
        create("  ", Some(ids[2]), None),
        create("below a bad one", Some(ids[3]), Some(ids[2])),
        create("the id again", Some(ids[0]), None),
        create("another's id", Some(there), None),
        create("below what was there", Some(ids[4]), Some(there)),
        create("below nobody", None, Some(ids[8])),
        create("without an id", None, Some(there)),
    ];
    let written = async |creates: &[Create]| {
        let mut tx = scope.write(Permission::ItemWrite).await.expect("a write");
        let outcomes = create_all_in(&mut tx, creates).await.expect("outcomes");
        tx.commit(()).await.expect("a commit");
        outcomes
    };
    let told = |outcomes: Vec<Result<todo_platform::data::entity::item::Model, todo_platform::base::error::Error>>| {
        let told = |outcome: Result<_, todo_platform::base::error::Error>| match outcome {
            Ok(todo_platform::data::entity::item::Model { title, .. }) => title,
            Err(error) => error.describe(),
        };
        outcomes.into_iter().map(told).collect::<Vec<String>>()
    };
    assert_eq!(
        told(written(&creates).await),
        [
            "root",
            "below it",
            "input.title: Must not be empty.",
            "input.parentId: No such item.",
            "input.id: The id is in use.",
            "input.id: The id is in use.",
            "below what was there",
            "input.parentId: No such item.",
            "without an id",
        ]
    );
    let made = items(&app, &acme).await;
    let progress: Vec<(&str, &Value)> = made
        .as_array()
        .expect("items")
        .iter()
        .map(|item| (item["title"].as_str().expect("a title"), &item["subtaskProgress"]["total"]))
        .collect();
    let (none, one, two) = (json!(0), json!(1), json!(2));
    assert_eq!(
        progress,
        [
            ("there", &two),
            ("root", &one),
            ("below it", &none),
            ("below what was there", &none),
            ("without an id", &none)
        ]
    );
    // A repeat of the same is what was made.
    let before = events(&app, &acme).await;
    assert_eq!(told(written(&creates[..2]).await), ["root", "below it"]);
    assert_eq!(events(&app, &acme).await, before);

    let mut costs = Vec::new();
    for size in [2, 100] {
        let under = |number: usize| {
            create(&format!("{number}"), Some(app.clock.new_id()), Some(if number == 0 { there } else { ids[1] }))
        };
        let creates: Vec<Create> = (0..size).map(under).collect();
        app.take_statements();
        assert!(written(&creates).await.iter().all(Result::is_ok));
        costs.push(app.take_statements().len());
    }
    assert_eq!(costs[0], costs[1], "statements do not grow with the creates");
}
