//! Organizations and who is in them: invitations, memberships, teams; and tags and comments, which people make.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use chrono::Duration;
use serde_json::{Value, json};
use todo_platform::base::id::kind;

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        client::{Call, problem},
        world::{Company, Person},
    },
};
use todo_test_macros::databases;

const ORGANIZATION: &str = "organization { id name slug itemPrefix timeZone version }";
const INVITATION: &str = "token invitation { id email role expiresAt teams { name } invitedBy { id } }";
const MEMBERSHIP: &str = "membership { id role status version user { id } teams { name } }";
/// Without its person and teams: the request that accepts is in no organization yet.
const JOINED: &str = "membership { id role status version }";
const TEAM: &str = "team { id name description version members(first: 50) { nodes { user { id } } } }";
const TAG: &str = "tag { id name color itemCount version }";
const COMMENT: &str =
    "comment { id body version editedAt createdAt viewerCanEdit author { id } parent { id } item { id } }";

fn found<'a>(app: &'a TestApp, person: &Person, input: Value) -> Call<'a> {
    let query = format!(
        "mutation($input: OrganizationCreateInput!) {{ organizationCreate(input: $input) {{ {ORGANIZATION} cursor \
         userErrors {{ code path message }} }} }}"
    );
    app.gql(query).vars(json!({ "input": input })).token(&person.token)
}

fn accept<'a>(app: &'a TestApp, person: &Person, input: Value) -> Call<'a> {
    let query = format!(
        "mutation($input: InvitationAcceptInput!) {{ invitationAccept(input: $input) {{ {JOINED} cursor \
         userErrors {{ code path message }} }} }}"
    );
    app.gql(query).vars(json!({ "input": input })).token(&person.token)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn role<'a>(app: &'a TestApp, acme: &Company, by: &Person, of: &Person, patch: Value) -> Call<'a> {
    let input = json!({ "id": of.membership_id, "patch": patch });
    mutate(app, acme, by, ("membershipUpdate", MEMBERSHIP), input)
}

fn remove<'a>(app: &'a TestApp, acme: &Company, by: &Person, of: &Person, new_assignee: Option<&str>) -> Call<'a> {
    let mut input = json!({ "id": of.membership_id });
    if let Some(new_assignee) = new_assignee {
        input["reassignToId"] = json!(new_assignee);
    }
    mutate(app, acme, by, ("membershipRemove", "deletedId"), input)
}

async fn events(app: &TestApp, acme: &Company, count: usize) -> Vec<Value> {
    let query = "query($n: Int!) { events(last: $n) { nodes { type subjectId changes { field before after } } } }";
    let data = app.call(acme, &acme.owner, query).vars(json!({ "n": count })).data().await;
    data["events"]["nodes"].as_array().cloned().unwrap_or_default()
}

async fn head(app: &TestApp, acme: &Company) -> Value {
    let data = app.call(acme, &acme.owner, "{ events(last: 1) { nodes { sequence } } }").data().await;
    data["events"]["nodes"][0]["sequence"].clone()
}

async fn item(app: &TestApp, acme: &Company, id: &str) -> Value {
    let query = "query($id: ID!) { item(id: $id) { version team { id } tags { name } assignees { id } \
                 comments { totalCount } } }";
    app.call(acme, &acme.owner, query).vars(json!({ "id": id })).data().await["item"].clone()
}

/// Code of the answer to a person who asks for the organization; empty when it is given.
async fn entry(app: &TestApp, person: &Person, slug: &str) -> String {
    let answer = app.gql("{ organization { id } }").token(&person.token).at(slug).answer().await;
    text(&answer["errors"][0]["extensions"]["code"]).to_owned()
}

async fn owners(app: &TestApp, acme: &Company, by: &Person) -> Value {
    let query = "{ organization { members(filter: {roles: [OWNER], statuses: [ACTIVE]}) { totalCount } } }";
    app.call(acme, by, query).data().await["organization"]["members"]["totalCount"].clone()
}

#[databases]
async fn whoever_founds_an_organization_owns_it(app: TestApp) {
    let ann = app.register("ann").await;
    let payload = found(&app, &ann, json!({ "name": " Acme Corp ", "slug": "acme-corp" })).done().await;
    let organization = &payload["organization"];
    let expected = json!({ "id": organization["id"], "name": "Acme Corp", "slug": "acme-corp", "itemPrefix": "ACME",
        "timeZone": "UTC", "version": 1 });
    assert_eq!(*organization, expected);
    assert_ne!(payload["cursor"], Value::Null);
    let query = "{ viewer { role permissions } organization { members { nodes { role user { id } } } } \
                 events(first: 5) { nodes { type } } }";
    let data = app.gql(query).token(&ann.token).at("acme-corp").data().await;
    assert_eq!(data["viewer"]["role"], "OWNER");
    let members = json!([{ "role": "OWNER", "user": { "id": ann.id } }]);
    assert_eq!(data["organization"]["members"]["nodes"], members);
    assert_eq!(data["events"]["nodes"], json!([{ "type": "ORGANIZATION_CREATED" }, { "type": "MEMBER_JOINED" }]));
    for (input, expected) in [
        (json!({ "name": "x", "slug": "acme-corp" }), problem("TAKEN", "input.slug")),
        (json!({ "name": "x", "slug": "Acme" }), problem("INVALID", "input.slug")),
        (json!({ "name": "x", "slug": "a" }), problem("INVALID", "input.slug")),
        (json!({ "name": "x", "slug": "-ab" }), problem("INVALID", "input.slug")),
        (json!({ "name": "x", "slug": "a b" }), problem("INVALID", "input.slug")),
        (json!({ "name": "x", "slug": "a".repeat(49) }), problem("INVALID", "input.slug")),
        (json!({ "name": " ", "slug": "fine" }), problem("REQUIRED", "input.name")),
        (json!({ "name": "x", "slug": "fine", "itemPrefix": "acme" }), problem("INVALID", "input.itemPrefix")),
        (json!({ "name": "x", "slug": "fine", "itemPrefix": "TOOLONG" }), problem("INVALID", "input.itemPrefix")),
        (json!({ "name": "x", "slug": "fine", "timeZone": "Mars" }), problem("INVALID", "input.timeZone")),
        (json!({ "name": "x", "slug": "fine", "id": organization["id"] }), problem("TAKEN", "input.id")),
    ] {
        assert_eq!(found(&app, &ann, input.clone()).refused().await, expected, "{input}");
    }
    for (input, prefix) in [
        (json!({ "name": "x", "slug": "x9" }), "ITEM"),
        (json!({ "name": "x", "slug": "42-go-home" }), "GOHO"),
        (json!({ "name": "x", "slug": "fine", "itemPrefix": "Q4X" }), "Q4X"),
    ] {
        assert_eq!(found(&app, &ann, input).done().await["organization"]["itemPrefix"], prefix);
    }
}

