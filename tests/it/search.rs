//! Full-text search: what is found, in which order, what is shown of it, and that it follows every write.

use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use todo_platform::jobs::{kinds::Chunk, runner::Runner};

use crate::support::{app::TestApp, world::Company};
use todo_test_macros::databases;

const SEARCH: &str = "query($query: String!, $types: [SearchType!], $filter: ItemFilter, $first: Int! = 20) { \
    search(query: $query, types: $types, filter: $filter, first: $first) { score snippet node { id \
    ... on Item { title } ... on Comment { body } } } }";

/// Hits of a search with these variables.
async fn hits(app: &TestApp, company: &Company, variables: Value) -> Vec<Value> {
    let data = app.call(company, &company.viewer, SEARCH).vars(variables).data().await;
    data["search"].as_array().expect("a list").clone()
}

/// Titles and texts of what a query finds.
async fn found(app: &TestApp, company: &Company, query: &str) -> Vec<String> {
    texts(&hits(app, company, json!({ "query": query })).await)
}

fn texts(hits: &[Value]) -> Vec<String> {
    let text = |hit: &Value| hit["node"]["title"].as_str().or(hit["node"]["body"].as_str()).map(str::to_owned);
    hits.iter().map(|hit| text(hit).expect("a title or a text")).collect()
}

async fn item(app: &TestApp, company: &Company, title: &str, description: &str) -> String {
    app.create(company, &company.member, "item", json!({ "title": title, "description": description })).await
}

async fn comment(app: &TestApp, company: &Company, item: &str, body: &str) -> String {
    app.create(company, &company.member, "comment", json!({ "itemId": item, "body": body })).await
}

/// A mutation by the owner, its input written out.
async fn does(app: &TestApp, company: &Company, mutation: &str, input: &str) {
    let document = format!("mutation {{ {mutation}(input: {{ {input} }}) {{ userErrors {{ code message }} }} }}");
    app.call(company, &company.owner, &document).done().await;
}

#[databases]
async fn texts_are_found_and_followed(app: TestApp) {
    let acme = app.company("acme").await;
    let login = item(&app, &acme, "Fix the login page", "It says “Überraschung” to everybody.").await;
    let other = item(&app, &acme, "Buy paper", "For the printer, v2.1-beta").await;
    item(&app, &acme, "3e8a9f x²y", "12e5 0x1f 1st ٣٤").await;
    let said = comment(&app, &acme, &login, "The certificate has expired!").await;
    assert_eq!(found(&app, &acme, "LOGIN").await, ["Fix the login page"]);
    for (query, expected) in [
        ("uberraschung", "Fix the login page"),
        ("page login", "Fix the login page"),
        ("\"login page\"", "Fix the login page"),
        ("fix everybody", "Fix the login page"),
        ("certif", "The certificate has expired!"),
        ("printer,", "Buy paper"),
        ("3e8a9f", "3e8a9f x²y"),
        ("3e", "3e8a9f x²y"),
        ("12e5 0x1", "3e8a9f x²y"),
        ("x²", "3e8a9f x²y"),
        ("\"y\" 1s", "3e8a9f x²y"),
        ("٣", "3e8a9f x²y"),
        ("v2.1", "Buy paper"),
        ("2.1-bet", "Buy paper"),
    ] {
        // The first of a number such as 2.1 is in the middle of a word.
        let expected = if query.starts_with('2') { vec![] } else { vec![expected] };
        assert_eq!(found(&app, &acme, query).await, expected, "{query}");
    }
    for nothing in ["\"page login\"", "login paper", "ogin", "expire d", "everybody fix the \"certificate\""] {
        assert_eq!(found(&app, &acme, nothing).await, [""; 0], "{nothing}");
    }
    // A phrase does not go from the title on into the description.
    assert_eq!(found(&app, &acme, "\"page it\"").await, [""; 0]);

    does(&app, &acme, "itemUpdate", &format!("id: \"{login}\", patch: {{ title: \"Fix the sign-in page\" }}")).await;
    assert_eq!(found(&app, &acme, "login").await, [""; 0]);
    assert_eq!(found(&app, &acme, "sign-in uberr").await, ["Fix the sign-in page"]);
    does(&app, &acme, "itemUpdate", &format!("id: \"{login}\", patch: {{ description: null }}")).await;
    assert_eq!(found(&app, &acme, "uberraschung").await, [""; 0]);
    does(&app, &acme, "commentUpdate", &format!("id: \"{said}\", patch: {{ body: \"All is well\" }}")).await;
    assert_eq!(found(&app, &acme, "certificate").await, [""; 0]);
    assert_eq!(found(&app, &acme, "well").await, ["All is well"]);

    // The trash is left out, with what was said there; a restore brings both back.
    does(&app, &acme, "itemDelete", &format!("id: \"{login}\"")).await;
    assert_eq!(found(&app, &acme, "page").await, [""; 0]);
    assert_eq!(found(&app, &acme, "well").await, [""; 0]);
    does(&app, &acme, "itemRestore", &format!("id: \"{login}\"")).await;
    assert_eq!(found(&app, &acme, "page").await, ["Fix the sign-in page"]);
    assert_eq!(found(&app, &acme, "well").await, ["All is well"]);
    does(&app, &acme, "commentDelete", &format!("id: \"{said}\"")).await;
    assert_eq!(found(&app, &acme, "well").await, [""; 0]);
    comment(&app, &acme, &login, "Once more").await;
    does(&app, &acme, "itemDelete", &format!("id: \"{login}\", permanently: true")).await;
    assert_eq!(found(&app, &acme, "page").await, [""; 0]);
    assert_eq!(found(&app, &acme, "once").await, [""; 0]);
    // Nothing is left of what is gone.
    let sql = "SELECT count(*) AS rows FROM search_document";
    let db = app.beside().await;
    let rows = db.query_one_raw(sea_orm::Statement::from_string(db.get_database_backend(), sql)).await;
    let rows: i64 = rows.expect("an answer").expect("a row").try_get("", "rows").expect("a number");
    assert_eq!(rows, 2, "{other} and another");
}

