//! What a request reads does not grow with its organization: the plans of its statements on PostgreSQL, in one with
//! 20,000 items. SQLite has the same indexes.

use std::collections::BTreeSet;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use serde_json::{Value, json};

use crate::support::{app::TestApp, world::Company};

const ITEMS: u32 = 20_000;
/// Tables that grow with the organization.
const LARGE: [&str; 5] = ["item", "comment", "item_tag", "item_assignee", "search_document"];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_does_not_grow_with_the_organization() {
    TestApp::on_postgres(async |app| {
        let acme = app.company("acme").await;
        let tag = app.create(&acme, &acme.admin, "tag", json!({ "name": "urgent", "color": "#ff0000" })).await;
        app.create(&acme, &acme.admin, "tag", json!({ "name": "usual", "color": "#00ff00" })).await;
        let db = app.beside().await;
        fill(&db).await;
        let item = first_item(&app, &acme).await;
        let person = &acme.member.id;
        let list = |arguments: &str| {
            format!(
                "{{ items(first: 50{arguments}) {{ nodes {{ id title team {{ name }} assignees {{ displayName }} tags \
                 {{ name }} comments {{ totalCount }} }} pageInfo {{ hasNextPage endCursor }} }} }}"
            )
        };
        let filtered = format!(
            ", filter: {{ status: {{ in: [TODO, IN_PROGRESS] }}, assignees: {{ some: {{ id: {{ eq: \"{person}\" }} }} }}, \
             tags: {{ some: {{ id: {{ eq: \"{tag}\" }} }} }} }}"
        );
        let of_tag = format!(", filter: {{ tags: {{ some: {{ id: {{ eq: \"{tag}\" }} }} }} }}");
        let of_person = format!(", filter: {{ and: [{{ assignees: {{ some: {{ id: {{ in: [\"{person}\"] }} }} }} }}] }}");
        let pages = format!("{{ items(first: 100{filtered}) {{ pageInfo {{ endCursor }} }} }}");
        let first = app.call(&acme, &acme.owner, &pages).data().await;
        let after = first["items"]["pageInfo"]["endCursor"].as_str().expect("a cursor");
        let search = |query: &str| format!("{{ search(query: \"{query}\", first: 50) {{ snippet node {{ id }} }} }}");
        let mut wrong = Vec::new();
        // What is asked, how many rows are read for it at most, and an index that it is found by.
        for (what, query, rows, index) in [
            ("newest first", list(""), 800, "ix_item_organization_id_created_at_id"),
            ("by due date", list(", orderBy: [{ field: DUE_AT }]"), 800, "ix_item_organization_id_due_at_id"),
            ("in manual order", list(", orderBy: [{ field: RANK }]"), 800, "ix_item_organization_id_rank_id"),
            ("by priority", list(", orderBy: [{ field: PRIORITY }]"), 800, "ix_item_organization_id_priority_id"),
            ("changed lately", list(", orderBy: [{ field: UPDATED_AT, direction: DESC }]"), 800, "ix_item_organization_id_updated_at_id"),
            // Of the person (2,500) and the tag (4,000) what is newer than the page's end, as entries of an index; items only
            // where both meet (500).
            ("filtered", list(&filtered), 1500, "ix_item_tag_tag_id_item_created_at"),
            ("filtered, a later page", list(&format!("{filtered}, after: \"{after}\"")), 1500, "ix_item_assignee_user_id_item_created_at"),
            ("filtered, oldest first", list(&format!("{filtered}, orderBy: [{{ field: CREATED_AT }}]")), 1500, "ix_item_tag_tag_id_item_created_at"),
            ("of a tag", list(&of_tag), 800, "ix_item_tag_tag_id_item_created_at"),
            ("of a person", list(&of_person), 800, "ix_item_assignee_user_id_item_created_at"),
            ("an item", format!("{{ item(id: \"{item}\") {{ title comments(first: 20) {{ nodes {{ body author {{ displayName }} }} }} }} }}"), 50, "item_pkey"),
            ("a frequent word", search("common"), 6500, "search_document_pkey"),
            ("two frequent words", search("common task"), 6500, "search_document_pkey"),
            ("the beginning of one", search("co"), 6500, "search_document_pkey"),
            ("a rare word", search("seldom"), 6500, "ix_search_document_item"),
            ("a text in a list", list(", filter: { text: \"\\\"seldom\\\"\" }"), 1000, "ix_search_document_item"),
            ("an identifier", search("ACME-77"), 6500, "ux_item_organization_id_number"),
        ] {
            app.take_statements();
            app.call(&acme, &acme.owner, &query).data().await;
            let read = explain(&db, app.take_statements_with_values()).await;
            let whole: Vec<_> = read.whole.iter().filter(|table| LARGE.contains(&table.as_str())).collect();
            if read.rows > rows || !read.indexes.contains(index) || !whole.is_empty() {
                wrong.push(format!("{what}: at most {rows} rows, by {index}, is {read:#?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

/// Items with what belongs to them, past triggers and checks: what is told of them is told by nobody else.
async fn fill(db: &DatabaseConnection) {
    let number = format!("generate_series(1, {ITEMS}) n");
    let id = "('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid";
    let at = "timestamptz '2026-01-01' + n * interval '1 minute'";
    let title = "'Task ' || n || ' common' || CASE WHEN n % 500 = 0 THEN ' seldom' ELSE '' END";
    let said = "('01900000-0000-7000-9000-' || lpad(to_hex(n), 12, '0'))::uuid";
    for sql in [
        "SET session_replication_role = replica".to_owned(),
        format!(
            "INSERT INTO item (organization_id, id, number, title, title_key, description, status, priority, due_at, \
             created_by_kind, created_by_id, created_at, updated_at, rank) SELECT o.id, {id}, n, {title}, {title}, \
             'What is to be done', n % 3, n % 4, {at} + (n % 90) * interval '1 day', 0, o.id, {at}, {at}, \
             lpad(n::text, 6, '0') FROM organization o, {number}"
        ),
        format!(
            "INSERT INTO comment (organization_id, id, item_id, body, author_kind, author_id, created_at) SELECT o.id, \
             {said}, {id}, 'A common remark', 0, (SELECT min(user_id::text)::uuid FROM membership), {at} FROM \
             organization o, {number}"
        ),
        format!(
            "INSERT INTO item_tag SELECT t.organization_id, {id}, t.id, {at} FROM tag t, {number} \
             WHERE (t.name = 'urgent') = (n % 5 = 0)"
        ),
        format!(
            "INSERT INTO item_assignee SELECT o.id, {id}, u.id, {at} FROM organization o, \"user\" u, {number} \
             WHERE u.email = CASE WHEN n % 8 = 0 THEN 'acme-member@example.com' ELSE 'acme-owner@example.com' END"
        ),
        "INSERT INTO search_document SELECT organization_id, 0, id, id, search_vector(organization_id, \
             0::smallint, title, description) FROM item UNION ALL SELECT organization_id, 1, id, item_id, \
             search_vector(organization_id, 1::smallint, body, NULL) FROM comment"
            .to_owned(),
        format!("UPDATE ledger_head SET next_number = {ITEMS} + 1"),
        "UPDATE item i SET tag_ids = ARRAY(SELECT tag_id FROM item_tag l WHERE l.organization_id = i.organization_id AND \
             l.item_id = i.id ORDER BY 1), assignee_ids = ARRAY(SELECT user_id FROM item_assignee l WHERE \
             l.organization_id = i.organization_id AND l.item_id = i.id ORDER BY 1)"
            .to_owned(),
        "VACUUM item".to_owned(),
        "SET session_replication_role = origin".to_owned(),
        "ANALYZE".to_owned(),
    ] {
        db.execute_unprepared(&sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

async fn first_item(app: &TestApp, acme: &Company) -> String {
    let data = app.call(acme, &acme.owner, "{ items(first: 1) { nodes { id } } }").data().await;
    data["items"]["nodes"][0]["id"].as_str().expect("an item").to_owned()
}

/// What some statements read.
#[derive(Debug, Default)]
struct Read {
    rows: u64,
    indexes: BTreeSet<String>,
    /// Tables that are read from end to end.
    whole: BTreeSet<String>,
    statements: Vec<String>,
}

async fn explain(db: &DatabaseConnection, statements: Vec<Statement>) -> Read {
    let mut read = Read::default();
    for mut statement in statements {
        if !statement.sql.starts_with("SELECT") {
            continue;
        }
        statement.sql = format!("EXPLAIN (ANALYZE, FORMAT JSON) {}", statement.sql);
        let sql = statement.sql.clone();
        let row = db.query_one_raw(statement).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        let plan: Value = row.expect("a plan").try_get_by_index(0).expect("as JSON");
        let before = read.rows;
        read.add(&plan[0]["Plan"]);
        read.statements.push(format!("{}: {sql}", read.rows - before));
    }
    read
}

impl Read {
    fn add(&mut self, node: &Value) {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        let kind = node["Node Type"].as_str().unwrap_or_default();
        let of_table = node["Relation Name"].as_str();
        if of_table.is_some() || kind == "Bitmap Index Scan" {
            let each =
                number("Actual Rows") + number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
            self.rows += (each * number("Actual Loops")) as u64;
        }
        if let Some(index) = node["Index Name"].as_str().filter(|_| number("Actual Loops") > 0.0) {
            self.indexes.insert(index.to_owned());
        }
        if let Some(table) = of_table.filter(|_| kind == "Seq Scan") {
            self.whole.insert(table.to_owned());
        }
        for below in node["Plans"].as_array().into_iter().flatten() {
            self.add(below);
        }
    }
}