#[databases]
async fn an_organization_changes_by_version(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let update =
        |person: &Person, input: Value| mutate(&app, &acme, person, ("organizationUpdate", ORGANIZATION), input);
    let code = update(&acme.member, json!({ "patch": { "name": "x" } })).error_code().await;
    assert_eq!(code, "FORBIDDEN");
    let payload = update(&acme.admin, json!({ "ifVersion": 1, "patch": { "name": "Acme 2" } })).done().await;
    assert_eq!((&payload["organization"]["name"], &payload["organization"]["version"]), (&json!("Acme 2"), &json!(2)));
    let stale = update(&acme.admin, json!({ "ifVersion": 1, "patch": { "name": "Acme 3" } })).data().await;
    assert_eq!(stale["organizationUpdate"]["userErrors"][0]["code"], "CONFLICT");
    assert_eq!(stale["organizationUpdate"]["organization"], payload["organization"]);
    let before = head(&app, &acme).await;
    let same = update(&acme.admin, json!({ "patch": { "name": "Acme 2", "slug": "acme" } })).done().await;
    assert_eq!((&same["organization"], head(&app, &acme).await), (&payload["organization"], before));
    for (patch, expected) in [
        (json!({ "slug": other.slug }), problem("TAKEN", "input.patch.slug")),
        (json!({ "slug": "No" }), problem("INVALID", "input.patch.slug")),
        (json!({ "name": null }), problem("REQUIRED", "input.patch.name")),
        (json!({ "timeZone": "Mars" }), problem("INVALID", "input.patch.timeZone")),
    ] {
        assert_eq!(update(&acme.admin, json!({ "patch": patch })).refused().await, expected);
    }
    update(&acme.admin, json!({ "patch": { "slug": "acme-2" } })).done().await;
    assert_eq!(entry(&app, &acme.member, "acme").await, "ORGANIZATION_REQUIRED");
    assert_eq!(entry(&app, &acme.member, "acme-2").await, "");
}

#[databases]
async fn deleting_an_organization_removes_everything(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "T", "memberIds": [acme.member.id] })).await;
    let tag = app.create(&acme, &acme.admin, "tag", json!({ "name": "t" })).await;
    let input = json!({ "title": "root", "teamId": team, "tagIds": [tag], "assigneeIds": [acme.viewer.id],
        "subtasks": [{ "title": "child" }] });
    let id = app.create(&acme, &acme.member, "item", input).await;
    let comment = app.create(&acme, &acme.member, "comment", json!({ "itemId": id, "body": "hello" })).await;
    app.create(&acme, &acme.member, "comment", json!({ "itemId": id, "body": "re", "parentId": comment })).await;
    let invited = json!({ "email": "new@example.com", "teamIds": [team] });
    mutate(&app, &acme, &acme.admin, ("invitationCreate", INVITATION), invited).done().await;
    let delete = |person: &Person, slug: &str| {
        mutate(&app, &acme, person, ("organizationDelete", "deletedId"), json!({ "confirmSlug": slug }))
    };
    assert_eq!(delete(&acme.admin, "acme").error_code().await, "FORBIDDEN");
    assert_eq!(delete(&acme.owner, "Acme").refused().await, problem("INVALID", "input.confirmSlug"));
    assert_eq!(delete(&acme.owner, "acme").done().await["deletedId"], acme.id.as_str());
    for person in [&acme.owner, &acme.member] {
        assert_eq!(entry(&app, person, "acme").await, "ORGANIZATION_REQUIRED");
        assert_eq!(entry(&app, person, &acme.id).await, "ORGANIZATION_REQUIRED");
    }
    found(&app, &acme.member, json!({ "name": "Again", "slug": "acme" })).done().await;
    let query = "query($id: ID!) { item(id: $id) { id } items { totalCount } organization { teams { totalCount } \
                 tags { totalCount } members { totalCount } invitations { nodes { id } } } \
                 events(first: 10) { totalCount } }";
    let data = app.gql(query).vars(json!({ "id": id })).token(&acme.member.token).at("acme").data().await;
    let count = |number: i32| json!({ "totalCount": number });
    let organization = json!({ "teams": count(0), "tags": count(0), "members": count(1),
        "invitations": { "nodes": [] } });
    assert_eq!(data, json!({ "item": null, "items": count(0), "organization": organization, "events": count(2) }));
}

