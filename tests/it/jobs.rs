//! Durable jobs: a change of thousands of items is there at once for everybody, and its rest is done in chunks, each with its
//! events, whatever crashes between.

use serde_json::{Value, json};
use todo_platform::{
    base::{
        enums::{MembershipStatus, Role},
        policy::Permission,
    },
    data::{actor::Origin, db::OrgScope, entity::membership},
    jobs::{kinds::Chunk, runner::Runner},
};

use crate::support::{app::TestApp, world::Company};
use todo_test_macros::databases;

/// Items that [`many`] makes: more than one transaction changes.
pub const MANY: u64 = 5 * 151;

/// [`MANY`] items, five with 150 subtasks each; `like` is what they have in common, `root` what is said of the five.
pub async fn many(app: &TestApp, acme: &Company, like: &Value, root: &Value) -> Vec<String> {
    let mut roots = Vec::new();
    for number in 0..5 {
        let with = |title: String, more: &Value| {
            let mut input = json!({ "title": title });
            for (name, value) in [like, more].into_iter().flat_map(|fields| fields.as_object().expect("fields")) {
                input[name] = value.clone();
            }
            input
        };
        let mut input = with(format!("Item {number}"), root);
        input["subtasks"] = (0..150).map(|index| with(format!("Part {index}"), &json!({}))).collect();
        roots.push(app.create(acme, &acme.member, "item", input).await);
    }
    roots
}

async fn owner_does(app: &TestApp, acme: &Company, mutation: &str) -> Value {
    app.call(acme, &acme.owner, mutation).done().await
}

pub async fn delete(app: &TestApp, acme: &Company, kind: &str, id: &str) {
    let input = format!("input: {{id: \"{id}\"}}");
    let mutation = format!("mutation {{ {kind}Delete({input}) {{ deletedId userErrors {{ code }} }} }}");
    owner_does(app, acme, &mutation).await;
}

/// How many items the plan counts.
async fn counted(app: &TestApp, acme: &Company) -> Value {
    let plan = app.call(acme, &acme.owner, "{ organization { plan { quotas { resource used } } } }").data().await;
    let quotas = plan["organization"]["plan"]["quotas"].as_array().expect("a list").clone();
    quotas.iter().find(|quota| quota["resource"] == "ITEMS").expect("items are counted")["used"].clone()
}

/// How many items a filter finds, in whichever scope.
async fn items(app: &TestApp, acme: &Company, arguments: &str) -> u64 {
    let query = format!("{{ items({arguments}) {{ totalCount }} }}");
    app.call(acme, &acme.owner, &query).data().await["items"]["totalCount"].as_u64().expect("a count")
}

/// How many events of a type the ledger has.
pub async fn events(app: &TestApp, acme: &Company, r#type: &str) -> u64 {
    let query = format!("{{ events(filter: {{ types: [{type}] }}) {{ totalCount }} }}");
    app.call(acme, &acme.owner, &query).data().await["events"]["totalCount"].as_u64().expect("a count")
}

/// Organizations of others that acme's member belongs to.
async fn many_organizations(app: &TestApp, acme: &Company, count: usize) -> Vec<Company> {
    let mut organizations = Vec::new();
    let mut owner = app.register("founder").await;
    for number in 0..count {
        if number % 20 == 19 {
            owner = app.register(&format!("founder-{number}")).await;
        }
        let slug = format!("other-{number}");
        let id = app.found(&owner, &slug).await;
        let scope = OrgScope::of_system(&app.state.db, id.parse().expect("an id"), Origin::command("test"));
        let scope = scope.await.expect("it is there");
        let tx = scope.write(Permission::MemberManage).await.expect("the server may");
        tx.insert(membership::Model {
            organization_id: scope.organization_id(),
            id: app.clock.new_id(),
            user_id: acme.member.id.parse().expect("an id"),
            role: Role::Member,
            status: MembershipStatus::Active,
            joined_at: app.clock.now(),
            last_active_at: None,
            version: 1,
            removed_at: None,
        })
        .await
        .expect("the row goes in");
        tx.commit_unrecorded((), "made by a test").await.expect("the database answers");
        organizations.push(Company { id, slug, owner: owner.clone(), ..acme.clone() });
    }
    organizations
}

