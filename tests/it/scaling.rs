//! The schema can be split by organization on PostgreSQL: keys and foreign keys say so, and the scripts of
//! `docker/postgres` run on it. Citus's own functions are stand-ins here (`samples/citus.sql`).

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};
use todo_platform::jobs::runner::Runner;

use crate::support::{app::TestApp, world::Company};

const PARTITION: &str = include_str!("../../docker/postgres/partition.sql");
const DISTRIBUTE: &str = include_str!("../../docker/postgres/distribute.sql");
const CITUS: &str = include_str!("samples/citus.sql");

/// Unique keys of tenants' tables that do not begin with `organization_id`, and why.
const OTHER_KEYS: [(&str, &str); 5] = [
    ("job_pkey", "one queue of all organizations, in which the server's own jobs stand, too"),
    ("ux_api_key_lookup", "whoever presents a key has no organization yet"),
    ("ux_inbound_hook_token", "whoever calls back has no organization yet"),
    ("ux_invitation_mailed_token_hash", "an invited person is outside the organization"),
    ("ux_invitation_token_hash", "an invited person is outside the organization"),
];

/// Tables of tenants that are copied to every node, because of a key in [`OTHER_KEYS`].
const COPIED: [&str; 4] = ["api_key", "inbound_hook", "invitation", "job"];

