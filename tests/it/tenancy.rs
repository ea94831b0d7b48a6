//! No field tells another tenant's id from one that isn't there. Every place for an id comes from the schema.

use serde_json::{Value, json};
use todo_platform::base::{id::PREFIXES, secret};

use crate::support::{
    app::TestApp,
    schema::{Documents, IdPath},
    world::Company,
};
use todo_test_macros::databases;

/// Places where the two differ on purpose.
const EXEMPT: &[(&str, &str, &str)] = &[(
    "organizationCreate",
    "input.id",
    "an organization is nobody's row: its id is one for all tenants, and a used one must be TAKEN",
)];

/// One id of each kind, of a company's.
pub async fn ids_of(app: &TestApp, company: &Company, serial: usize) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let team = app.create(company, &company.owner, "team", json!({ "name": format!("Core {serial}") })).await;
    let tag = app.create(company, &company.owner, "tag", json!({ "name": format!("bug {serial}") })).await;
    let item = app.create(company, &company.owner, "item", json!({ "title": "One" })).await;
    let other = app.create(company, &company.owner, "item", json!({ "title": "Two" })).await;
    let related = "mutation($input: ItemRelationCreateInput!) { itemRelationCreate(input: $input) { relation { id } \
                   userErrors { code } } }";
    let relation = json!({ "itemId": item, "kind": "BLOCKS", "relatedItemId": other });
    let related = app.call(company, &company.owner, related).vars(json!({ "input": relation })).done().await;
    let comment = app.create(company, &company.owner, "comment", json!({ "itemId": item, "body": "Hm" })).await;
    let invite = format!(
        "mutation {{ invitationCreate(input: {{email: \"guest{serial}@{}.example.com\"}}) {{ invitation {{ id }} \
         userErrors {{ code }} }} }}",
        company.slug
    );
    let invited = app.call(company, &company.owner, &invite).done().await;
    let (key, _) = app.api_key(company, &company.owner, &["ITEM_READ"]).await;
    // Nobody listens there: what is sent fails at once.
    let webhook = app.create(company, &company.owner, "webhook", json!({ "url": "http://127.0.0.1:1/" })).await;
    let test = "mutation($id: ID!) { webhookTest(input: {id: $id}) { delivery { id } userErrors { code } } }";
    let tested = app.call(company, &company.owner, test).vars(json!({ "id": webhook })).done().await;
    let hook = "mutation { inboundHookCreate(input: {name: \"Door\", provider: GITHUB}) { inboundHook { id url } secret \
                userErrors { code } } }";
    let hook = app.call(company, &company.owner, hook).done().await;
    let url = text(&hook["inboundHook"]["url"]);
    let (path, secret) = (&url[url.find("/callbacks/").expect("an address")..], text(&hook["secret"]));
    let signature = format!("sha256={}", crate::inbound_hooks::hexadecimal_hmac(&secret, "{}"));
    let receipt = app.post(path, &[("x-hub-signature-256", &signature)], "{}").await.json();
    let set = "mutation($manifest: JSON!) { documentSetCreate(input: {name: \"Web\", manifest: $manifest}) { \
               documentSet { id } userErrors { code } } }";
    let set =
        app.call(company, &company.owner, set).vars(json!({ "manifest": { "a": "{ __typename }" } })).done().await;
    let import = "mutation { importCreate(input: {fileName: \"tasks.csv\"}) { import { id } userErrors { code } } }";
    let import = app.call(company, &company.owner, import).done().await;
    // So many wait at a time.
    let cancel = "mutation($id: ID!) { importCancel(input: {id: $id}) { import { id } userErrors { code } } }";
    app.call(company, &company.owner, cancel).vars(json!({ "id": import["import"]["id"] })).done().await;
    let event = app.call(company, &company.owner, "{ events(first: 1) { nodes { id } } }").data().await;
    let log = "{ viewer { securityEvents(first: 1) { nodes { id } } } }";
    let log = app.call(company, &company.admin, log).data().await;
    let claims = company.admin.token.split('.').nth(1).expect("a JWT");
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("claims");
    vec![
        ("usr", company.viewer.id.clone()),
        ("org", company.id.clone()),
        ("mbr", company.viewer.membership_id.clone()),
        ("inv", text(&invited["invitation"]["id"])),
        ("tem", team),
        ("tag", tag),
        ("itm", item),
        ("rel", text(&related["relation"]["id"])),
        ("cmt", comment),
        ("evt", text(&event["events"]["nodes"][0]["id"])),
        ("key", key),
        ("dst", text(&set["documentSet"]["id"])),
        ("imp", text(&import["import"]["id"])),
        ("hok", text(&hook["inboundHook"]["id"])),
        ("rcp", text(&receipt["receiptId"])),
        ("whk", webhook),
        ("whd", text(&tested["delivery"]["id"])),
        ("ses", text(&claims["sid"])),
        ("sev", text(&log["viewer"]["securityEvents"]["nodes"][0]["id"])),
    ]
}

