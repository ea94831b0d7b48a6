//! Several releases and several instances over one database: who migrates, who waits, and what a newer schema is to an
//! older server.

use std::{path::Path, sync::Arc};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, TransactionTrait as _, prelude::Uuid};
use serde_json::json;
use todo_platform::{base::clock::Clock, data::db::Db};

use crate::{
    process::{KEY, Process, folder},
    support::{
        app::{TestApp, config, connection_to},
        postgres, released,
    },
};
use todo_test_macros::databases;

async fn is_ready(app: &TestApp) {
    let ready = app.get("/health/ready").await;
    assert_eq!(ready.status, 200, "{}", String::from_utf8_lossy(&ready.body));
}

/// Three servers that start at once on an empty database: one migrates, all serve.
async fn start_three_at_once(url: Option<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings: Vec<_> = url.iter().map(|url| ("DATABASE_URL", url.clone())).collect();
    let config = Arc::new(config(&folder, &settings));
    let starts = (0..3).map(|_| {
        let config = config.clone();
        tokio::spawn(async move {
            let db = Db::connect(&config.database, Clock::system(), None).await.expect("it connects");
            let applied = db.migrate(config.database.migration_wait).await.expect("it migrates, or finds it done");
            assert_eq!(db.pending_migrations().await.expect("it answers"), Vec::<String>::new());
            db.close().await;
            applied.len()
        })
    });
    let mut applied = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        applied.push(start.await.expect("no panic"));
    }
    applied.sort_unstable();
    assert_eq!(applied[..2], [0, 0], "one of them applied every step");
    assert!(applied[2] > 10, "{applied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_migrate_once_on_sqlite() {
    for _ in 0..5 {
        start_three_at_once(None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_at_once_migrate_once_on_postgresql() {
    let Some(server) = postgres::server() else { return };
    for _ in 0..5 {
        let schema = server.create_schema().await;
        start_three_at_once(Some(server.schema_url(&schema))).await;
        server.drop_schema(&schema).await;
    }
}

fn migrate(folder: &Path, url: &str, wait: &str) -> Process {
    let settings = [("DATABASE_URL", url), ("SECRET_KEY", KEY), ("TODO_DATABASE_MIGRATION_WAIT", wait)];
    Process::spawn(folder, &["migrate"], &settings)
}

/// Three processes at once: all end well, and each step is applied by one of them.
fn migrate_three_times_at_once(folder: &Path, url: &str) {
    let commands: Vec<_> = (0..3).map(|_| migrate(folder, url, "2m")).collect();
    let ended: Vec<_> = commands.into_iter().map(Process::ended).collect();
    let mut applied = 0;
    for ended in &ended {
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        applied += usize::from(ended.stdout.contains("applied m20261123_000001_people"));
    }
    assert_eq!(applied, 1, "{:?}", ended.iter().map(|ended| &ended.stdout).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_migrate_at_once_wait_for_each_other() {
    let folder = folder();
    let sqlite = format!("sqlite://{}", folder.path().join("data.db").display());
    migrate_three_times_at_once(folder.path(), &sqlite);
    let Some(server) = postgres::server() else { return };
    let schema = server.create_schema().await;
    migrate_three_times_at_once(folder.path(), &server.schema_url(&schema));
    server.drop_schema(&schema).await;
}

/// A process that holds the schema for too long is named instead of being waited for without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_too_long_says_so() {
    let folder = folder();
    let words = ["another process holds the schema", "TODO_DATABASE_MIGRATION_WAIT"];
    let sqlite = format!("sqlite://{}?mode=rwc", folder.path().join("data.db").display());
    let holder = connection_to(&sqlite).await;
    // The journal that a server sets, so that it has nothing to change.
    holder.execute_unprepared("PRAGMA journal_mode = WAL").await.expect("it is set");
    holder.execute_unprepared("BEGIN IMMEDIATE").await.expect("the one writer");
    migrate(folder.path(), &sqlite, "1s").fails(&words);
    holder.execute_unprepared("ROLLBACK").await.expect("it lets go");
    let ended = migrate(folder.path(), &sqlite, "1s").ended();
    assert!(ended.status.success(), "{}", ended.stderr);

    let Some(server) = postgres::server() else { return };
    let schema = server.create_schema().await;
    let url = server.schema_url(&schema);
    let holder = connection_to(&url).await;
    let held = holder.begin().await.expect("a transaction");
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('todo-platform migrates ' || coalesce(current_schema(), ''), 0))";
    held.execute_unprepared(lock).await.expect("the lock of migrations");
    migrate(folder.path(), &url, "1s").fails(&words);
    held.rollback().await.expect("it lets go");
    let ended = migrate(folder.path(), &url, "1s").ended();
    assert!(ended.status.success(), "{}", ended.stderr);
    holder.close().await.expect("it closes");
    server.drop_schema(&schema).await;
}

/// What a newer release may have done to the schema: a step that this one does not know, columns and a table besides.
async fn upgrade(app: &TestApp) {
    let db = app.beside().await;
    db.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m20991231_999999_newer', 1)")
        .await
        .expect("a step of a newer release");
    let tables = [
        "account_token",
        "api_key",
        "billing_event",
        "comment",
        "credential",
        "event",
        "idempotency",
        "inbound_hook",
        "inbound_receipt",
        "invitation",
        "invitation_team",
        "item",
        "item_assignee",
        "item_tag",
        "ledger_head",
        "membership",
        "organization",
        "refresh_token",
        "security_event",
        "session",
        "sign_in_failure",
        "signing_key",
        "tag",
        "team",
        "team_member",
        "usage",
        "\"user\"",
        "webhook",
        "webhook_attempt",
        "webhook_delivery",
        "webhook_lane",
    ];
    for table in tables {
        for column in ["newer_nullable text", "newer_defaulted integer NOT NULL DEFAULT 1"] {
            let step = format!("ALTER TABLE {table} ADD COLUMN {column}");
            db.execute_unprepared(&step).await.unwrap_or_else(|error| panic!("{step}: {error}"));
        }
    }
    db.execute_unprepared("CREATE TABLE newer (id integer PRIMARY KEY)").await.expect("a table");
    db.close().await.expect("it closes");
}

/// A server of the release before, while and after the schema becomes the next one's: it is ready, starts, migrates
/// nothing, and everything it does works.
#[databases]
async fn a_newer_schema_is_no_matter_to_an_older_server(app: TestApp) {
    let acme = app.company("acme").await;
    let item = app.item(&acme, "Before").await;
    upgrade(&app).await;
    is_ready(&app).await;
    let wait = app.state.config.database.migration_wait;
    assert!(app.state.db.migrate(wait).await.expect("nothing to do").is_empty());
    let started = app.another_instance(|_| {}).await;
    let production = app.another_instance(|config| config.mode = todo_platform::base::config::Mode::Production).await;
    for app in [&app, &started, &production] {
        is_ready(app).await;
        everything_works(app, &acme, &item).await;
    }
    for app in [&started, &production] {
        app.settle().await;
        app.state.db.close().await;
    }
}

/// Every statement of the release before is understood on this release's schema, and its inserts leave out nothing that
/// is needed.
#[databases]
async fn the_previous_release_works_on_this_schema(app: TestApp) {
    let url = app.state.config.database.url.as_str();
    let db = app.beside().await;
    let is_sqlite = url.starts_with("sqlite");
    let statements = released::statements(if is_sqlite { "sqlite" } else { "postgres" });
    assert!(statements.len() > 100, "{} are on record", statements.len());
    for sql in &statements {
        let understood = if is_sqlite {
            db.execute_unprepared(&format!("EXPLAIN {sql}")).await
        } else {
            db.execute_unprepared(&format!("PREPARE released AS {sql}")).await
        };
        understood.unwrap_or_else(|error| panic!("{error}: {sql}"));
        if !is_sqlite {
            db.execute_unprepared("DEALLOCATE released").await.expect("it goes");
        }
    }
    let needed = if is_sqlite {
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND \
         c.\"notnull\" AND c.dflt_value IS NULL"
    } else {
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = \
         current_schema() AND is_nullable = 'NO' AND column_default IS NULL"
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), needed)).await.expect("columns");
    let mut checked = 0;
    for row in rows {
        let (table, column): (String, String) =
            (row.try_get_by_index(0).expect("a name"), row.try_get_by_index(1).expect("a name"));
        let insert = format!("INSERT INTO \"{table}\" (");
        for columns in statements.iter().filter_map(|sql| sql.strip_prefix(&insert)?.split_once(')')) {
            assert!(
                columns.0.contains(&format!("\"{column}\"")),
                "{table}.{column} is needed, and the release before leaves it out"
            );
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} columns of inserts");
    db.close().await.expect("it closes");
}

/// The step that has links repeat when their item was created, over what the previous release has written and still
/// writes.
#[databases]
async fn links_of_the_previous_release_say_when_their_item_was_created(app: TestApp) {
    let acme = app.company("acme").await;
    let mut tags = Vec::new();
    for name in ["one", "two"] {
        tags.push(app.create(&acme, &acme.owner, "tag", json!({ "name": name })).await);
    }
    for number in 0..12 {
        app.clock.advance(chrono::TimeDelta::milliseconds(1_001));
        let (title, assignees) = (number.to_string(), [&acme.member.id, &acme.admin.id]);
        let links = json!({ "title": title, "tagIds": [tags[0]], "assigneeIds": assignees });
        app.create(&acme, &acme.owner, "item", links).await;
    }
    let db = app.beside().await;
    let is_sqlite = app.state.config.database.url.starts_with("sqlite");
    undo_link_times(&db, is_sqlite).await;
    let applied = app.state.db.migrate(app.state.config.database.migration_wait).await.expect("the step runs again");
    assert_eq!(applied, ["m20261128_000046_link_times"]);
    for (table, links) in [("item_tag", 12), ("item_assignee", 24)] {
        assert_eq!(dated(&db, table).await, (links, links), "{table}");
    }

    // A server of the previous release beside this one: its own statements, word for word.
    let written = released::statements(if is_sqlite { "sqlite" } else { "postgres" });
    let to_a_tag = "SELECT i.organization_id, i.id, t.id FROM item i, tag t WHERE t.name = 'two'";
    let to_the_owner = "SELECT i.organization_id, i.id, m.user_id FROM item i, membership m WHERE m.role = 'OWNER'";
    for (table, other, absent, links) in
        [("item_tag", "tag_id", to_a_tag, 24), ("item_assignee", "user_id", to_the_owner, 36)]
    {
        let insert = format!("INSERT INTO \"{table}\" (\"organization_id\", \"item_id\", \"{other}\") VALUES");
        let insert = written.iter().find(|sql| sql.starts_with(&insert)).expect("it is on record");
        let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), absent)).await.expect("ids");
        for row in rows {
            let values = (0..3).map(|place| row.try_get_by_index::<Uuid>(place).expect("an id").into());
            let insert = Statement::from_sql_and_values(db.get_database_backend(), *insert, values);
            db.execute_raw(insert).await.expect("a link without a time");
        }
        assert_eq!(dated(&db, table).await, (links, links), "{table}");
    }
    db.close().await.expect("it closes");

    let newest: Vec<String> = (0..12).rev().map(|number| number.to_string()).collect();
    for filter in [
        format!("tags: {{ some: {{ id: {{ eq: \"{}\" }} }} }}", tags[1]),
        "assignees: { some: { isViewer: true } }".to_owned(),
    ] {
        let query = format!(
            "{{ items(first: 20, filter: {{ {filter} }}, orderBy: [{{ field: CREATED_AT, direction: DESC }}]) \
             {{ nodes {{ title }} }} }}"
        );
        let data = app.call(&acme, &acme.owner, &query).data().await;
        let titles: Vec<_> =
            data["items"]["nodes"].as_array().into_iter().flatten().map(|item| &item["title"]).collect();
        assert_eq!(titles, newest.iter().collect::<Vec<_>>(), "{filter}");
    }
}

