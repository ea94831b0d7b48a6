//! Imports over the API: a file is sent to the address that `importCreate` gives, and a job does the rest.

use axum::{
    body::Body,
    http::{Method, Request},
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use todo_platform::{domains::imports::upload::MAX_BYTES, jobs::runner::Runner};
use todo_test_macros::databases;

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Reply, problem},
        world::{Company, Person},
    },
};

const CREATE: &str = "mutation($input: ImportCreateInput!) { importCreate(input: $input) { import { id status upload { \
                      method url headers { name value } expiresAt } } userErrors { code path message } } }";
const LOOK: &str = "query($id: ID!) { node(id: $id) { ... on Import { fileName status size checkOnly skipBad upload { url } \
                    failure { code message } itemCount commentCount tagCount teamCount finishedAt createdBy { displayName } \
                    report { format encoding separator source columns { field names } unusedColumns records toBeImported \
                    importedBefore bad newComments newTags newTeams notes refusals { code message } problems { line entry \
                    sourceId field column code message } problemsLeftOut } } } }";

/// Asks for an import; its id, and the path that its file goes to.
async fn ask(app: &TestApp, company: &Company, who: &Person, input: Value) -> (String, String) {
    let asked = app.call(company, who, CREATE).vars(json!({ "input": input })).done().await;
    let import = &asked["import"];
    assert_eq!(import["status"], "WAITING", "{asked:#}");
    assert_eq!(import["upload"]["method"], "PUT", "{asked:#}");
    (text(&import["id"]), path_of(&import["upload"]["url"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned()
}

fn path_of(url: &Value) -> String {
    let url = text(url);
    url[url.find("/uploads/").expect("an address")..].to_owned()
}

async fn request(app: &TestApp, method: Method, path: &str, content: Vec<u8>) -> Reply {
    app.http(Request::builder().method(method).uri(path).body(Body::from(content)).expect("a request")).await
}

async fn send(app: &TestApp, path: &str, content: impl Into<Vec<u8>>) -> Reply {
    request(app, Method::PUT, path, content.into()).await
}

/// Asks, sends, works; what became of it.
async fn import(app: &TestApp, company: &Company, input: Value, content: impl Into<Vec<u8>>) -> Value {
    let (id, path) = ask(app, company, &company.admin, input).await;
    let sent = send(app, &path, content).await;
    assert_eq!(sent.status, 202, "{}", sent.json());
    assert_eq!(sent.json()["importId"], json!(id));
    Runner::new(app.state.clone()).drain().await;
    look(app, company, &id).await
}

async fn look(app: &TestApp, company: &Company, id: &str) -> Value {
    app.call(company, &company.admin, LOOK).vars(json!({ "id": id })).data().await["node"].take()
}

async fn titles(app: &TestApp, company: &Company) -> Vec<String> {
    let items = "{ items(first: 100, orderBy: [{ field: RANK }]) { nodes { title } } }";
    let data = app.call(company, &company.admin, items).data().await;
    data["items"]["nodes"].as_array().expect("items").iter().map(|node| text(&node["title"])).collect()
}

const TABLE: &str =
    "Key,Title,State,Labels,Who,Parent\n1,Übung,Waiting,büro,acme-viewer@example.com,\n2,Below it,done,,,1\n";

#[databases]
async fn a_file_becomes_items_by_whoever_asked(app: TestApp) {
    let acme = app.company("acme").await;
    let input = json!({
        "fileName": "tasks.csv",
        "createTags": true,
        "map": [{ "column": "Who", "field": "ASSIGNEES" }],
        "statuses": [{ "name": "waiting", "status": "IN_REVIEW" }],
    });
    let done = import(&app, &acme, input.clone(), TABLE).await;
    assert_eq!(done["status"], "FINISHED", "{done:#}");
    assert_eq!(
        (&done["itemCount"], &done["tagCount"], &done["size"]),
        (&json!(2), &json!(1), &json!(TABLE.len().to_string()))
    );
    assert_eq!(done["createdBy"]["displayName"], json!("acme-admin"), "{done:#}");
    let report = &done["report"];
    assert_eq!(report["format"], "CSV");
    assert_eq!((&report["records"], &report["toBeImported"], &report["bad"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(report["newTags"], json!(["büro"]));
    assert!(
        report["columns"].as_array().expect("columns").contains(&json!({ "field": "ASSIGNEES", "names": ["Who"] }))
    );
    let items = "{ items(orderBy: [{ field: RANK }]) { nodes { title status tags { name } assignees { id } parent { title } \
                 createdBy { id } } } }";
    let data = app.call(&acme, &acme.admin, items).data().await;
    let nodes = data["items"]["nodes"].as_array().expect("items");
    assert_eq!(nodes.len(), 2, "{data:#}");
    assert_eq!((&nodes[0]["title"], &nodes[0]["status"]), (&json!("Übung"), &json!("IN_REVIEW")));
    assert_eq!(nodes[0]["tags"], json!([{ "name": "büro" }]));
    assert_eq!(nodes[0]["assignees"], json!([{ "id": acme.viewer.id }]));
    assert_eq!(nodes[0]["createdBy"]["id"], json!(acme.admin.id));
    assert_eq!(nodes[1]["parent"]["title"], json!("Übung"));
    // In the ledger, by whoever asked.
    let events =
        "{ events(first: 10, filter: { types: [ITEM_CREATED, TAG_CREATED] }) { nodes { type actor { id } } } }";
    let data = app.call(&acme, &acme.admin, events).data().await;
    let told = data["events"]["nodes"].as_array().expect("events");
    assert_eq!(told.len(), 3, "{data:#}");
    assert!(told.iter().all(|event| event["actor"]["id"] == json!(acme.admin.id)), "{data:#}");

    // Again, and the command knows what the API imported: the same source has the same ids.
    let again = import(&app, &acme, input, TABLE).await;
    assert_eq!((&again["status"], &again["itemCount"]), (&json!("FINISHED"), &json!(0)), "{again:#}");
    assert_eq!(again["report"]["importedBefore"], json!(2));
    assert_eq!(titles(&app, &acme).await.len(), 2);
    let list = "{ organization { imports { totalCount nodes { fileName status } } } }";
    let data = app.call(&acme, &acme.admin, list).data().await;
    assert_eq!(data["organization"]["imports"]["totalCount"], json!(2));
    // Nothing is kept of a file that was imported.
    assert_eq!(parts(&app).await, 0);
}

async fn parts(app: &TestApp) -> i64 {
    use sea_orm::ConnectionTrait as _;
    app.settle().await;
    let db = app.beside().await;
    let count = sea_orm::Statement::from_string(db.get_database_backend(), "SELECT count(*) AS rows FROM import_part");
    db.query_one_raw(count).await.expect("a count").expect("a row").try_get("", "rows").expect("a number")
}

#[databases]
async fn what_is_bad_is_told_and_nothing_is_written(app: TestApp) {
    let acme = app.company("acme").await;
    let bad = "title,due,tags\nGood,,\n,2026-02-30,nix\nAlso good,2026-02-28,\n";
    let refused = import(&app, &acme, json!({ "fileName": "bad.csv" }), bad).await;
    assert_eq!(refused["status"], "REFUSED", "{refused:#}");
    let report = &refused["report"];
    assert_eq!((&report["records"], &report["toBeImported"], &report["bad"]), (&json!(3), &json!(2), &json!(1)));
    let problems = report["problems"].as_array().expect("problems");
    let codes: Vec<(&Value, &Value)> = problems.iter().map(|problem| (&problem["field"], &problem["code"])).collect();
    assert!(codes.contains(&(&json!("DUE"), &json!("INVALID"))), "{report:#}");
    assert!(codes.contains(&(&json!("TAGS"), &json!("UNKNOWN_TAG"))), "{report:#}");
    assert!(problems.iter().all(|problem| problem["line"] == json!(3)), "{report:#}");
    // Settings are called as the API calls them.
    let said = report.to_string();
    assert!(said.contains("`createTags`") && !said.contains("--"), "{said}");
    assert_eq!(titles(&app, &acme).await, [""; 0]);

    let checked = import(&app, &acme, json!({ "fileName": "bad.csv", "checkOnly": true, "skipBad": true }), bad).await;
    assert_eq!((&checked["status"], &checked["itemCount"]), (&json!("CHECKED"), &json!(0)), "{checked:#}");
    assert_eq!(titles(&app, &acme).await, [""; 0]);
    let skipped = import(&app, &acme, json!({ "fileName": "bad.csv", "skipBad": true }), bad).await;
    assert_eq!((&skipped["status"], &skipped["itemCount"]), (&json!("FINISHED"), &json!(2)), "{skipped:#}");
    assert_eq!(titles(&app, &acme).await, ["Good", "Also good"]);

    for (content, code) in [
        (b"PK\x03\x04rest".to_vec(), "COMPRESSED"),
        (b"{\"what\": [1]}".to_vec(), "UNKNOWN_FORMAT"),
        (b"Vorgang\nA\n".to_vec(), "NO_TITLE_COLUMN"),
        (b"title\nM\xc3\xbcller\nM\xc3\xb6ller\nM\xfcller\n".to_vec(), "ENCODING"),
        (format!("title{}\nA\n", ",x".repeat(100_000)).into_bytes(), "TOO_MANY_COLUMNS"),
    ] {
        let failed = import(&app, &acme, json!({ "fileName": "x" }), content).await;
        assert_eq!((&failed["status"], &failed["failure"]["code"]), (&json!("FAILED"), &json!(code)), "{failed:#}");
        assert!(!failed.to_string().contains("--"), "{failed:#}");
    }
    // What a file says at length is told in short.
    for content in [vec![0; 200_000], format!("title,tags\nA,{}\n", "y".repeat(200_000)).into_bytes()] {
        let told = import(&app, &acme, json!({ "fileName": "x" }), content).await;
        assert!(told["status"] != "FINISHED" && told.to_string().len() < 5000, "{}", told.to_string().len());
    }
    assert_eq!(parts(&app).await, 0);
}

#[databases]
async fn inputs_are_checked_before_a_file_is_sent(app: TestApp) {
    let acme = app.company("acme").await;
    let long = "x".repeat(201);
    for (input, path) in [
        (json!({ "fileName": "" }), vec!["input", "fileName"]),
        (json!({ "fileName": long }), vec!["input", "fileName"]),
        (json!({ "fileName": "a", "source": "" }), vec!["input", "source"]),
        (json!({ "fileName": "a", "encoding": "klingon" }), vec!["input", "encoding"]),
        (json!({ "fileName": "a", "separator": "ab" }), vec!["input", "separator"]),
        (
            json!({ "fileName": "a", "statuses": [{ "name": "x", "status": "ARCHIVED" }] }),
            vec!["input", "statuses", "0", "status"],
        ),
        (json!({ "fileName": "a", "people": [{ "name": "x", "email": "y" }] }), vec!["input", "people", "0", "email"]),
        (json!({ "fileName": "a", "map": [{ "column": "", "field": "TITLE" }] }), vec!["input", "map", "0", "column"]),
    ] {
        let refused = app.call(&acme, &acme.admin, CREATE).vars(json!({ "input": input })).refused().await;
        assert_eq!(refused[0].1, path.join("."), "{input}");
    }
    // The same id again is the same import; another of that id is refused.
    let id = app.clock.new_id::<todo_platform::base::id::kind::Import>().to_string();
    let input = json!({ "id": id, "fileName": "a.csv" });
    let (_, first) = ask(&app, &acme, &acme.admin, input.clone()).await;
    let (_, second) = ask(&app, &acme, &acme.admin, input).await;
    assert_eq!(first, second);
    let other = json!({ "input": { "id": id, "fileName": "b.csv" } });
    let refused = app.call(&acme, &acme.admin, CREATE).vars(other).refused().await;
    assert_eq!(refused[0].1, "input.id");
    // So many wait at a time; one that is cancelled makes room.
    for number in 1..10 {
        ask(&app, &acme, &acme.admin, json!({ "fileName": format!("{number}.csv") })).await;
    }
    let eleventh = json!({ "input": { "fileName": "11.csv" } });
    let refused = app.call(&acme, &acme.admin, CREATE).vars(eleventh).refused().await;
    assert_eq!(refused, problem("TOO_MANY", "input"));
    cancel(&app, &acme, &id).await;
    let (_, path) = ask(&app, &acme, &acme.admin, json!({ "fileName": "11.csv" })).await;
    // After an hour they wait no more, and make room.
    app.clock.advance(chrono::Duration::minutes(61));
    assert_eq!(send(&app, &path, TABLE).await.status, 409);
    let admin = app.sign_in(&acme.admin).await;
    ask(&app, &acme, &admin, json!({ "fileName": "12.csv" })).await;
}

async fn cancel(app: &TestApp, company: &Company, id: &str) -> Value {
    mutate(app, company, &company.admin, ("importCancel", "import { status }"), json!({ "id": id })).done().await
}

#[databases]
async fn an_address_takes_one_file_of_whoever_may_write(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let (id, path) = ask(&app, &acme, &acme.member, json!({ "fileName": "a.csv" })).await;
    // Others see the import, not its address; who may not write sees nothing.
    let seen = look(&app, &acme, &id).await;
    assert_eq!((&seen["fileName"], &seen["upload"]), (&json!("a.csv"), &Value::Null));
    for (company, who) in [(&acme, &acme.viewer), (&rival, &rival.owner)] {
        let data =
            app.call(company, who, "query($id: ID!) { node(id: $id) { id } }").vars(json!({ "id": id })).data().await;
        assert_eq!(data["node"], Value::Null);
    }
    // Nothing but that address is one.
    let token = &path["/uploads/".len()..];
    let (_, other) = ask(&app, &rival, &rival.owner, json!({ "fileName": "a.csv" })).await;
    let mixed = format!("/uploads/{}{}", &token[..43], &other["/uploads/".len() + 43..]);
    for wrong in ["/uploads/x".to_owned(), format!("/uploads/{}", "A".repeat(86)), mixed, format!("{path}A")] {
        let reply = send(&app, &wrong, TABLE).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (404, &json!("NOT_FOUND")), "{wrong}");
    }
    let reply = request(&app, Method::GET, &path, Vec::new()).await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "PUT"));
    assert_eq!(send(&app, &path, "").await.json()["error"]["code"], json!("BAD_REQUEST"));
    let reply = send(&app, &path, vec![b'x'; MAX_BYTES + 1]).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (413, &json!("PAYLOAD_TOO_LARGE")));
    // A file of many parts comes whole, and only once.
    let mut table = "title,note\n".to_owned();
    for number in 0..60 {
        table += &format!("Item {number},{}\n", "x".repeat(9000));
    }
    let reply = send(&app, &path, table.clone()).await;
    assert_eq!(reply.status, 202, "{}", reply.json());
    let reply = send(&app, &path, table).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["code"]), (409, &json!("INVALID_STATE")));
    Runner::new(app.state.clone()).drain().await;
    let done = look(&app, &acme, &id).await;
    assert_eq!((&done["status"], &done["itemCount"]), (&json!("FINISHED"), &json!(60)), "{done:#}");
    assert_eq!(titles(&app, &rival).await, [""; 0]);

    // Who may not write any more sends nothing, and what they sent before is not written.
    let (_, late) = ask(&app, &acme, &acme.member, json!({ "fileName": "late.csv" })).await;
    let (sent, before) = ask(&app, &acme, &acme.member, json!({ "fileName": "before.csv" })).await;
    assert_eq!(send(&app, &before, "title\nOf before\n").await.status, 202);
    let input = json!({ "id": acme.member.membership_id, "patch": { "role": "VIEWER" } });
    mutate(&app, &acme, &acme.owner, ("membershipUpdate", "membership { id }"), input).done().await;
    assert_eq!(send(&app, &late, TABLE).await.json()["error"]["code"], json!("FORBIDDEN"));
    Runner::new(app.state.clone()).drain().await;
    let refused = look(&app, &acme, &sent).await;
    assert_eq!(refused["status"], json!("REFUSED"), "{refused:#}");
    assert_eq!(refused["report"]["refusals"][0]["code"], json!("FORBIDDEN"), "{refused:#}");
    assert_eq!(titles(&app, &acme).await.len(), 60);
}