pub fn runner(app: &TestApp) -> Runner {
    Runner::new(app.state.clone())
}

#[databases]
async fn a_tag_of_many_items_is_gone_at_once(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    let roots = many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;

    delete(&app, &acme, "tag", &tag).await;
    // For everybody, before any job has run: no list, no look-up and no item shows it, and the name is free.
    let query = format!(
        "{{ node(id: \"{tag}\") {{ id }} organization {{ tags {{ nodes {{ id }} }} }} item(id: \"{}\") {{ tags {{ id }} }} }}",
        roots[3]
    );
    let seen = app.call(&acme, &acme.owner, &query).data().await;
    assert_eq!(seen, json!({ "node": null, "organization": { "tags": { "nodes": [] } }, "item": { "tags": [] } }));
    app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#00ff00" })).await;
    // Deleting it again is harmless, and leaves no second job.
    delete(&app, &acme, "tag", &tag).await;
    assert_eq!(app.state.db.jobs(10).await.expect("a list").len(), 1);
    let told = events(&app, &acme, "ITEM_UPDATED").await;
    assert!(told < MANY, "one transaction told of {told}");

    runner(&app).drain().await;
    assert_eq!(events(&app, &acme, "ITEM_UPDATED").await, MANY, "one event for each item");
    assert_eq!(events(&app, &acme, "TAG_DELETED").await, 1);
    assert_eq!(items(&app, &acme, "filter: { tags: { isEmpty: true } }").await, MANY);
    assert!(app.state.db.jobs(10).await.expect("a list").is_empty());
}

#[databases]
async fn a_merged_tag_is_replaced_on_every_item(app: TestApp) {
    let acme = app.company("acme").await;
    let old = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    let new = app.create(&acme, &acme.member, "tag", json!({ "name": "New", "color": "#ff0000" })).await;
    many(&app, &acme, &json!({ "tagIds": [old] }), &json!({})).await;
    owner_does(&app, &acme, &format!(
        "mutation {{ tagMerge(input: {{fromId: \"{old}\", intoId: \"{new}\"}}) {{ tag {{ id }} userErrors {{ code }} }} }}"
    )).await;
    runner(&app).drain().await;
    let seen = app.call(&acme, &acme.owner, "{ organization { tags { nodes { id itemCount } } } }").data().await;
    assert_eq!(seen["organization"]["tags"]["nodes"], json!([{ "id": new, "itemCount": MANY }]));
}

#[databases]
async fn a_member_with_many_items_is_out_at_once(app: TestApp) {
    let acme = app.company("acme").await;
    let (member, owner) = (&acme.member.id, &acme.owner.id);
    many(&app, &acme, &json!({ "assigneeIds": [member] }), &json!({})).await;
    owner_does(&app, &acme, &format!(
        "mutation {{ membershipRemove(input: {{id: \"{}\", reassignToId: \"{owner}\"}}) {{ deletedId userErrors {{ code }} }} }}",
        acme.member.membership_id
    )).await;
    // No right is left, whatever the job has still to do.
    assert_eq!(app.call(&acme, &acme.member, "{ items { totalCount } }").error_code().await, "ORGANIZATION_REQUIRED");
    let seen =
        app.call(&acme, &acme.owner, "{ organization { members { totalCount nodes { user { id } } } } }").data().await;
    assert_eq!(seen["organization"]["members"]["totalCount"], 3);
    assert!(!seen.to_string().contains(member.as_str()));
    // Nobody comes in twice.
    let invited = app.call(&acme, &acme.owner,
        "mutation { invitationCreate(input: {email: \"acme-member@example.com\", role: MEMBER}) { token userErrors { code } } }"
    ).done().await;
    let accept = "mutation($token: String!) { invitationAccept(input: {token: $token}) { membership { id } \
                  userErrors { code path } } }";
    let accept = || app.gql(accept).vars(json!({ "token": invited["token"] })).token(&acme.member.token);
    assert_eq!(accept().refused().await, [("INVALID_STATE".to_owned(), "input".to_owned())]);

    runner(&app).drain().await;
    let mine = format!("filter: {{ assignees: {{ some: {{ id: {{ eq: \"{owner}\" }} }} }} }}");
    assert_eq!(items(&app, &acme, &mine).await, MANY);
    assert_eq!(events(&app, &acme, "MEMBER_REMOVED").await, 1);
    accept().done().await;
}