#[databases]
async fn an_invitation_lets_its_address_in_once(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "Core" })).await;
    let (ann, bob) = (app.register("ann").await, app.register("bob").await);
    let input = json!({ "email": " Ann@Example.com ", "role": "ADMIN", "teamIds": [team] });
    let invited = mutate(&app, &acme, &acme.admin, ("invitationCreate", INVITATION), input).done().await;
    let token = invited["token"].clone();
    let invitation = &invited["invitation"];
    assert_eq!((&invitation["email"], &invitation["role"]), (&json!("Ann@Example.com"), &json!("ADMIN")));
    assert_eq!(invitation["invitedBy"]["id"], acme.admin.id.as_str());
    let listed = "{ organization { invitations { nodes { id teams { name } } } } }";
    let listed = app.call(&acme, &acme.admin, listed).data().await;
    let expected = json!([{ "id": invitation["id"], "teams": [{ "name": "Core" }] }]);
    assert_eq!(listed["organization"]["invitations"]["nodes"], expected);

    let wrong = accept(&app, &bob, json!({ "token": token })).refused().await;
    assert_eq!(wrong, problem("FORBIDDEN", "input.token"));
    let unproven = accept(&app, &ann, json!({ "id": invitation["id"] })).refused().await;
    assert_eq!(unproven, problem("NOT_FOUND", "input.id"), "an unproven address opens nothing");
    let message = app.email("Ann@Example.com", "Invitation to acme").await;
    assert_ne!(json!(message.token()), token, "the e-mail has a token of its own");
    let joined = accept(&app, &ann, json!({ "token": message.token() })).done().await["membership"].clone();
    assert_eq!((&joined["role"], &joined["status"]), (&json!("ADMIN"), &json!("ACTIVE")));
    assert_eq!(entry(&app, &ann, "acme").await, "");
    let me = app.gql("{ viewer { user { emailVerifiedAt membership { teams { name } } } } }").token(&ann.token);
    let me = me.at("acme").data().await;
    assert_eq!(me["viewer"]["user"]["membership"]["teams"], json!([{ "name": "Core" }]));
    assert_ne!(me["viewer"]["user"]["emailVerifiedAt"], Value::Null, "the e-mail's token proves the address");
    for person in [&ann, &bob] {
        let again = accept(&app, person, json!({ "token": token })).refused().await;
        assert_eq!(again, problem("NOT_FOUND", "input.token"), "it works once");
    }
    // By its id, now that the address is proven; and only one's own.
    app.found(&acme.member, "side").await;
    let side = json!({ "email": ann.email });
    let query = "mutation($i: InvitationCreateInput!) { invitationCreate(input: $i) { invitation { id } \
                 userErrors { code path } } }";
    let invited = app.gql(query).vars(json!({ "i": side })).token(&acme.member.token).at("side").done().await;
    let id = &invited["invitation"]["id"];
    let seen = app.gql("{ viewer { invitations { id organizationName role } } }").token(&ann.token).data().await;
    let expected = json!([{ "id": id, "organizationName": "side", "role": "MEMBER" }]);
    assert_eq!(seen["viewer"]["invitations"], expected);
    let other = accept(&app, &bob, json!({ "id": id })).refused().await;
    assert_eq!(other, problem("NOT_FOUND", "input.id"));
    assert_eq!(accept(&app, &ann, json!({ "id": id })).done().await["membership"]["role"], "MEMBER");
    assert_eq!(entry(&app, &ann, "side").await, "");
}

#[databases]
async fn an_invitation_ends_by_time_by_hand_and_by_another(app: TestApp) {
    let acme = app.company("acme").await;
    let ann = app.register("ann").await;
    let invite =
        || mutate(&app, &acme, &acme.admin, ("invitationCreate", INVITATION), json!({ "email": ann.email })).done();
    let revoked = invite().await;
    let input = json!({ "id": revoked["invitation"]["id"] });
    mutate(&app, &acme, &acme.admin, ("invitationRevoke", "deletedId"), input.clone()).done().await;
    let gone = accept(&app, &ann, json!({ "token": revoked["token"] })).refused().await;
    assert_eq!(gone, problem("NOT_FOUND", "input.token"));
    mutate(&app, &acme, &acme.admin, ("invitationRevoke", "deletedId"), input.clone()).done().await;
    let resend = mutate(&app, &acme, &acme.admin, ("invitationResend", INVITATION), input).refused().await;
    assert_eq!(resend, problem("NOT_FOUND", "input.id"));

    let first = invite().await;
    let second = invite().await;
    let gone = accept(&app, &ann, json!({ "token": first["token"] })).refused().await;
    assert_eq!(gone, problem("NOT_FOUND", "input.token"), "a second invitation replaces the first");
    let input = json!({ "id": second["invitation"]["id"] });
    let third = mutate(&app, &acme, &acme.admin, ("invitationResend", INVITATION), input.clone()).done().await;
    assert_eq!(third["invitation"]["id"], second["invitation"]["id"]);
    let gone = accept(&app, &ann, json!({ "token": second["token"] })).refused().await;
    assert_eq!(gone, problem("NOT_FOUND", "input.token"), "the old token is void");

    app.clock.set(text(&third["invitation"]["expiresAt"]).parse().expect("an instant"));
    let (ann, admin) = (app.sign_in(&ann).await, app.sign_in(&acme.admin).await);
    let late = accept(&app, &ann, json!({ "token": third["token"] })).refused().await;
    assert_eq!(late, problem("EXPIRED", "input.token"));
    let listed = "{ organization { invitations { totalCount } } }";
    let listed = app.call(&acme, &admin, listed).data().await;
    assert_eq!(listed["organization"]["invitations"]["totalCount"], 0);
    let fresh = mutate(&app, &acme, &admin, ("invitationResend", INVITATION), input).done().await;
    accept(&app, &ann, json!({ "token": fresh["token"] })).done().await;
}