#[databases]
async fn another_tenants_texts_are_never_found(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let own = item(&app, &acme, "The common secret", "shared words of both").await;
    let theirs = item(&app, &rival, "The common secret", "shared words of both").await;
    comment(&app, &acme, &own, "common remark").await;
    comment(&app, &rival, &theirs, "common remark, quite unlike").await;
    for query in ["common", "commo", "com", "shared words", "\"common secret\"", "unlike", "common remark", "1"] {
        for hit in hits(&app, &acme, json!({ "query": query })).await {
            assert_ne!(hit["node"]["id"], json!(theirs), "{query}");
            assert_ne!(hit["node"]["body"], json!("common remark, quite unlike"), "{query}");
        }
    }
    assert_eq!(found(&app, &acme, "common").await.len(), 2);
    assert_eq!(found(&app, &acme, "unlike").await, [""; 0]);
    // What others have does not change the order or the scores.
    let before = hits(&app, &acme, json!({ "query": "common" })).await;
    for _ in 0..5 {
        item(&app, &rival, "common common common", "common").await;
    }
    assert_eq!(hits(&app, &acme, json!({ "query": "common" })).await, before);
    // An organization that ends takes its documents along.
    let id = &rival.id;
    let end = format!(
        "mutation {{ organizationDelete(input: {{ confirmSlug: \"{}\" }}) {{ userErrors {{ code }} }} }}",
        rival.slug
    );
    app.call(&rival, &rival.owner, &end).done().await;
    Runner::new(app.state.clone()).drain().await;
    let db = app.beside().await;
    let sql = "SELECT count(*) AS rows FROM search_document";
    let rows = db.query_one_raw(sea_orm::Statement::from_string(db.get_database_backend(), sql)).await;
    assert_eq!(rows.expect("an answer").expect("a row").try_get::<i64>("", "rows").expect("a number"), 2, "{id}");
}

