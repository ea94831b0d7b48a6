//! Plans: what they include, how they change, and what stands in the way.

use serde_json::{Value, json};
use todo_platform::{
    base::{enums::PlanTier, plan},
    data::{actor::Origin, db::OrgScope},
    domains::plans::service::{Fit, change},
    graphql::rule::feature_among,
};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::problem,
        schema::Documents,
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const PLAN: &str = "{ organization { version plan { tier features quotas { resource limit used } renewsAt \
                    billingPortalUrl } } }";

/// Puts an organization on a plan, as its owner.
pub async fn subscribe(app: &TestApp, acme: &Company, tier: &str) {
    mutate(app, acme, &acme.owner, ("planChange", "organization { plan { tier } }"), json!({ "tier": tier }))
        .done()
        .await;
}

/// Puts it there although what is in use doesn't fit, as the operator may.
pub async fn force(app: &TestApp, acme: &Company, tier: PlanTier) {
    let id = acme.id.parse().expect("an organization's id");
    let scope = OrgScope::of_system(&app.state.db, id, Origin::command("test")).await.expect("a scope");
    change(&scope, tier, Fit::Ignored).await.expect("nothing is in the way");
}

/// The plan as a member sees it.
pub async fn plan_of(app: &TestApp, acme: &Company) -> Value {
    app.call(acme, &acme.owner, PLAN).data().await["organization"]["plan"].clone()
}

/// How much of a resource is used, by the plan's own account.
pub async fn used(app: &TestApp, acme: &Company, resource: &str) -> i64 {
    let plan = plan_of(app, acme).await;
    let quotas = plan["quotas"].as_array().expect("quotas");
    let quota = quotas.iter().find(|quota| quota["resource"] == resource).expect("the resource");
    quota["used"].as_str().expect("a count").parse().expect("a number")
}

/// `userErrors` of a refused mutation: code and details of each.
async fn reasons(app: &TestApp, acme: &Company, person: &Person, field: &str, input: Value) -> Vec<(String, Value)> {
    let data = mutate(app, acme, person, (field, ""), input).data().await;
    let errors = data[field]["userErrors"].as_array().cloned().unwrap_or_default();
    let code = |error: &Value| error["code"].as_str().unwrap_or_default().to_owned();
    errors.iter().map(|error| (code(error), error["details"].clone())).collect()
}

fn reason(code: &str, details: Value) -> (String, Value) {
    (code.to_owned(), details)
}

async fn events(app: &TestApp, acme: &Company) -> Value {
    let query = "{ events(filter: {types: [PLAN_CHANGED]}) { nodes { subjectId changes { field before after } } } }";
    app.call(acme, &acme.owner, query).data().await["events"]["nodes"].clone()
}

#[databases]
async fn a_plan_says_what_it_has_and_how_much_is_used(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "a").await;
    let quota =
        |resource: &str, limit: Value, used: Value| json!({ "resource": resource, "limit": limit, "used": used });
    let everything =
        ["TEAMS", "TAGS", "WEBHOOKS", "INBOUND_HOOKS", "API_KEYS", "ANALYTICS", "AUDIT_LOG", "EXPORTS", "ATTACHMENTS"];
    let none = Value::Null;
    let figures = |limits: [Value; 7]| {
        let [members, items, storage, keys, hooks, days, cost] = limits;
        json!([
            quota("MEMBERS", members, json!("4")),
            quota("ITEMS", items, json!("1")),
            quota("STORAGE_BYTES", storage, json!("0")),
            quota("API_KEYS", keys, json!("0")),
            quota("WEBHOOKS", hooks, json!("0")),
            quota("AUDIT_RETENTION_DAYS", days, none.clone()),
            quota("COST_PER_MINUTE", cost, none.clone())
        ])
    };
    let n = |number: i64| json!(number.to_string());
    for (tier, features, limits) in [
        (
            "ENTERPRISE",
            everything.to_vec(),
            [none.clone(), none.clone(), none.clone(), none.clone(), none.clone(), none.clone(), n(1_000_000)],
        ),
        ("PROFESSIONAL", everything.to_vec(), [n(100), n(10_000), n(50_000_000_000), n(50), n(20), n(90), n(100_000)]),
        (
            "STARTER",
            vec!["TEAMS", "TAGS", "API_KEYS", "AUDIT_LOG", "ATTACHMENTS"],
            [n(20), n(1_000), n(1_000_000_000), n(10), n(0), n(30), n(20_000)],
        ),
        ("FREE", vec!["API_KEYS", "AUDIT_LOG"], [n(5), n(100), n(0), n(2), n(0), n(7), n(5_000)]),
    ] {
        subscribe(&app, &acme, tier).await;
        let expected = json!({ "tier": tier, "features": features, "quotas": figures(limits), "renewsAt": null,
            "billingPortalUrl": null });
        assert_eq!(plan_of(&app, &acme).await, expected);
    }
}

