//! What is purged by its age: what is old goes, what is young or alive stays.

use std::{collections::HashMap, time::Duration};

use chrono::TimeDelta;
use sea_orm::{ActiveValue::Set, Condition};
use serde_json::json;
use todo_platform::{
    base::config::AuthConfig,
    data::{
        actor::Origin,
        db::{AccountTx, OrgScope, retention},
        entity::{
            ActorRef, Global, account_token, invitation, invitation_team, refresh_token, security_event, session,
            sign_in_failure,
        },
    },
    jobs::maintenance,
};

use crate::{
    sessions::sign_in,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// More than are deleted at once.
const MANY: usize = 2_100;

const REFRESH: &str = "mutation($token: String!) { sessionRefresh(input: {refreshToken: $token}) { refreshToken \
                       userErrors { code path } } }";
const INVITE: &str = "mutation($input: InvitationCreateInput!) { invitationCreate(input: $input) { token \
                      userErrors { code path } } }";
const ACCEPT: &str = "mutation($token: String!) { invitationAccept(input: {token: $token}) { membership { id } \
                      userErrors { code path } } }";
const VERIFY: &str = "mutation($token: String!) { emailVerify(input: {token: $token}) { user { id } \
                      userErrors { code path } } }";

impl TestApp {
    /// Purges as the server does every hour; says how many rows of which table.
    pub async fn purge(&self) -> HashMap<&'static str, u64> {
        sum(maintenance::purge(&self.state).await)
    }

    /// [`TestApp::purge`] with other ages than the server's.
    async fn purge_with(&self, change: impl FnOnce(&mut AuthConfig)) -> HashMap<&'static str, u64> {
        let mut auth = self.state.config.auth.clone();
        change(&mut auth);
        let mut purged = Vec::new();
        for expired in retention::expired(&self.clock, &auth) {
            purged.push((expired.table, self.state.db.purge(&expired).await.expect("it is purged")));
        }
        sum(purged)
    }

    async fn count<E: Global>(&self) -> usize {
        self.state.db.find_global::<E>(Condition::all()).await.expect("rows").len()
    }
}

fn sum(purged: Vec<(&'static str, u64)>) -> HashMap<&'static str, u64> {
    let mut by_table = HashMap::new();
    for (table, rows) in purged {
        *by_table.entry(table).or_default() += rows;
    }
    by_table
}

fn refreshes<'a>(app: &'a TestApp, token: &str) -> Call<'a> {
    app.gql(REFRESH).vars(json!({ "token": token }))
}

async fn refresh(app: &TestApp, token: &str) -> String {
    refreshes(app, token).done().await["refreshToken"].as_str().expect("a token").to_owned()
}

async fn invite(app: &TestApp, company: &Company, email: &str, team: &str) -> String {
    let input = json!({ "email": email, "role": "MEMBER", "teamIds": [team] });
    let invited = app.call(company, &company.owner, INVITE).vars(json!({ "input": input })).done().await;
    invited["token"].as_str().expect("a token").to_owned()
}

/// Why this invitation can't be accepted.
async fn refusal(app: &TestApp, person: &Person, token: &str) -> Vec<(String, String)> {
    app.gql(ACCEPT).vars(json!({ "token": token })).token(&person.token).refused().await
}

async fn invitations(app: &TestApp, company: &Company) -> (usize, usize) {
    let id = company.id.parse().expect("an id");
    let scope = OrgScope::of_system(&app.state.db, id, Origin::command("test")).await.expect("a scope");
    let open = scope.find::<invitation::Entity>().all().await.expect("rows").len();
    (open, scope.find::<invitation_team::Entity>().all().await.expect("rows").len())
}