#[databases]
async fn a_team_of_many_items_is_gone_at_once(app: TestApp) {
    let acme = app.company("acme").await;
    let input = json!({ "name": "Crew", "memberIds": [acme.member.id] });
    let team = app.create(&acme, &acme.owner, "team", input.clone()).await;
    many(&app, &acme, &json!({ "teamId": team }), &json!({})).await;
    delete(&app, &acme, "team", &team).await;
    let query = format!(
        "{{ node(id: \"{team}\") {{ id }} organization {{ teams {{ nodes {{ id }} }} }} items(first: 100) {{ nodes {{ team {{ id }} }} }} }}"
    );
    let seen = app.call(&acme, &acme.owner, &query).data().await;
    assert!(!seen.to_string().contains(&team), "{seen}");
    app.create(&acme, &acme.owner, "team", input).await;
    runner(&app).drain().await;
    assert_eq!(events(&app, &acme, "ITEM_UPDATED").await, MANY);
}

#[databases]
async fn a_large_tree_goes_to_the_trash_comes_back_and_is_purged(app: TestApp) {
    let acme = app.company("acme").await;
    let root = app.item(&acme, "Root").await;
    let branches = many(&app, &acme, &json!({}), &json!({ "parentId": root })).await;
    let comment = json!({ "itemId": branches[0], "body": "Goes along" });
    app.create(&acme, &acme.member, "comment", comment).await;
    // One of them was in the trash before.
    owner_does(
        &app,
        &acme,
        &format!(
            "mutation {{ itemDelete(input: {{id: \"{}\"}}) {{ item {{ id }} userErrors {{ code }} }} }}",
            branches[4]
        ),
    )
    .await;
    let delete = format!(
        "mutation {{ itemDelete(input: {{id: \"{root}\"}}) {{ item {{ deletedAt }} userErrors {{ code }} }} }}"
    );
    let gone = owner_does(&app, &acme, &delete).await;
    assert!(gone["item"]["deletedAt"].is_string(), "the root goes at once");
    let restore = format!(
        "mutation {{ itemRestore(input: {{id: \"{root}\"}}) {{ item {{ id deletedAt }} userErrors {{ code path }} }} }}"
    );
    let refused = app.call(&acme, &acme.owner, &restore).refused().await;
    assert_eq!(refused, [("INVALID_STATE".to_owned(), "input.id".to_owned())], "while the rest is on its way");
    runner(&app).drain().await;
    assert_eq!(items(&app, &acme, "first: 1").await, 0);
    assert_eq!(events(&app, &acme, "ITEM_DELETED").await, MANY + 1);

    let back = owner_does(&app, &acme, &restore).await;
    assert_eq!(back["item"]["deletedAt"], Value::Null);
    runner(&app).drain().await;
    // Not what was there before.
    assert_eq!(items(&app, &acme, "first: 1").await, 4 * 151 + 1);
    assert_eq!(counted(&app, &acme).await, "605");

    let purge = format!(
        "mutation {{ itemDelete(input: {{id: \"{root}\", permanently: true}}) {{ item {{ id }} userErrors {{ code path }} }} }}"
    );
    owner_does(&app, &acme, &purge).await;
    assert!(app.call(&acme, &acme.owner, &restore).refused().await[0].0 == "INVALID_STATE");
    runner(&app).drain().await;
    assert_eq!(events(&app, &acme, "ITEM_PURGED").await, MANY + 1);
    assert_eq!(events(&app, &acme, "COMMENT_DELETED").await, 1);
    assert_eq!(counted(&app, &acme).await, "0");
}