#[databases]
async fn a_change_of_plan_is_told_and_the_same_again_is_none(app: TestApp) {
    let acme = app.company("acme").await;
    let version = async || app.call(&acme, &acme.owner, PLAN).data().await["organization"]["version"].clone();
    assert_eq!(version().await, 1);
    for _ in 0..2 {
        subscribe(&app, &acme, "FREE").await;
        let changes = json!([{ "field": "planTier", "before": "ENTERPRISE", "after": "FREE" }]);
        assert_eq!(events(&app, &acme).await, json!([{ "subjectId": acme.id, "changes": changes }]));
        assert_eq!(version().await, 2);
    }
    // Only who pays, and only who audits.
    let by_admin = mutate(&app, &acme, &acme.admin, ("planChange", ""), json!({ "tier": "STARTER" }));
    assert_eq!(by_admin.error_code().await, "FORBIDDEN");
    let seen = "{ events(filter: {types: [PLAN_CHANGED]}) { totalCount } }";
    for (person, count) in [(&acme.admin, 1), (&acme.member, 0)] {
        assert_eq!(app.call(&acme, person, seen).data().await["events"]["totalCount"], count);
    }
}

#[databases]
async fn a_plan_that_is_too_small_is_refused_with_every_reason(app: TestApp) {
    let acme = app.company("acme").await;
    for name in ["eve", "fay"] {
        app.join(&acme.owner, "acme", name, "MEMBER").await;
    }
    let subtasks: Vec<Value> = (0..100).map(|n| json!({ "title": n.to_string() })).collect();
    let tree = app.create(&acme, &acme.member, "item", json!({ "title": "all", "subtasks": subtasks })).await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let tags = [
        app.create(&acme, &acme.owner, "tag", json!({ "name": "a" })).await,
        app.create(&acme, &acme.owner, "tag", json!({ "name": "b" })).await,
    ];
    let down = async || reasons(&app, &acme, &acme.owner, "planChange", json!({ "tier": "FREE" })).await;
    let expected = [
        reason("QUOTA_EXCEEDED", json!({ "resource": "MEMBERS", "limit": 5, "used": 6 })),
        reason("QUOTA_EXCEEDED", json!({ "resource": "ITEMS", "limit": 100, "used": 101 })),
        reason("NOT_IN_PLAN", json!({ "feature": "TEAMS", "used": 1 })),
        reason("NOT_IN_PLAN", json!({ "feature": "TAGS", "used": 2 })),
    ];
    assert_eq!(down().await, expected);
    assert_eq!(events(&app, &acme).await, json!([]));
    assert_eq!(plan_of(&app, &acme).await["tier"], "ENTERPRISE");

    let by_owner = |field: &'static str, input: Value| mutate(&app, &acme, &acme.owner, (field, ""), input);
    by_owner("teamDelete", json!({ "id": team })).done().await;
    by_owner("membershipRemove", json!({ "id": acme.viewer.membership_id })).done().await;
    assert_eq!(down().await, [expected[1].clone(), expected[3].clone()]);
    for tag in tags {
        by_owner("tagDelete", json!({ "id": tag })).done().await;
    }
    by_owner("itemDelete", json!({ "id": tree })).done().await;
    subscribe(&app, &acme, "FREE").await;
    assert_eq!(plan_of(&app, &acme).await["tier"], "FREE");
}

