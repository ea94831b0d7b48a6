//! Values at the edges: what one of the databases, or the ledger, would keep otherwise than it was given is refused where
//! it is read; all else comes back as it went in, wherever it is read from.

use serde_json::{Value, json};

use crate::{
    items::mutate,
    support::{
        app::TestApp,
        schema::{Documents, bare},
        world::Company,
    },
    tenancy::{ids_of, own_id},
};
use todo_test_macros::databases;

/// Instants that are no value on one of the two databases, or none that RFC 3339 can write again.
const NO_INSTANTS: [&str; 11] = [
    "2026-12-31T23:59:60Z",
    "2026-06-30T12:00:60.5+00:00",
    "2016-12-31T18:59:60-05:00",
    "9999-12-31T23:59:60Z",
    "9999-12-31T23:59:59-00:01",
    "0000-12-31T23:59:59Z",
    "0001-01-01T00:00:00+00:01",
    "10000-01-01T00:00:00Z",
    "+10000-01-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-01-01T24:00:00Z",
];

/// Instants at the edges, as given and as kept, in their order.
const INSTANTS: [(&str, &str); 8] = [
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
    ("0999-12-31T23:59:59.999Z", "0999-12-31T23:59:59.999Z"),
    ("1969-12-31T23:59:59.9999999Z", "1969-12-31T23:59:59.999Z"),
    ("1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.000Z"),
    ("2026-12-31T23:59:59.000999Z", "2026-12-31T23:59:59.000Z"),
    ("2026-12-31T23:59:59.999999999Z", "2026-12-31T23:59:59.999Z"),
    ("2027-01-01t00:00:00z", "2027-01-01T00:00:00.000Z"),
    ("9999-12-31T23:59:59.9999Z", "9999-12-31T23:59:59.999Z"),
];

/// Hours at the edges, in their order. The first two are one value.
const HOURS: [f64; 9] =
    [-0.0, 0.0, f64::MIN_POSITIVE, 0.1, 0.300_000_000_000_000_04, 1.0 / 3.0, 1.5, 99_999.999_999_999_99, 100_000.0];

const ITEM: &str = "id title description dueAt estimatedHours";

async fn make(app: &TestApp, acme: &Company, input: Value) -> Value {
    let made = mutate(app, acme, &acme.member, ("itemCreate", &format!("item {{ {ITEM} }}")), input).done().await;
    made["item"].clone()
}

async fn nodes(app: &TestApp, acme: &Company, filter: &Value, order: &str) -> Vec<Value> {
    let query = format!(
        "query($filter: ItemFilter!) {{ items(filter: $filter, first: 100, orderBy: [{{field: {order}}}]) {{ \
         nodes {{ {ITEM} }} }} }}"
    );
    let data = app.call(acme, &acme.viewer, &query).vars(json!({ "filter": filter })).data().await;
    data["items"]["nodes"].as_array().cloned().unwrap_or_default()
}

/// Ids in an order, read one at a time from either end; ends even if a cursor never does.
async fn walk(app: &TestApp, acme: &Company, order: &str, forward: bool, most: usize) -> Vec<Value> {
    let (size, at) = if forward { ("first", "after") } else { ("last", "before") };
    let query = format!(
        "query($at: Cursor) {{ items({size}: 1, {at}: $at, orderBy: [{{field: {order}}}]) {{ \
         pageInfo {{ startCursor endCursor }} nodes {{ id }} }} }}"
    );
    let (mut cursor, mut found) = (Value::Null, Vec::new());
    while found.len() <= most {
        let data = app.call(acme, &acme.viewer, &query).vars(json!({ "at": cursor })).data().await;
        let page = &data["items"];
        let Some(node) = page["nodes"].get(0) else { break };
        found.push(node["id"].clone());
        cursor = page["pageInfo"][if forward { "endCursor" } else { "startCursor" }].clone();
    }
    if !forward {
        found.reverse();
    }
    found
}