#[databases]
async fn what_is_wrong_with_an_invitation_is_said(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let foreign = app.create(&other, &other.admin, "team", json!({ "name": "T" })).await;
    let invite = |person: &Person, input: Value| mutate(&app, &acme, person, ("invitationCreate", INVITATION), input);
    let before = head(&app, &acme).await;
    for (input, expected) in [
        (json!({ "email": acme.member.email }), problem("TAKEN", "input.email")),
        (json!({ "email": acme.member.email.to_uppercase() }), problem("TAKEN", "input.email")),
        (json!({ "email": "nowhere" }), problem("INVALID", "input.email")),
        (json!({ "email": "x@example.com", "role": "OWNER" }), problem("FORBIDDEN", "input.role")),
        (json!({ "email": "x@example.com", "teamIds": [foreign] }), problem("NOT_FOUND", "input.teamIds")),
    ] {
        assert_eq!(invite(&acme.admin, input.clone()).refused().await, expected, "{input}");
    }
    assert_eq!(invite(&acme.member, json!({ "email": "x@example.com" })).error_code().await, "FORBIDDEN");
    role(&app, &acme, &acme.admin, &acme.viewer, json!({ "status": "SUSPENDED" })).done().await;
    let suspended = invite(&acme.admin, json!({ "email": acme.viewer.email })).refused().await;
    assert_eq!(suspended, problem("TAKEN", "input.email"));
    assert_ne!(head(&app, &acme).await, before);
    // An invitation to a role above one's own is not an admin's to touch.
    let high = invite(&acme.owner, json!({ "email": "x@example.com", "role": "OWNER" })).done().await;
    for field in ["invitationRevoke", "invitationResend"] {
        let input = json!({ "id": high["invitation"]["id"] });
        let refused = mutate(&app, &acme, &acme.admin, (field, ""), input).refused().await;
        assert_eq!(refused, problem("FORBIDDEN", "input.id"), "{field}");
    }
    let refused = invite(&acme.admin, json!({ "email": "x@example.com" })).refused().await;
    assert_eq!(refused, problem("FORBIDDEN", "input.email"), "nor to replace");
}

#[databases]
async fn nobody_acts_on_someone_above(app: TestApp) {
    let acme = app.company("acme").await;
    let second = app.join(&acme.owner, "acme", "second", "ADMIN").await;
    for patch in [json!({ "role": "MEMBER" }), json!({ "status": "SUSPENDED" }), json!({ "teams": { "set": [] } })] {
        let refused = role(&app, &acme, &acme.admin, &acme.owner, patch).refused().await;
        assert_eq!(refused, problem("FORBIDDEN", "input.id"));
    }
    let refused = remove(&app, &acme, &acme.admin, &acme.owner, None).refused().await;
    assert_eq!(refused, problem("FORBIDDEN", "input.id"));
    for of in [&acme.member, &acme.admin] {
        let refused = role(&app, &acme, &acme.admin, of, json!({ "role": "OWNER" })).refused().await;
        assert_eq!(refused, problem("FORBIDDEN", "input.patch.role"));
    }
    let lower = role(&app, &acme, &acme.admin, &second, json!({ "role": "MEMBER" })).done().await;
    assert_eq!(lower["membership"]["role"], "MEMBER", "an equal is not above");
    let raised = role(&app, &acme, &acme.admin, &acme.viewer, json!({ "role": "MEMBER" })).done().await;
    assert_eq!((&raised["membership"]["role"], &raised["membership"]["version"]), (&json!("MEMBER"), &json!(2)));
    app.create(&acme, &acme.viewer, "item", json!({ "title": "as a member" })).await;
    let code = role(&app, &acme, &acme.member, &acme.viewer, json!({ "role": "VIEWER" })).error_code().await;
    assert_eq!(code, "FORBIDDEN");
    let code = remove(&app, &acme, &acme.member, &acme.viewer, None).error_code().await;
    assert_eq!(code, "FORBIDDEN");
    let made = role(&app, &acme, &acme.owner, &second, json!({ "role": "OWNER" })).done().await;
    assert_eq!(made["membership"]["role"], "OWNER");
}

#[databases]
async fn a_membership_changes_by_version_and_not_for_nothing(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "Core" })).await;
    let input = json!({ "id": acme.viewer.membership_id, "ifVersion": 1, "patch": { "teams": { "add": [team] } } });
    let update = |input: &Value| mutate(&app, &acme, &acme.admin, ("membershipUpdate", MEMBERSHIP), input.clone());
    let payload = update(&input).done().await;
    assert_eq!(payload["membership"]["teams"], json!([{ "name": "Core" }]));
    let stale = update(&input).data().await["membershipUpdate"].clone();
    assert_eq!((&stale["userErrors"][0]["code"], &stale["membership"]), (&json!("CONFLICT"), &payload["membership"]));
    let before = head(&app, &acme).await;
    for patch in [json!({}), json!({ "role": "VIEWER", "status": "ACTIVE", "teams": { "set": [team] } })] {
        let same = role(&app, &acme, &acme.admin, &acme.viewer, patch).done().await;
        assert_eq!(same["membership"], payload["membership"]);
    }
    assert_eq!(head(&app, &acme).await, before);
    for field in ["role", "status"] {
        let refused = role(&app, &acme, &acme.admin, &acme.viewer, json!({ field: null })).refused().await;
        assert_eq!(refused, problem("REQUIRED", &format!("input.patch.{field}")));
    }
    let absent = json!({ "teams": { "add": [app.clock.new_id::<kind::Team>().to_string()] } });
    let refused = role(&app, &acme, &acme.admin, &acme.viewer, absent).refused().await;
    assert_eq!(refused, problem("NOT_FOUND", "input.patch.teams"));
}

#[databases]
async fn an_organization_keeps_an_owner(app: TestApp) {
    let acme = app.company("acme").await;
    let owner = &acme.owner;
    for patch in [json!({ "role": "ADMIN" }), json!({ "status": "SUSPENDED" })] {
        let refused = role(&app, &acme, owner, owner, patch).refused().await;
        assert_eq!(refused, problem("LAST_OWNER", "input.patch"));
    }
    assert_eq!(remove(&app, &acme, owner, owner, None).refused().await, problem("LAST_OWNER", "input.id"));
    // A suspended owner is none.
    let second = app.join(owner, "acme", "second", "OWNER").await;
    role(&app, &acme, owner, &second, json!({ "status": "SUSPENDED" })).done().await;
    let refused = role(&app, &acme, owner, owner, json!({ "role": "ADMIN" })).refused().await;
    assert_eq!(refused, problem("LAST_OWNER", "input.patch"));
    role(&app, &acme, owner, &second, json!({ "status": "ACTIVE" })).done().await;
    remove(&app, &acme, owner, owner, None).done().await;
    assert_eq!(entry(&app, owner, "acme").await, "ORGANIZATION_REQUIRED");
    assert_eq!(owners(&app, &acme, &second).await, 1);
}