/// The company's own id that an argument of this name wants, in this root field.
pub fn own_id(ids: &[(&str, String)], field: &str, name: &str) -> Value {
    let kind = match name {
        "itemId" | "itemIds" | "relatedItemId" => "itm",
        "fromId" | "intoId" | "tagIds" => "tag",
        "documentSet" => "dst",
        "teamId" | "teamIds" => "tem",
        "id" | "ids" => match field {
            _ if field.starts_with("itemRelation") => "rel",
            _ if field.starts_with("item") || field.starts_with("node") => "itm",
            _ if field.starts_with("tag") => "tag",
            _ if field.starts_with("team") => "tem",
            _ if field.starts_with("comment") => "cmt",
            _ if field.starts_with("membership") => "mbr",
            _ if field.starts_with("invitation") => "inv",
            _ if field.starts_with("apiKey") => "key",
            _ if field.starts_with("documentSet") => "dst",
            _ if field.starts_with("import") => "imp",
            _ if field.starts_with("inboundHook") => "hok",
            _ if field.starts_with("webhookDelivery") => "whd",
            _ if field.starts_with("webhook") => "whk",
            _ => panic!("what kind of id does {field} take?"),
        },
        other => panic!("what kind of id is {other} of {field}?"),
    };
    json!(ids.iter().find(|(prefix, _)| *prefix == kind).map(|(_, id)| id))
}

/// An id of this kind that nobody has.
fn absent(prefix: &str) -> String {
    let bytes = secret::random::<16>().expect("randomness");
    let uuid = uuid::Builder::from_unix_timestamp_millis(1_772_442_000_000, bytes[..10].try_into().expect("ten bytes"));
    let id = todo_platform::base::id::AnyId::new(prefix, uuid.into_uuid()).expect("a known prefix");
    id.to_string()
}

#[databases]
async fn a_foreign_and_an_absent_id_get_the_same_answer(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    let own = ids_of(&app, &acme, 0).await;
    let mut foreign = ids_of(&app, &rival, 0).await;
    let documents = Documents::new();
    let mut places = 0;
    for (keyword, field) in documents.root_fields() {
        let paths = documents.id_paths(field);
        let own = |name: &str| own_id(&own, &field.name, name);
        for path in paths {
            let shown = path.join(".");
            if EXEMPT.iter().any(|(exempt, at, _)| (*exempt, *at) == (field.name.as_str(), shown.as_str())) {
                continue;
            }
            places += 1;
            for (prefix, theirs) in &foreign {
                let mut answers = Vec::new();
                for id in [theirs.clone(), absent(prefix)] {
                    answers.push(ask(&app, &acme, &documents, keyword, field, &path, &id, &own).await);
                }
                assert_eq!(
                    answers[0], answers[1],
                    "{}({shown}) tells a foreign `{prefix}` from an absent one",
                    field.name
                );
                let text = answers[0].to_string();
                assert!(!text.contains("INTERNAL"), "{}({shown}) with a `{prefix}`: {text}", field.name);
            }
            // A create takes the id over as its own: the next place needs ids that are foreign still.
            if field.name.ends_with("Create") && path.last().is_some_and(|name| name == "id") {
                foreign = ids_of(&app, &rival, places).await;
            }
        }
    }
    assert!(places > 60, "only {places} places for ids were found in the schema");
}

/// The same by reading: nothing of another tenant comes out of any lookup.
#[databases]
async fn another_tenants_objects_are_null(app: TestApp) {
    let acme = app.company("acme").await;
    let rival = app.company("rival").await;
    for (prefix, id) in ids_of(&app, &rival, 0).await {
        let node = app.call(&acme, &acme.owner, "query($id: ID!) { node(id: $id) { id } nodes(ids: [$id]) { id } }");
        let data = node.vars(json!({ "id": id })).data().await;
        assert_eq!(data, json!({ "node": null, "nodes": [null] }), "{prefix}");
    }
}

#[allow(clippy::too_many_arguments, reason = "all of one request")]
async fn ask(
    app: &TestApp,
    company: &Company,
    documents: &Documents,
    keyword: &str,
    field: &async_graphql::registry::MetaField,
    path: &IdPath,
    id: &str,
    own: &dyn Fn(&str) -> Value,
) -> Value {
    let variables = documents.with_id(field, path, &json!(id), own);
    let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
    let answer =
        app.call(company, &company.owner, &document).vars(variables).header("x-request-id", "same").answer().await;
    let text = answer.to_string();
    assert!(!text.contains(id), "an answer echoes the id: {text}");
    answer
}

#[test]
fn every_kind_of_id_is_tried() {
    let tried = [
        "usr", "org", "mbr", "inv", "tem", "tag", "itm", "rel", "cmt", "evt", "key", "dst", "imp", "hok", "rcp", "whk",
        "whd", "ses", "sev",
    ];
    // It names the server, and nothing takes it.
    let untried: Vec<&&str> = PREFIXES.iter().filter(|prefix| !tried.contains(prefix)).collect();
    assert_eq!(untried, [&"sys"]);
}