#[databases]
async fn the_last_word_may_be_the_beginning_of_one(app: TestApp) {
    let acme = app.company("acme").await;
    item(&app, &acme, "Internationalization", "").await;
    item(&app, &acme, "Naïveté and Привет Ωμέγα", "مرحبا हिन्दी").await;
    let word = "internationalization";
    for length in 1..=word.len() {
        assert_eq!(found(&app, &acme, &word[..length]).await, ["Internationalization"], "{}", &word[..length]);
    }
    for query in ["naive", "naivet", "naïveté", "NAÏVETÉ", "приве", "ПРИВЕТ", "ωμέ", "ΩΜΈΓΑ", "مرح", "हिन्"]
    {
        assert_eq!(found(&app, &acme, query).await, ["Naïveté and Привет Ωμέγα"], "{query}");
    }
    // Quotation marks end it, and only the last one goes on.
    for query in ["\"internation\"", "inter naïveté", "internationa x"] {
        assert_eq!(found(&app, &acme, query).await, [""; 0], "{query}");
    }
    // Of more words than are looked up one by one.
    for number in 0..150 {
        item(&app, &acme, &format!("Abcdef{number} thing"), "").await;
    }
    assert_eq!(hits(&app, &acme, json!({ "query": "abcde", "first": 50 })).await.len(), 50);
    assert_eq!(found(&app, &acme, "thing abcdef14").await.len(), 11);
    assert_eq!(found(&app, &acme, "abcdef149").await, ["Abcdef149 thing"]);
}

#[databases]
async fn the_best_come_first_and_identifiers_before_all(app: TestApp) {
    let acme = app.company("acme").await;
    let mut number = 0;
    let mut make = async |title: &str, description: &str| {
        number += 1;
        app.clock.advance(chrono::TimeDelta::minutes(1));
        (item(&app, &acme, title, description).await, number)
    };
    let (_, first) = make("Report", "").await;
    make("Quarterly report for 2026", "").await;
    make("Reports of bugs", "").await;
    make("Something else", "with a report in its description").await;
    let (last, _) = make("See ACME-1", "2026").await;
    comment(&app, &acme, &last, "a report").await;
    let titles = ["Report", "Quarterly report for 2026", "Reports of bugs", "a report", "Something else"];
    let mut sorted = found(&app, &acme, "report").await;
    sorted[3..].sort();
    assert_eq!(
        sorted,
        ["Report", "Reports of bugs", "Quarterly report for 2026", "Something else", "a report"],
        "{titles:?}"
    );
    let scores: Vec<f64> =
        hits(&app, &acme, json!({ "query": "report" })).await.iter().filter_map(|hit| hit["score"].as_f64()).collect();
    assert!(scores.windows(2).all(|two| two[0] >= two[1]) && scores.iter().all(|score| (0.0..1.0).contains(score)));
    for query in ["ACME-1", "acme-1", " Acme-1 ", "#1", "1"] {
        let found = hits(&app, &acme, json!({ "query": query })).await;
        assert_eq!((&found[0]["node"]["title"], &found[0]["score"]), (&json!("Report"), &json!(1.0)), "{query}");
        assert_eq!(found.iter().filter(|hit| hit["node"]["title"] == "Report").count(), 1, "{query}");
    }
    assert_eq!(found(&app, &acme, "acme-1").await, ["Report", "See ACME-1"]);
    // A number is a word, too.
    assert_eq!(found(&app, &acme, "2026").await, ["Quarterly report for 2026", "See ACME-1"]);
    for nothing in ["RIVAL-1", "ACME-99", "-1", "99999999999999999999999", "acme--1"] {
        let found = found(&app, &acme, nothing).await;
        assert!(!found.contains(&"Report".to_owned()), "{nothing}: {found:?}");
    }
    // In the trash, or outside the filter, it is not named either.
    let only = json!({ "query": "1", "filter": { "title": { "contains": "quarterly" } } });
    assert_eq!(hits(&app, &acme, only).await, [Value::Null; 0]);
    assert_eq!(hits(&app, &acme, json!({ "query": "acme-1", "types": ["COMMENT"] })).await, [Value::Null; 0]);
    assert_eq!(first, 1);
    assert_eq!(hits(&app, &acme, json!({ "query": "report", "first": 2 })).await.len(), 2);
    assert_eq!(hits(&app, &acme, json!({ "query": "report", "first": 0 })).await.len(), 0);
}