/// Tables that stay on one node.
const LOCAL: [&str; 6] =
    ["ledger_epoch", "mailed_letter", "seaql_migrations", "sign_in_failure", "signing_key", "store_probe"];

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_a_tenant_begins_with_its_organization() {
    TestApp::on_postgres(async |app| {
        let keys = rows(
            &app.beside().await,
            "SELECT c.relname::text AS key, a.attname::text AS first FROM pg_index i \
             JOIN pg_class c ON c.oid = i.indexrelid \
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
             WHERE i.indisunique AND EXISTS (SELECT FROM pg_attribute o WHERE o.attrelid = i.indrelid \
             AND o.attname = 'organization_id') AND c.relnamespace = current_schema()::regnamespace",
        )
        .await;
        assert!(keys.len() > 30, "{keys:?}");
        let others: BTreeSet<&str> =
            keys.iter().filter(|key| key[1] != "organization_id").map(|key| key[0].as_str()).collect();
        assert_eq!(others, OTHER_KEYS.into_iter().map(|(key, _)| key).collect());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_between_tenants_tables_holds_their_organization() {
    TestApp::on_postgres(async |app| {
        let db = app.beside().await;
        let between = "FROM pg_constraint c WHERE c.contype = 'f' \
             AND c.connamespace = current_schema()::regnamespace \
             AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.conrelid AND attname = 'organization_id') \
             AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.confrelid AND attname = 'organization_id')";
        let all = rows(&db, &format!("SELECT c.conname::text AS name {between}")).await;
        assert!(all.len() > 15, "{all:?}");
        let apart = rows(
            &db,
            &format!(
                "SELECT c.conname::text AS name {between} AND NOT EXISTS (SELECT FROM unnest(c.conkey, c.confkey) k (here, there) \
                 JOIN pg_attribute h ON h.attrelid = c.conrelid AND h.attnum = k.here AND h.attname = 'organization_id' \
                 JOIN pg_attribute t ON t.attrelid = c.confrelid AND t.attnum = k.there AND t.attname = 'organization_id')"
            ),
        )
        .await;
        assert!(apart.is_empty(), "{apart:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tables_find_their_place_on_a_cluster() {
    TestApp::on_postgres(async |app| {
        let db = app.beside().await;
        let tables = "SELECT c.relname::text AS name, coalesce(p.kind, 'local') AS kind, \
             coalesce(array_to_string(p.triggers, ' '), '') AS triggers, \
             EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'organization_id')::text AS tenant \
             FROM pg_class c LEFT JOIN placed p ON p.relation = c.oid \
             WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND c.relname <> 'placed'";
        run(&db, CITUS).await;
        run(&db, DISTRIBUTE).await;
        let placed = rows(&db, tables).await;
        let of = |kind: &str, tenant: &str| -> BTreeSet<String> {
            placed.iter().filter(|row| row[1] == kind && row[3] == tenant).map(|row| row[0].clone()).collect()
        };
        assert_eq!(of("reference", "true"), COPIED.map(str::to_owned).into());
        assert_eq!(of("local", "false"), LOCAL.map(str::to_owned).into());
        assert_eq!(of("local", "true"), BTreeSet::new());
        assert_eq!(of("distributed", "false"), BTreeSet::new());
        assert!(of("distributed", "true").len() > 20);
        let triggers: BTreeMap<&str, &str> =
            placed.iter().filter(|row| !row[2].is_empty()).map(|row| (row[0].as_str(), row[2].as_str())).collect();
        let expected = [
            ("comment", "search_comment_added search_comment_changed search_comment_deleted"),
            ("item", "search_item_added search_item_changed search_item_deleted"),
            ("item_assignee", "item_assignee_added item_assignee_created item_assignee_deleted"),
            ("item_tag", "item_tag_added item_tag_created item_tag_deleted"),
            ("tag", "tag_deleted tag_updated"),
            ("team", "team_deleted team_updated"),
            ("user", "account_updated profile_deleted profile_updated"),
        ];
        assert_eq!(triggers, expected.into(), "what the script and docs/scaling.md say of triggers");

        // The stand-ins do refuse what Citus would.
        run(&db, "DELETE FROM placed WHERE kind = 'distributed'").await;
        for (call, reason) in [
            ("create_distributed_table('job', 'organization_id', colocate_with := 'none')", "that is never null"),
            ("create_distributed_table('session', 'organization_id', colocate_with := 'none')", "that is never null"),
            ("create_distributed_table('api_key', 'organization_id', colocate_with := 'none')", "ux_api_key_lookup"),
            ("create_distributed_table('comment', 'organization_id', colocate_with := 'none')", "not been placed yet"),
            ("create_reference_table('team_member')", "no reference table yet"),
        ] {
            let error = db.execute_unprepared(&format!("SELECT {call}")).await.expect_err(call).to_string();
            assert!(error.contains(reason), "{call}: {error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_works_on_partitions_and_a_request_reads_one_of_each_table() {
    TestApp::on_postgres(async |app| {
        let (acme, rival) = (app.company("acme").await, app.company("rival").await);
        let before = app.item(&acme, "Written before").await;
        app.item(&rival, "Written elsewhere").await;
        let db = app.beside().await;
        let shape = shape(&db).await;
        run(&db, "SET todo.partitions = 4").await;
        run(&db, PARTITION).await;
        run(&db, PARTITION).await; // a second time it finds nothing to do
        assert_eq!(self::shape(&db).await, shape, "keys, indexes, foreign keys and triggers are as before");
        assert_eq!(app.state.db.pending_migrations().await.expect("an answer"), Vec::<String>::new());
        let parts = "SELECT p.relname::text AS name, count(*)::text AS parts FROM pg_inherits i \
             JOIN pg_class p ON p.oid = i.inhparent WHERE p.relkind = 'p' \
             AND p.relnamespace = current_schema()::regnamespace GROUP BY 1";
        let parts = rows(&db, parts).await;
        assert!(parts.len() == 12 && parts.iter().all(|table| table[1] == "4"), "{parts:?}");

        // What was there is there; what comes is listed, found, changed and deleted.
        app.take_statements();
        let tag = app.create(&acme, &acme.admin, "tag", json!({ "name": "urgent", "color": "#ff0000" })).await;
        let input = json!({ "title": "Written after", "tagIds": [tag], "assigneeIds": [acme.member.id],
            "subtasks": [{ "title": "A part of it" }] });
        let item = app.create(&acme, &acme.member, "item", input).await;
        app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "About the part" })).await;
        assert_eq!(listed(&app, &acme).await, ["Written after", "Written before"]);
        assert_eq!(found(&app, &acme, "written").await, ["Written after", "Written before"]);
        assert_eq!(found(&app, &rival, "written").await, ["Written elsewhere"]);
        for (mutation, left) in [
            (format!("itemDelete(input: {{ id: \"{before}\" }})"), vec!["Written after"]),
            (format!("itemRestore(input: {{ id: \"{before}\" }})"), vec!["Written after", "Written before"]),
            (format!("itemDelete(input: {{ id: \"{item}\", permanently: true }})"), vec!["Written before"]),
        ] {
            let mutation = format!("mutation {{ {mutation} {{ userErrors {{ code message }} }} }}");
            app.call(&acme, &acme.owner, &mutation).done().await;
            Runner::new(app.state.clone()).drain().await;
            assert_eq!(listed(&app, &acme).await, left, "{mutation}");
            assert_eq!(found(&app, &acme, "written").await, left, "{mutation}");
        }
        one_partition_each(&db, app.take_statements_with_values()).await;

        // An organization that ends takes its rows along, and no one else's.
        let end = "mutation { organizationDelete(input: {confirmSlug: \"acme\"}) { deletedId userErrors { code } } }";
        app.call(&acme, &acme.owner, end).done().await;
        Runner::new(app.state.clone()).drain().await;
        for table in ["item", "event", "search_document"] {
            let left = format!("SELECT DISTINCT organization_id::text AS id FROM {table}");
            assert_eq!(rows(&db, &left).await.len(), 1, "{table}");
        }
        assert_eq!(listed(&app, &rival).await, ["Written elsewhere"]);
    })
    .await;
}

/// Titles, newest first.
async fn listed(app: &TestApp, company: &Company) -> Vec<String> {
    let query = "{ items(filter: { parent: { isNull: true } }) { nodes { title tags { name } assignees { displayName } \
                 comments(first: 5) { nodes { body } } } } }";
    let data = app.call(company, &company.viewer, query).data().await;
    titles(&data["items"]["nodes"], |node| &node["title"])
}

/// Titles of items that have these words, in the order of their titles.
async fn found(app: &TestApp, company: &Company, words: &str) -> Vec<String> {
    let query = "query($words: String!) { search(query: $words, types: [ITEM]) { node { ... on Item { title } } } }";
    let data = app.call(company, &company.viewer, query).vars(json!({ "words": words })).data().await;
    let mut titles = titles(&data["search"], |hit| &hit["node"]["title"]);
    titles.sort();
    titles
}

fn titles(list: &Value, title: impl Fn(&Value) -> &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|one| title(one).as_str().expect("a title").to_owned()).collect()
}

/// Each statement of a request reads and writes one partition of a table at most.
async fn one_partition_each(db: &DatabaseConnection, statements: Vec<Statement>) {
    let mut explained = 0;
    for mut statement in statements {
        if !["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|word| statement.sql.starts_with(word)) {
            continue;
        }
        let sql = statement.sql.clone();
        statement.sql = format!("EXPLAIN (FORMAT JSON) {sql}");
        let row = db.query_one_raw(statement).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        let plan: Value = row.expect("a plan").try_get_by_index(0).expect("as JSON");
        let mut read = BTreeMap::<String, BTreeSet<String>>::new();
        partitions(&plan[0]["Plan"], &mut read);
        explained += usize::from(!read.is_empty());
        assert!(read.values().all(|parts| parts.len() == 1), "{read:?}: {sql}");
    }
    assert!(explained > 20, "{explained}");
}

/// Adds the partitions that a plan names, by their table.
fn partitions(node: &Value, read: &mut BTreeMap<String, BTreeSet<String>>) {
    if let Some((table, part)) = node["Relation Name"].as_str().and_then(|name| name.rsplit_once("_p"))
        && part.parse::<u32>().is_ok()
    {
        read.entry(table.to_owned()).or_default().insert(part.to_owned());
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        partitions(below, read);
    }
}

/// Constraints, indexes and triggers of all tables, without those of partitions.
async fn shape(db: &DatabaseConnection) -> BTreeSet<Vec<String>> {
    let own = "relnamespace = current_schema()::regnamespace AND NOT relispartition";
    let sql = format!(
        "SELECT c.relname::text AS of, k.conname::text AS name, pg_get_constraintdef(k.oid) AS is FROM pg_constraint k \
         JOIN pg_class c ON c.oid = k.conrelid AND c.{own} WHERE k.conparentid = 0 \
         UNION ALL SELECT c.relname, x.indexrelid::regclass::text, replace(pg_get_indexdef(x.indexrelid), ' ON ONLY ', ' ON ') \
         FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid AND c.{own} \
         UNION ALL SELECT c.relname, t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t \
         JOIN pg_class c ON c.oid = t.tgrelid AND c.{own} WHERE NOT t.tgisinternal \
         UNION ALL SELECT c.relname, a.attname, concat_ws(' ', a.attnum, format_type(a.atttypid, a.atttypmod), \
         a.attnotnull, a.attcollation::regcollation, array_to_string(a.attoptions, ','), pg_get_expr(d.adbin, d.adrelid)) FROM pg_attribute a \
         JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND c.{own} \
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE a.attnum > 0"
    );
    rows(db, &sql).await.into_iter().collect()
}

async fn run(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}"));
}

/// All rows of a statement whose columns are texts.
async fn rows(db: &DatabaseConnection, sql: &str) -> Vec<Vec<String>> {
    let found = db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
    let row = |row: &sea_orm::QueryResult| -> Vec<String> {
        (0..row.column_names().len()).map(|at| row.try_get_by_index(at).expect("a text")).collect()
    };
    found.unwrap_or_else(|error| panic!("{error}: {sql}")).iter().map(row).collect()
}