#[databases]
async fn a_chunk_belongs_to_who_holds_the_job(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    // Four chunks: one by the mutation, three by the job.
    many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;
    many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;
    delete(&app, &acme, "tag", &tag).await;

    // A worker does one chunk and dies; nobody takes the job while its lease lasts.
    let runner = runner(&app);
    let lost = runner.do_one_chunk().await.expect("it works").expect("there is a job");
    assert!(runner.do_one_chunk().await.expect("it works").is_none(), "the job is leased");
    let told = events(&app, &acme, "ITEM_UPDATED").await;
    assert_eq!(told, 1000);
    // It comes back from the dead after another has taken over: it writes nothing.
    app.state.db.release_job(&lost).await.expect("as if the lease had run out");
    let taken = runner.do_one_chunk().await.expect("it works").expect("the job is taken over");
    assert_eq!(runner.go_on(&lost).await.expect("it is told"), Chunk::Lost);
    assert_eq!(events(&app, &acme, "ITEM_UPDATED").await, 1500, "nothing of the late one");
    assert_eq!(runner.go_on(&taken).await.expect("it works"), Chunk::Last);
    assert_eq!(events(&app, &acme, "ITEM_UPDATED").await, 2 * MANY);
    assert!(app.state.db.jobs(10).await.expect("a list").is_empty());
}

#[databases]
async fn a_deleted_organization_takes_its_jobs_along(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    let roots = many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;
    app.create(&acme, &acme.member, "comment", json!({ "itemId": roots[0], "body": "Goes along" })).await;
    let kept = app.item(&other, "Stays").await;
    let (_, key) = app.api_key(&acme, &acme.owner, &["ITEM_READ"]).await;
    delete(&app, &acme, "tag", &tag).await;
    owner_does(
        &app,
        &acme,
        "mutation { organizationDelete(input: {confirmSlug: \"acme\"}) { deletedId userErrors { code } } }",
    )
    .await;
    // At once: nobody gets in, by whatever way, and the slug is free.
    assert_eq!(app.call(&acme, &acme.owner, "{ items { totalCount } }").error_code().await, "ORGANIZATION_REQUIRED");
    assert_eq!(app.gql("{ items { totalCount } }").key(&key).error_code().await, "UNAUTHENTICATED");
    assert_eq!(
        app.gql("{ viewer { memberships { role } } }").token(&acme.owner.token).data().await["viewer"]["memberships"],
        json!([])
    );
    app.found(&acme.owner, "acme").await;
    let jobs = app.state.db.jobs(10).await.expect("a list");
    assert_eq!(jobs.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>(), ["organization.deletion"]);

    runner(&app).drain().await;
    assert!(app.state.db.jobs(10).await.expect("a list").is_empty());
    let left = app
        .state
        .db
        .find_global::<todo_platform::data::entity::organization::Entity>(sea_orm::Condition::all())
        .await
        .expect("a list");
    assert_eq!(left.len(), 2, "the other one, and the new one");
    let seen = app.call(&other, &other.owner, "{ items { nodes { id } } }").data().await;
    assert_eq!(seen["items"]["nodes"], json!([{ "id": kept }]));
}

#[databases]
async fn a_deleted_person_with_many_items_is_nobody_at_once(app: TestApp) {
    let acme = app.company("acme").await;
    many(&app, &acme, &json!({ "assigneeIds": [acme.member.id] }), &json!({})).await;
    let query =
        "mutation { userDelete(input: {password: \"correct horse battery\"}) { deletedId userErrors { code } } }";
    app.gql(query).token(&acme.member.token).done().await;
    assert_eq!(app.gql("{ viewer { user { id } } }").token(&acme.member.token).error_code().await, "UNAUTHENTICATED");
    // The address and the name are free for somebody else.
    app.register("acme-member").await;
    runner(&app).drain().await;
    assert_eq!(items(&app, &acme, "filter: { assignees: { isEmpty: true } }").await, MANY);
    let people = app
        .state
        .db
        .find_global::<todo_platform::data::entity::user::Entity>(sea_orm::Condition::all())
        .await
        .expect("a list");
    assert!(people.iter().all(|person| person.id.to_string() != acme.member.id), "the row is gone");
}

