//! All of one organization: in a file, and gone.

use std::{collections::BTreeSet, fs};

use sea_orm::{ConnectionTrait as _, Database, DatabaseBackend, Statement};
use serde_json::{Value, json};
use todo_test_macros::databases;

use crate::{
    admin::{admin, process},
    items::mutate,
    process::folder,
    support::{app::TestApp, world::Company},
};

/// An organization with a row of much that there is; the secrets in it.
async fn filled(app: &TestApp, slug: &str) -> (Company, Vec<String>) {
    let acme = app.company(slug).await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Urgent", "color": "#FF0000" })).await;
    let input = json!({ "title": "Write it down", "teamId": team, "tagIds": [tag], "assigneeIds": [acme.member.id],
        "subtasks": [{ "title": "below" }] });
    let item = app.create(&acme, &acme.member, "item", input).await;
    let other = app.item(&acme, "Another").await;
    app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "A word about it" })).await;
    mutate(
        app,
        &acme,
        &acme.member,
        ("itemRelationCreate", ""),
        json!({ "itemId": item, "relatedItemId": other,
        "kind": "BLOCKS" }),
    )
    .done()
    .await;
    let (_, key) = app.api_key(&acme, &acme.owner, &["ITEM_READ"]).await;
    let webhook = "mutation { webhookCreate(input: {url: \"http://127.0.0.1:1/\"}) { secret userErrors { code } } }";
    let webhook = app.call(&acme, &acme.owner, webhook).done().await;
    let hook = "mutation { inboundHookCreate(input: {name: \"CI\", action: ITEM_CREATE, mapping: {title: {default: \
                \"Red\"}}}) { secret userErrors { code } } }";
    let hook = app.call(&acme, &acme.owner, hook).done().await;
    let invite = "mutation { invitationCreate(input: {email: \"new@example.com\", role: MEMBER}) { token \
                  userErrors { code } } }";
    let invited = app.call(&acme, &acme.owner, invite).done().await;
    let secrets = [json!(key), webhook["secret"].clone(), hook["secret"].clone(), invited["token"].clone()];
    let secrets = secrets.iter().map(|secret| secret.as_str().expect("a secret").to_owned()).collect();
    // Kept for a repeat.
    let once = "mutation { itemCreate(input: {title: \"Once\"}) { item { id } userErrors { code } } }";
    app.call(&acme, &acme.member, once).header("idempotency-key", "once").done().await;
    app.state.usage.flush().await.expect("usage is written");
    app.settle().await;
    (acme, secrets)
}

/// The file's first line, its rows by table, and its manifest.
fn read(text: &str) -> (Value, Vec<(String, Value)>, Value) {
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let manifest = lines.pop().expect("a last line")["manifest"].clone();
    let first = lines.remove(0);
    let rows = lines.into_iter().map(|mut line| {
        let table = line["table"].as_str().expect("a table").to_owned();
        (table, line["row"].take())
    });
    (first, rows.collect(), manifest)
}

/// Tables that name organizations, with their columns and whether each holds bytes: as the database says.
async fn tables(app: &TestApp) -> Vec<(String, String, bool)> {
    let db = Database::connect(app.state.config.database.url.as_str()).await.expect("the database");
    let ask = match db.get_database_backend() {
        DatabaseBackend::Postgres => {
            "SELECT c.table_name::text AS t, c.column_name::text AS c, c.data_type = 'bytea' AS b \
             FROM information_schema.columns c WHERE c.table_schema = current_schema() AND (c.table_name = 'organization' \
             OR EXISTS (SELECT FROM information_schema.columns o WHERE o.table_schema = c.table_schema \
             AND o.table_name = c.table_name AND o.column_name = 'organization_id'))"
        }
        _ => {
            "SELECT m.name AS t, c.name AS c, lower(c.type) = 'blob' AS b FROM sqlite_master m, \
             pragma_table_info(m.name) c WHERE m.type = 'table' AND (m.name = 'organization' OR EXISTS (SELECT 1 \
             FROM pragma_table_info(m.name) o WHERE o.name = 'organization_id'))"
        }
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), ask)).await.expect("columns");
    let of = |row: &sea_orm::QueryResult, name: &str| row.try_get::<String>("", name).expect("a name");
    let found = rows.iter().map(|row| (of(row, "t"), of(row, "c"), row.try_get("", "b").expect("a bool"))).collect();
    db.close().await.expect("it closes");
    found
}