/// Each item as the node, the list, the events and a client's copy show it.
async fn check_everywhere(app: &TestApp, acme: &Company, items: &[Value]) {
    let list = nodes(app, acme, &json!({}), "CREATED_AT").await;
    let query = "{ events(first: 100) { nodes { type subjectId changes { field after } } } }";
    let events = app.call(acme, &acme.owner, query).data().await["events"]["nodes"].clone();
    let query = format!("{{ sync(first: 100) {{ nodes {{ ... on Item {{ {ITEM} }} }} }} }}");
    let copy = app.call(acme, &acme.owner, &query).data().await["sync"]["nodes"].clone();
    let by_id = |list: &Value, id: &Value| {
        list.as_array().and_then(|list| list.iter().find(|entry| entry["id"] == *id)).cloned().unwrap_or_default()
    };
    for item in items {
        let query = format!("query($id: ID!) {{ item(id: $id) {{ {ITEM} }} }}");
        let read = app.call(acme, &acme.viewer, &query).vars(json!({ "id": item["id"] })).data().await;
        assert_eq!(read["item"], *item);
        assert_eq!(by_id(&json!(list), &item["id"]), *item, "in the list");
        assert_eq!(by_id(&copy, &item["id"]), *item, "in a client's copy");
        let event = events.as_array().expect("events").iter().find(|event| event["subjectId"] == item["id"]);
        let changes = event.expect("its event")["changes"].as_array().cloned().unwrap_or_default();
        for field in ["title", "dueAt", "estimatedHours"] {
            let change = changes.iter().find(|change| change["field"] == field);
            let after = change.map_or(Value::Null, |change| change["after"].clone());
            assert!(alike(&after, &item[field]), "{field} in the ledger: {after}, in the item: {}", item[field]);
        }
    }
}

/// Equal, a number by its value: 100000 and 100000.0 are one.
fn alike(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.to_bits() == right.to_bits(),
        _ => left == right,
    }
}

#[databases]
async fn an_instant_that_cannot_be_kept_is_refused_where_it_is_read(app: TestApp) {
    let acme = app.company("acme").await;
    let item = make(&app, &acme, json!({ "title": "a" })).await;
    for text in NO_INSTANTS {
        let create =
            mutate(&app, &acme, &acme.member, ("itemCreate", "item { id }"), json!({ "title": "b", "dueAt": text }));
        let patch = json!({ "id": item["id"], "patch": { "dueAt": text } });
        let update = mutate(&app, &acme, &acme.member, ("itemUpdate", "item { id }"), patch);
        let filter = "query($f: ItemFilter!) { items(filter: $f) { totalCount } }";
        let filter = app.call(&acme, &acme.member, filter).vars(json!({ "f": { "dueAt": { "lt": text } } }));
        let key = json!({ "name": "k", "scopes": ["ITEM_READ"], "expiresAt": text });
        let key = mutate(&app, &acme, &acme.owner, ("apiKeyCreate", "apiKey { id }"), key);
        for (place, call) in [("create", create), ("update", update), ("filter", filter), ("key", key)] {
            let answer = call.answer().await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "BAD_REQUEST", "{text} in a {place}: {answer:#}");
            let message = error["message"].as_str().unwrap_or_default();
            assert!(!text.contains(":60") || message.contains("leap second"), "{text} in a {place}: {message}");
        }
    }
    // Beyond the calendar by a duration.
    for text in ["P9000Y", "-P3000Y"] {
        let filter = "query($f: ItemFilter!) { items(filter: $f) { totalCount } }";
        let call = app.call(&acme, &acme.member, filter).vars(json!({ "f": { "dueAt": { "lt": text } } }));
        assert_eq!(call.error_code().await, "BAD_REQUEST", "{text}");
    }
    assert_eq!(nodes(&app, &acme, &json!({}), "DUE_AT").await.len(), 1, "nothing was made");
}

#[databases]
async fn instants_are_kept_to_the_millisecond_everywhere(app: TestApp) {
    let acme = app.company("acme").await;
    let mut made = Vec::new();
    for (given, kept) in INSTANTS {
        let item = make(&app, &acme, json!({ "title": given, "dueAt": given })).await;
        assert_eq!(item["dueAt"], kept, "{given}");
        let found = nodes(&app, &acme, &json!({ "dueAt": { "gte": kept, "lte": kept } }), "DUE_AT").await;
        assert_eq!(found, std::slice::from_ref(&item), "{given}");
        made.push(item);
    }
    let ids: Vec<Value> = made.iter().map(|item| item["id"].clone()).collect();
    assert_eq!(walk(&app, &acme, "DUE_AT", true, ids.len()).await, ids);
    assert_eq!(walk(&app, &acme, "DUE_AT", false, ids.len()).await, ids);
    check_everywhere(&app, &acme, &made).await;
}

