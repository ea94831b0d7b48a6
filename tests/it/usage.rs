//! Usage: what is counted, when it is written, and how it reads.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, ConnectionTrait, Database};
use serde_json::{Value, json};
use todo_platform::{
    base::{
        enums::{ActorKind, UsageSpan},
        id::{ApiKeyId, OrganizationId},
        policy::Permission,
    },
    data::{
        actor::Origin,
        db::OrgScope,
        entity::{api_key, usage},
    },
    platform::metering::{Collector, Measured, rollup},
};

use crate::support::{
    app::TestApp,
    world::{Company, PASSWORD, Person},
};
use todo_test_macros::databases;

/// An organization of one, in a time zone; nothing of its making is counted.
struct Solo {
    scope: OrgScope,
    slug: String,
    owner: Person,
}

impl TestApp {
    async fn solo(&self, slug: &str, time_zone: &str) -> Solo {
        let owner = self.register(&format!("{slug}-owner")).await;
        let query = "mutation($input: OrganizationCreateInput!) { organizationCreate(input: $input) { \
                     organization { id } userErrors { code path message } } }";
        let input = json!({ "input": { "name": slug, "slug": slug, "timeZone": time_zone } });
        let founded = self.gql(query).vars(input).token(&owner.token).done().await;
        let id: OrganizationId = founded["organization"]["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        let scope = OrgScope::of_system(&self.state.db, id, Origin::command("test")).await.expect("it is there");
        Solo { scope, slug: slug.to_owned(), owner }
    }

    /// What `organization.usage` says now, asked with a session of its own: the clock may have moved far.
    async fn usage(&self, solo: &Solo, arguments: &str, selection: &str) -> Value {
        let query = format!("{{ organization {{ usage{arguments} {{ {selection} }} }} }}");
        self.gql(query).token(&sign_in(self, solo).await).at(&solo.slug).data().await["organization"]["usage"].clone()
    }

    async fn flush(&self) {
        self.state.usage.flush().await.expect("the database answers");
    }

    /// Every row of an organization.
    async fn rows(&self, scope: &OrgScope) -> Vec<usage::Model> {
        scope.find::<usage::Entity>().all().await.expect("rows")
    }
}

fn measured(operation: &str, millis: u64) -> Measured<'_> {
    Measured { operation, cost: 3, elapsed: Duration::from_millis(millis), failed: false }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn requests(rows: &[usage::Model]) -> i64 {
    rows.iter().map(|row| row.requests).sum()
}

/// Statements that write usage or the use of keys.
fn writes(app: &TestApp) -> Vec<String> {
    let written = |sql: &String| sql.starts_with("INSERT INTO \"usage\"") || sql.starts_with("UPDATE \"api_key\"");
    app.take_statements().into_iter().filter(written).collect()
}

async fn of_company(app: &TestApp, company: &Company) -> OrgScope {
    let id = company.id.parse().expect("an id");
    OrgScope::of_system(&app.state.db, id, Origin::command("test")).await.expect("it is there")
}

/// A key of the company's, as the database has it; gives its text and id.
async fn api_key(app: &TestApp, company: &Company) -> (String, ApiKeyId) {
    let scope = of_company(app, company).await;
    let minted = app.state.mint.mint().expect("randomness");
    let id = app.clock.new_id();
    let tx = scope.write(Permission::ApiKeyManage).await.expect("the server may");
    tx.insert(api_key::Model {
        organization_id: scope.organization_id(),
        id,
        name: "Robot".to_owned(),
        lookup: minted.lookup,
        secret_hash: minted.hash,
        previous_hash: None,
        previous_until: None,
        scopes: json!(["ITEM_READ"]),
        ip_allowlist: json!([]),
        created_by_id: company.owner.id.parse().expect("an id"),
        created_by_key_id: None,
        hash_secret_id: None,
        document_set_id: None,
        created_at: app.clock.now(),
        last_used_at: None,
        expires_at: None,
        revoked_at: None,
        version: 1,
    })
    .await
    .expect("the row goes in");
    tx.commit_unrecorded((), "made by a test").await.expect("the database answers");
    (minted.text, id)
}

#[databases]
async fn requests_are_counted_exactly(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    let ask = |query: &'static str| app.gql(query).token(&acme.owner.token).at("acme");
    app.take_statements();
    for _ in 0..3 {
        ask("query Board { items(first: 1) { nodes { id } } }").data().await;
    }
    // One that never ran, one that was refused, one of which a part failed.
    assert_eq!(ask("query Wrong { viewer { nonsense } }").error_code().await, "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(ask("query Wrong($a: ID!) { item(id: $a) { id } }").error_code().await, "BAD_REQUEST");
    assert_eq!(
        ask("{ items(first: 500) { nodes { id } } a: viewer { role } viewer { role } }").error_code().await,
        "BAD_REQUEST"
    );
    assert_eq!(writes(&app), Vec::<String>::new(), "nothing is written on a request's path");
    let none =
        ask("{ organization { usage { requests averageMs p95Ms errorRate operations { cost } } } }").data().await;
    let empty = json!({ "requests": "0", "averageMs": 0.0, "p95Ms": 0.0, "errorRate": 0.0, "operations": [] });
    assert_eq!(none["organization"]["usage"], empty);

    app.flush().await;
    let usage = app.usage(&acme, "", "requests errors errorRate cost averageMs p95Ms operations { operation requests errors cost averageMs p95Ms }").await;
    // What was needed, not what was asked for: the board and the list of operations were empty. What failed keeps its
    // price: a page of a hundred at most, two viewers.
    let operations: Vec<Value> = usage["operations"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|operation| {
            assert!(
                operation["averageMs"].as_f64() > Some(0.0) && operation["p95Ms"].as_f64() > Some(0.0),
                "{operation}"
            );
            json!([operation["operation"], operation["requests"], operation["errors"], operation["cost"]])
        })
        .collect();
    // What is not valid, or lacks its variable, stops at validation, before anybody knows who asks.
    assert_eq!(
        operations,
        [
            json!(["Board", "3", "0", "3"]),
            json!(["{ items viewer }", "1", "1", "103"]),
            json!(["{ organization }", "1", "0", "3"]),
        ]
    );
    assert_eq!((&usage["requests"], &usage["errors"], &usage["cost"]), (&json!("5"), &json!("1"), &json!("109")));
    assert!((usage["errorRate"].as_f64().expect("a number") - 1.0 / 5.0).abs() < 1e-9);
    assert!(usage["averageMs"].as_f64() > Some(0.0) && usage["p95Ms"].as_f64() > Some(0.0), "{usage}");
}

#[databases]
async fn each_caller_has_sums_of_their_own(app: TestApp) {
    let acme = app.company("acme").await;
    let (key, key_id) = api_key(&app, &acme).await;
    let query = "query Mine { viewer { role } }";
    app.call(&acme, &acme.owner, query).data().await;
    app.call(&acme, &acme.member, query).data().await;
    app.flush().await;
    app.call(&acme, &acme.member, query).data().await;
    for _ in 0..4 {
        app.gql(query).header("x-api-key", &key).data().await;
    }
    app.flush().await;

    let scope = of_company(&app, &acme).await;
    let rows = scope.find::<usage::Entity>().filter(usage::Column::Operation.eq("Mine")).all().await.expect("rows");
    let mut callers: BTreeMap<_, i64> = BTreeMap::new();
    for row in rows {
        *callers.entry((row.actor_kind as i16, row.actor_id)).or_default() += row.requests;
    }
    let user = |person: &Person| {
        let id: todo_platform::base::id::UserId = person.id.parse().expect("an id");
        (ActorKind::User as i16, id.uuid())
    };
    let expected = [(user(&acme.owner), 1), (user(&acme.member), 2), ((ActorKind::ApiKey as i16, key_id.uuid()), 4)];
    assert_eq!(callers, BTreeMap::from(expected));
}

#[databases]
async fn whoever_has_no_organization_is_not_counted(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    app.gql("{ server { version } }").data().await;
    assert_eq!(app.gql("{ viewer { role } }").at("acme").error_code().await, "UNAUTHENTICATED");
    let outsider = app.register("outsider").await;
    app.gql("{ viewer { role } }").token(&outsider.token).at("acme").answer().await;
    app.flush().await;
    assert!(app.rows(&acme.scope).await.is_empty());
}

#[databases]
async fn another_organization_and_plain_members_see_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.solo("rival", "UTC").await;
    let query = "{ organization { slug usage { requests } } }";
    app.flush().await;
    for person in [&acme.owner, &acme.admin] {
        let data = app.call(&acme, person, query).data().await;
        assert_ne!(data["organization"]["usage"]["requests"], json!("0"));
    }
    for person in [&acme.member, &acme.viewer] {
        let answer = app.call(&acme, person, query).answer().await;
        assert_eq!(answer["data"], json!({ "organization": { "slug": "acme", "usage": null } }));
        assert_eq!(answer["errors"][0]["extensions"]["code"], json!("FORBIDDEN"));
    }
    assert_eq!(app.usage(&rival, "", "requests").await, json!({ "requests": "0" }));
}

#[databases]
async fn the_95th_percentile_comes_from_all_rows(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    // Over three hours and two operations: of 1000, 50 take a second and more.
    for n in 0..1000_u64 {
        if n % 400 == 0 {
            app.clock.advance(TimeDelta::hours(1));
        }
        let operation = if n % 4 == 0 { "Slow" } else { "Fast" };
        let millis = if n % 20 == 0 { 1_000 + n } else { 20 + n % 30 };
        app.state.usage.record(&acme.scope, measured(operation, millis));
        if n % 100 == 0 {
            app.flush().await;
        }
    }
    app.flush().await;
    let usage =
        app.usage(&acme, "", "requests averageMs p95Ms operations(first: 1) { operation requests p95Ms }").await;
    let close = |found: &Value, exact: f64| (found.as_f64().expect("a number") / exact - 1.0).abs() < 0.091;
    assert_eq!(usage["requests"], json!("1000"));
    assert!(close(&usage["p95Ms"], 49.0), "{usage}");
    assert_eq!(usage["operations"][0]["operation"], json!("Fast"));
    assert!(close(&usage["operations"][0]["p95Ms"], 48.0), "{usage}");
    let exact: u64 = (0..1000).map(|n| if n % 20 == 0 { 1_000 + n } else { 20 + n % 30 }).sum();
    assert!((usage["averageMs"].as_f64().expect("a number") - exact as f64 / 1000.0).abs() < 1e-6, "{usage}");
}

/// Midnight in Kolkata is half past six in the evening, UTC.
#[databases]
async fn days_are_those_of_the_organization_before_and_after_hours_become_days(app: TestApp) {
    let acme = app.solo("acme", "Asia/Kolkata").await;
    let record = |when: &str, times: u32| {
        app.clock.set(at(when));
        for n in 0..times {
            let failed = n % 2 == 1;
            app.state.usage.record(&acme.scope, Measured { failed, ..measured("Work", 10 * u64::from(n + 1)) });
        }
    };
    record("2026-03-02T18:29:59Z", 2);
    record("2026-03-02T18:30:00Z", 3);
    record("2026-03-03T18:29:00Z", 4);
    app.flush().await;
    record("2026-03-03T18:31:00Z", 1);
    record("2026-03-04T12:00:00Z", 1);
    app.flush().await;

    let range = "(range: {from: \"2026-02-28T18:30:00Z\", to: \"2026-03-05T18:30:00Z\"})";
    let all = "requests errors cost averageMs p95Ms operations { operation requests errors cost averageMs p95Ms } \
               series { start requests errors } weeks: series(interval: WEEK) { start requests } \
               months: series(interval: MONTH) { start requests errors }";
    let before = app.usage(&acme, range, all).await;
    assert_eq!(
        before["series"],
        json!([
            { "start": "2026-03-01", "requests": "0", "errors": "0" },
            { "start": "2026-03-02", "requests": "2", "errors": "1" },
            { "start": "2026-03-03", "requests": "7", "errors": "3" },
            { "start": "2026-03-04", "requests": "2", "errors": "0" },
            { "start": "2026-03-05", "requests": "0", "errors": "0" },
        ])
    );
    assert_eq!(
        before["weeks"],
        json!([
            { "start": "2026-02-23", "requests": "0" }, { "start": "2026-03-02", "requests": "11" },
        ])
    );
    assert_eq!(before["months"], json!([{ "start": "2026-03-01", "requests": "11", "errors": "4" }]));
    assert_eq!(before["requests"], json!("11"));

    // Too early by a second, then due: two days after the day of the first two has ended.
    app.clock.set(at("2026-03-04T18:29:59Z"));
    rollup::merge(&app.state.db).await.expect("the database answers");
    assert!(app.rows(&acme.scope).await.iter().all(|row| row.span == UsageSpan::Hour));
    app.clock.set(at("2026-03-04T18:30:00Z"));
    rollup::merge(&app.state.db).await.expect("the database answers");
    let rows = app.rows(&acme.scope).await;
    let days: Vec<_> = rows.iter().filter(|row| row.span == UsageSpan::Day).collect();
    assert!(days.iter().all(|row| row.start == at("2026-03-01T18:30:00Z")) && days.len() == 2, "{days:?}");
    assert_eq!(app.usage(&acme, range, all).await, before, "some hours merged");

    app.clock.set(at("2026-03-09T00:00:00Z"));
    rollup::merge(&app.state.db).await.expect("the database answers");
    assert!(app.rows(&acme.scope).await.iter().all(|row| row.span == UsageSpan::Day));
    assert_eq!(app.usage(&acme, range, all).await, before, "all hours merged");
}

/// Written late, after an outage: into a day that was merged already.
#[databases]
async fn what_comes_late_is_added_to_its_day(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    for _ in 0..3 {
        app.clock.set(at("2026-03-02T09:00:00Z"));
        app.state.usage.record(&acme.scope, measured("Work", 5));
        app.clock.set(at("2026-03-06T09:00:00Z"));
        app.flush().await;
        rollup::merge(&app.state.db).await.expect("the database answers");
    }
    let rows = app.rows(&acme.scope).await;
    assert_eq!((rows.len(), rows[0].requests, rows[0].cost, rows[0].micros), (1, 3, 9, 15_000));
}

#[databases]
async fn two_instances_may_add_and_merge_at_once(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    let first = Collector::new(app.state.db.clone());
    let second = Collector::new(app.state.db.clone());
    for round in 0..6 {
        // The same rows, in whatever order each has them.
        for n in 0..150_u64 {
            let names = [format!("Operation{n}"), format!("Operation{}", 149 - n)];
            first.record(&acme.scope, measured(&names[0], n));
            second.record(&acme.scope, measured(&names[1], n));
            second.record(&acme.scope, measured(&names[1], n));
        }
        app.clock.advance(TimeDelta::hours(20));
        let merge = async {
            if round % 2 == 1 {
                rollup::merge(&app.state.db).await?;
            }
            Ok(())
        };
        let (one, two, three, four) = tokio::join!(first.flush(), second.flush(), rollup::merge(&app.state.db), merge);
        // One may have had to give way: what it holds comes with the next.
        for outcome in [one, two, three, four] {
            if let Err(error) = outcome {
                assert!(matches!(error, todo_platform::base::error::Error::Retry(_)), "{}", error.describe());
            }
        }
    }
    first.flush().await.expect("alone now");
    second.flush().await.expect("alone now");
    app.clock.advance(TimeDelta::days(4));
    let (one, two) = tokio::join!(rollup::merge(&app.state.db), rollup::merge(&app.state.db));
    assert!(one.is_ok() || two.is_ok());
    rollup::merge(&app.state.db).await.expect("alone now");
    let rows = app.rows(&acme.scope).await;
    assert_eq!(requests(&rows), 6 * 450);
    assert_eq!(rows.iter().map(|row| row.cost).sum::<i64>(), 3 * 6 * 450);
    assert!(rows.iter().all(|row| row.span == UsageSpan::Day));
}

#[databases]
async fn what_the_database_refuses_is_kept(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    let other = Database::connect(app.state.config.database.url.as_str()).await.expect("a second connection");
    app.state.usage.record(&acme.scope, measured("Before", 1));
    other.execute_unprepared("ALTER TABLE \"usage\" RENAME TO \"usage_away\"").await.expect("the table goes away");
    assert!(app.state.usage.flush().await.is_err());
    app.state.usage.record(&acme.scope, measured("Before", 1));
    app.state.usage.record(&acme.scope, measured("Meanwhile", 1));
    assert!(app.state.usage.flush().await.is_err());
    other.execute_unprepared("ALTER TABLE \"usage_away\" RENAME TO \"usage\"").await.expect("the table is back");
    other.close().await.expect("it closes");
    app.flush().await;
    app.flush().await;
    let mut counted: Vec<(String, i64)> =
        app.rows(&acme.scope).await.into_iter().map(|row| (row.operation, row.requests)).collect();
    counted.sort();
    assert_eq!(counted, [("Before".to_owned(), 2), ("Meanwhile".to_owned(), 1)]);
}

#[databases]
async fn a_deleted_organization_does_not_hold_up_the_others(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    let gone = app.solo("gone", "UTC").await;
    app.state.usage.record(&acme.scope, measured("Work", 1));
    app.state.usage.record(&gone.scope, measured("Work", 1));
    let delete =
        "mutation { organizationDelete(input: {confirmSlug: \"gone\"}) { deletedId userErrors { code message } } }";
    app.gql(delete).token(&gone.owner.token).at("gone").done().await;
    app.flush().await;
    assert_eq!(requests(&app.rows(&acme.scope).await), 1);
    assert_eq!(requests(&app.rows(&gone.scope).await), 0);
}

#[databases]
async fn what_is_older_than_its_retention_goes(app: TestApp) {
    let acme = app.solo("acme", "America/New_York").await;
    for day in 0..40 {
        app.state.usage.record(&acme.scope, measured("Work", 1));
        app.flush().await;
        if day < 39 {
            app.clock.advance(TimeDelta::days(1));
        }
    }
    rollup::run(&app.state.db, Duration::from_secs(30 * 86_400)).await;
    let rows = app.rows(&acme.scope).await;
    let now = app.clock.now();
    let oldest = rows.iter().map(|row| now - row.start).max().expect("rows");
    // The day that the thirtieth day ago lies in is kept whole.
    assert!(oldest >= TimeDelta::days(30) && oldest <= TimeDelta::days(31) + TimeDelta::hours(2), "{oldest}");
    assert_eq!(requests(&rows), 31);
    assert_eq!(rows.iter().filter(|row| row.span == UsageSpan::Hour).count(), 3);
    // Longer than there is time: kept.
    rollup::run(&app.state.db, Duration::MAX).await;
    assert_eq!(requests(&app.rows(&acme.scope).await), 31);
}

#[databases]
async fn a_keys_use_is_noted_once_a_minute(app: TestApp) {
    let acme = app.company("acme").await;
    let (text, id) = api_key(&app, &acme).await;
    let scope = of_company(&app, &acme).await;
    let key = async || scope.get::<api_key::Entity>(id).await.expect("a row").expect("the key");
    let noted = async || {
        app.take_statements();
        app.flush().await;
        writes(&app).iter().filter(|sql| sql.starts_with("UPDATE")).count()
    };
    let call = async |query: &str| {
        app.gql(query).header("x-api-key", &text).answer().await;
    };
    app.flush().await;
    assert_eq!(key().await.last_used_at, None);

    // It failed, and was a use all the same.
    call("{ item(id: \"nonsense\") { id } }").await;
    assert_eq!(key().await.last_used_at, None, "not on the request's path");
    let first = app.clock.now();
    assert_eq!(noted().await, 1);
    assert_eq!(key().await.last_used_at, Some(first));

    app.clock.advance(TimeDelta::seconds(59));
    call("{ viewer { role } }").await;
    assert_eq!(noted().await, 0, "it is known to be noted");
    // Another instance does not know that; the database does.
    let another = Collector::new(app.state.db.clone());
    let holder = app.state.db.identify_key(&app.state.mint.read(&text).expect("a key").lookup).await;
    let holder = holder.expect("an answer").expect("the key");
    another.record(&holder.scope(&app.state.db, Origin::command("test")), measured("Work", 1));
    another.flush().await.expect("the database answers");
    assert_eq!(key().await.last_used_at, Some(first));

    app.clock.advance(TimeDelta::seconds(1));
    call("{ viewer { role } }").await;
    assert_eq!(noted().await, 1);
    let key = key().await;
    assert_eq!(key.last_used_at, Some(first + TimeDelta::seconds(60)));
    assert_eq!(key.version, 1, "a use is no change of the key");
    assert_eq!(noted().await, 0, "nobody used it since");
}

#[databases]
async fn ranges_are_checked(app: TestApp) {
    let acme = app.solo("acme", "UTC").await;
    app.state.usage.record(&acme.scope, measured("Work", 1));
    app.clock.advance(TimeDelta::hours(3));
    app.state.usage.record(&acme.scope, measured("Work", 1));
    app.flush().await;
    let usage = app.usage(&acme, "", "requests series { start requests }").await;
    let series = usage["series"].as_array().expect("a list");
    assert_eq!((series.len(), &series[0]["start"]), (30, &json!("2026-02-01")));
    assert_eq!(series[29], json!({ "start": "2026-03-02", "requests": "2" }));
    for (range, expected) in [
        ("{from: \"-PT1H\"}", "1"),
        ("{from: \"-PT3H\"}", "2"),
        ("{from: \"-P1D\", to: \"2026-03-02T10:00:00Z\"}", "1"),
        ("{from: \"2026-03-02T10:00:00Z\", to: \"2026-03-02T12:00:00Z\"}", "0"),
        ("{from: \"0001-01-01T00:00:00Z\", to: \"9999-12-31T23:59:59Z\"}", "2"),
    ] {
        let usage = app.usage(&acme, &format!("(range: {range})"), "requests").await;
        assert_eq!(usage["requests"], json!(expected), "{range}");
    }
    let year = app
        .usage(&acme, "(range: {from: \"2028-01-01T00:00:00Z\", to: \"2029-01-01T00:00:00Z\"})", "series { requests }")
        .await;
    assert_eq!(year["series"].as_array().map(Vec::len), Some(366));

    let refused = async |arguments: &str, selection: &str| {
        let query = format!("{{ organization {{ slug usage{arguments} {{ {selection} }} }} }}");
        let answer = app.gql(query).token(&sign_in(&app, &acme).await).at("acme").answer().await;
        assert_eq!(answer["data"]["organization"], json!({ "slug": "acme", "usage": null }), "{answer:#}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], json!("BAD_REQUEST"), "{answer:#}");
        answer["errors"][0].clone()
    };
    refused("(range: {from: \"P1D\"})", "requests").await;
    refused("(range: {from: \"2026-03-02T00:00:00Z\", to: \"2026-03-02T00:00:00Z\"})", "requests").await;
    refused("(range: {from: \"-P20000Y\"})", "requests").await;
    refused("", "operations(first: 101) { requests }").await;
    refused("", "operations(first: -1) { requests }").await;
    let error = refused("(range: {from: \"-P366D\"})", "requests series { requests }").await;
    assert_eq!(error["extensions"]["limit"], json!(366));
}

async fn sign_in(app: &TestApp, solo: &Solo) -> String {
    let query = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, password: \
                 $password}) { accessToken userErrors { code message } } }";
    let variables = json!({ "email": solo.owner.email, "password": PASSWORD });
    let session = app.gql(query).vars(variables).done().await;
    session["accessToken"].as_str().unwrap_or_default().to_owned()
}
