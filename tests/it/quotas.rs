//! Places of a plan: counted exactly, and never passed, whoever comes at once.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, DbBackend};
use serde_json::{Value, json};
use todo_platform::{
    base::{
        enums::{PlanTier, QuotaResource},
        error::Error,
    },
    data::{actor::Origin, db::OrgScope},
};

use crate::{
    items::mutate,
    plans::{force, subscribe, used},
    support::{
        app::TestApp,
        client::problem,
        world::{Company, PASSWORD, Person},
    },
};
use todo_test_macros::databases;

/// Servers on one database that wait for each other as long as it takes. On SQLite one: it has one writer anyway.
async fn instances(app: &TestApp) -> Vec<TestApp> {
    let wanted = if app.state.db.backend() == DbBackend::Postgres { 2 } else { 1 };
    let mut instances = Vec::new();
    for _ in 0..wanted {
        let patient = app.another_instance(|config| {
            config.database.acquire_timeout = Duration::from_secs(120);
            config.limits.timeout = Duration::from_secs(120);
        });
        instances.push(patient.await);
    }
    instances
}

async fn close(instances: Vec<TestApp>) {
    for instance in instances {
        instance.state.db.close().await;
    }
}

/// An item with subtasks, `places` in all; gives its id.
async fn items(app: &TestApp, acme: &Company, places: usize) -> String {
    let subtasks: Vec<Value> = (1..places).map(|n| json!({ "title": n.to_string() })).collect();
    app.create(acme, &acme.member, "item", json!({ "title": "one of many", "subtasks": subtasks })).await
}

/// What a mutation said: its `userErrors`, or the code of the error that stopped it.
async fn outcome(app: &TestApp, acme: &Company, person: &Person, field: &str, input: Value) -> Vec<Value> {
    let answer = mutate(app, acme, person, (field, ""), input).answer().await;
    match &answer["errors"][0]["extensions"]["code"] {
        Value::Null => answer["data"][field]["userErrors"].as_array().cloned().unwrap_or_default(),
        code => vec![json!({ "code": code })],
    }
}

/// What is really there: members, and items outside the trash.
async fn counted(app: &TestApp, acme: &Company) -> BTreeMap<&'static str, i64> {
    let query = "{ items(scope: ALL, first: 0) { totalCount } organization { members(first: 0) { totalCount } } }";
    let data = app.call(acme, &acme.owner, query).data().await;
    let number = |value: &Value| value.as_i64().expect("a count");
    BTreeMap::from([
        ("ITEMS", number(&data["items"]["totalCount"])),
        ("MEMBERS", number(&data["organization"]["members"]["totalCount"])),
    ])
}

#[track_caller]
fn is_full(errors: &[Value], resource: &str, limit: i64, used: i64) {
    let [error] = errors else { panic!("one reason: {errors:?}") };
    assert_eq!(error["code"], "QUOTA_EXCEEDED", "{error}");
    assert_eq!(error["details"], json!({ "resource": resource, "limit": limit, "used": used }));
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(&limit.to_string()) && message.contains(&used.to_string()), "{message}");
}

#[databases]
async fn of_a_hundred_creates_one_has_the_last_place(app: TestApp) {
    let acme = app.company("acme").await;
    items(&app, &acme, 99).await;
    subscribe(&app, &acme, "FREE").await;
    let instances = instances(&app).await;
    let create = async |n: usize| {
        let input = json!({ "title": n.to_string() });
        outcome(&instances[n % instances.len()], &acme, &acme.member, "itemCreate", input).await
    };
    let outcomes = join_all((0..100).map(create)).await;
    let (made, refused): (Vec<_>, Vec<_>) = outcomes.iter().partition(|errors| errors.is_empty());
    assert_eq!(made.len(), 1, "{outcomes:?}");
    for errors in refused {
        is_full(errors, "ITEMS", 100, 100);
    }
    assert_eq!(counted(&app, &acme).await["ITEMS"], 100);
    assert_eq!(used(&app, &acme, "ITEMS").await, 100);
    // The refused took no number either.
    mutate(&app, &acme, &acme.owner, ("planChange", ""), json!({ "tier": "STARTER" })).done().await;
    let next = mutate(&app, &acme, &acme.member, ("itemCreate", "item { identifier }"), json!({ "title": "n" }));
    assert_eq!(next.done().await["item"]["identifier"], "ACME-101");
    close(instances).await;
}