#[databases]
async fn two_owners_that_demote_each_other_leave_one(app: TestApp) {
    let acme = app.company("acme").await;
    let second = app.join(&acme.owner, "acme", "second", "OWNER").await;
    let down = json!({ "role": "ADMIN" });
    let (one, two) = futures_util::join!(
        role(&app, &acme, &acme.owner, &second, down.clone()).answer(),
        role(&app, &acme, &second, &acme.owner, down).answer(),
    );
    let won = |answer: &Value| answer["data"]["membershipUpdate"]["userErrors"] == json!([]);
    assert_eq!([&one, &two].iter().filter(|answer| won(answer)).count(), 1, "{one:#}\n{two:#}");
    assert_eq!(owners(&app, &acme, &acme.member).await, 1);
}

#[databases]
async fn two_owners_that_leave_at_once_leave_one(app: TestApp) {
    let acme = app.company("acme").await;
    let second = app.join(&acme.owner, "acme", "second", "OWNER").await;
    let (one, two) = futures_util::join!(
        remove(&app, &acme, &acme.owner, &acme.owner, None).answer(),
        remove(&app, &acme, &second, &second, None).answer(),
    );
    let lost = |answer: &Value| answer["data"]["membershipRemove"]["userErrors"][0]["code"] == "LAST_OWNER";
    assert_eq!([&one, &two].iter().filter(|answer| lost(answer)).count(), 1, "{one:#}\n{two:#}");
    assert_eq!(owners(&app, &acme, &acme.member).await, 1);
}

#[databases]
async fn a_suspended_member_is_out_at_once(app: TestApp) {
    let acme = app.company("acme").await;
    assert_eq!(entry(&app, &acme.member, "acme").await, "");
    role(&app, &acme, &acme.admin, &acme.member, json!({ "status": "SUSPENDED" })).done().await;
    assert_eq!(entry(&app, &acme.member, "acme").await, "ORGANIZATION_REQUIRED");
    let refused = mutate(
        &app,
        &acme,
        &acme.admin,
        ("itemCreate", ""),
        json!({
            "title": "x", "assigneeIds": [acme.member.id],
        }),
    );
    assert_eq!(refused.refused().await, problem("NOT_FOUND", "input.assigneeIds.0"));
    role(&app, &acme, &acme.admin, &acme.member, json!({ "status": "ACTIVE" })).done().await;
    assert_eq!(entry(&app, &acme.member, "acme").await, "");
}

#[databases]
async fn removing_a_member_hands_their_open_items_on(app: TestApp) {
    let acme = app.company("acme").await;
    let (leaver, new_assignee) = (&acme.viewer, acme.admin.id.as_str());
    let make = async |title: &str, assignees: Value| {
        app.create(&acme, &acme.member, "item", json!({ "title": title, "assigneeIds": assignees })).await
    };
    let open = make("open", json!([leaver.id])).await;
    let shared = make("shared", json!([leaver.id, new_assignee])).await;
    let done = make("done", json!([leaver.id, acme.member.id])).await;
    let apart = make("apart", json!([acme.member.id])).await;
    let input = json!({ "id": done, "patch": { "status": "DONE" } });
    mutate(&app, &acme, &acme.member, ("itemUpdate", ""), input).done().await;
    for wrong in [leaver.id.as_str(), &app.clock.new_id::<kind::User>().to_string()] {
        let refused = remove(&app, &acme, &acme.admin, leaver, Some(wrong)).refused().await;
        assert_eq!(refused, problem("NOT_FOUND", "input.reassignToId"));
    }
    let gone = remove(&app, &acme, &acme.admin, leaver, Some(new_assignee)).done().await;
    assert_eq!(gone["deletedId"], leaver.membership_id.as_str());
    let of = |id: &str| json!([{ "id": id }]);
    for (id, assignees, version) in [
        (&open, of(new_assignee), 2),
        (&shared, of(new_assignee), 2),
        (&done, of(&acme.member.id), 3),
        (&apart, of(&acme.member.id), 1),
    ] {
        let item = item(&app, &acme, id).await;
        assert_eq!((&item["assignees"], &item["version"]), (&assignees, &json!(version)));
    }
    let written = events(&app, &acme, 4).await;
    let types: Vec<&str> = written.iter().map(|event| text(&event["type"])).collect();
    assert_eq!(types, ["ITEM_UPDATED", "ITEM_UPDATED", "ITEM_UPDATED", "MEMBER_REMOVED"]);
    let mut subjects: Vec<&str> = written[..3].iter().map(|event| text(&event["subjectId"])).collect();
    subjects.sort_unstable();
    let mut expected = [open.as_str(), &shared, &done];
    expected.sort_unstable();
    assert_eq!(subjects, expected, "one event for each");
    assert_eq!(entry(&app, leaver, "acme").await, "ORGANIZATION_REQUIRED");
    let before = head(&app, &acme).await;
    remove(&app, &acme, &acme.admin, leaver, None).done().await;
    assert_eq!(head(&app, &acme).await, before, "removing again is harmless");
}

