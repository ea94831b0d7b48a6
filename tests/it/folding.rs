//! What counts as the same text: names, titles and addresses, however they were typed.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use migration::keys::{email_key, fold, fold_part, parse_email};
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::problem,
        world::{Company, PASSWORD},
    },
};
use todo_test_macros::databases;

/// Texts that are the same where case doesn't matter, and not to the byte.
const SAME: [(&str, &str); 5] = [
    ("ΟΔΟΣ", "οδοσ"),
    ("Οδος", "ΟΔΟΣ"),
    ("Straße", "STRASSE"),
    ("\u{c9}clair", "e\u{301}clair"),
    ("\u{212b}", "a\u{30a}"),
];

async fn titles(app: &TestApp, acme: &Company, filter: Value) -> Vec<String> {
    let query =
        "query($f: ItemFilter!) { items(filter: $f, first: 50, orderBy: [{field: TITLE}]) { nodes { title } } }";
    let data = app.call(acme, &acme.viewer, query).vars(json!({ "f": filter })).data().await;
    let nodes = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
    nodes.iter().map(|node| node["title"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn sql(app: &TestApp, statements: &[&str]) {
    let db = Database::connect(app.state.config.database.url.as_str()).await.expect("a connection of our own");
    for statement in statements {
        db.execute_unprepared(statement).await.expect("a statement");
    }
    db.close().await.expect("it closes");
}

/// What registering with an address answers.
async fn registers(app: &TestApp, email: &str, username: &str) -> Vec<(String, String)> {
    let query = "mutation($input: UserRegisterInput!) { userRegister(input: $input) { userErrors { code path } } }";
    let input = json!({ "email": email, "username": username, "password": PASSWORD });
    let answer = app.gql(query).vars(json!({ "input": input })).answer().await;
    let errors =
        answer["data"]["userRegister"]["userErrors"].as_array().unwrap_or_else(|| panic!("{answer:#}")).clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    errors.iter().map(|error| (text(&error["code"]), text(&error["path"][1]))).collect()
}

#[databases]
async fn titles_are_compared_by_full_case_folding(app: TestApp) {
    let acme = app.company("acme").await;
    for title in ["ΟΔΟΣΗΜΑ", "Hauptstraße", "Caf\u{e9}", "Cafe\u{301} 2"] {
        app.item(&acme, title).await;
    }
    for (filter, found) in [
        (json!({ "startsWith": "ΟΔΟΣ" }), vec!["ΟΔΟΣΗΜΑ"]),
        (json!({ "startsWith": "οδος" }), vec!["ΟΔΟΣΗΜΑ"]),
        (json!({ "contains": "STRASSE" }), vec!["Hauptstraße"]),
        (json!({ "eq": "HAUPTSTRASSE" }), vec!["Hauptstraße"]),
        (json!({ "startsWith": "CAFE\u{301}" }), vec!["Caf\u{e9}", "Cafe\u{301} 2"]),
        (json!({ "contains": "f\u{c9}" }), vec!["Caf\u{e9}", "Cafe\u{301} 2"]),
        (json!({ "startsWith": "Caf\u{e9}", "ignoreCase": false }), vec!["Caf\u{e9}"]),
    ] {
        assert_eq!(titles(&app, &acme, json!({ "title": filter })).await, found, "{filter}");
    }
    // The order of titles is by the same form.
    assert_eq!(titles(&app, &acme, json!({})).await, ["Caf\u{e9}", "Cafe\u{301} 2", "Hauptstraße", "ΟΔΟΣΗΜΑ"]);
}

#[databases]
async fn names_that_fold_alike_are_one_name(app: TestApp) {
    let acme = app.company("acme").await;
    for (n, (one, other)) in SAME.into_iter().enumerate() {
        for (kind, field) in [("tag", "tagCreate"), ("team", "teamCreate")] {
            // The third pair's folded forms are the first's otherwise.
            let (one, other) = (format!("{one} {n}"), format!("{other} {n}"));
            app.create(&acme, &acme.owner, kind, json!({ "name": one })).await;
            let again =
                mutate(&app, &acme, &acme.owner, (field, &format!("{kind} {{ id }}")), json!({ "name": other }));
            assert_eq!(again.refused().await, problem("TAKEN", "input.name"), "{one} {other}");
        }
    }
    assert_eq!(registers(&app, "one@example.com", "Straße").await, []);
    assert_eq!(registers(&app, "two@example.com", "STRASSE").await, problem("TAKEN", "username"));
}

#[databases]
async fn an_address_is_one_however_it_is_typed(app: TestApp) {
    let acme = app.company("acme").await;
    assert_eq!(registers(&app, "Jos\u{e9}@M\u{fc}nchen.example", "jose").await, []);
    for email in
        ["jose\u{301}@m\u{fc}nchen.example", "JOS\u{c9}@XN--MNCHEN-3YA.example", " jos\u{e9}@M\u{dc}NCHEN.EXAMPLE "]
    {
        assert_eq!(registers(&app, email, "other").await, problem("TAKEN", "email"), "{email}");
        let query = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, \
                     password: $password}) { accessToken userErrors { code path } } }";
        let signed = app.gql(query).vars(json!({ "email": email, "password": PASSWORD })).done().await;
        assert!(signed["accessToken"].is_string(), "{email}");
    }
    let sigma = registers(&app, "οδος@example.com", "odos").await;
    assert_eq!(sigma, []);
    assert_eq!(registers(&app, "ΟΔΟΣ@example.com", "odos2").await, problem("TAKEN", "email"));
    // What is no address, or none that an e-mail reaches, is refused wherever one is typed.
    for email in [
        "victim@example.com\u{200b}",
        "victim@exam\u{200b}ple.com",
        "victim@example.com\u{feff}",
        "\u{feff}victim@example.com",
        "victim@exam\u{ad}ple.com",
        "vic\u{ad}tim@example.com",
        "victim@example.com\u{301}",
        "victim@example\u{301}.com",
        "victim@example.com!",
        "victim@exa?mple.com",
        "a@[127.0.0.1]",
        "a@[IPv6:::1]",
        "a@127.0.0.1",
        "a@localhost",
        "victim@ｅxample.com",
        "victim@example。com",
        "\"victim\"@example.com",
        "a\0@example.com",
        "a@example.com, b@example.com",
    ] {
        assert_eq!(registers(&app, email, "somebody").await, problem("INVALID", "email"), "{email:?}");
        let invite =
            mutate(&app, &acme, &acme.owner, ("invitationCreate", "invitation { id }"), json!({ "email": email }));
        assert_eq!(invite.refused().await, problem("INVALID", "input.email"), "{email:?}");
        let change = "mutation($input: EmailChangeRequestInput!) { emailChangeRequest(input: $input) { userErrors { code path } } }";
        let input = json!({ "newEmail": email, "password": PASSWORD });
        let change = app.gql(change).vars(json!({ "input": input })).token(&acme.owner.token);
        assert_eq!(change.refused().await, problem("INVALID", "input.newEmail"), "{email:?}");
    }
    app.settle().await;
}