#[databases]
async fn kinds_and_filters_hold(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    let input = json!({ "title": "Engine tagged", "tagIds": [tag], "priority": "HIGH" });
    let tagged = app.create(&acme, &acme.member, "item", input).await;
    let plain = item(&app, &acme, "Engine plain", "").await;
    comment(&app, &acme, &tagged, "engine remark one").await;
    comment(&app, &acme, &plain, "engine remark two").await;
    let sorted = async |variables: Value| {
        let mut found = texts(&hits(&app, &acme, variables).await);
        found.sort();
        found
    };
    let of = |more: Value| {
        let mut variables = json!({ "query": "engine" });
        more.as_object().expect("fields").iter().for_each(|(name, value)| variables[name] = value.clone());
        variables
    };
    assert_eq!(sorted(of(json!({}))).await.len(), 4);
    assert_eq!(sorted(of(json!({ "types": ["ITEM"] }))).await, ["Engine plain", "Engine tagged"]);
    assert_eq!(sorted(of(json!({ "types": ["COMMENT"] }))).await, ["engine remark one", "engine remark two"]);
    assert_eq!(sorted(of(json!({ "types": [] }))).await, [""; 0]);
    let bugs = json!({ "tags": { "some": { "name": { "eq": "bug" } } } });
    assert_eq!(sorted(of(json!({ "filter": bugs }))).await, ["Engine tagged", "engine remark one"]);
    let filter = json!({ "not": bugs, "or": [{ "priority": { "eq": "HIGH" } }, { "text": "plain" }] });
    assert_eq!(sorted(of(json!({ "filter": filter }))).await, ["Engine plain", "engine remark two"]);

    // The same text as a condition of a list.
    let listed = async |arguments: &str| {
        let query = format!(
            "{{ items({arguments}, orderBy: [{{ field: TITLE, direction: ASC }}]) {{ totalCount nodes {{ title }} }} }}"
        );
        let data = app.call(&acme, &acme.viewer, &query).data().await;
        let nodes = data["items"]["nodes"].as_array().expect("a list");
        assert_eq!(data["items"]["totalCount"], json!(nodes.len()));
        nodes.iter().map(|node| node["title"].as_str().expect("a title").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("filter: { text: \"engi\" }").await, ["Engine plain", "Engine tagged"]);
    assert_eq!(listed("filter: { text: \"engine pla\" }").await, ["Engine plain"]);
    assert_eq!(listed("filter: { not: { text: \"plain\" } }").await, ["Engine tagged"]);
    assert_eq!(listed("filter: { or: [{ text: \"plain\" }, { priority: { eq: HIGH } }] }").await.len(), 2);
    assert_eq!(listed("filter: { text: \"!?\" }").await, [""; 0]);
    assert_eq!(listed("filter: { text: \"remark\" }").await, [""; 0]);
    does(&app, &acme, "itemDelete", &format!("id: \"{plain}\"")).await;
    assert_eq!(listed("filter: { text: \"engine\" }").await, ["Engine tagged"]);
    assert_eq!(listed("scope: TRASHED, filter: { text: \"engine\" }").await, ["Engine plain"]);
    let six = ["{ text: \"a\" }"; 6].join(", ");
    let refused = app.call(&acme, &acme.viewer, &format!("{{ items(filter: {{ and: [{six}] }}) {{ totalCount }} }}"));
    assert_eq!(refused.error_code().await, "BAD_REQUEST");
}

#[databases]
async fn snippets_show_the_place_and_are_text(app: TestApp) {
    let acme = app.company("acme").await;
    let long = format!("{}<script>alert(\"needle\")</script> {}", "word ".repeat(300), "more ".repeat(300));
    item(&app, &acme, "Long", &long).await;
    let family = "👩\u{200d}👩\u{200d}👧\u{200d}👦";
    item(&app, &acme, &format!("{family} picnic {family}"), "").await;
    item(&app, &acme, "Accent", &format!("{} cafe\u{301} {}", "e\u{301}".repeat(300), "e\u{301}".repeat(300))).await;
    let right = item(&app, &acme, "Right to left", "שלום עולם \u{202e}abc").await;
    comment(&app, &acme, &right, "**bold** remark").await;
    let shown = async |query: &str| {
        let hits = hits(&app, &acme, json!({ "query": query })).await;
        hits.first().unwrap_or_else(|| panic!("{query} is found"))["snippet"].as_str().expect("a text").to_owned()
    };
    let found = shown("needl").await;
    assert!(found.contains("<script>alert(\"**needle**\")</script> more"), "{found}");
    assert!(found.starts_with('…') && found.ends_with('…') && found.chars().count() < 210, "{found}");
    assert_eq!(shown("picnic").await, format!("{family} **picnic** {family}"));
    let found = shown("cafe").await;
    assert!(found.contains("**cafe\u{301}** e\u{301}"), "{found}");
    assert!(!found.replace("e\u{301}", "").contains('\u{301}'), "{found}");
    assert_eq!(shown("עולם").await, "שלום **עולם** abc");
    assert_eq!(shown("remark").await, "bold **remark**");
    assert_eq!(shown("right").await, "**Right** to left");
}

#[databases]
async fn odd_queries_are_answered_or_refused(app: TestApp) {
    let acme = app.company("acme").await;
    item(&app, &acme, "A word", "and another").await;
    for nothing in
        ["", "   ", "!!!", "\"\"", "\"", "()*:^-", "🎉", "—…", "\u{0}", "' OR 1=1 --x", "* NEAR(", "\u{202e}"]
    {
        let found = found(&app, &acme, nothing).await;
        assert!(found.is_empty(), "{nothing:?}: {found:?}");
    }
    for syntax in
        ["word AND", "title:word", "word*", "(word)", "NOT word", "^word", "word' & 'another", "\"word", "a:b:*"]
    {
        // Answered, whatever it finds.
        found(&app, &acme, syntax).await;
    }
    assert_eq!(found(&app, &acme, "word*").await, ["A word"]);
    for too_much in ["x ".repeat(1000), "a".repeat(257), "a ".repeat(17)] {
        let call = app.call(&acme, &acme.viewer, SEARCH).vars(json!({ "query": too_much }));
        assert_eq!(call.error_code().await, "BAD_REQUEST", "{too_much}");
    }
    for first in [-1, 51, i32::MAX] {
        let call = app.call(&acme, &acme.viewer, SEARCH).vars(json!({ "query": "word", "first": first }));
        assert_eq!(call.error_code().await, "BAD_REQUEST", "{first}");
    }
}

/// Rows straight into the table, of which triggers make documents.
async fn many(app: &TestApp, company: &Company, count: u32) {
    let first = item(app, company, "Model row", "of which the others are made").await;
    let db = app.beside().await;
    let id = first.parse::<todo_platform::base::id::ItemId>().expect("an id").uuid().simple().to_string();
    let columns = "organization_id, title_key, status, priority, subtask_count, subtask_done_count, comment_count, \
                   created_by_kind, created_by_id, created_at, updated_at, version";
    let sql = if db.get_database_backend() == sea_orm::DatabaseBackend::Postgres {
        format!(
            "INSERT INTO item (id, number, title, description, {columns}) SELECT gen_random_uuid(), n + 10, \
             'Everywhere ' || n, 'everywhere the same and rare' || (n % 10) || ' few' || (n % 400) || ' fewer' || (n % 2000), {columns} FROM item, \
             generate_series(1, {count}) n WHERE id = '{id}'"
        )
    } else {
        format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count}) \
             INSERT INTO item (id, number, title, description, {columns}) SELECT randomblob(16), n + 10, \
             'Everywhere ' || n, 'everywhere the same and rare' || (n % 10) || ' few' || (n % 400) || ' fewer' || (n % 2000), {columns} FROM n, item WHERE id = x'{id}'"
        )
    };
    db.execute_unprepared(&sql).await.expect("many items");
}