#[databases]
async fn whoever_leaves_is_taken_off_their_items(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "T", "memberIds": [acme.viewer.id] })).await;
    let input = json!({ "title": "a", "assigneeIds": [acme.viewer.id, acme.member.id] });
    let id = app.create(&acme, &acme.member, "item", input).await;
    let code = remove(&app, &acme, &acme.viewer, &acme.member, None).error_code().await;
    assert_eq!(code, "FORBIDDEN", "only oneself");
    remove(&app, &acme, &acme.viewer, &acme.viewer, None).done().await;
    assert_eq!(item(&app, &acme, &id).await["assignees"], json!([{ "id": acme.member.id }]));
    let query = "query($id: ID!) { node(id: $id) { ... on Team { members { totalCount } } } }";
    let data = app.call(&acme, &acme.admin, query).vars(json!({ "id": team })).data().await;
    assert_eq!(data["node"]["members"]["totalCount"], 0);
    assert_eq!(entry(&app, &acme.viewer, "acme").await, "ORGANIZATION_REQUIRED");
}

#[databases]
async fn teams_are_made_changed_and_deleted(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let call = |field: &'static str, input: Value| mutate(&app, &acme, &acme.admin, (field, TEAM), input);
    let team = call("teamCreate", json!({ "name": " Core ", "memberIds": [acme.member.id] })).done().await;
    let team = team["team"].clone();
    assert_eq!((&team["name"], &team["version"]), (&json!("Core"), &json!(1)));
    assert_eq!(team["members"]["nodes"], json!([{ "user": { "id": acme.member.id } }]));
    for (input, expected) in [
        (json!({ "name": "cORE" }), problem("TAKEN", "input.name")),
        (json!({ "name": " " }), problem("REQUIRED", "input.name")),
        (json!({ "name": "x".repeat(101) }), problem("TOO_LONG", "input.name")),
        (json!({ "name": "x", "memberIds": [other.member.id] }), problem("NOT_FOUND", "input.memberIds")),
        (json!({ "name": "x", "id": team["id"] }), problem("TAKEN", "input.id")),
    ] {
        assert_eq!(call("teamCreate", input.clone()).refused().await, expected, "{input}");
    }
    let before = head(&app, &acme).await;
    let same = json!({ "name": "Core", "id": team["id"], "memberIds": [acme.member.id] });
    assert_eq!(call("teamCreate", same).done().await["team"], team, "the same content answers with it");
    assert_eq!(head(&app, &acme).await, before);
    let edge = call("teamCreate", json!({ "name": "Édge" })).done().await["team"]["id"].clone();
    let update = |patch: Value| call("teamUpdate", json!({ "id": team["id"], "patch": patch }));
    assert_eq!(update(json!({ "name": "éDGE" })).refused().await, problem("TAKEN", "input.patch.name"));
    let foreign = update(json!({ "members": { "add": [other.member.id] } })).refused().await;
    assert_eq!(foreign, problem("NOT_FOUND", "input.patch.members"));
    let before = head(&app, &acme).await;
    assert_eq!(update(json!({ "name": "Core", "members": { "add": [acme.member.id] } })).done().await["team"], team);
    assert_eq!(head(&app, &acme).await, before);
    let changed = json!({ "name": "CORE", "description": "d",
        "members": { "add": [acme.viewer.id], "remove": [acme.member.id] } });
    let changed = update(changed).done().await["team"].clone();
    assert_eq!((&changed["name"], &changed["version"]), (&json!("CORE"), &json!(2)));
    assert_eq!(changed["members"]["nodes"], json!([{ "user": { "id": acme.viewer.id } }]));
    let stale = call("teamUpdate", json!({ "id": team["id"], "ifVersion": 1, "patch": {} })).data().await;
    assert_eq!(stale["teamUpdate"]["team"], changed);
    assert_eq!(stale["teamUpdate"]["userErrors"][0]["code"], "CONFLICT");

    let input = json!({ "title": "a", "teamId": team["id"] });
    let id = app.create(&acme, &acme.member, "item", input).await;
    let kept = app.create(&acme, &acme.member, "item", json!({ "title": "b", "teamId": edge })).await;
    let delete =
        |person: &Person| mutate(&app, &acme, person, ("teamDelete", "deletedId"), json!({ "id": team["id"] }));
    assert_eq!(delete(&acme.member).error_code().await, "FORBIDDEN");
    delete(&acme.admin).done().await;
    let freed = item(&app, &acme, &id).await;
    assert_eq!((&freed["team"], &freed["version"]), (&Value::Null, &json!(2)));
    assert_eq!(item(&app, &acme, &kept).await["team"], json!({ "id": edge }));
    let types: Vec<Value> = events(&app, &acme, 2).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["ITEM_UPDATED", "TEAM_DELETED"]);
    let before = head(&app, &acme).await;
    delete(&acme.admin).done().await;
    assert_eq!(head(&app, &acme).await, before, "deleting again is harmless");
    call("teamCreate", json!({ "name": "core" })).done().await;
}