#[databases]
async fn a_key_imports_as_far_as_it_may(app: TestApp) {
    let acme = app.company("acme").await;
    let (key_id, key) = app.api_key(&acme, &acme.owner, &["ITEM_READ", "ITEM_WRITE"]).await;
    let ask = async |input: Value| {
        let asked = app.gql(CREATE).key(&key).vars(json!({ "input": input })).done().await;
        let import = &asked["import"];
        (text(&import["id"]), path_of(&import["upload"]["url"]))
    };
    let runner = Runner::new(app.state.clone());
    let (made, path) = ask(json!({ "fileName": "a.csv", "createTags": true })).await;
    assert_eq!(send(&app, &path, "title,tags\nBy a key,robot\n").await.status, 202);
    runner.drain().await;
    let done = look(&app, &acme, &made).await;
    assert_eq!((&done["status"], &done["itemCount"]), (&json!("FINISHED"), &json!(1)), "{done:#}");
    let data = app.call(&acme, &acme.owner, "{ items { nodes { createdBy { id } } } }").data().await;
    assert_eq!(data["items"]["nodes"][0]["createdBy"]["id"], json!(key_id));
    // Teams take a right that it lacks.
    let (made, path) = ask(json!({ "fileName": "b.csv", "createTeams": true })).await;
    assert_eq!(send(&app, &path, "title,team\nOf a team,Robots\n").await.status, 202);
    runner.drain().await;
    let refused = look(&app, &acme, &made).await;
    assert_eq!(refused["report"]["refusals"][0]["code"], json!("FORBIDDEN"), "{refused:#}");
    // With the key goes what it may.
    let (made, path) = ask(json!({ "fileName": "c.csv" })).await;
    assert_eq!(send(&app, &path, "title\nToo late\n").await.status, 202);
    mutate(&app, &acme, &acme.owner, ("apiKeyRevoke", "deletedId"), json!({ "id": key_id })).done().await;
    runner.drain().await;
    let failed = look(&app, &acme, &made).await;
    assert_eq!((&failed["status"], &failed["failure"]["code"]), (&json!("FAILED"), &json!("FORBIDDEN")), "{failed:#}");
    assert_eq!(titles(&app, &acme).await, ["By a key"]);
}