#[databases]
async fn hours_are_kept_to_two_decimals_and_those_to_the_last_bit_everywhere(app: TestApp) {
    let acme = app.company("acme").await;
    let mut made = Vec::new();
    for hours in HOURS {
        let item = make(&app, &acme, json!({ "title": hours.to_string(), "estimatedHours": hours })).await;
        let kept = item["estimatedHours"].as_f64().expect("a number");
        // There is one zero.
        assert_eq!(kept.to_bits(), ((hours * 100.0).round() / 100.0 + 0.0).to_bits(), "{hours}");
        made.push(item);
        let found = nodes(&app, &acme, &json!({ "estimatedHours": { "eq": kept } }), "CREATED_AT").await;
        let expected = made.iter().filter(|item| item["estimatedHours"].as_f64() == Some(kept)).count();
        assert_eq!(found.len(), expected, "{hours}");
    }
    check_everywhere(&app, &acme, &made).await;
    let patch = json!({ "id": made[3]["id"], "patch": { "estimatedHours": -0.0, "actualHours": -0.0 } });
    let item = mutate(&app, &acme, &acme.member, ("itemUpdate", "item { estimatedHours actualHours }"), patch);
    let item = item.done().await["item"].clone();
    assert!(alike(&item["estimatedHours"], &json!(0.0)) && alike(&item["actualHours"], &json!(0.0)), "{item}");
    for hours in ["NaN", "Infinity", "1e400"] {
        let call = mutate(
            &app,
            &acme,
            &acme.member,
            ("itemCreate", "item { id }"),
            json!({ "title": "b", "estimatedHours": hours }),
        );
        assert_eq!(call.error_code().await, "BAD_REQUEST", "{hours}");
    }
}

#[databases]
async fn text_is_kept_as_it_was_given_everywhere(app: TestApp) {
    let acme = app.company("acme").await;
    let mut made = Vec::new();
    for text in [
        "\u{1}\u{7f}\u{85}x",
        "a\u{2028}b",
        "\u{feff}bom",
        "e\u{301}",
        "\u{e9}",
        "\u{fffd}\u{fffe}\u{10ffff}",
        "\\u0000",
        "'\"%_\\",
        "null",
        "👩‍👩‍👧",
        "\u{202e}rtl",
        "x\r\ny",
    ] {
        let item = make(&app, &acme, json!({ "title": text, "description": text })).await;
        assert_eq!((item["title"].as_str(), item["description"].as_str()), (Some(text), Some(text)));
        let exact = json!({ "title": { "eq": text, "ignoreCase": false } });
        assert_eq!(nodes(&app, &acme, &exact, "TITLE").await, std::slice::from_ref(&item), "{text:?}");
        made.push(item);
    }
    let empty = make(&app, &acme, json!({ "title": "empty", "description": "" })).await;
    assert_eq!(empty["description"], "", "empty is not absent");
    made.push(empty);
    check_everywhere(&app, &acme, &made).await;
}

/// From the schema: a patch's field that is null says so, or is cleared; a set that is null never means nothing.
#[databases]
async fn a_null_in_a_patch_is_never_ignored(app: TestApp) {
    let acme = app.company("acme").await;
    let own = ids_of(&app, &acme, 0).await;
    let documents = Documents::new();
    let (mut places, mut sets) = (0, 0);
    for (keyword, field) in documents.root_fields() {
        let own = |name: &str| own_id(&own, &field.name, name);
        let in_a_patch = |path: &[String]| path.len() > 2 && path[1] == "patch";
        for path in documents.paths(field, &|ty| !ty.ends_with('!')) {
            if !in_a_patch(&path) {
                continue;
            }
            let is_set = documents.type_at(field, &path) == "IdSetPatch";
            let mut nulls = vec![(path.clone(), json!(null))];
            for part in ["set", "add", "remove"].iter().filter(|_| is_set) {
                nulls.push(([path.clone(), vec![(*part).to_owned()]].concat(), json!({ *part: null })));
            }
            for (place, value) in nulls {
                places += 1;
                sets += usize::from(is_set);
                let mut variables = documents.least(field, &own);
                variables["input"]["patch"] = json!({ &path[2]: value });
                let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
                let answer = app.call(&acme, &acme.owner, &document).vars(variables).answer().await;
                let errors = &answer["data"][&field.name]["userErrors"];
                let required = errors[0]["code"] == "REQUIRED" && errors[0]["path"] == json!(place);
                // A webhook of no team in particular is one of all.
                let clears = !is_set || field.name == "webhookUpdate" && value.is_null();
                let cleared = clears && *errors == json!([]);
                assert!(required || cleared, "{} with null at {place:?}: {answer:#}", field.name);
            }
        }
    }
    assert!(places > 30 && sets >= 20, "only {places} places, {sets} of them in sets");
}

