//! Tags, teams and people come from a cache: never as they were before a change that was acknowledged, on any instance.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sea_orm::{ConnectionTrait as _, DbBackend, Statement, TransactionTrait as _};
use serde_json::{Value, json};

use crate::{
    items::mutate,
    statements::BOARD,
    support::{
        app::{TestApp, strayed_links},
        client::problem,
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

/// Changes something of a board without changing any of its items.
async fn change(app: &TestApp, acme: &Company, who: &Person, mutation: (&str, &str), input: Value) {
    mutate(app, acme, who, mutation, input).done().await;
}

async fn first_item(app: &TestApp, acme: &Company) -> Value {
    app.call(acme, &acme.owner, BOARD).vars(json!({ "first": 5 })).data().await["items"]["nodes"][0].clone()
}

/// Instances whose answers are made anew, each with its own cache of what they name.
async fn two(app: &TestApp) -> [TestApp; 2] {
    let anew = |config: &mut todo_platform::base::config::Config| config.server.answer_cache_bytes = 0;
    [app.another_instance(anew).await, app.another_instance(anew).await]
}

#[databases]
async fn what_a_board_names_is_shown_as_it_is_now(app: TestApp) {
    let acme = app.company("acme").await;
    let owner = &acme.owner;
    let team = app.create(&acme, owner, "team", json!({ "name": "Team" })).await;
    let tag = app.create(&acme, owner, "tag", json!({ "name": "bug" })).await;
    let input = json!({ "title": "One", "teamId": team, "tagIds": [tag], "assigneeIds": [acme.member.id] });
    app.create(&acme, owner, "item", input).await;
    let instances = two(&app).await;
    let shown = async |path: &str| {
        let mut shown = Vec::new();
        for instance in &instances {
            // Twice: read, then from the cache.
            for _ in 0..2 {
                shown.push(first_item(instance, &acme).await.pointer(path).cloned().unwrap_or_default());
            }
        }
        shown.dedup();
        shown
    };
    assert_eq!(shown("/team/name").await, [json!("Team")]);
    let [here, _] = &instances;
    let patch = |id: &str, patch: Value| json!({ "id": id, "patch": patch });
    change(here, &acme, owner, ("tagUpdate", "tag { id }"), patch(&tag, json!({ "name": "🐞 عيب" }))).await;
    assert_eq!(shown("/tags/0/name").await, [json!("🐞 عيب")]);
    change(here, &acme, owner, ("tagUpdate", "tag { id }"), patch(&tag, json!({ "color": "#000000" }))).await;
    assert_eq!(shown("/tags/0/color").await, [json!("#000000")]);
    change(here, &acme, owner, ("teamUpdate", "team { id }"), patch(&team, json!({ "name": "Crew" }))).await;
    assert_eq!(shown("/team/name").await, [json!("Crew")]);
    let named = json!({ "patch": { "fullName": "Somebody Else" } });
    change(here, &acme, &acme.member, ("userUpdate", "user { id }"), named).await;
    assert_eq!(shown("/assignees/0/displayName").await, [json!("Somebody Else")]);
    change(here, &acme, owner, ("tagDelete", "deletedId"), json!({ "id": tag })).await;
    assert_eq!(shown("/tags").await, [json!([])]);
    change(here, &acme, owner, ("teamDelete", "deletedId"), json!({ "id": team })).await;
    assert_eq!(shown("/team").await, [Value::Null]);
    for instance in &instances {
        instance.state.db.close().await;
    }
}

/// Readers of two instances race a writer: nobody sees a name from before one that was acknowledged.
#[databases]
async fn no_name_is_older_than_an_acknowledged_one(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "0" })).await;
    app.create(&acme, &acme.owner, "item", json!({ "title": "One", "tagIds": [tag] })).await;
    let instances = two(&app).await;
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let write = async {
        for n in 1..=60_u64 {
            let input = json!({ "id": tag, "patch": { "name": n.to_string() } });
            change(&app, &acme, &acme.owner, ("tagUpdate", "tag { id }"), input).await;
            acknowledged.store(n, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    };
    let read = async |instance: &TestApp| {
        while !done.load(Ordering::SeqCst) {
            let least = acknowledged.load(Ordering::SeqCst);
            let item = first_item(instance, &acme).await;
            let shown: u64 = item["tags"][0]["name"].as_str().and_then(|name| name.parse().ok()).expect("a number");
            assert!(shown >= least, "{shown} is shown after {least} was acknowledged");
        }
    };
    tokio::join!(write, read(&instances[0]), read(&instances[1]));
    for instance in &instances {
        instance.state.db.close().await;
    }
}

/// What an instance has cached of one organization leads nobody to it from another.
#[databases]
async fn what_is_cached_of_one_organization_is_no_others(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "secret" })).await;
    app.create(&acme, &acme.owner, "item", json!({ "title": "One", "tagIds": [tag] })).await;
    assert_eq!(first_item(&app, &acme).await["tags"][0]["name"], "secret");
    app.item(&other, "theirs").await;
    assert_eq!(first_item(&app, &other).await["tags"], json!([]));
    let found = app.call(&other, &other.owner, &format!("{{ node(id: \"{tag}\") {{ id }} }}")).answer().await;
    assert_eq!(found["data"]["node"], Value::Null, "{found}");
}