/// The step that writes the keys again, over what the release before it left.
#[databases]
async fn keys_of_the_previous_release_are_written_again(app: TestApp) {
    let acme = app.company("acme").await;
    for n in 0..600 {
        if n % 200 == 0 {
            app.item(&acme, &format!("ΟΔΟΣΗΜΑ {n}")).await;
        }
    }
    app.create(&acme, &acme.owner, "tag", json!({ "name": "STRASSE" })).await;
    app.create(&acme, &acme.owner, "tag", json!({ "name": "Ωμέγας" })).await;
    app.create(&acme, &acme.owner, "tag", json!({ "name": "Straße?" })).await;
    assert_eq!(registers(&app, "ann@m\u{fc}nchen.example", "Ώμος").await, []);
    sql(
        &app,
        &[
            "UPDATE item SET title_key = 'οδοσημα: nonsense'",
            "UPDATE tag SET name = 'Straße', name_key = 'straße' WHERE name = 'Straße?'",
            "UPDATE tag SET name_key = 'ωμέγας' WHERE name = 'Ωμέγας'",
            "UPDATE \"user\" SET email_key = 'ann@m\u{fc}nchen.example', username_key = 'ώμος' WHERE username = 'Ώμος'",
            "DELETE FROM seaql_migrations WHERE version = 'm20261126_000018_keys'",
        ],
    )
    .await;
    app.state.db.migrate(std::time::Duration::from_secs(60)).await.expect("the step is done");
    assert_eq!(titles(&app, &acme, json!({ "title": { "startsWith": "οδος" } })).await.len(), 3);
    let tags = |filter: Value| {
        let query = "query($f: TagFilter!) { organization { tags(filter: $f) { nodes { name } } } }";
        app.call(&acme, &acme.owner, query).vars(json!({ "f": { "name": filter } }))
    };
    let names = async |filter: Value| {
        let data = tags(filter).data().await;
        let nodes = data["organization"]["tags"]["nodes"].as_array().cloned().unwrap_or_default();
        nodes.iter().map(|node| node["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({ "eq": "ΩΜΈΓΑΣ" })).await, ["Ωμέγας"]);
    // Both are there; the one whose key would have moved comes after.
    assert_eq!(names(json!({ "startsWith": "strasse" })).await, ["STRASSE", "Straße"]);
    assert_eq!(names(json!({ "eq": "Straße" })).await, ["STRASSE"]);
    assert_eq!(registers(&app, "ANN@xn--mnchen-3ya.example", "ann2").await, problem("TAKEN", "email"));
    assert_eq!(registers(&app, "ann2@example.com", "ΏΜΟΣ").await, problem("TAKEN", "username"));
    // Done again, it changes nothing.
    sql(&app, &["DELETE FROM seaql_migrations WHERE version = 'm20261126_000018_keys'"]).await;
    app.state.db.migrate(std::time::Duration::from_secs(60)).await.expect("the step is done");
    assert_eq!(names(json!({ "startsWith": "strasse" })).await, ["STRASSE", "Straße"]);
}

#[test]
fn texts_fold_as_unicode_says() {
    for (left, right) in [
        ("ΟΔΟΣ", "οδος"),
        ("ΟΔΟΣ", "οδοσ"),
        ("Straße", "STRASSE"),
        ("straẞe", "strasse"),
        ("\u{e9}clair", "E\u{301}CLAIR"),
        ("\u{1e9b}\u{323}", "\u{1e69}"),
        ("ﬁn", "FIN"),
        ("\u{212b}ngström", "ångström"),
        ("ᏸ", "Ᏸ"),
        ("  Acme ", "aCME"),
        ("ŉ", "ʼN"),
    ] {
        assert_eq!(fold(left), fold(right), "{left} {right}");
    }
    for (left, right) in [("i", "ı"), ("ae", "æ"), ("a", "ä"), ("a", "ａ"), ("ᾳ", "α")] {
        assert_ne!(fold(left), fold(right), "{left} {right}");
    }
    for text in ["ΟΔΟΣ", "ǰ", "İstanbul", "ᾈ", "a\u{345}\u{301}", "\u{390}", "ﬃ", "Ａ"] {
        assert_eq!(fold(&fold(text)), fold(text), "{text}: folding twice changes nothing");
    }
    assert_eq!(fold_part(" A"), " a");
    assert!(fold("ΟΔΟΣΗΜΑ").starts_with(&fold_part("ΟΔΟΣ")));
}

#[test]
fn addresses_have_one_key_however_typed() {
    for (text, expected) in [
        (" Ann@Example.com ", "ann@example.com"),
        ("ann+todo@example.com", "ann+todo@example.com"),
        ("ann@M\u{fc}nchen.de", "ann@xn--mnchen-3ya.de"),
        ("ann@XN--MNCHEN-3YA.de", "ann@xn--mnchen-3ya.de"),
        ("ann@straße.de", "ann@xn--strae-oqa.de"),
        ("JOS\u{c9}@example.com", "jos\u{e9}@example.com"),
        ("jose\u{301}@example.com", "jos\u{e9}@example.com"),
        ("ann@उदाहरण.भारत", "ann@xn--p1b6ci4b4b3a.xn--h2brj9c"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
    ] {
        assert_eq!(parse_email(text).as_deref(), Some(expected), "{text}");
        assert_eq!(email_key(expected), expected, "the key of a key is that key");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    let long = format!("{}@example.com", "a".repeat(65));
    let longer = format!("ann@{}com", "abcdefghi.".repeat(25));
    let label = format!("ann@{}.com", "a".repeat(64));
    for text in [
        "",
        "@",
        "ann",
        "ann@",
        "@example.com",
        "ann@example",
        "ann@.com",
        "ann@example.",
        "ann@exam..ple.com",
        "a@b@c.com",
        "a..b@example.com",
        ".a@example.com",
        "a.@example.com",
        "a b@example.com",
        "\"a b\"@example.com",
        "\"ab\"@example.com",
        "ann@[127.0.0.1]",
        "ann@[IPv6:::1]",
        "ann@127.0.0.1",
        "ann@example.com!",
        "ann@exa!mple.com",
        "ann@example.com?",
        "ann@exam_ple.com",
        "ann@-example.com",
        "ann@example-.com",
        "ann@ab--cd.com",
        "ann@xn--.com",
        "ann@xn--a.com",
        "ann@exam\u{200b}ple.com",
        "ann@example.com\u{200b}",
        "ann@example.com\u{feff}",
        "ann@exam\u{ad}ple.com",
        "ann@example.com\u{301}",
        "ann@exampl\u{65}\u{301}.com",
        "ann@\u{301}example.com",
        "ann@ｅxample.com",
        "ann@example。com",
        "ann@☃.net",
        "ann@exam\u{200d}ple.com",
        "ann@exam\u{2060}ple.com",
        "ann@example.com\u{fe0f}",
        "an\u{200b}n@example.com",
        "ann\u{ad}@example.com",
        "ann\u{feff}@example.com",
        "a\u{0}nn@example.com",
        "ann\u{202e}@example.com",
        "ann\u{a0}@example.com",
        "ann@example.com\r\nbcc: x",
        "a,b@example.com",
        "<a@example.com>",
        "ann@example.com.",
        "ann@1.2.3.4",
        &long,
        &longer,
        &label,
    ] {
        assert_eq!(parse_email(text), None, "{text:?}");
    }
}