#[databases]
async fn a_create_that_would_pass_the_limit_makes_nothing_of_it(app: TestApp) {
    let acme = app.company("acme").await;
    items(&app, &acme, 98).await;
    subscribe(&app, &acme, "FREE").await;
    let three = json!({ "title": "r", "subtasks": [{ "title": "s" }, { "title": "t" }] });
    is_full(&outcome(&app, &acme, &acme.member, "itemCreate", three).await, "ITEMS", 100, 98);
    assert_eq!(counted(&app, &acme).await["ITEMS"], 98);
    let two = json!({ "title": "r", "subtasks": [{ "title": "s" }] });
    assert!(outcome(&app, &acme, &acme.member, "itemCreate", two).await.is_empty());
    assert_eq!(used(&app, &acme, "ITEMS").await, 100);
}

#[databases]
async fn a_restore_takes_its_places_again(app: TestApp) {
    let acme = app.company("acme").await;
    let tree = items(&app, &acme, 3).await;
    items(&app, &acme, 97).await;
    let by_member = |field: &'static str, input: Value| mutate(&app, &acme, &acme.member, (field, ""), input);
    subscribe(&app, &acme, "FREE").await;
    by_member("itemDelete", json!({ "id": tree })).done().await;
    assert_eq!(used(&app, &acme, "ITEMS").await, 97);
    let id = app.item(&acme, "in its place").await;
    let restore = || outcome(&app, &acme, &acme.member, "itemRestore", json!({ "id": tree }));
    is_full(&restore().await, "ITEMS", 100, 98);
    let trashed = app.call(&acme, &acme.member, "{ items(scope: TRASHED) { totalCount } }").data().await;
    assert_eq!(trashed["items"]["totalCount"], 3, "all of it stays where it was");
    // For good: places that were free already are not given back twice.
    let purge = |id: &str| json!({ "id": id, "permanently": true });
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), purge(&id)).done().await;
    assert_eq!(used(&app, &acme, "ITEMS").await, 97);
    assert!(restore().await.is_empty());
    by_member("itemDelete", json!({ "id": tree })).done().await;
    mutate(&app, &acme, &acme.admin, ("itemDelete", ""), purge(&tree)).done().await;
    assert_eq!(used(&app, &acme, "ITEMS").await, 97);
    assert_eq!(counted(&app, &acme).await["ITEMS"], 97);
}

#[databases]
async fn of_two_who_accept_at_once_one_joins(app: TestApp) {
    let acme = app.company("acme").await;
    subscribe(&app, &acme, "FREE").await;
    let mut tokens = Vec::new();
    for name in ["eve", "fay"] {
        let input = json!({ "email": format!("{name}@example.com") });
        let invited = mutate(&app, &acme, &acme.owner, ("invitationCreate", "token"), input).done().await;
        tokens.push((name, invited["token"].clone()));
    }
    let instances = instances(&app).await;
    let register = async |(n, (name, token)): (usize, &(&str, Value))| {
        let query = "mutation($input: UserRegisterInput!) { userRegister(input: $input) { accessToken \
                     userErrors { code message details } } }";
        let input = json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD,
            "invitationToken": token });
        let answer = instances[n % instances.len()].gql(query).vars(json!({ "input": input })).answer().await;
        answer["data"]["userRegister"]["userErrors"].as_array().cloned().unwrap_or_default()
    };
    let outcomes = join_all(tokens.iter().enumerate().map(register)).await;
    let loser = outcomes.iter().position(|errors| !errors.is_empty()).expect("one is refused");
    is_full(&outcomes[loser], "MEMBERS", 5, 5);
    assert!(outcomes[1 - loser].is_empty(), "{outcomes:?}");
    // Whoever was refused has no account by it, and their invitation stays open.
    let sign_in = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, \
                   password: $password}) { userErrors { code path } } }";
    let (name, token) = &tokens[loser];
    let variables = json!({ "email": format!("{name}@example.com"), "password": PASSWORD });
    assert_eq!(app.gql(sign_in).vars(variables).refused().await, problem("BAD_CREDENTIALS", "input"));
    // The next is refused before anybody is asked.
    let guest = json!({ "email": "guest@example.com" });
    is_full(&outcome(&app, &acme, &acme.owner, "invitationCreate", guest).await, "MEMBERS", 5, 5);
    let leave = json!({ "id": acme.viewer.membership_id });
    mutate(&app, &acme, &acme.owner, ("membershipRemove", ""), leave).done().await;
    assert_eq!(used(&app, &acme, "MEMBERS").await, 4);
    assert!(register((0, &(name, token.clone()))).await.is_empty());
    assert_eq!(used(&app, &acme, "MEMBERS").await, counted(&app, &acme).await["MEMBERS"]);
    close(instances).await;
}