/// One transaction writes in fifty ledgers at most, and whoever dies between two chunks repeats nothing.
#[databases]
async fn a_person_of_many_organizations_is_told_of_in_chunks(app: TestApp) {
    let acme = app.company("acme").await;
    let others = many_organizations(&app, &acme, 119).await;
    let update = |name: &str| {
        format!(
            "mutation {{ userUpdate(input: {{patch: {{fullName: \"{name}\"}}}}) {{ cursor userErrors {{ code }} }} }}"
        )
    };
    let payload = app.call(&acme, &acme.member, &update("Ann")).done().await;
    assert!(payload["cursor"].is_string(), "the present organization is among the first");
    let names = async |company: &Company| -> Vec<Value> {
        let query = "{ events(filter: {types: [MEMBER_UPDATED]}) { nodes { changes { field after } } } }";
        let data = app.call(company, &company.owner, query).data().await;
        let nodes = data["events"]["nodes"].as_array().expect("a list").iter();
        nodes.map(|node| node["changes"][0]["after"].clone()).collect()
    };
    let told = async |name: &str| {
        let mut told = 0;
        for company in &others {
            told += usize::from(names(company).await.contains(&json!(name)));
        }
        told
    };
    assert_eq!(names(&acme).await, [json!("Ann")]);
    assert_eq!(told("Ann").await, 50);
    // A second change waits for the first one, wherever it is.
    let payload = app.call(&acme, &acme.member, &update("Bea")).done().await;
    assert_eq!((&payload["cursor"], told("Bea").await), (&Value::Null, 0));
    let runner = runner(&app);
    let lost = runner.do_one_chunk().await.expect("it works").expect("there is a job");
    assert_eq!((told("Ann").await, told("Bea").await), (100, 0));
    // It dies; another goes on where it was.
    app.state.db.release_job(&lost).await.expect("as if the lease had run out");
    runner.drain().await;
    assert!(app.state.db.jobs(10).await.expect("a list").is_empty());
    for company in others.iter().chain([&acme]) {
        assert_eq!(names(company).await, [json!("Ann"), json!("Bea")], "{}", company.slug);
    }
}

#[databases]
async fn a_deleted_person_leaves_many_organizations_in_chunks(app: TestApp) {
    let acme = app.company("acme").await;
    let others = many_organizations(&app, &acme, 79).await;
    let query =
        "mutation { userDelete(input: {password: \"correct horse battery\"}) { deletedId userErrors { code } } }";
    app.gql(query).token(&acme.member.token).done().await;
    assert_eq!(app.gql("{ viewer { user { id } } }").token(&acme.member.token).error_code().await, "UNAUTHENTICATED");
    let members = async |company: &Company| -> u64 {
        let data = app.call(company, &company.owner, "{ organization { members { totalCount } } }").data().await;
        data["organization"]["members"]["totalCount"].as_u64().expect("a count")
    };
    let mut left = 0;
    for company in &others {
        left += members(company).await - 1;
    }
    assert_eq!(left, 30, "fifty are left at once");
    runner(&app).drain().await;
    for company in &others {
        assert_eq!(members(company).await, 1, "{}", company.slug);
        assert_eq!(events(&app, company, "MEMBER_REMOVED").await, 1, "{}", company.slug);
    }
    let people = app
        .state
        .db
        .find_global::<todo_platform::data::entity::user::Entity>(sea_orm::Condition::all())
        .await
        .expect("a list");
    assert!(people.iter().all(|person| person.id.to_string() != acme.member.id), "the row is gone");
}