/// Of several trees: what is old goes with all below it, what is younger, restored, or below something younger stays.
#[databases]
async fn the_trash_is_emptied_of_what_is_old(app: TestApp) {
    let acme = app.company("acme").await;
    let tree = |title: &str| {
        let below = json!([{ "title": format!("{title} below") }]);
        app.create(&acme, &acme.member, "item", json!({ "title": title, "subtasks": below }))
    };
    let (old, back, young) = (tree("old").await, tree("back").await, tree("young").await);
    let part = app.create(&acme, &acme.member, "item", json!({ "title": "part", "parentId": young })).await;
    let act = async |field: &str, id: &str| {
        crate::items::mutate(&app, &acme, &acme.owner, (field, ""), json!({ "id": id })).done().await;
    };
    for id in [&old, &back, &part] {
        act("itemDelete", id).await;
    }
    app.clock.advance(TimeDelta::days(20));
    let owner = app.sign_in(&acme.owner).await;
    let acme = Company { owner, ..acme.clone() };
    let act = async |field: &str, id: &str| {
        crate::items::mutate(&app, &acme, &acme.owner, (field, ""), json!({ "id": id })).done().await;
    };
    act("itemRestore", &back).await;
    act("itemDelete", &young).await;
    let titles = async || {
        let query = "{ trash: items(scope: TRASHED, orderBy: [{field: TITLE}]) { nodes { title } } \
                     kept: items(orderBy: [{field: TITLE}]) { nodes { title } } }";
        let data = app.call(&acme, &acme.owner, query).data().await;
        let of = |list: &str| -> Vec<String> {
            let nodes = data[list]["nodes"].as_array().expect("a list").iter();
            nodes.map(|node| node["title"].as_str().unwrap_or_default().to_owned()).collect()
        };
        (of("trash"), of("kept"))
    };
    let kept = app.state.config.trash.retention;
    let purge = async || todo_platform::domains::items::retention::purge(&app.state.db, kept).await.expect("it works");
    purge().await;
    assert_eq!(titles().await.0, ["old", "old below", "part", "young", "young below"]);
    app.clock.advance(TimeDelta::days(11));
    let owner = app.sign_in(&acme.owner).await;
    let acme = Company { owner, ..acme.clone() };
    let titles = async || {
        let query = "{ trash: items(scope: TRASHED, orderBy: [{field: TITLE}]) { nodes { title } } \
                     kept: items(orderBy: [{field: TITLE}]) { nodes { title } } \
                     events(last: 3) { nodes { type actor { id __typename } } } }";
        app.call(&acme, &acme.owner, query).data().await
    };
    purge().await;
    let data = titles().await;
    assert_eq!(data["trash"]["nodes"], json!([{ "title": "young" }, { "title": "young below" }]));
    assert_eq!(data["kept"]["nodes"], json!([{ "title": "back" }, { "title": "back below" }]));
    for event in data["events"]["nodes"].as_array().expect("a list") {
        assert_eq!((&event["type"], &event["actor"]["__typename"]), (&json!("ITEM_PURGED"), &json!("SystemActor")));
    }
    // Again, and by another instance at the same time, nothing more happens.
    let other = app.another_instance(|_| ()).await;
    let by_other = todo_platform::domains::items::retention::purge(&other.state.db, kept);
    let ((), by_other) = tokio::join!(purge(), by_other);
    by_other.expect("it works");
    assert_eq!(titles().await, data);
    other.state.db.close().await;
}

#[databases]
async fn sessions_that_ended_go_with_their_tokens_and_live_ones_stay(app: TestApp) {
    let short = |auth: &mut AuthConfig| auth.session_retention = 10 * DAY;
    let ann = app.register("ann").await;
    let revoked = sign_in(&app, &ann, "revoked").await;
    app.gql("mutation { sessionRevoke(input: {}) { deletedId userErrors { code } } }").token(&revoked).done().await;
    sign_in(&app, &ann, "never seen again").await;
    app.clock.advance(TimeDelta::days(6));
    let second = refresh(&app, &ann.refresh_token).await;
    app.clock.advance(TimeDelta::days(3));
    let purged = app.purge_with(short).await;
    assert_eq!((purged["session"], purged["refresh_token"]), (0, 0), "nothing is old enough");

    app.clock.advance(TimeDelta::days(6));
    let third = refresh(&app, &second).await;
    let purged = app.purge_with(short).await;
    assert_eq!((purged["session"], purged["refresh_token"]), (1, 1), "the revoked one; the first token, traded");
    assert_eq!(app.count::<session::Entity>().await, 2);
    assert_eq!(app.count::<refresh_token::Entity>().await, 3, "two of the live session, one that waits");
    // The newest works, and of one that was traded it is still known that it was.
    app.clock.advance(TimeDelta::minutes(1));
    let fourth = refresh(&app, &third).await;
    let bad = problem("BAD_CREDENTIALS", "input.refreshToken");
    assert_eq!(refreshes(&app, &ann.refresh_token).refused().await, bad, "purged");
    let fifth = refresh(&app, &fourth).await;
    assert_eq!(refreshes(&app, &second).refused().await, bad);
    assert_eq!(refreshes(&app, &fifth).refused().await, bad, "the return of the second has ended the session");

    // The revoked session, and the one whose time has passed.
    app.clock.advance(TimeDelta::days(26));
    let bob = app.register("bob").await;
    let purged = app.purge_with(short).await;
    assert_eq!(purged["session"], 2);
    assert_eq!((app.count::<session::Entity>().await, app.count::<refresh_token::Entity>().await), (1, 1));
    refresh(&app, &bob.refresh_token).await;
}