/// Wherever in the crowd the change of plan comes, what is there afterwards fits the plan there is.
#[databases]
async fn a_lower_plan_and_creates_at_once_never_end_above_it(app: TestApp) {
    let instances = instances(&app).await;
    for (round, place) in [0, 3, 8].into_iter().enumerate() {
        let acme = app.company(&format!("acme{round}")).await;
        items(&app, &acme, 92).await;
        let step = async |n: usize| {
            let instance = &instances[n % instances.len()];
            let (person, field, input) = match n {
                n if n == place => (&acme.owner, "planChange", json!({ "tier": "FREE" })),
                n if n % 4 == 1 => (&acme.owner, "teamCreate", json!({ "name": n.to_string() })),
                _ => (&acme.member, "itemCreate", json!({ "title": n.to_string() })),
            };
            (field, outcome(instance, &acme, person, field, input).await)
        };
        let outcomes = join_all((0..20).map(step)).await;
        let lowered = outcomes.iter().any(|(field, errors)| *field == "planChange" && errors.is_empty());
        for (field, errors) in &outcomes {
            for error in errors {
                let expected: &[&str] = match *field {
                    "planChange" => &["QUOTA_EXCEEDED", "NOT_IN_PLAN"],
                    "teamCreate" => &["NOT_IN_PLAN"],
                    _ => &["QUOTA_EXCEEDED"],
                };
                assert!(expected.iter().any(|code| error["code"] == *code), "{field}: {error}");
            }
        }
        let teams =
            app.call(&acme, &acme.owner, "{ organization { plan { tier } teams { totalCount } } }").data().await;
        let there = counted(&app, &acme).await["ITEMS"];
        assert_eq!(used(&app, &acme, "ITEMS").await, there);
        if lowered {
            assert_eq!(teams["organization"], json!({ "plan": { "tier": "FREE" }, "teams": { "totalCount": 0 } }));
            assert!(there <= 100, "{there} items on the plan FREE");
        } else {
            assert_eq!(teams["organization"]["plan"]["tier"], "ENTERPRISE");
        }
    }
    close(instances).await;
}

#[databases]
async fn what_is_counted_is_what_is_there(app: TestApp) {
    let acme = app.company("acme").await;
    let mut rng = Rng::with_seed(7);
    let mut items: Vec<String> = Vec::new();
    let mut members: Vec<Person> = Vec::new();
    for n in 0..80 {
        let one = |rng: &mut Rng| items.get(rng.usize(0..items.len().max(1))).cloned();
        let (person, field, input) = match rng.u8(0..12) {
            0..4 => {
                let parent = one(&mut rng).filter(|_| rng.bool());
                let subtasks: Vec<Value> = (0..rng.u8(0..4)).map(|n| json!({ "title": n.to_string() })).collect();
                let input = json!({ "title": n.to_string(), "parentId": parent, "subtasks": subtasks });
                (&acme.member, "itemCreate", input)
            }
            4..6 => (&acme.member, "itemDelete", json!({ "id": one(&mut rng) })),
            6 => (&acme.admin, "itemDelete", json!({ "id": one(&mut rng), "permanently": true })),
            7..9 => (&acme.member, "itemRestore", json!({ "id": one(&mut rng) })),
            9 => (&acme.member, "itemArchive", json!({ "id": one(&mut rng) })),
            10 => {
                members.push(app.join(&acme.owner, "acme", &format!("guest{n}"), "MEMBER").await);
                continue;
            }
            _ => match members.pop() {
                Some(guest) => (&acme.owner, "membershipRemove", json!({ "id": guest.membership_id })),
                None => continue,
            },
        };
        if input["id"].is_null() && field != "itemCreate" {
            continue;
        }
        // Some are refused: a parent in the trash, an item that is gone.
        let selection = if field == "itemCreate" { "item { id subtasks { nodes { id } } }" } else { "" };
        let data = mutate(&app, &acme, person, (field, selection), input).data().await;
        if let Some(id) = data[field]["item"]["id"].as_str() {
            let below = data[field]["item"]["subtasks"]["nodes"].as_array().cloned().unwrap_or_default();
            items.extend(below.iter().filter_map(|node| node["id"].as_str()).map(str::to_owned));
            items.push(id.to_owned());
        }
    }
    let there = counted(&app, &acme).await;
    assert!(there["ITEMS"] > 5 && there["MEMBERS"] > 4, "the history was long enough: {there:?}");
    for (resource, count) in there {
        assert_eq!(used(&app, &acme, resource).await, count, "{resource}");
    }
    assert_eq!(used(&app, &acme, "API_KEYS").await, 0);
    let (key, _) = app.api_key(&acme, &acme.admin, &["ITEM_READ"]).await;
    app.api_key(&acme, &acme.owner, &["ITEM_READ"]).await;
    let full = json!({ "name": "third", "scopes": ["ITEM_READ"] });
    let third = || mutate(&app, &acme, &acme.owner, ("apiKeyCreate", "apiKey { id }"), full.clone());
    force(&app, &acme, PlanTier::Free).await;
    assert_eq!(third().refused().await[0].0, "QUOTA_EXCEEDED");
    assert_eq!(used(&app, &acme, "API_KEYS").await, 2, "and nothing was made");
    mutate(&app, &acme, &acme.owner, ("apiKeyRevoke", "deletedId"), json!({ "id": key })).done().await;
    assert_eq!(used(&app, &acme, "API_KEYS").await, 1, "a revoked one has no place");
    third().done().await;
    assert_eq!(used(&app, &acme, "API_KEYS").await, 2);
}

