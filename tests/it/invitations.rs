//! What an invitation proves and what it is worth: the mailed token apart from the shown one, and its maker's rights.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use chrono::Duration;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};
use todo_platform::{
    base::{id::kind, policy::Permission},
    data::{actor::Origin, db::OrgScope, entity::invitation},
};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::Person,
    },
};
use todo_test_macros::databases;

const SHOWN: &str = "token invitation { id }";

fn accept<'a>(app: &'a TestApp, person: &Person, input: Value) -> Call<'a> {
    let query = "mutation($input: InvitationAcceptInput!) { invitationAccept(input: $input) { membership { role } \
                 userErrors { code path message } } }";
    app.gql(query).vars(json!({ "input": input })).token(&person.token)
}

/// Founds an organization and invites an address to it: the id and the shown token.
async fn invite_from_an_own(app: &TestApp, founder: &Person, slug: &str, input: Value) -> Value {
    let query = format!(
        "mutation($input: InvitationCreateInput!) {{ invitationCreate(input: $input) {{ {SHOWN} userErrors {{ code }} }} }}"
    );
    app.found(founder, slug).await;
    app.gql(query).vars(json!({ "input": input })).token(&founder.token).at(slug).done().await
}

/// What somebody sees of themselves: whether their address is proven, and who invites them.
async fn sees(app: &TestApp, person: &Person) -> (bool, Vec<Value>) {
    let me =
        app.gql("{ viewer { user { emailVerifiedAt } invitations { id organizationName } } }").token(&person.token);
    let me = me.data().await;
    let invitations = me["viewer"]["invitations"].as_array().cloned().unwrap_or_default();
    (!me["viewer"]["user"]["emailVerifiedAt"].is_null(), invitations)
}

/// Somebody whose address is proven.
async fn verified(app: &TestApp, name: &str) -> Person {
    let person = app.register(name).await;
    let token = app.email(&person.email, "Confirm your e-mail address").await.token();
    let verify = "mutation($token: String!) { emailVerify(input: {token: $token}) { userErrors { code } } }";
    app.gql(verify).vars(json!({ "token": token })).done().await;
    person
}

/// Accepting one's own invitation to somebody else's address proved that address, and opened what others had sent to it.
#[databases]
async fn the_shown_token_proves_nothing(app: TestApp) {
    let corp = app.company("corp").await;
    let input = json!({ "email": "cfo@example.com", "role": "OWNER" });
    let real = mutate(&app, &corp, &corp.owner, ("invitationCreate", SHOWN), input).done().await;

    let (mallory, fake) = (app.register("mallory").await, app.register("cfo").await);
    let evil = invite_from_an_own(&app, &mallory, "evil", json!({ "email": "cfo@example.com" })).await;
    accept(&app, &fake, json!({ "token": evil["token"] })).done().await;
    assert_eq!(sees(&app, &fake).await, (false, Vec::new()), "it lets in, and proves nothing");
    let by_id = accept(&app, &fake, json!({ "id": real["invitation"]["id"] })).refused().await;
    assert_eq!(by_id, problem("NOT_FOUND", "input.id"));

    // Nor does it when it comes with the registration; the address is then proven by an e-mail.
    let query = "mutation($i: InvitationCreateInput!) { invitationCreate(input: $i) { token userErrors { code } } }";
    let shown = app.gql(query).vars(json!({ "i": { "email": "cto@example.com" } })).token(&mallory.token).at("evil");
    let shown = shown.done().await["token"].clone();
    let cto = app.accept("evil", "cto", shown.as_str().expect("a token")).await;
    assert!(!sees(&app, &cto).await.0);
    let token = app.email(&cto.email, "Confirm your e-mail address").await.token();
    let verify = "mutation($token: String!) { emailVerify(input: {token: $token}) { userErrors { code } } }";
    app.gql(verify).vars(json!({ "token": token })).done().await;
    assert!(sees(&app, &cto).await.0);
}

#[databases]
async fn the_mailed_token_proves_its_address_and_no_other(app: TestApp) {
    let acme = app.company("acme").await;
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    mutate(&app, &acme, &acme.admin, ("invitationCreate", SHOWN), json!({ "email": ann.email })).done().await;
    let token = app.email(&ann.email, "Invitation to acme").await.token();
    let stolen = accept(&app, &bob, json!({ "token": token })).refused().await;
    assert_eq!(stolen, problem("FORBIDDEN", "input.token"));
    assert!(!sees(&app, &bob).await.0 && !sees(&app, &ann).await.0);
    accept(&app, &ann, json!({ "token": token })).done().await;
    assert!(sees(&app, &ann).await.0);
    // With the registration it proves the address at once: no other e-mail comes.
    mutate(&app, &acme, &acme.admin, ("invitationCreate", SHOWN), json!({ "email": "new@example.com" })).done().await;
    let token = app.email("new@example.com", "Invitation to acme").await.token();
    let new = app.accept("acme", "new", &token).await;
    assert!(sees(&app, &new).await.0);
    assert_eq!(app.emails_to("new@example.com").await.len(), 1);
}