/// The newest token of a session is its only way on, however long ago it was issued.
#[databases]
async fn a_live_session_keeps_its_newest_token(app: TestApp) {
    let ann = app.register("ann").await;
    app.clock.advance(TimeDelta::days(29));
    let purged = app.purge_with(|auth| auth.session_retention = DAY).await;
    assert_eq!((purged["session"], purged["refresh_token"]), (0, 0));
    refresh(&app, &ann.refresh_token).await;
}

#[databases]
async fn more_than_a_chunk_goes(app: TestApp) {
    let ann = app.register("ann").await;
    let owner = app.state.db.find_global::<session::Entity>(Condition::all()).await.expect("rows").remove(0);
    let begun = app.clock.now();
    let tx = AccountTx::begin(&app.state.db, &Origin::command("test")).await.expect("a write");
    for number in 0..MANY {
        let hash = format!("token {number}").into_bytes();
        let (issued_at, used_at) = (Set(begun), Set(Some(begun)));
        let token = refresh_token::ActiveModel { hash: Set(hash), session_id: Set(owner.id), issued_at, used_at };
        tx.insert(token).await.expect("a token");
        let revoked = session::Model { id: app.clock.new_id(), revoked_at: Some(begun), ..owner.clone() };
        tx.insert(session::ActiveModel::from(revoked)).await.expect("a session");
        let (id, account_key, ip) = (Set(app.clock.new_uuid()), Set("ann".to_owned()), Set("::1".to_owned()));
        let failure = sign_in_failure::ActiveModel { id, account_key, ip, created_at: Set(begun) };
        tx.insert(failure).await.expect("a failure");
    }
    tx.commit(ActorRef::SYSTEM, ()).await.expect("it commits");
    app.clock.advance(TimeDelta::days(2));
    let purged = app.purge_with(|auth| auth.session_retention = DAY).await;
    let many = MANY as u64;
    let found = ["refresh_token", "session", "sign_in_failure"].map(|table| purged[table]);
    assert_eq!(found, [many, many, many]);
    assert_eq!((app.count::<session::Entity>().await, app.count::<refresh_token::Entity>().await), (1, 1));
    refresh(&app, &ann.refresh_token).await;
}

#[databases]
async fn the_security_log_keeps_what_is_young(app: TestApp) {
    let ann = app.register("ann").await;
    app.clock.advance(TimeDelta::days(399));
    sign_in(&app, &ann, "young").await;
    app.settle().await;
    let before = app.count::<security_event::Entity>().await;
    assert_eq!(app.purge().await["security_event"], 0);
    app.clock.advance(TimeDelta::days(2));
    assert_eq!(app.purge().await["security_event"], 1);
    assert_eq!(app.count::<security_event::Entity>().await, before - 1);
    let left = sign_in(&app, &ann, "now").await;
    let query = "{ viewer { securityEvents(first: 10) { nodes { kind } } } }";
    let data = app.gql(query).token(&left).data().await;
    let kinds = json!([{ "kind": "SIGNED_IN" }, { "kind": "SIGNED_IN" }]);
    assert_eq!(data["viewer"]["securityEvents"]["nodes"], kinds);
}

#[databases]
async fn mailed_tokens_go_a_week_after_their_end(app: TestApp) {
    let ann = app.register("ann").await;
    let token = app.email(&ann.email, "Confirm your e-mail address").await.token();
    let verify = async |token: &str| app.gql(VERIFY).vars(json!({ "token": token })).refused().await;
    app.clock.advance(TimeDelta::days(7));
    let bob = app.register("bob").await;
    app.clock.advance(TimeDelta::days(1));
    assert_eq!(app.purge().await["account_token"], 0, "expired a week ago, and no longer");
    assert_eq!(verify(&token).await, problem("EXPIRED", "input.token"));
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(app.purge().await["account_token"], 1);
    assert_eq!(app.count::<account_token::Entity>().await, 1);
    assert_eq!(verify(&token).await, problem("BAD_CREDENTIALS", "input.token"));
    let young = app.email(&bob.email, "Confirm your e-mail address").await.token();
    assert_eq!(verify(&young).await, problem("EXPIRED", "input.token"));
}