/// However many organizations are left at once, items are let go a chunk at a time.
#[databases]
async fn a_deleted_person_with_items_everywhere_takes_one_chunk_along(app: TestApp) {
    let acme = app.company("acme").await;
    many(&app, &acme, &json!({ "assigneeIds": [acme.member.id] }), &json!({})).await;
    let others = many_organizations(&app, &acme, 2).await;
    let create = "mutation($input: ItemCreateInput!) { itemCreate(input: $input) { item { id } userErrors { code } } }";
    for company in &others {
        let input = json!({ "title": "Theirs", "assigneeIds": [acme.member.id] });
        app.call(company, &company.owner, create).vars(json!({ "input": input })).done().await;
    }
    let query =
        "mutation { userDelete(input: {password: \"correct horse battery\"}) { deletedId userErrors { code } } }";
    app.gql(query).token(&acme.member.token).done().await;
    let updated = async |company: &Company| events(&app, company, "ITEM_UPDATED").await;
    assert_eq!((updated(&acme).await, updated(&others[0]).await, updated(&others[1]).await), (500, 0, 0));
    runner(&app).drain().await;
    assert_eq!((updated(&acme).await, updated(&others[0]).await, updated(&others[1]).await), (MANY, 1, 1));
    for company in others.iter().chain([&acme]) {
        assert_eq!(items(&app, company, "filter: { assignees: { isEmpty: false } }").await, 0, "{}", company.slug);
        assert_eq!(events(&app, company, "MEMBER_REMOVED").await, 1, "{}", company.slug);
    }
    let people = app
        .state
        .db
        .find_global::<todo_platform::data::entity::user::Entity>(sea_orm::Condition::all())
        .await
        .expect("a list");
    assert!(people.iter().all(|person| person.id.to_string() != acme.member.id), "the row is gone");
}

#[databases]
async fn a_comment_takes_so_many_replies(app: TestApp) {
    let acme = app.company("acme").await;
    let item = app.item(&acme, "Talked about").await;
    let comment = app.create(&acme, &acme.member, "comment", json!({ "itemId": item, "body": "First" })).await;
    let scope = OrgScope::of_system(&app.state.db, acme.id.parse().expect("an id"), Origin::command("test"))
        .await
        .expect("it is there");
    let tx = scope.write(Permission::CommentWrite).await.expect("the server may");
    for number in 0..1000 {
        tx.insert(todo_platform::data::entity::comment::Model {
            organization_id: scope.organization_id(),
            id: app.clock.new_id(),
            item_id: item.parse().expect("an id"),
            parent_id: Some(comment.parse().expect("an id")),
            body: format!("Reply {number}"),
            author_kind: scope.actor().kind,
            author_id: scope.actor().id,
            created_at: app.clock.now(),
            edited_at: None,
            version: 1,
        })
        .await
        .expect("the row goes in");
    }
    tx.commit_unrecorded((), "made by a test").await.expect("the database answers");
    let reply = "mutation($input: CommentCreateInput!) { commentCreate(input: $input) { comment { id } userErrors { code path } } }";
    let one_more = app
        .call(&acme, &acme.member, reply)
        .vars(json!({ "input": { "itemId": item, "parentId": comment, "body": "More" } }));
    assert_eq!(one_more.refused().await, crate::support::client::problem("INVALID_STATE", "input.parentId"));
    delete(&app, &acme, "comment", &comment).await;
    assert_eq!(events(&app, &acme, "COMMENT_DELETED").await, 1001);
}

#[databases]
async fn a_job_that_fails_is_given_up_and_can_be_retried(app: TestApp) {
    let acme = app.company("acme").await;
    let tag = app.create(&acme, &acme.member, "tag", json!({ "name": "Old", "color": "#ff0000" })).await;
    many(&app, &acme, &json!({ "tagIds": [tag] }), &json!({})).await;
    delete(&app, &acme, "tag", &tag).await;
    let db = &app.state.db;
    for attempt in 0..2 {
        let job = db.claim_job().await.expect("it works").expect("a job is due");
        let next = (attempt == 0).then(|| app.clock.now() + chrono::Duration::seconds(5));
        db.fail_job(&job, "no luck", next).await.expect("it is noted");
        assert!(db.claim_job().await.expect("it works").is_none(), "not before its time");
        app.clock.advance(chrono::Duration::seconds(6));
    }
    let failed = &db.jobs(10).await.expect("a list")[0];
    assert_eq!((failed.attempts, failed.last_error.as_deref(), failed.failed_at.is_some()), (2, Some("no luck"), true));
    assert_eq!(db.retry_jobs(None).await.expect("it works"), 1);
    runner(&app).drain().await;
    assert_eq!(events(&app, &acme, "ITEM_UPDATED").await, MANY);
}
