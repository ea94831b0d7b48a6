//! Who tries too often, registers too many, or would have a mailbox filled.

use std::collections::BTreeSet;

use chrono::Duration;
use serde_json::{Value, json};

use crate::support::{app::TestApp, client::problem, world::PASSWORD};
use todo_test_macros::databases;

const SIGN_IN: &str = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, \
    password: $password}) { accessToken userErrors { code path message } } }";
const REGISTER: &str =
    "mutation($input: UserRegisterInput!) { userRegister(input: $input) { userErrors { code path } } }";
const RESET: &str =
    "mutation($email: String!) { passwordResetRequest(input: {email: $email}) { userErrors { code path } } }";

/// The code of a refused request, nothing of one that was let through.
fn code(answer: &Value) -> Option<&str> {
    answer["errors"][0]["extensions"]["code"].as_str()
}

/// Each guess from another address of one /64: all of 120 went through.
#[databases]
async fn guesses_count_by_the_network_of_an_ipv6_address(app: TestApp) {
    let ann = app.register("ann").await;
    let guess = |address: String| {
        app.gql(SIGN_IN).vars(json!({ "email": ann.email, "password": "not hers" })).from(&address).answer()
    };
    for host in 1..=5 {
        assert_eq!(code(&guess(format!("2001:db8:1:1::{host}")).await), None);
    }
    for address in ["2001:db8:1:1::6", "2001:db8:1:1:ffff:ffff:ffff:ffff"] {
        assert_eq!(code(&guess(address.to_owned()).await), Some("RATE_LIMITED"));
    }
    let right = app.gql(SIGN_IN).vars(json!({ "email": ann.email, "password": PASSWORD }));
    right.from("2001:db8:1:2::1").done().await;
    // By the address alone, whichever account is guessed.
    let any = |number: u32| {
        let credentials = json!({ "email": format!("n{number}@example.com"), "password": "x" });
        app.gql(SIGN_IN).vars(credentials).from(&format!("2001:db8:2:2::{number:x}")).answer()
    };
    for number in 1..=50 {
        assert_eq!(code(&any(number).await), None, "{number}");
    }
    assert_eq!(code(&any(51).await), Some("RATE_LIMITED"));
}

/// 1,334 accounts came from one address in 15 seconds, each with an e-mail to whomever it liked.
#[databases]
async fn an_address_registers_so_many_an_hour(app: TestApp) {
    let app = app.another_instance(|config| config.auth.registrations_per_address = 3).await;
    let register = |name: &str, address: &str| {
        let input = json!({ "email": format!("{name}@example.com"), "username": name, "password": PASSWORD });
        app.gql(REGISTER).vars(json!({ "input": input })).from(address).answer()
    };
    for (name, address) in [("a1", "2001:db8::1"), ("a2", "2001:db8::2"), ("a3", "2001:db8::3")] {
        assert_eq!(code(&register(name, address).await), None, "{name}");
    }
    assert_eq!(code(&register("a4", "2001:db8::4").await), Some("RATE_LIMITED"));
    assert_eq!(code(&register("a4", "192.0.2.1").await), None, "from elsewhere");
    app.clock.advance(Duration::minutes(61));
    assert_eq!(code(&register("a5", "2001:db8::5").await), None);
    // Those that fail count too: they tell who has an account.
    for name in ["a1", "a2"] {
        assert_eq!(code(&register(name, "2001:db8::6").await), None);
    }
    assert_eq!(code(&register("a3", "2001:db8::7").await), Some("RATE_LIMITED"));
    // At once is no way around.
    let names: Vec<String> = (0..12).map(|number| format!("b{number}")).collect();
    let at_once = names.iter().map(|name| register(name, "192.0.2.7"));
    let answers = futures_util::future::join_all(at_once).await;
    assert!(answers.iter().filter(|answer| code(answer).is_none()).count() <= 3);
}

#[databases]
async fn a_mailbox_gets_so_many_letters_an_hour_and_nobody_learns_why(app: TestApp) {
    let ann = app.register("ann").await;
    let mut answers = BTreeSet::new();
    for number in 0..12 {
        for email in [ann.email.as_str(), "nobody@example.com"] {
            let address = format!("192.0.2.{number}");
            let answer = app.gql(RESET).vars(json!({ "email": email })).from(&address).header("x-request-id", "same");
            answers.insert(answer.answer().await.to_string());
        }
        app.settle().await;
    }
    assert_eq!(answers.len(), 1, "known and unknown are answered alike: {answers:?}");
    let resets = |messages: &[crate::support::mail::Email]| {
        messages.iter().filter(|message| message.header("subject") == "Choose a new password").count()
    };
    assert_eq!(resets(&app.emails_to(&ann.email).await), 5);
    app.clock.advance(Duration::minutes(61));
    app.gql(RESET).vars(json!({ "email": ann.email })).from("192.0.2.99").done().await;
    assert_eq!(resets(&app.emails_to(&ann.email).await), 6);
}

#[databases]
async fn invitations_do_not_fill_a_mailbox(app: TestApp) {
    let owners = [app.register("one").await, app.register("two").await];
    let invite = "mutation($email: String!) { invitationCreate(input: {email: $email}) { invitation { id } userErrors { code path } } }";
    let mut refused = 0;
    for (owner, slug) in owners.iter().zip(["one", "two"]) {
        app.found(owner, slug).await;
        for number in 0..5 {
            let email = format!("victim+{number}@example.com");
            let answer = app.gql(invite).vars(json!({ "email": email })).token(&owner.token).at(slug).answer().await;
            app.settle().await;
            refused += usize::from(code(&answer) == Some("RATE_LIMITED"));
        }
    }
    assert_eq!(refused, 5, "tagged addresses are one mailbox, whoever invites");
    // A reset and a warning have budgets of their own.
    let mut messages = 0;
    for number in 0..5 {
        messages += app.emails_to(&format!("victim+{number}@example.com")).await.len();
    }
    assert_eq!(messages, 5);
    let input = json!({ "email": "victim@example.com", "username": "victim", "password": PASSWORD });
    let registered = app.gql(REGISTER).vars(json!({ "input": input })).answer().await;
    assert_eq!(registered["data"]["userRegister"]["userErrors"], json!([]));
    assert_eq!(app.emails_to("victim@example.com").await.len(), 0, "registered, without another e-mail");
    app.gql(RESET).vars(json!({ "email": "victim@example.com" })).done().await;
    assert_eq!(app.emails_to("victim@example.com").await.len(), 1);
    let wrong = json!({ "email": "victim@example.com", "password": "x" });
    assert_eq!(app.gql(SIGN_IN).vars(wrong).refused().await, problem("BAD_CREDENTIALS", "input"));
}