#[databases]
async fn invitations_go_a_month_after_their_end(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.owner, "team", json!({ "name": "Team" })).await;
    let ann = app.register("ann").await;
    let old = invite(&app, &acme, &ann.email, &team).await;
    app.clock.advance(TimeDelta::days(20));
    let bob = app.register("bob").await;
    let acme = Company { owner: app.sign_in(&acme.owner).await, ..acme };
    let younger = invite(&app, &acme, &bob.email, &team).await;
    app.clock.advance(TimeDelta::days(17));
    let acme = Company { owner: app.sign_in(&acme.owner).await, ..acme };
    let ann = app.sign_in(&ann).await;
    let cyd = app.register("cyd").await;
    let open = invite(&app, &acme, &cyd.email, &team).await;
    assert_eq!(app.purge().await["invitation"], 0, "expired a month ago, and no longer");
    assert_eq!(refusal(&app, &ann, &old).await, problem("EXPIRED", "input.token"));
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(app.purge().await["invitation"], 1);
    assert_eq!(invitations(&app, &acme).await, (2, 2));
    assert_eq!(refusal(&app, &ann, &old).await, problem("NOT_FOUND", "input.token"));
    let bob = app.sign_in(&bob).await;
    assert_eq!(refusal(&app, &bob, &younger).await, problem("EXPIRED", "input.token"));
    app.gql(ACCEPT).vars(json!({ "token": open })).token(&cyd.token).done().await;
}

#[databases]
async fn failed_sign_ins_go_after_their_window(app: TestApp) {
    let ann = app.register("ann").await;
    let query = "mutation($email: String!) { sessionCreate(input: {email: $email, password: \"not it at all\"}) { \
                 accessToken userErrors { code path } } }";
    let wrong = || app.gql(query).vars(json!({ "email": ann.email }));
    wrong().refused().await;
    app.clock.advance(TimeDelta::minutes(30));
    wrong().refused().await;
    let all = app.count::<sign_in_failure::Entity>().await;
    app.clock.advance(TimeDelta::minutes(30) - TimeDelta::milliseconds(1));
    assert_eq!(app.purge().await["sign_in_failure"], 0);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert!(app.purge().await["sign_in_failure"] >= 1);
    assert!(app.count::<sign_in_failure::Entity>().await < all);
    app.clock.advance(TimeDelta::minutes(30));
    app.purge().await;
    assert_eq!(app.count::<sign_in_failure::Entity>().await, 0);
}

#[tokio::test]
async fn letters_go_and_other_files_stay() {
    TestApp::on_sqlite(async |app| {
        let [ann, bob] = [app.register("ann").await, app.register("bob").await];
        app.email(&ann.email, "Confirm your e-mail address").await;
        let folder = app.state.config.data_dir.join("mail");
        let unfinished = folder.join(format!("{}.part", app.clock.new_uuid()));
        std::fs::write(&unfinished, "half").expect("it is written");
        app.clock.advance(TimeDelta::days(30));
        let cyd = app.register("cyd").await;
        app.settle().await;
        assert_eq!(app.state.mailer.purge(30 * DAY).await.expect("it is purged"), 0);
        app.clock.advance(TimeDelta::milliseconds(1));
        let others = ["note.txt", "note.eml", "7d444840-9dc0-11d1-b245-5ffdce74fad2.eml"].map(|name| folder.join(name));
        for other in &others {
            std::fs::write(other, "not an e-mail of ours").expect("it is written");
        }
        assert_eq!(app.state.mailer.purge(30 * DAY).await.expect("it is purged"), 3);
        assert!(!unfinished.exists());
        for other in others {
            assert!(other.exists(), "{}", other.display());
            std::fs::remove_file(other).expect("it is removed");
        }
        for gone in [ann, bob] {
            assert!(app.emails_to(&gone.email).await.is_empty());
        }
        assert_eq!(app.emails_to(&cyd.email).await.len(), 1);
        std::fs::remove_dir_all(folder).expect("it is removed");
        assert_eq!(app.state.mailer.purge(30 * DAY).await.expect("nothing to purge"), 0);
    })
    .await;
}