/// Each column of a person that is read from the cache is counted when it changes, also what others are not shown.
#[databases]
async fn every_change_of_a_person_is_counted(app: TestApp) {
    let acme = app.company("acme").await;
    app.create(&acme, &acme.owner, "item", json!({ "title": "One", "assigneeIds": [acme.owner.id] })).await;
    let instances = two(&app).await;
    let query = "{ items(first: 1) { nodes { assignees { version emailVerifiedAt } } } }";
    let shown = async |instance: &TestApp| {
        instance.call(&acme, &acme.owner, query).data().await["items"]["nodes"][0]["assignees"][0].clone()
    };
    let before = [shown(&instances[0]).await, shown(&instances[1]).await];
    assert_eq!(before[0], before[1]);
    let beside = app.beside().await;
    beside.execute_unprepared("UPDATE \"user\" SET version = version + 1").await.expect("written");
    for instance in &instances {
        let version = shown(instance).await["version"].as_i64();
        assert_eq!(version, before[0]["version"].as_i64().map(|version| version + 1));
    }
    let verified = "UPDATE \"user\" SET email_verified_at = CASE WHEN email_verified_at IS NULL THEN created_at END";
    beside.execute_unprepared(verified).await.expect("written");
    for instance in &instances {
        assert_ne!(shown(instance).await["emailVerifiedAt"], before[0]["emailVerifiedAt"]);
        instance.state.db.close().await;
    }
    beside.close().await.expect("closed");
}

/// Creates refer to what is there when they are written, whatever an instance knows from before.
#[databases]
async fn creates_refer_to_what_is_there(app: TestApp) {
    let acme = app.company("acme").await;
    let owner = &acme.owner;
    let team = app.create(&acme, owner, "team", json!({ "name": "Team" })).await;
    let kept = app.create(&acme, owner, "tag", json!({ "name": "kept" })).await;
    let gone = app.create(&acme, owner, "tag", json!({ "name": "gone" })).await;
    let instances = two(&app).await;
    let [here, there] = &instances;
    let of = |tags: &[&String]| json!({ "title": "One", "teamId": team, "tagIds": tags });
    let create = |input: Value| mutate(there, &acme, owner, ("itemCreate", "item { id }"), input);
    let look_ups = || {
        let statements = there.take_statements();
        let looks_up =
            |sql: &&String| sql.starts_with("SELECT") && (sql.contains("\"tag\"") || sql.contains("\"team\""));
        statements.iter().filter(looks_up).count()
    };
    create(of(&[&kept, &gone])).done().await;
    assert_eq!(look_ups(), 2);
    create(of(&[&kept, &gone])).done().await;
    assert_eq!(look_ups(), 0, "they are known, and the head says that this still holds");
    let renamed = json!({ "id": kept, "patch": { "name": "still there" } });
    change(here, &acme, owner, ("tagUpdate", "tag { id }"), renamed).await;
    create(of(&[&kept, &gone])).done().await;
    assert_eq!(look_ups(), 2, "known of a count that is past: looked up under the lock");
    change(here, &acme, owner, ("tagDelete", "deletedId"), json!({ "id": gone })).await;
    assert_eq!(create(of(&[&kept, &gone])).refused().await, problem("NOT_FOUND", "input.tagIds.1"));
    create(of(&[&kept])).done().await;
    change(here, &acme, owner, ("teamDelete", "deletedId"), json!({ "id": team })).await;
    assert_eq!(create(of(&[&kept])).refused().await, problem("NOT_FOUND", "input.teamId"));
    for instance in &instances {
        instance.state.db.close().await;
    }
}