#[databases]
async fn a_word_of_every_item_is_found_in_bounds(app: TestApp) {
    let acme = app.company("acme").await;
    many(&app, &acme, 12_000).await;
    let all = hits(&app, &acme, json!({ "query": "everywhere", "first": 50 })).await;
    assert_eq!(all.len(), 50);
    for query in ["ev", "everyw", "everywhere same rar", "\"everywhere the same\""] {
        assert_eq!(hits(&app, &acme, json!({ "query": query, "first": 50 })).await.len(), 50, "{query}");
    }
    assert_eq!(found(&app, &acme, "everywhere 4321").await, ["Everywhere 4321"]);
    // A filter is not cut off at the newest.
    let filter = json!({ "title": { "eq": "Everywhere 7", "ignoreCase": false } });
    let one = hits(&app, &acme, json!({ "query": "everywhere", "filter": filter })).await;
    assert_eq!(texts(&one), ["Everywhere 7"]);
    let count = "{ items(filter: { text: \"everywhere\" }) { totalCount } }";
    let data = app.call(&acme, &acme.viewer, count).data().await;
    assert_eq!(data["items"]["totalCount"], json!(12_000));
    // Words of one in ten, in 400 and in 2,000: of all that match none is passed over, and none comes twice.
    for (query, count) in [("rare7", 50), ("few7 everywhere", 30), ("fewer7 everywhere", 6), ("fewer7 rare8", 0)] {
        let ids: Vec<Value> = hits(&app, &acme, json!({ "query": query, "first": 50 })).await;
        let different: std::collections::HashSet<String> = ids.iter().map(|hit| hit["node"].to_string()).collect();
        assert_eq!((ids.len(), different.len()), (count, count), "{query}");
    }
    // The caller; matches; items.
    app.take_statements();
    let call = app.call(&acme, &acme.viewer, "{ search(query: \"everywhere\") { node { id } } }");
    call.data().await;
    let statements = app.take_statements();
    assert!(statements.len() <= 3, "{}", statements.join("\n"));
}