/// Whenever a write says so: with events, without, or after it has reserved its numbers.
#[databases]
async fn places_are_taken_at_the_commit_at_the_latest(app: TestApp) {
    let acme = app.company("acme").await;
    subscribe(&app, &acme, "FREE").await;
    let id = acme.id.parse().expect("an organization's id");
    let scope = OrgScope::of_system(&app.state.db, id, Origin::command("test")).await.expect("a scope");
    let take = async |places: i64, reserve: bool| {
        let mut tx = scope.write_as_member().await.expect("a write");
        if reserve {
            tx.reserve(0, 0).await.expect("it locks the head");
        }
        tx.count(QuotaResource::ApiKeys, places);
        tx.commit(()).await.map(drop)
    };
    let refused = |taken: todo_platform::base::error::Result<()>| match taken {
        Err(Error::Invalid(problems)) => problems[0].details.clone(),
        other => panic!("it was expected to fail: {other:?}"),
    };
    take(2, false).await.expect("there is room");
    assert_eq!(used(&app, &acme, "API_KEYS").await, 2);
    for reserve in [false, true] {
        let full = json!({ "resource": "API_KEYS", "limit": 2, "used": 2 });
        assert_eq!(refused(take(1, reserve).await), Some(full));
        assert_eq!(used(&app, &acme, "API_KEYS").await, 2);
        take(-1, reserve).await.expect("places are given back");
        assert_eq!(used(&app, &acme, "API_KEYS").await, 1);
        take(1, reserve).await.expect("there is room again");
    }
    // What a write that is dropped had taken is free.
    let mut tx = scope.write_as_member().await.expect("a write");
    tx.count(QuotaResource::ApiKeys, -2);
    tx.reserve(0, 0).await.expect("it is taken");
    drop(tx);
    assert_eq!(used(&app, &acme, "API_KEYS").await, 2);
}

/// The schema step finds organizations that were there before it.
#[databases]
async fn what_was_there_before_the_counts_is_counted(app: TestApp) {
    let acme = app.company("acme").await;
    let tree = items(&app, &acme, 3).await;
    items(&app, &acme, 4).await;
    mutate(&app, &acme, &acme.member, ("itemDelete", ""), json!({ "id": tree })).done().await;
    force(&app, &acme, PlanTier::Starter).await;
    let empty = app.company("empty").await;
    let before = app.state.config.database.url.clone();
    let database = Database::connect(&before).await.expect("a connection");
    for column in ["plan_tier", "member_count", "item_count", "api_key_count"] {
        let drop = format!("ALTER TABLE ledger_head DROP COLUMN {column}");
        database.execute_unprepared(&drop).await.expect("the column goes");
    }
    let undone = "DELETE FROM seaql_migrations WHERE version = 'm20261123_000007_quotas'";
    database.execute_unprepared(undone).await.expect("the step is no longer on record");
    database.close().await.expect("it closes");
    let wait = app.state.config.database.migration_wait;
    app.state.db.migrate(wait).await.expect("the step runs again");
    let after = app.another_instance(|_| {}).await;
    for (company, members, items) in [(&acme, 4, 4), (&empty, 4, 0)] {
        assert_eq!(used(&after, company, "MEMBERS").await, members);
        assert_eq!(used(&after, company, "ITEMS").await, items);
    }
    let plan = "{ organization { plan { quotas { resource limit } } } }";
    let limit = after.call(&acme, &acme.owner, plan).data().await["organization"]["plan"]["quotas"][1].clone();
    assert_eq!(limit, json!({ "resource": "ITEMS", "limit": "1000" }), "the copy that is enforced");
    after.state.db.close().await;
}
