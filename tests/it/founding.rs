//! Whoever founds organizations by the hundred is stopped, on whichever instance.

use chrono::Duration;
use serde_json::{Value, json};

use crate::support::{app::TestApp, client::Call, world::Person};
use todo_test_macros::databases;

fn found<'a>(app: &'a TestApp, person: &Person, slug: &str) -> Call<'a> {
    let query = "mutation($slug: String!) { organizationCreate(input: {name: $slug, slug: $slug}) { \
                 organization { id } userErrors { code path details } } }";
    app.gql(query).vars(json!({ "slug": slug })).token(&person.token)
}

fn error(answer: &Value) -> Value {
    answer["data"]["organizationCreate"]["userErrors"][0].clone()
}

#[databases]
async fn a_person_founds_a_few_organizations_a_day(app: TestApp) {
    let limit = |config: &mut todo_platform::base::config::Config| config.plans.founded_per_day = 3;
    let (one, two) = (app.another_instance(limit).await, app.another_instance(limit).await);
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    // At once, on two instances.
    let slugs: Vec<String> = (0..8).map(|n| format!("ann-{n}")).collect();
    let tries =
        slugs.iter().enumerate().map(|(n, slug)| found(if n % 2 == 0 { &one } else { &two }, &ann, slug).answer());
    let answers = futures_util::future::join_all(tries).await;
    let made = answers.iter().filter(|answer| answer["data"]["organizationCreate"]["organization"]["id"].is_string());
    assert_eq!(made.count(), 3, "{answers:#?}");
    let refused: Vec<Value> = answers.iter().map(error).filter(|error| !error.is_null()).collect();
    assert_eq!(refused.len(), 5);
    for error in refused {
        let expected = json!({ "code": "QUOTA_EXCEEDED", "path": ["input"], "details": { "limit": 3, "used": 3 } });
        assert_eq!(error, expected);
    }
    found(&one, &bob, "bob").done().await;
    app.clock.advance(Duration::days(1));
    let ann = app.sign_in(&ann).await;
    found(&one, &ann, "ann-next-day").done().await;
    for app in [one, two] {
        app.settle().await;
        app.state.db.close().await;
    }
}

#[databases]
async fn a_person_owns_so_many_organizations_and_founds_no_more(app: TestApp) {
    let some = app.another_instance(|config| config.plans.owned_per_person = 2).await;
    let mut ann = app.register("ann").await;
    for slug in ["one", "two"] {
        found(&some, &ann, slug).done().await;
        app.clock.advance(Duration::hours(30));
        ann = app.sign_in(&ann).await;
    }
    assert_eq!(error(&found(&some, &ann, "three").answer().await)["details"], json!({ "limit": 2, "used": 2 }));
    let delete = "mutation { organizationDelete(input: {confirmSlug: \"one\"}) { userErrors { code } } }";
    app.gql(delete).token(&ann.token).at("one").done().await;
    found(&some, &ann, "three").done().await;
    let all =
        app.another_instance(|config| (config.plans.owned_per_person, config.plans.founded_per_day) = (0, 0)).await;
    found(&all, &ann, "four").done().await;
    for app in [some, all] {
        app.settle().await;
        app.state.db.close().await;
    }
}