/// From the schema: ids are times, so what a client makes up must be one.
#[databases]
async fn an_id_that_a_client_made_is_a_uuidv7(app: TestApp) {
    let acme = app.company("acme").await;
    let own = ids_of(&app, &acme, 0).await;
    let documents = Documents::new();
    let mut places = 0;
    for (keyword, field) in documents.root_fields().into_iter().filter(|(_, field)| field.name.ends_with("Create")) {
        let own_id_of = |name: &str| own_id(&own, &field.name, name);
        for path in documents.id_paths(field).into_iter().filter(|path| path.last().is_some_and(|name| name == "id")) {
            if field.name == "sessionCreate" {
                continue;
            }
            places += 1;
            let prefix = if field.name == "organizationCreate" {
                "org"
            } else {
                let id = own_id_of("id");
                own.iter().find(|(_, own)| json!(own) == id).map_or("", |(prefix, _)| *prefix)
            };
            for uuid in [
                "9b2f6c1e-4a1d-4c58-9a0e-0d3c6b8f5a11",
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "018f6c1e-4a1d-7c58-0a0e-0d3c6b8f5a11",
            ] {
                let uuid = uuid.parse().expect("a UUID");
                let id = todo_platform::base::id::AnyId::new(prefix, uuid).expect("a prefix").to_string();
                let variables = documents.with_id(field, &path, &json!(id), &own_id_of);
                let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
                let answer = app.call(&acme, &acme.owner, &document).vars(variables).answer().await;
                let error = &answer["errors"][0];
                assert_eq!(
                    error["extensions"]["code"], "BAD_REQUEST",
                    "{} at {path:?} with {uuid}: {answer:#}",
                    field.name
                );
                assert!(error["message"].as_str().is_some_and(|text| text.contains("UUIDv7")), "{answer:#}");
            }
        }
    }
    assert!(places >= 10, "only {places} places");
}

/// PostgreSQL holds no NUL in a text: wherever one can be sent, it is refused, or never reaches the database.
#[databases]
async fn no_text_of_any_input_fails_a_database(app: TestApp) {
    let acme = app.company("acme").await;
    let own = ids_of(&app, &acme, 0).await;
    let documents = Documents::new();
    let mut places = 0;
    for (keyword, field) in documents.root_fields() {
        if keyword == "subscription" {
            continue;
        }
        let own = |name: &str| own_id(&own, &field.name, name);
        let texts = ["String", "ID", "Markdown", "Url", "Color", "Cursor", "JSON", "DateTime", "Date", "BigInt"];
        for path in documents.paths(field, &|ty| texts.contains(&bare(ty))) {
            for value in [json!("a\0b"), json!({ "title": { "default": "a\0b", "pointer": "/a\0b" }, "a\0b": 1 })] {
                let is_json = value.is_object();
                if is_json != path.last().is_some_and(|name| name == "mapping") {
                    continue;
                }
                places += 1;
                let variables = documents.with_id(field, &path, &value, &own);
                let document = documents.document_with(keyword, field, &variables, &documents.selection(field));
                let answer = app.call(&acme, &acme.owner, &document).vars(variables).answer().await;
                let text = answer.to_string();
                assert!(!text.contains("INTERNAL"), "{} at {}: {text}", field.name, path.join("."));
            }
        }
    }
    assert!(places > 100, "only {places} places for texts were found in the schema");
}