fn camel_case(column: &str) -> String {
    let mut words = column.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[databases]
async fn all_of_an_organization_is_exported(app: TestApp) {
    let (acme, secrets) = filled(&app, "acme").await;
    let rival = app.company("rival").await;
    app.item(&rival, "None of theirs").await;
    let folder = folder();
    let file = folder.path().join("acme.ndjson").display().to_string();
    let printed = admin(&app, &["organization", "export", "acme", &file]).await;
    assert!(printed.contains("row(s) of acme"), "{printed}");
    process(&app, &["organization", "export", "acme", &file], None).await.fails(&["is there", "--force"]);
    process(&app, &["organization", "export", "nobody", "x"], None).await.fails(&["there is no organization"]);
    let text = fs::read_to_string(&file).expect("a file");
    let (first, rows, manifest) = read(&text);
    assert_eq!((&first["format"], &first["version"]), (&json!("todo-platform-organization"), &json!(1)));
    assert_eq!(first["organization"], "acme");

    // Every table that names organizations, and every column of it, is there or named as left out.
    let left_out = |what: &str| manifest["leftOut"][what].as_array().expect("a list").clone();
    let tables_out: BTreeSet<String> =
        left_out("tables").iter().map(|entry| entry["table"].as_str().expect("a name").to_owned()).collect();
    let known = tables(&app).await;
    fn column(entry: &Value) -> &str {
        entry["column"].as_str().unwrap_or_default()
    }
    for entry in &left_out("columns") {
        let is_there =
            known.iter().any(|(table, column, _)| entry["table"] == *table && entry["column"] == camel_case(column));
        // SQLite has no arrays.
        let is_elsewhere =
            app.state.db.backend() == DatabaseBackend::Sqlite && ["tagIds", "assigneeIds"].contains(&column(entry));
        assert!(is_there != is_elsewhere, "{entry} is no column any more");
    }
    for (table, column, is_bytes) in known {
        if tables_out.contains(&table) {
            continue;
        }
        let columns = manifest["tables"][&table]["columns"].as_array();
        let columns = columns.unwrap_or_else(|| panic!("{table} is neither exported nor left out for a reason"));
        let name = camel_case(&column);
        let is_there = columns.contains(&json!(name));
        let is_out = left_out("columns").iter().any(|entry| entry["table"] == table && entry["column"] == name);
        assert!(is_there != is_out, "{table}.{column} is neither exported nor left out for a reason");
        assert!(!is_bytes || is_out, "{table}.{column} holds bytes: a hash, or something sealed");
    }
    // The rows are as the manifest says.
    for (table, told) in manifest["tables"].as_object().expect("tables") {
        let own: Vec<&Value> = rows.iter().filter(|(of, _)| of == table).map(|(_, row)| row).collect();
        assert_eq!(told["rows"], own.len(), "{table}");
        let columns: BTreeSet<&str> =
            told["columns"].as_array().expect("columns").iter().map(|name| name.as_str().expect("a name")).collect();
        for row in own {
            let there: BTreeSet<&str> = row.as_object().expect("a row").keys().map(String::as_str).collect();
            assert_eq!(there, columns, "{table}");
        }
    }
    assert_eq!(manifest["rows"], rows.len());
    for table in ["item", "comment", "item_relation", "item_tag", "membership", "team", "webhook", "api_key", "usage"] {
        assert_ne!(manifest["tables"][table]["rows"], 0, "{table}");
    }
    // As the API shows them; the ledger whole, the people who are members; no secret, and nobody else's.
    let of = |table: &str| rows.iter().filter(|(of, _)| of == table).map(|(_, row)| row.clone()).collect::<Vec<_>>();
    let sequences: Vec<Value> = of("event").iter().map(|event| event["sequence"].clone()).collect();
    let head = of("ledger_head")[0]["sequence"].as_u64().expect("a number");
    assert_eq!(sequences, (1..=head).map(|sequence| json!(sequence)).collect::<Vec<_>>());
    let emails: BTreeSet<String> =
        of("user").iter().map(|user| user["email"].as_str().unwrap_or_default().to_owned()).collect();
    let members = [&acme.owner, &acme.admin, &acme.member, &acme.viewer].map(|person| person.email.clone());
    assert_eq!(emails, members.into());
    let item = of("item").into_iter().find(|item| item["title"] == "Write it down").expect("the item");
    assert_eq!((&item["status"], &item["createdById"]), (&json!("TODO"), &json!(acme.member.id)));
    assert!(of("event").iter().all(|event| event["subjectId"].as_str().is_some_and(|id| id.contains('_'))));
    for secret in secrets.iter().map(String::as_str).chain(["None of theirs", "rival", "argon2"]) {
        assert!(!text.contains(secret), "{secret} is in the export");
    }
}

/// Pages of an export are told apart by their keys, whatever these are.
#[databases]
async fn an_export_goes_on_from_page_to_page(app: TestApp) {
    let acme = app.company("acme").await;
    for number in 0..6 {
        let subtasks: Vec<Value> = (0..100).map(|n| json!({ "title": format!("{number} {n}") })).collect();
        let input = json!({ "title": "all", "subtasks": subtasks, "assigneeIds": [acme.member.id] });
        app.create(&acme, &acme.member, "item", input).await;
    }
    let folder = folder();
    let file = folder.path().join("acme.ndjson").display().to_string();
    admin(&app, &["organization", "export", &acme.id, &file]).await;
    let (_, rows, manifest) = read(&fs::read_to_string(&file).expect("a file"));
    assert_eq!(manifest["tables"]["item"]["rows"], 606);
    let ids: BTreeSet<String> =
        rows.iter().filter(|(of, _)| of == "item").map(|(_, row)| row["id"].to_string()).collect();
    assert_eq!(ids.len(), 606, "each once");
    let events = rows.iter().filter(|(of, _)| of == "event").count();
    assert_eq!(json!(events), manifest["tables"]["event"]["rows"]);
    assert!(events > 606);
}

#[databases]
async fn an_erased_organization_leaves_no_row(app: TestApp) {
    let (acme, _) = filled(&app, "acme").await;
    let (rival, _) = filled(&app, "rival").await;
    process(&app, &["organization", "erase", "acme"], None).await.fails(&["nothing was deleted", "--yes acme"]);
    process(&app, &["organization", "erase", "acme", "--yes", "rival"], None).await.fails(&["is not the slug"]);
    let id = acme.id.parse().expect("an id");
    let before = app.state.db.tables_with(id).await.expect("tables");
    for table in ["item", "event", "idempotency", "search_document", "usage", "webhook_delivery"] {
        assert!(before.contains(&table.to_owned()), "{table}: {before:?}");
    }
    let printed = admin(&app, &["organization", "erase", "acme", "--yes", "acme"]).await;
    assert!(printed.contains("has ended") && printed.contains("no table has a row of it"), "{printed}");
    assert_eq!(app.state.db.tables_with(id).await.expect("tables"), Vec::<String>::new());
    app.clock.advance(chrono::Duration::seconds(2));
    let query = "{ items { totalCount } }";
    assert_eq!(app.call(&acme, &acme.owner, query).error_code().await, "ORGANIZATION_REQUIRED");
    process(&app, &["organization", "erase", &acme.id, "--yes", "acme"], None)
        .await
        .fails(&["there is no organization"]);
    // The people are there, the others untouched; the name is free.
    app.gql("{ viewer { user { id } } }").token(&acme.owner.token).data().await;
    let items = app.call(&rival, &rival.member, query).data().await;
    assert_eq!(items["items"]["totalCount"], 4);
    app.found(&acme.owner, "acme").await;
}

/// One that was deleted by the API and not yet worked off, with a job that was given up.
#[databases]
async fn an_ended_organization_is_erased_too(app: TestApp) {
    let (acme, _) = filled(&app, "acme").await;
    for number in 0..6 {
        let subtasks: Vec<Value> = (0..100).map(|n| json!({ "title": format!("{number} {n}") })).collect();
        app.create(&acme, &acme.member, "item", json!({ "title": "all", "subtasks": subtasks })).await;
    }
    let delete = "mutation { organizationDelete(input: {confirmSlug: \"acme\"}) { deletedId userErrors { code } } }";
    app.call(&acme, &acme.owner, delete).done().await;
    let id = acme.id.parse().expect("an id");
    assert!(!app.state.db.tables_with(id).await.expect("tables").is_empty(), "a job has the rest to do");
    let slug = format!("deleted-{}", uuid_of(&acme.id));
    let printed = admin(&app, &["organization", "erase", &acme.id, "--yes", &slug]).await;
    assert!(!printed.contains("has ended:") && printed.contains("no table has a row of it"), "{printed}");
    assert_eq!(app.state.db.tables_with(id).await.expect("tables"), Vec::<String>::new());
}

fn uuid_of(id: &str) -> String {
    let id: todo_platform::base::id::OrganizationId = id.parse().expect("an id");
    id.uuid().simple().to_string()
}