#[databases]
async fn rows_from_before_get_their_documents(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    many(&app, &acme, 450).await;
    let theirs = item(&app, &rival, "Everywhere theirs", "").await;
    comment(&app, &rival, &theirs, "everywhere said").await;
    let named = item(&app, &acme, "Everywhere with remarks", "").await;
    for number in 0..3 {
        comment(&app, &acme, &named, &format!("everywhere remark {number}")).await;
    }
    // As the schema step leaves it in a database that is not new.
    let db = app.beside().await;
    if db.get_database_backend() == sea_orm::DatabaseBackend::Sqlite {
        let empty = "INSERT INTO search_text (search_text) VALUES ('delete-all')";
        db.execute_unprepared(empty).await.expect("an empty index");
    }
    db.execute_unprepared("DELETE FROM search_document").await.expect("no documents");
    let id = if db.get_database_backend() == sea_orm::DatabaseBackend::Postgres {
        "'01930000000070008000000000340001', 'search.fill', '{}', 0, '00000000000000000000000000000000'"
    } else {
        "x'01930000000070008000000000340001', 'search.fill', '{}', 0, x'00000000000000000000000000000000'"
    };
    let job = format!(
        "INSERT INTO job (id, kind, payload, actor_kind, actor_id, created_at, run_at) VALUES \
         ({id}, '1970-01-01 00:00:00+00:00', '1970-01-01 00:00:00+00:00')"
    );
    db.execute_unprepared(&job).await.expect("a job");
    assert_eq!(found(&app, &acme, "everywhere").await, [""; 0]);
    // What is written meanwhile is found at once, and kept as it is.
    does(&app, &acme, "itemUpdate", &format!("id: \"{named}\", patch: {{ title: \"Everywhere renamed\" }}")).await;
    assert_eq!(found(&app, &acme, "everywhere").await, ["Everywhere renamed"]);

    let runner = Runner::new(app.state.clone());
    // A worker that dies after a chunk, one that goes on, one that was too slow.
    let dead = runner.do_one_chunk().await.expect("a chunk").expect("the job");
    let some = hits(&app, &acme, json!({ "query": "everywhere", "first": 50 })).await.len()
        + hits(&app, &rival, json!({ "query": "everywhere" })).await.len();
    assert!(some > 1, "{some}");
    assert_eq!(runner.go_on(&dead).await.expect("it still holds the job"), Chunk::More);
    db.execute_unprepared("UPDATE job SET leased_until = 0").await.expect("the lease runs out");
    runner.drain().await;
    assert_eq!(runner.go_on(&dead).await.expect("an answer"), Chunk::Lost);
    assert!(app.state.db.jobs(10).await.expect("a list").is_empty());

    let count = "{ items(filter: { text: \"everywhere\" }) { totalCount } }";
    let data = app.call(&acme, &acme.viewer, count).data().await;
    assert_eq!(data["items"]["totalCount"], json!(451));
    assert_eq!(found(&app, &acme, "remark").await.len(), 3);
    let mut theirs = found(&app, &rival, "everywhere").await;
    theirs.sort();
    assert_eq!(theirs, ["Everywhere theirs", "everywhere said"]);
    assert_eq!(found(&app, &acme, "\"with remarks\"").await, [""; 0]);
    assert_eq!(found(&app, &acme, "renamed").await, ["Everywhere renamed"]);
    // What came later comes first, and what is new after that, too.
    item(&app, &acme, "Everywhere new", "").await;
    assert_eq!(found(&app, &acme, "everywhere new").await, ["Everywhere new"]);
}