/// A removed owner came back through an invitation that they had made before.
#[databases]
async fn an_invitation_ends_with_its_makers_rights(app: TestApp) {
    let acme = app.company("acme").await;
    let guest = verified(&app, "guest").await;
    for (name, taken) in [("one", "remove"), ("two", "demote"), ("three", "suspend"), ("four", "leave")] {
        let maker = app.join(&acme.owner, "acme", &format!("maker-{name}"), "OWNER").await;
        let input = json!({ "email": guest.email, "role": "OWNER" });
        let made = mutate(&app, &acme, &maker, ("invitationCreate", SHOWN), input).done().await;
        let (id, token) = (&made["invitation"]["id"], &made["token"]);
        assert_eq!(sees(&app, &guest).await.1, [json!({ "id": id, "organizationName": "acme" })]);
        let patch = |patch: Value| {
            let input = json!({ "id": maker.membership_id, "patch": patch });
            mutate(&app, &acme, &acme.owner, ("membershipUpdate", "membership { id }"), input)
        };
        match taken {
            "demote" => drop(patch(json!({ "role": "ADMIN" })).done().await),
            "suspend" => drop(patch(json!({ "status": "SUSPENDED" })).done().await),
            _ => {
                let by = if taken == "leave" { &maker } else { &acme.owner };
                let input = json!({ "id": maker.membership_id });
                mutate(&app, &acme, by, ("membershipRemove", "deletedId"), input).done().await;
            }
        }
        assert_eq!(
            accept(&app, &guest, json!({ "token": token })).refused().await,
            problem("NOT_FOUND", "input.token"),
            "{taken}"
        );
        assert_eq!(
            accept(&app, &guest, json!({ "id": id })).refused().await,
            problem("NOT_FOUND", "input.id"),
            "{taken}"
        );
        assert_eq!(sees(&app, &guest).await.1, Vec::<Value>::new(), "{taken}");
    }
    // Whoever mails it again answers for it from then on.
    let listed = app.call(&acme, &acme.owner, "{ organization { invitations { nodes { id } } } }").data().await;
    let id = listed["organization"]["invitations"]["nodes"][0]["id"].clone();
    app.clock.advance(Duration::hours(2));
    let owner = app.sign_in(&acme.owner).await;
    let again = mutate(&app, &acme, &owner, ("invitationResend", SHOWN), json!({ "id": id })).done().await;
    let guest = app.sign_in(&guest).await;
    let joined = accept(&app, &guest, json!({ "token": again["token"] })).done().await;
    assert_eq!(joined["membership"]["role"], "OWNER");
}

#[databases]
async fn an_invitation_of_a_key_ends_with_the_key(app: TestApp) {
    let acme = app.company("acme").await;
    let guest = verified(&app, "guest").await;
    let (key_id, key) = app.api_key(&acme, &acme.admin, &["MEMBER_MANAGE"]).await;
    let invite = "mutation { invitationCreate(input: {email: \"guest@example.com\"}) { token userErrors { code } } }";
    let made = app.gql(invite).key(&key).done().await;
    assert_eq!(sees(&app, &guest).await.1.len(), 1);
    mutate(&app, &acme, &acme.admin, ("apiKeyRevoke", "deletedId"), json!({ "id": key_id })).done().await;
    assert_eq!(sees(&app, &guest).await.1.len(), 0);
    let refused = accept(&app, &guest, json!({ "token": made["token"] })).refused().await;
    assert_eq!(refused, problem("NOT_FOUND", "input.token"));
}

/// Clients make ids, and another organization may make the same.
#[databases]
async fn an_id_that_two_organizations_gave_opens_neither(app: TestApp) {
    let acme = app.company("acme").await;
    let (ann, mallory) = (verified(&app, "ann").await, app.register("mallory").await);
    let id = app.clock.new_id::<kind::Invitation>().to_string();
    let input = json!({ "email": ann.email, "id": id });
    mutate(&app, &acme, &acme.admin, ("invitationCreate", SHOWN), input.clone()).done().await;
    invite_from_an_own(&app, &mallory, "evil", input).await;
    let refused = accept(&app, &ann, json!({ "id": id })).refused().await;
    assert_eq!(refused, problem("INVALID_STATE", "input.id"));
    assert_eq!(sees(&app, &ann).await.1.len(), 2);
    let messages = app.emails_to(&ann.email).await;
    let message = messages.iter().find(|message| message.header("subject") == "Invitation to acme").expect("an e-mail");
    accept(&app, &ann, json!({ "token": message.token() })).done().await;
    assert_eq!(sees(&app, &ann).await.1, [json!({ "id": id, "organizationName": "evil" })]);
}

/// Its one token was shown as well as mailed.
#[databases]
async fn an_invitation_of_the_release_before_lets_in_and_proves_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let ann = app.register("ann").await;
    let made =
        mutate(&app, &acme, &acme.admin, ("invitationCreate", SHOWN), json!({ "email": ann.email })).done().await;
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test")).await;
    let tx = scope.expect("a scope").write(Permission::MemberManage).await.expect("a write");
    let id = made["invitation"]["id"].as_str().expect("an id").parse().expect("an id");
    let old = invitation::ActiveModel { id: Set(id), mailed_token_hash: Set(None), ..Default::default() };
    tx.update(old).await.expect("an update");
    tx.commit_unrecorded((), "made by a test").await.expect("a commit");
    accept(&app, &ann, json!({ "token": made["token"] })).done().await;
    assert!(!sees(&app, &ann).await.0);
}