/// Creates of two instances race whoever deletes their tags: none is made with a tag that was gone before it was asked for,
/// and in the end no item has any.
#[databases]
async fn no_create_refers_to_what_was_gone(app: TestApp) {
    const TAGS: usize = 20;
    let acme = app.company("acme").await;
    let mut tags = Vec::new();
    for n in 0..TAGS {
        tags.push(app.create(&acme, &acme.owner, "tag", json!({ "name": n.to_string() })).await);
    }
    let instances = two(&app).await;
    let gone = AtomicU64::new(0);
    let delete = async {
        let mut tries = 0;
        for tag in &tags {
            let query = format!("mutation {{ tagDelete(input: {{ id: \"{tag}\" }}) {{ deletedId }} }}");
            // Creates bring links again while it takes them away, so that it may be told to come back.
            while app.call(&acme, &acme.owner, &query).answer().await["data"]["tagDelete"]["deletedId"] != json!(tag) {
                tries += 1;
                assert!(tries < 100, "it is told to come back again and again");
            }
            gone.fetch_add(1, Ordering::SeqCst);
        }
    };
    let create = async |instance: &TestApp| {
        loop {
            let before = usize::try_from(gone.load(Ordering::SeqCst)).expect("a few");
            // The tag that was deleted last, and those that are next.
            for (n, tag) in tags.iter().enumerate().take(before + 2).skip(before.saturating_sub(1)) {
                let input = json!({ "title": "One", "tagIds": [tag] });
                let made = mutate(instance, &acme, &acme.owner, ("itemCreate", "item { id }"), input).data().await;
                let errors = &made["itemCreate"]["userErrors"];
                assert!(n >= before || *errors != json!([]), "made with a tag that was gone: {made}");
            }
            if before == TAGS {
                break;
            }
        }
    };
    tokio::join!(delete, create(&instances[0]), create(&instances[1]));
    app.worker.drain().await;
    let shown = app.call(&acme, &acme.owner, "{ items(first: 100) { nodes { tags { id } } } }").data().await;
    let nodes = shown["items"]["nodes"].as_array().expect("items");
    assert!(nodes.iter().all(|item| item["tags"] == json!([])), "{shown}");
    for instance in &instances {
        instance.state.db.close().await;
    }
}

/// On PostgreSQL an item has the ids of its tags and assignees beside it. The database itself keeps them: whatever is done,
/// by whom, and at once. (After each story on PostgreSQL they are compared, too.)
#[tokio::test(flavor = "multi_thread")]
async fn links_of_an_item_are_beside_it() {
    TestApp::on_postgres(async |app| {
        let acme = app.company("acme").await;
        let owner = &acme.owner;
        let mut tags = Vec::new();
        for name in ["one", "two", "three"] {
            tags.push(app.create(&acme, owner, "tag", json!({ "name": name })).await);
        }
        let input = json!({ "title": "One", "tagIds": [tags[0]], "assigneeIds": [acme.member.id, owner.id] });
        let item = app.create(&acme, owner, "item", input).await;
        let patch = json!({ "tags": { "add": [tags[2], tags[1]] }, "assignees": { "set": [acme.member.id] } });
        change(&app, &acme, owner, ("itemUpdate", "item { id }"), json!({ "id": item, "patch": patch })).await;
        let (db, other) = (app.beside().await, app.beside().await);
        let kept = async || {
            let sql = "SELECT cardinality(tag_ids), cardinality(assignee_ids) FROM item WHERE title = 'One'";
            let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.expect("a row");
            let row = row.expect("the item");
            let count = |place: usize| row.try_get_by_index::<i32>(place).expect("a number");
            (count(0), count(1))
        };
        assert_eq!((kept().await, strayed_links(&db).await), ((3, 1), Some(0)));
        change(&app, &acme, owner, ("tagDelete", "deletedId"), json!({ "id": tags[0] })).await;
        assert_eq!((kept().await, strayed_links(&db).await), ((2, 1), Some(0)));

        // Two at once who hold nothing: the second waits for the first, and sees what it has written.
        let delete =
            |name: &str| format!("DELETE FROM item_tag WHERE tag_id = (SELECT id FROM tag WHERE name = '{name}')");
        let delete_three = delete("three");
        let first = other.begin().await.expect("a transaction");
        first.execute_unprepared(&delete("two")).await.expect("deleted");
        let second =
            db.execute_unprepared("SET application_name = 'second'").await.map(|_| db.clone()).expect("a name");
        let second = tokio::spawn(async move { second.execute_unprepared(&delete_three).await });
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'second' AND wait_event_type = 'Lock'";
        let watch = app.beside().await;
        loop {
            let row = watch.query_one_raw(Statement::from_string(DbBackend::Postgres, waits)).await.expect("a row");
            if row.expect("a count").try_get_by_index::<i64>(0).expect("a number") > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        first.commit().await.expect("committed");
        second.await.expect("a task").expect("deleted");
        assert_eq!((kept().await, strayed_links(&db).await), ((0, 1), Some(0)));

        // What they are compared by does see what strays.
        db.execute_unprepared("UPDATE item SET assignee_ids = '{}'").await.expect("updated");
        assert_eq!(strayed_links(&db).await, Some(1));

        // The step finds the links that there are.
        for table in ["item_tag", "item_assignee"] {
            for done in ["added", "deleted"] {
                db.execute_unprepared(&format!("DROP TRIGGER {table}_{done} ON {table}")).await.expect("dropped");
            }
            db.execute_unprepared(&format!("DROP FUNCTION {table}_changed()")).await.expect("dropped");
        }
        db.execute_unprepared("ALTER TABLE item DROP COLUMN tag_ids, DROP COLUMN assignee_ids").await.expect("dropped");
        db.execute_unprepared("DELETE FROM seaql_migrations WHERE version LIKE '%000050_link_ids'")
            .await
            .expect("deleted");
        app.state.db.migrate(app.state.config.database.migration_wait).await.expect("the step runs again");
        assert_eq!((kept().await, strayed_links(&db).await), ((0, 1), Some(0)));
    })
    .await;
}