/// However many match, and wherever the best of them is: words that are everywhere, words that become rare further back,
/// and rare ones are looked for in different ways on PostgreSQL.
#[databases]
async fn the_best_is_found_however_many_match(app: TestApp) {
    let acme = app.company("acme").await;
    let title = |number: usize| match number {
        0 => "Seldom".to_owned(),
        5 => "Lately".to_owned(),
        900 => "Half".to_owned(),
        2000 => "Common".to_owned(),
        number => {
            let half = if number.is_multiple_of(2) { " half" } else { "" };
            let seldom = if number.is_multiple_of(50) { " seldom" } else { "" };
            let lately = if number >= 2000 { " lately" } else { "" };
            format!("Task {number} common{half}{seldom}{lately}")
        }
    };
    for chunk in 0..6 {
        let items: Vec<Value> =
            (chunk * 450..(chunk + 1) * 450).map(|number| json!({ "title": title(number) })).collect();
        let create = "mutation($input: ItemBulkCreateInput!) { itemBulkCreate(input: $input) { succeeded } }";
        let input = json!({ "input": { "items": items } });
        let data = app.call(&acme, &acme.admin, create).vars(input).data().await;
        assert_eq!(data["itemBulkCreate"]["succeeded"], 450);
    }
    for word in ["Seldom", "Lately", "Half", "Common"] {
        for query in [word.to_lowercase(), word[..4].to_owned()] {
            let hits = hits(&app, &acme, json!({ "query": query, "first": 50 })).await;
            assert_eq!(hits.len(), 50, "{query}");
            let titles = texts(&hits);
            assert_eq!(titles[0], word, "{query}");
            let different: std::collections::HashSet<&String> = titles.iter().collect();
            assert_eq!(different.len(), 50, "{query}");
        }
    }
    // Of equals the newest come first.
    let newest = [2698, 2696, 2694].map(title);
    assert_eq!(found(&app, &acme, "half").await[1..4], newest);
}

#[databases]
async fn writers_beside_each_other_are_all_found(app: TestApp) {
    let (acme, rival) = (app.company("acme").await, app.company("rival").await);
    let writes = (0..40).map(|number| {
        let company = if number % 2 == 0 { &acme } else { &rival };
        let app = &app;
        async move {
            let id = item(app, company, &format!("Beside {number}"), "").await;
            let said = comment(app, company, &id, &format!("beside remark {number}")).await;
            if number % 4 < 2 {
                does(app, company, "itemUpdate", &format!("id: \"{id}\", patch: {{ title: \"Changed {number}\" }}"))
                    .await;
                does(app, company, "commentDelete", &format!("id: \"{said}\"")).await;
            }
        }
    });
    futures_util::future::join_all(writes).await;
    for company in [&acme, &rival] {
        assert_eq!(hits(&app, company, json!({ "query": "beside", "types": ["ITEM"], "first": 50 })).await.len(), 10);
        assert_eq!(
            hits(&app, company, json!({ "query": "beside", "types": ["COMMENT"], "first": 50 })).await.len(),
            10
        );
        assert_eq!(hits(&app, company, json!({ "query": "changed", "first": 50 })).await.len(), 10);
    }
}