/// A worker that dies loses nothing and makes nothing twice; a cancelled import writes nothing more.
#[databases]
async fn an_import_goes_on_where_it_stopped(app: TestApp) {
    let acme = app.company("acme").await;
    let mut table = "id,title\n".to_owned();
    for number in 0..450 {
        table += &format!("{number},Item {number}\n");
    }
    let (id, path) = ask(&app, &acme, &acme.admin, json!({ "fileName": "a.csv" })).await;
    // Two that send at a time: one of them is taken.
    let (first, second) = tokio::join!(send(&app, &path, table.clone()), send(&app, &path, table.clone()));
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert!(statuses[0] == 202 && statuses[1] >= 409, "{statuses:?}");
    app.settle().await;
    let db = app.beside().await;
    let running = async |status: &str| {
        use sea_orm::ConnectionTrait as _;
        db.execute_unprepared(&format!("UPDATE import SET status = '{status}'")).await.expect("a status");
    };
    let runner = Runner::new(app.state.clone());
    let dead = runner.do_one_chunk().await.expect("a turn").expect("the job");
    let done = look(&app, &acme, &id).await;
    assert_eq!((&done["status"], &done["itemCount"]), (&json!("FINISHED"), &json!(450)), "{done:#}");
    assert_eq!(runner.go_on(&dead).await.expect("an answer"), todo_platform::jobs::kinds::Chunk::Lost);

    // Of one that is cancelled nothing more is written, and one that has ended is not cancelled.
    let (id, path) = ask(&app, &acme, &acme.admin, json!({ "fileName": "b.csv" })).await;
    assert_eq!(send(&app, &path, "id,title\nx,Never\n").await.status, 202);
    assert_eq!(cancel(&app, &acme, &id).await["import"]["status"], json!("CANCELLED"));
    assert_eq!(cancel(&app, &acme, &id).await["import"]["status"], json!("CANCELLED"));
    runner.drain().await;
    assert_eq!(look(&app, &acme, &id).await["itemCount"], json!(0));
    assert_eq!(app.state.db.jobs(10).await.expect("jobs").len(), 0);
    assert_eq!(parts(&app).await, 0);
    running("FINISHED").await;
    let late = mutate(&app, &acme, &acme.admin, ("importCancel", "import { id }"), json!({ "id": id })).refused().await;
    assert_eq!(late, problem("INVALID_STATE", "input.id"));

    // Whose file is gone fails, and says so.
    let (id, path) = ask(&app, &acme, &acme.admin, json!({ "fileName": "c.csv" })).await;
    assert_eq!(send(&app, &path, "id,title\nx,Never\n").await.status, 202);
    {
        use sea_orm::ConnectionTrait as _;
        app.settle().await;
        db.execute_unprepared("DELETE FROM import_part").await.expect("no parts");
    }
    runner.drain().await;
    assert_eq!(look(&app, &acme, &id).await["failure"]["code"], json!("FILE_GONE"));
}