#[databases]
async fn tags_are_made_changed_merged_and_deleted(app: TestApp) {
    let acme = app.company("acme").await;
    let call = |person: &Person, field: &'static str, input: Value| mutate(&app, &acme, person, (field, TAG), input);
    let bug = call(&acme.member, "tagCreate", json!({ "name": " Bug " })).done().await["tag"].clone();
    let expected = json!({ "id": bug["id"], "name": "Bug", "color": "#3B82F6", "itemCount": 0, "version": 1 });
    assert_eq!(bug, expected);
    for (input, expected) in [
        (json!({ "name": "BUG" }), problem("TAKEN", "input.name")),
        (json!({ "name": "" }), problem("REQUIRED", "input.name")),
        (json!({ "name": "x".repeat(51) }), problem("TOO_LONG", "input.name")),
        (json!({ "name": "x", "color": "red" }), problem("INVALID", "input.color")),
        (json!({ "name": "x", "color": "#12345" }), problem("INVALID", "input.color")),
        (json!({ "name": "x", "color": "#12345g" }), problem("INVALID", "input.color")),
        (json!({ "name": "x", "id": bug["id"] }), problem("TAKEN", "input.id")),
    ] {
        assert_eq!(call(&acme.member, "tagCreate", input.clone()).refused().await, expected, "{input}");
    }
    assert_eq!(call(&acme.viewer, "tagCreate", json!({ "name": "x" })).error_code().await, "FORBIDDEN");
    let ui = call(&acme.member, "tagCreate", json!({ "name": "UI", "color": "#abcdef" })).done().await["tag"].clone();
    assert_eq!(ui["color"], "#ABCDEF");
    let update = json!({ "id": ui["id"], "patch": { "name": "bug" } });
    assert_eq!(call(&acme.member, "tagUpdate", update.clone()).error_code().await, "FORBIDDEN");
    assert_eq!(call(&acme.admin, "tagUpdate", update).refused().await, problem("TAKEN", "input.patch.name"));
    let before = head(&app, &acme).await;
    let same = json!({ "id": ui["id"], "patch": { "name": "UI", "color": "#abcdef" } });
    assert_eq!(call(&acme.admin, "tagUpdate", same).done().await["tag"], ui);
    assert_eq!(head(&app, &acme).await, before);
    let renamed = json!({ "id": ui["id"], "ifVersion": 1, "patch": { "name": "ui" } });
    let renamed = call(&acme.admin, "tagUpdate", renamed).done().await["tag"].clone();
    assert_eq!((&renamed["name"], &renamed["version"]), (&json!("ui"), &json!(2)), "its own name in another case");

    let make = async |title: &str, tags: Value| {
        app.create(&acme, &acme.member, "item", json!({ "title": title, "tagIds": tags })).await
    };
    let both = make("both", json!([bug["id"], ui["id"]])).await;
    let one = make("one", json!([bug["id"]])).await;
    let other = make("other", json!([ui["id"]])).await;
    let trashed = make("trashed", json!([bug["id"]])).await;
    mutate(&app, &acme, &acme.member, ("itemDelete", ""), json!({ "id": trashed })).done().await;
    let count = async |id: &Value| {
        let query = "query($id: ID!) { node(id: $id) { ... on Tag { itemCount } } }";
        app.call(&acme, &acme.viewer, query).vars(json!({ "id": id })).data().await["node"]["itemCount"].clone()
    };
    assert_eq!((count(&bug["id"]).await, count(&ui["id"]).await), (json!(2), json!(2)));
    let merge = |person: &Person, from: &Value, into: &Value| {
        mutate(&app, &acme, person, ("tagMerge", TAG), json!({ "fromId": from, "intoId": into }))
    };
    assert_eq!(merge(&acme.member, &bug["id"], &ui["id"]).error_code().await, "FORBIDDEN");
    let itself = merge(&acme.admin, &bug["id"], &bug["id"]).refused().await;
    assert_eq!(itself, problem("INVALID", "input.intoId"));
    let absent = json!(app.clock.new_id::<kind::Tag>().to_string());
    assert_eq!(merge(&acme.admin, &absent, &ui["id"]).refused().await, problem("NOT_FOUND", "input.fromId"));
    assert_eq!(merge(&acme.admin, &bug["id"], &absent).refused().await, problem("NOT_FOUND", "input.intoId"));
    let merged = merge(&acme.admin, &bug["id"], &ui["id"]).done().await["tag"].clone();
    assert_eq!((&merged["id"], &merged["itemCount"]), (&ui["id"], &json!(3)));
    for (id, version) in [(&both, 2), (&one, 2), (&other, 1), (&trashed, 3)] {
        let item = item(&app, &acme, id).await;
        assert_eq!((&item["tags"], &item["version"]), (&json!([{ "name": "ui" }]), &json!(version)));
    }
    let types: Vec<Value> = events(&app, &acme, 4).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["ITEM_UPDATED", "ITEM_UPDATED", "ITEM_UPDATED", "TAG_DELETED"]);
    let delete = |person: &Person| mutate(&app, &acme, person, ("tagDelete", "deletedId"), json!({ "id": ui["id"] }));
    assert_eq!(delete(&acme.member).error_code().await, "FORBIDDEN");
    delete(&acme.admin).done().await;
    assert_eq!(item(&app, &acme, &one).await["tags"], json!([]));
    let before = head(&app, &acme).await;
    delete(&acme.admin).done().await;
    assert_eq!(head(&app, &acme).await, before, "deleting again is harmless");
}

#[databases]
async fn comments_answer_each_other_one_level_deep(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let (a, b) = (app.item(&acme, "a").await, app.item(&acme, "b").await);
    let foreign = app.item(&other, "theirs").await;
    let say = |input: Value| mutate(&app, &acme, &acme.member, ("commentCreate", COMMENT), input);
    let id = app.clock.new_id::<kind::Comment>().to_string();
    let top = say(json!({ "itemId": a, "body": "top", "id": id })).done().await["comment"].clone();
    let expected = json!({ "id": id, "body": "top", "version": 1, "editedAt": null,
        "createdAt": "2026-03-02T09:00:00.000Z", "viewerCanEdit": true, "author": { "id": acme.member.id },
        "parent": null, "item": { "id": a } });
    assert_eq!(top, expected);
    let before = head(&app, &acme).await;
    assert_eq!(say(json!({ "itemId": a, "body": "top", "id": id })).done().await["comment"], top);
    assert_eq!(head(&app, &acme).await, before, "repeated, it is the same comment");
    let reply = say(json!({ "itemId": a, "body": "reply", "parentId": id })).done().await["comment"].clone();
    assert_eq!(reply["parent"], json!({ "id": id }));
    for (input, expected) in [
        (json!({ "itemId": a, "body": "x", "parentId": reply["id"] }), problem("INVALID_STATE", "input.parentId")),
        (json!({ "itemId": b, "body": "x", "parentId": id }), problem("NOT_FOUND", "input.parentId")),
        (json!({ "itemId": foreign, "body": "x" }), problem("NOT_FOUND", "input.itemId")),
        (json!({ "itemId": a, "body": " " }), problem("REQUIRED", "input.body")),
        (json!({ "itemId": a, "body": "x".repeat(20_001) }), problem("TOO_LONG", "input.body")),
        (json!({ "itemId": a, "body": "other", "id": id }), problem("TAKEN", "input.id")),
    ] {
        assert_eq!(say(input.clone()).refused().await, expected, "{input}");
    }
    let code = mutate(&app, &acme, &acme.viewer, ("commentCreate", ""), json!({ "itemId": a, "body": "x" }));
    assert_eq!(code.error_code().await, "FORBIDDEN");
    app.clock.advance(Duration::seconds(1));
    say(json!({ "itemId": a, "body": "last" })).done().await;
    let query =
        "query($id: ID!) { item(id: $id) { comments { totalCount nodes { body replies { nodes { body } } } } } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": a })).data().await;
    assert_eq!(data["item"]["comments"]["totalCount"], 3);
    let bodies: Vec<&str> = data["item"]["comments"]["nodes"]
        .as_array()
        .map(|nodes| nodes.iter().map(|node| text(&node["body"])).collect())
        .unwrap_or_default();
    assert_eq!(bodies, ["top", "reply", "last"]);
    assert_eq!(data["item"]["comments"]["nodes"][0]["replies"]["nodes"], json!([{ "body": "reply" }]));
}