/// As the release before the step has the tables.
async fn undo_link_times(db: &DatabaseConnection, is_sqlite: bool) {
    let mut undo = Vec::new();
    for (table, other) in [("item_tag", "tag_id"), ("item_assignee", "user_id")] {
        let on_table = if is_sqlite { String::new() } else { format!(" ON {table}") };
        undo.extend([
            format!("DROP TRIGGER {table}_created{on_table}"),
            format!("DROP INDEX ix_{table}_{other}_item_created_at"),
            format!("ALTER TABLE {table} DROP COLUMN item_created_at"),
            format!(
                "CREATE INDEX ix_{table}_organization_id_{other}_item_id ON {table} (organization_id, {other}, item_id)"
            ),
        ]);
    }
    if !is_sqlite {
        undo.push("DROP FUNCTION item_link_created()".to_owned());
    }
    undo.push("DELETE FROM seaql_migrations WHERE version = 'm20261128_000046_link_times'".to_owned());
    for sql in undo {
        db.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

/// How many links a table has, and how many of them say when their item was created.
async fn dated(db: &DatabaseConnection, table: &str) -> (i64, i64) {
    let sql = format!(
        "SELECT count(*), count(CASE WHEN l.item_created_at = i.created_at THEN 1 END) FROM {table} l, item i \
         WHERE i.organization_id = l.organization_id AND i.id = l.item_id"
    );
    let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await.expect("counts");
    let row = row.expect("a row");
    (row.try_get_by_index(0).expect("a number"), row.try_get_by_index(1).expect("a number"))
}

/// A walk over every kind of object: made, changed, read, deleted.
async fn everything_works(app: &TestApp, acme: &crate::support::world::Company, item: &str) {
    let call = |query: &str| app.call(acme, &acme.owner, query);
    let own = format!("own-{}", fastrand::u32(..));
    let other = app.company(&own).await;
    let team = app.create(acme, &acme.owner, "team", json!({ "name": own })).await;
    let tag = app.create(acme, &acme.owner, "tag", json!({ "name": own })).await;
    let made = app.create(acme, &acme.owner, "item", json!({ "title": own, "tagIds": [tag], "teamId": team })).await;
    app.create(acme, &acme.owner, "comment", json!({ "itemId": item, "body": "Seen" })).await;
    app.api_key(acme, &acme.owner, &["ITEM_READ"]).await;
    let update = "mutation($id: ID!) { itemUpdate(input: {id: $id, patch: {title: \"Changed\", status: DONE}}) { \
                  userErrors { code message } } }";
    call(update).vars(json!({ "id": item })).done().await;
    let delete = "mutation($id: ID!) { itemDelete(input: {id: $id}) { userErrors { code message } } }";
    call(delete).vars(json!({ "id": made })).done().await;
    let webhook = "mutation { webhookCreate(input: {url: \"http://127.0.0.1:9/\", eventTypes: [ITEM_CREATED]}) { \
                   userErrors { code message } } }";
    call(webhook).done().await;
    let hook = "mutation { inboundHookCreate(input: {name: \"CI\", action: ITEM_CREATE, mapping: {title: {default: \
                \"Red\"}}}) { userErrors { code message } } }";
    call(hook).done().await;
    let read = "{ viewer { user { id } } \
                items(first: 20) { totalCount nodes { id title tags { name } team { name } assignees { id } \
                comments(first: 3) { nodes { body } } } } \
                events(last: 5) { nodes { sequence type } } \
                organization { plan { tier quotas { resource used } } members(first: 5) { nodes { role } } \
                webhooks(first: 5) { nodes { pendingCount } } inboundHooks(first: 5) { nodes { name } } \
                tags(first: 5) { nodes { name } } teams(first: 5) { nodes { name } } } }";
    let data = call(read).data().await;
    assert!(data["items"]["nodes"].as_array().is_some_and(|items| items.iter().any(|one| one["title"] == "Changed")));
    let again = app.sign_in(&acme.member).await;
    app.gql("{ viewer { user { id } } }").token(&again.token).data().await;
    assert_eq!(
        app.call(&other, &other.owner, "{ items(first: 1) { totalCount } }").data().await["items"]["totalCount"],
        0
    );
}