/// A sender that stops, or breaks off, is told; the address takes the file afterwards.
#[tokio::test]
async fn a_file_that_does_not_arrive_is_sent_again() {
    let app = TestApp::start(&[("TODO_LIMITS_BODY_TIMEOUT", "200ms".to_owned())]).await;
    let acme = app.company("acme").await;
    let (id, path) = ask(&app, &acme, &acme.admin, json!({ "fileName": "a.csv" })).await;
    let part = || Ok::<_, std::io::Error>(TABLE[..40].to_owned());
    let stalled = stream::iter([part()]).chain(stream::pending());
    let broken = stream::iter([part(), Err(std::io::Error::other("the sender is gone"))]);
    for (body, code) in [(Body::from_stream(stalled), "TIMEOUT"), (Body::from_stream(broken), "BAD_REQUEST")] {
        let reply = app.http(Request::put(&path).body(body).expect("a request")).await;
        assert_eq!(reply.json()["error"]["code"], json!(code));
    }
    let slow = stream::iter(TABLE.as_bytes().chunks(10)).then(|bytes| async {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        Ok::<_, std::io::Error>(bytes.to_vec())
    });
    let reply = app.http(Request::put(&path).body(Body::from_stream(slow)).expect("a request")).await;
    assert_eq!(reply.status, 202, "{}", reply.json());
    Runner::new(app.state.clone()).drain().await;
    let done = look(&app, &acme, &id).await;
    assert_eq!((&done["status"], &done["size"]), (&json!("REFUSED"), &json!(TABLE.len().to_string())), "{done:#}");
}