/// Every field that says so in the schema.
#[databases]
async fn a_feature_that_the_plan_lacks_is_refused_at_the_top(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
    let tag = app.create(&acme, &acme.owner, "tag", json!({ "name": "bug" })).await;
    force(&app, &acme, PlanTier::Free).await;
    let documents = Documents::new();
    let mut tried = Vec::new();
    for (keyword, field) in documents.root_fields() {
        let feature = feature_among(&field.directive_invocations).expect("it can be read");
        let Some(feature) = feature else { continue };
        let absent = |_: &str| json!("itm_00000000000000000000000000");
        let variables = documents.least(field, &absent);
        let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
        let answer = app.call(&acme, &acme.owner, &document).vars(variables.clone()).answer().await;
        if plan::includes(PlanTier::Free, feature) {
            assert_ne!(answer["errors"][0]["extensions"]["code"], "NOT_IN_PLAN", "{answer:#}");
            continue;
        }
        assert_eq!(answer["data"], json!({ &field.name: null }));
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["code"], "NOT_IN_PLAN", "{}: {answer:#}", field.name);
        assert_eq!(extensions["feature"], plan::name(feature));
        assert_eq!(extensions["plan"], "FREE");
        assert_eq!(extensions["availableFrom"], plan::name(plan::least(feature)));
        // Rights come first: who may not, is not told what the plan has.
        let answer = app.call(&acme, &acme.viewer, &document).vars(variables).answer().await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{}", field.name);
        tried.push(field.name.clone());
    }
    for field in ["teamCreate", "teamUpdate", "tagCreate", "tagUpdate", "tagMerge"] {
        assert!(tried.contains(&field.to_owned()), "{field} says no feature: {tried:?}");
    }
    // What was made before can be seen, used and deleted.
    let seen = "{ organization { teams { nodes { name } } tags { nodes { name } } } }";
    let seen = app.call(&acme, &acme.member, seen).data().await;
    assert_eq!(seen["organization"]["teams"]["nodes"], json!([{ "name": "Core" }]));
    assert_eq!(seen["organization"]["tags"]["nodes"], json!([{ "name": "bug" }]));
    mutate(&app, &acme, &acme.owner, ("teamDelete", ""), json!({ "id": team })).done().await;
    mutate(&app, &acme, &acme.owner, ("tagDelete", ""), json!({ "id": tag })).done().await;
    subscribe(&app, &acme, "STARTER").await;
    app.create(&acme, &acme.owner, "team", json!({ "name": "Core" })).await;
}

/// The guard looks at the plan as it was when the request began; the write looks again, under the head's lock.
#[databases]
async fn a_plan_lowered_in_the_same_request_counts_in_it(app: TestApp) {
    let acme = app.company("acme").await;
    let both = "mutation { planChange(input: {tier: FREE}) { userErrors { code } } \
                teamCreate(input: {name: \"Core\"}) { team { id } userErrors { code } } }";
    let answer = app.call(&acme, &acme.owner, both).answer().await;
    assert_eq!(answer["data"], json!({ "planChange": { "userErrors": [] }, "teamCreate": null }));
    assert_eq!(answer["errors"][0]["extensions"]["code"], "NOT_IN_PLAN");
    assert_eq!(answer["errors"][0]["extensions"]["feature"], "TEAMS");
    let teams = "{ organization { teams { totalCount } } }";
    assert_eq!(app.call(&acme, &acme.owner, teams).data().await["organization"]["teams"]["totalCount"], 0);
}

#[databases]
async fn over_its_limits_an_organization_may_only_shrink(app: TestApp) {
    let acme = app.company("acme").await;
    for name in ["eve", "fay"] {
        app.join(&acme.owner, "acme", name, "MEMBER").await;
    }
    let item = app.item(&acme, "a").await;
    let subtasks: Vec<Value> = (0..100).map(|n| json!({ "title": n.to_string() })).collect();
    app.create(&acme, &acme.member, "item", json!({ "title": "all", "subtasks": subtasks })).await;
    force(&app, &acme, PlanTier::Free).await;
    let full = reason("QUOTA_EXCEEDED", json!({ "resource": "ITEMS", "limit": 100, "used": 102 }));
    assert_eq!(reasons(&app, &acme, &acme.member, "itemCreate", json!({ "title": "b" })).await, [full]);
    let full = reason("QUOTA_EXCEEDED", json!({ "resource": "MEMBERS", "limit": 5, "used": 6 }));
    let guest = json!({ "email": "guest@example.com" });
    assert_eq!(reasons(&app, &acme, &acme.owner, "invitationCreate", guest).await, [full]);
    // Changing and deleting go on.
    let rename = json!({ "id": item, "patch": { "title": "still here" } });
    mutate(&app, &acme, &acme.member, ("itemUpdate", ""), rename).done().await;
    mutate(&app, &acme, &acme.member, ("itemDelete", ""), json!({ "id": item })).done().await;
    assert_eq!(used(&app, &acme, "ITEMS").await, 101);
    // A plan between that fits is allowed.
    subscribe(&app, &acme, "STARTER").await;
    mutate(&app, &acme, &acme.member, ("itemRestore", ""), json!({ "id": item })).done().await;
}

#[tokio::test]
async fn new_organizations_begin_on_the_plan_of_the_configuration() {
    let app = TestApp::start(&[("TODO_PLANS_DEFAULT", "FREE".to_owned())]).await;
    let acme = app.company("acme").await;
    assert_eq!(plan_of(&app, &acme).await["tier"], "FREE");
    app.join(&acme.owner, "acme", "fifth", "MEMBER").await;
    let sixth = mutate(&app, &acme, &acme.owner, ("invitationCreate", ""), json!({ "email": "sixth@example.com" }));
    assert_eq!(sixth.refused().await, problem("QUOTA_EXCEEDED", "input"));
    app.state.db.close().await;
}