#[databases]
async fn a_comment_is_its_authors_or_a_moderators(app: TestApp) {
    let acme = app.company("acme").await;
    let second = app.join(&acme.owner, "acme", "second", "MEMBER").await;
    let on = app.item(&acme, "a").await;
    let id = app.create(&acme, &acme.member, "comment", json!({ "itemId": on, "body": "one" })).await;
    let edit = |person: &Person, body: Value| {
        let input = json!({ "id": id, "patch": { "body": body } });
        mutate(&app, &acme, person, ("commentUpdate", COMMENT), input)
    };
    assert_eq!(edit(&second, json!("mine")).refused().await, problem("FORBIDDEN", "input.id"));
    assert_eq!(edit(&acme.viewer, json!("mine")).error_code().await, "FORBIDDEN");
    app.clock.advance(Duration::seconds(1));
    let before = head(&app, &acme).await;
    let same = edit(&acme.member, json!("one")).done().await["comment"].clone();
    assert_eq!((&same["editedAt"], &same["version"]), (&Value::Null, &json!(1)));
    assert_eq!(head(&app, &acme).await, before);
    assert_eq!(edit(&acme.member, Value::Null).refused().await, problem("REQUIRED", "input.patch.body"));
    let edited = edit(&acme.member, json!("two")).done().await["comment"].clone();
    assert_eq!((&edited["editedAt"], &edited["version"]), (&json!("2026-03-02T09:00:01.000Z"), &json!(2)));
    let moderated = edit(&acme.admin, json!("three")).done().await["comment"].clone();
    assert_eq!((&moderated["body"], &moderated["version"]), (&json!("three"), &json!(3)));
    assert_eq!(moderated["author"], json!({ "id": acme.member.id }), "it stays its author's");
    let stale = json!({ "id": id, "ifVersion": 2, "patch": { "body": "four" } });
    let stale = mutate(&app, &acme, &acme.member, ("commentUpdate", COMMENT), stale).data().await;
    assert_eq!(stale["commentUpdate"]["userErrors"][0]["code"], "CONFLICT");
    assert_eq!(stale["commentUpdate"]["comment"]["body"], "three");
    let query = "query($id: ID!) { node(id: $id) { ... on Comment { viewerCanEdit } } }";
    for (person, can) in [(&acme.member, true), (&second, false), (&acme.admin, true), (&acme.viewer, false)] {
        let data = app.call(&acme, person, query).vars(json!({ "id": id })).data().await;
        assert_eq!(data["node"]["viewerCanEdit"], can);
    }
    let delete = mutate(&app, &acme, &second, ("commentDelete", "deletedId"), json!({ "id": id }));
    assert_eq!(delete.refused().await, problem("FORBIDDEN", "input.id"));
}

#[databases]
async fn a_comment_goes_with_its_replies_and_the_count_stays_right(app: TestApp) {
    let acme = app.company("acme").await;
    let on = app.item(&acme, "a").await;
    let say = async |body: &str, parent: Option<&str>| {
        let mut input = json!({ "itemId": on, "body": body });
        if let Some(parent) = parent {
            input["parentId"] = json!(parent);
        }
        app.create(&acme, &acme.member, "comment", input).await
    };
    let top = say("top", None).await;
    let reply = say("reply", Some(&top)).await;
    say("second reply", Some(&top)).await;
    say("apart", None).await;
    let total = async || item(&app, &acme, &on).await["comments"]["totalCount"].clone();
    assert_eq!(total().await, 4);
    let delete = |id: &str| mutate(&app, &acme, &acme.member, ("commentDelete", "deletedId"), json!({ "id": id }));
    assert_eq!(delete(&reply).done().await["deletedId"], reply.as_str());
    assert_eq!(total().await, 3);
    delete(&top).done().await;
    assert_eq!(total().await, 1);
    // Counted when the list is there too, not only kept.
    let query = "query($id: ID!) { item(id: $id) { version comments { totalCount nodes { body } } } }";
    let data = app.call(&acme, &acme.viewer, query).vars(json!({ "id": on })).data().await;
    assert_eq!(data["item"]["comments"], json!({ "totalCount": 1, "nodes": [{ "body": "apart" }] }));
    assert_eq!(data["item"]["version"], 1, "an item does not change by what is said about it");
    let types: Vec<Value> = events(&app, &acme, 3).await.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["COMMENT_DELETED", "COMMENT_DELETED", "COMMENT_DELETED"]);
    let before = head(&app, &acme).await;
    delete(&top).done().await;
    assert_eq!((total().await, head(&app, &acme).await), (json!(1), before), "deleting again is harmless");
}