/// One instance works on one import at a time, and comes to all.
#[databases]
async fn imports_of_several_organizations_take_turns(app: TestApp) {
    let mut all = Vec::new();
    for slug in ["acme", "rival", "third"] {
        let company = app.company(slug).await;
        let (id, path) = ask(&app, &company, &company.admin, json!({ "fileName": "a.csv" })).await;
        assert_eq!(send(&app, &path, "title\nOne\nTwo\n").await.status, 202);
        all.push((company, id));
    }
    let runner = Runner::new(app.state.clone());
    tokio::join!(runner.drain(), runner.drain(), runner.drain());
    for (company, id) in &all {
        let done = look(&app, company, id).await;
        assert_eq!((&done["status"], &done["itemCount"]), (&json!("FINISHED"), &json!(2)), "{done:#}");
    }
}

/// However many connections send the file of an import, no more than one file is kept of it, and that not for long.
#[tokio::test]
async fn an_import_keeps_one_file_at_most() {
    let app = TestApp::start(&[
        ("TODO_LIMITS_BODY_TIMEOUT", "300ms".to_owned()),
        ("TODO_LIMITS_COST_PER_MINUTE", "2000".to_owned()),
    ])
    .await;
    let acme = app.company("acme").await;
    let (_, path) = ask(&app, &acme, &acme.admin, json!({ "fileName": "a.csv" })).await;
    let stalled = || {
        let half = stream::iter([Ok::<_, std::io::Error>(vec![b'x'; 600 * 1024])]);
        app.http(Request::put(&path).body(Body::from_stream(half.chain(stream::pending()))).expect("a request"))
    };
    let all = futures_util::future::join_all((0..8).map(|_| stalled())).await;
    assert!(all.iter().all(|reply| [408, 409].contains(&reply.status.as_u16())), "{all:?}");
    assert!(parts(&app).await <= 2, "{}", parts(&app).await);
    app.clock.advance(chrono::Duration::hours(25));
    todo_platform::jobs::maintenance::purge(&app.state).await;
    assert_eq!(parts(&app).await, 0);

    // What it costs is taken of the bucket of whoever asked: 10 points a part, 640 a file of 16 MiB.
    let admin = app.sign_in(&acme.admin).await;
    let mut refused = 0;
    for _ in 0..10 {
        let (id, path) = ask(&app, &acme, &admin, json!({ "fileName": "a.csv" })).await;
        let reply = send(&app, &path, vec![b'x'; MAX_BYTES]).await;
        if reply.status == 429 {
            assert_eq!(reply.json()["error"]["code"], json!("RATE_LIMITED"));
            refused += 1;
            break;
        }
        mutate(&app, &acme, &admin, ("importCancel", "import { status }"), json!({ "id": id })).done().await;
    }
    assert_eq!(refused, 1);
}
