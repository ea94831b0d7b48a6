//! Lists: paging, order, cursors, filters.

#![allow(clippy::needless_pass_by_value, reason = "calls pass what `json!` just made")]

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeSet,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Duration, Months, Utc};
use migration::keys::{fold, fold_part};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use todo_platform::base::id::kind;

use crate::{
    items::mutate,
    support::{
        app::{TestApp, beginning},
        client::Call,
        world::Company,
    },
};
use todo_test_macros::databases;

/// Titles whose order differs between languages, cases, bytes and code points.
const TITLES: [&str; 30] = [
    "Zebra",
    "äpfel",
    "Äpfel",
    "apfel",
    "Apfel",
    "zebra",
    "😀 smile",
    "Ünder",
    "ünder",
    "Öl",
    "straße",
    "STRASSE",
    "100% sure",
    "1000 sure",
    "a_b",
    "axb",
    "éclair",
    "e\u{301}clair",
    "ΟΔΟΣ",
    "~",
    "A",
    "a",
    "𝔘ber",
    "\u{fffd}",
    "ñ",
    "Nn",
    "[x]",
    "back\\slash",
    "quo'te",
    "Ａ wide",
];
const STATUSES: [&str; 5] = ["TODO", "IN_PROGRESS", "IN_REVIEW", "DONE", "ARCHIVED"];
const PRIORITIES: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "URGENT"];
const FIELDS: [&str; 9] =
    ["CREATED_AT", "UPDATED_AT", "DUE_AT", "COMPLETED_AT", "PRIORITY", "STATUS", "TITLE", "IDENTIFIER", "RANK"];

/// The same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % n
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Up to two of them.
    fn some<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        (0..self.below(3)).map(|_| self.pick(from).clone()).collect()
    }
}

/// An organization with many items, and what filters may ask about it.
struct World {
    acme: Company,
    /// `(id, name, ids of members)`.
    teams: Vec<(String, &'static str, Vec<String>)>,
    /// `(id, name)`.
    tags: Vec<(String, &'static str)>,
    /// `(id, username, role)`.
    people: Vec<(String, String, &'static str)>,
    rows: Vec<Value>,
}

/// A query of `items` with exactly these arguments.
fn list<'a>(app: &'a TestApp, acme: &Company, arguments: &Value, selection: &str) -> Call<'a> {
    let of = |name: &str| match name {
        "filter" => "ItemFilter",
        "scope" => "ItemScope!",
        "orderBy" => "[ItemOrder!]!",
        "first" | "last" => "Int",
        _ => "Cursor",
    };
    let names: Vec<&String> = arguments.as_object().map(|fields| fields.keys().collect()).unwrap_or_default();
    let declared: Vec<String> = names.iter().map(|name| format!("${name}: {}", of(name))).collect();
    let passed: Vec<String> = names.iter().map(|name| format!("{name}: ${name}")).collect();
    let query = format!("query({}) {{ items({}) {{ {selection} }} }}", declared.join(", "), passed.join(", "));
    app.call(acme, &acme.member, &query).vars(arguments.clone())
}

/// What filters and orders ask about an item.
const ROW: &str = "nodes { id identifier title status priority rank dueAt estimatedHours actualHours createdAt updatedAt \
    completedAt team { id } parent { id } createdBy { id } assignees { id } tags { id } }";

const PAGE: &str =
    "totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } edges { cursor node { id } }";

async fn page(app: &TestApp, acme: &Company, arguments: &Value) -> Value {
    list(app, acme, arguments, PAGE).data().await["items"].clone()
}

fn page_ids(page: &Value) -> Vec<String> {
    let edges = page["edges"].as_array().cloned().unwrap_or_default();
    edges.iter().map(|edge| edge["node"]["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Titles of what a filter finds among all items, sorted.
async fn found(app: &TestApp, acme: &Company, filter: Value) -> Vec<String> {
    let arguments = json!({ "filter": filter, "scope": "ALL", "first": 100 });
    let data = list(app, acme, &arguments, "nodes { title }").data().await;
    let nodes = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
    let mut titles: Vec<String> = nodes.iter().map(|node| node["title"].as_str().unwrap_or("").to_owned()).collect();
    titles.sort();
    titles
}

async fn refused(app: &TestApp, acme: &Company, arguments: Value) -> String {
    list(app, acme, &arguments, "nodes { id }").error_code().await
}

/// `count` items of every sort, some made in the same instant.
async fn world(app: &TestApp, count: usize) -> World {
    let acme = app.company("acme").await;
    let mut dice = Dice(20_261_123);
    let mut teams = Vec::new();
    for (name, members) in [("Core", vec![&acme.member, &acme.admin]), ("Édge", vec![&acme.viewer]), ("core 2", vec![])]
    {
        let members: Vec<String> = members.iter().map(|person| person.id.clone()).collect();
        let input = json!({ "name": name, "memberIds": members });
        teams.push((app.create(&acme, &acme.admin, "team", input).await, name, members));
    }
    let mut tags = Vec::new();
    for name in ["bug", "Bug fix", "ÜI"] {
        tags.push((app.create(&acme, &acme.admin, "tag", json!({ "name": name })).await, name));
    }
    let person = |person: &crate::support::world::Person, role| {
        (person.id.clone(), person.email.replace("@example.com", ""), role)
    };
    let people = vec![
        person(&acme.owner, "OWNER"),
        person(&acme.admin, "ADMIN"),
        person(&acme.member, "MEMBER"),
        person(&acme.viewer, "VIEWER"),
    ];
    let mut made: Vec<String> = Vec::new();
    for title in TITLES.iter().cycle().take(count) {
        app.clock.advance(Duration::seconds(i64::from(dice.below(3) > 0)));
        let user_ids: Vec<String> = people.iter().map(|(id, _, _)| id.clone()).collect();
        let tag_ids: Vec<String> = tags.iter().map(|(id, _)| id.clone()).collect();
        let due = [-31, -8, -7, -1, 0, 1, 7, 20, 31, 40][dice.below(10)];
        let maybe = |dice: &mut Dice, value: Value| if dice.below(3) == 0 { Value::Null } else { value };
        let input = json!({
            "title": title,
            "status": dice.pick(&STATUSES[..4]),
            "priority": dice.pick(&PRIORITIES),
            "dueAt": maybe(&mut dice, json!((beginning() + Duration::days(due)).to_rfc3339())),
            "estimatedHours": maybe(&mut dice, json!([0.0, 0.5, 1.0, 8.0][due.unsigned_abs() as usize % 4])),
            "teamId": dice.pick(&[None, Some(&teams[0].0), Some(&teams[1].0), Some(&teams[2].0)]).cloned(),
            "parentId": if made.is_empty() { None } else { dice.pick(&[None, Some(&made[0])]).cloned() },
            "assigneeIds": dice.some(&user_ids),
            "tagIds": dice.some(&tag_ids),
        });
        let creator = if dice.below(3) == 0 { &acme.admin } else { &acme.member };
        let id = app.create(&acme, creator, "item", input).await;
        let patch = [json!({}), json!({ "actualHours": 3 }), json!({ "status": "ARCHIVED" }), json!({})];
        let input = json!({ "id": id, "patch": dice.pick(&patch) });
        mutate(app, &acme, &acme.member, ("itemUpdate", ""), input).done().await;
        made.push(id);
    }
    let rows = list(app, &acme, &json!({ "scope": "ALL", "first": 50 }), ROW).data().await;
    let rows = rows["items"]["nodes"].as_array().cloned().unwrap_or_default();
    assert_eq!(rows.len(), count);
    World { acme, teams, tags, people, rows }
}

fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

/// A row's place in one order, by what the contract says; absent values apart.
fn compare(a: &Value, b: &Value, order: &Value) -> Ordering {
    let place = |values: &[&str], value: &str| values.iter().position(|known| *known == value);
    let number = |row: &Value| text(row, "identifier").rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
    let descending = order["direction"] == "DESC";
    let turn = |ordering: Ordering| if descending { ordering.reverse() } else { ordering };
    let field = match text(order, "field") {
        "TITLE" => return turn(fold(text(a, "title")).cmp(&fold(text(b, "title")))),
        "IDENTIFIER" => return turn(number(a).cmp(&number(b))),
        "STATUS" => return turn(place(&STATUSES, text(a, "status")).cmp(&place(&STATUSES, text(b, "status")))),
        "PRIORITY" => {
            return turn(place(&PRIORITIES, text(a, "priority")).cmp(&place(&PRIORITIES, text(b, "priority"))));
        }
        "CREATED_AT" => "createdAt",
        "UPDATED_AT" => "updatedAt",
        "DUE_AT" => "dueAt",
        "RANK" => "rank",
        _ => "completedAt",
    };
    let nulls_first = order["nulls"] == "FIRST";
    match (a[field].as_str(), b[field].as_str()) {
        (Some(a), Some(b)) => turn(a.cmp(b)),
        (a, b) if nulls_first => a.is_some().cmp(&b.is_some()),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

/// Ids of the rows in an order; the id breaks ties in the direction of the last field.
fn sorted(rows: &[Value], orders: &[Value]) -> Vec<String> {
    let mut rows: Vec<&Value> = rows.iter().collect();
    rows.sort_by(|a, b| {
        let ties = text(a, "id").cmp(text(b, "id"));
        let descending = orders.last().is_some_and(|order| order["direction"] == "DESC");
        let ties = if descending { ties.reverse() } else { ties };
        orders.iter().map(|order| compare(a, b, order)).find(|ordering| ordering.is_ne()).unwrap_or(ties)
    });
    rows.into_iter().map(|row| text(row, "id").to_owned()).collect()
}

/// Walks a list of all items in an order.
async fn walks(app: &TestApp, acme: &Company, orders: &[Value], whole: &[String]) {
    walks_list(app, acme, &json!({ "scope": "ALL", "orderBy": orders }), 7, whole).await;
}

/// Walks a list both ways, `pace` at a time, and compares with the whole.
async fn walks_list(app: &TestApp, acme: &Company, list: &Value, pace: usize, whole: &[String]) {
    let total = whole.len();
    for backward in [false, true] {
        let mut cursor: Option<Value> = None;
        let mut seen: Vec<String> = Vec::new();
        loop {
            let (size, from) = if backward { ("last", "before") } else { ("first", "after") };
            let mut arguments = list.clone();
            arguments[size] = json!(pace);
            if let Some(cursor) = &cursor {
                arguments[from] = cursor.clone();
            }
            let page = page(app, acme, &arguments).await;
            let ids = page_ids(&page);
            let info = &page["pageInfo"];
            assert_eq!(page["totalCount"], total, "{list}");
            assert_eq!(info["startCursor"], page["edges"][0]["cursor"]);
            assert_eq!(info["endCursor"], page["edges"][ids.len().saturating_sub(1)]["cursor"]);
            let (ahead, behind) =
                if backward { ("hasPreviousPage", "hasNextPage") } else { ("hasNextPage", "hasPreviousPage") };
            assert_eq!(info[behind], !seen.is_empty(), "{list} backward: {backward}");
            seen = if backward { [ids, seen].concat() } else { [seen, ids].concat() };
            let more = seen.len() < total;
            assert_eq!(info[ahead], more, "{list} backward: {backward} after {}", seen.len());
            if !more {
                break;
            }
            cursor = Some(info[if backward { "startCursor" } else { "endCursor" }].clone());
        }
        assert_eq!(seen, whole, "{list} backward: {backward}");
    }
}

// ── what a filter means, told a second time ──

fn folded(value: &str, ignore_case: bool) -> String {
    if ignore_case { fold_part(value) } else { value.to_owned() }
}

/// `eq`, `neq`, `in`, `notIn` of ids and enumerations.
fn one_of(filter: &Value, value: Option<&str>) -> bool {
    let is = |wanted: &Value| value.is_some() && wanted.as_str() == value;
    let any = |wanted: &Value| wanted.as_array().is_some_and(|wanted| wanted.iter().any(is));
    every_field(filter, |name, wanted| match name {
        "eq" => is(wanted),
        "neq" => !is(wanted),
        "in" => any(wanted),
        "notIn" => !any(wanted),
        name => panic!("{name}"),
    })
}

fn string(filter: &Value, value: Option<&str>) -> bool {
    let ignore = filter["ignoreCase"] != false;
    let value = value.map(|value| folded(value, ignore));
    let is = |wanted: &Value| value.is_some() && wanted.as_str().map(|wanted| folded(wanted, ignore)) == value;
    let any = |wanted: &Value| wanted.as_array().is_some_and(|wanted| wanted.iter().any(is));
    let part = |wanted: &Value| folded(wanted.as_str().unwrap_or_default(), ignore);
    every_field(filter, |name, wanted| match name {
        "eq" => is(wanted),
        "neq" => !is(wanted),
        "in" => any(wanted),
        "notIn" => !any(wanted),
        "contains" => value.as_deref().is_some_and(|value| value.contains(&part(wanted))),
        "startsWith" => value.as_deref().is_some_and(|value| value.starts_with(&part(wanted))),
        "ignoreCase" => true,
        name => panic!("{name}"),
    })
}

fn ordered<T: PartialOrd>(filter: &Value, value: Option<T>, read: impl Fn(&Value) -> T) -> bool {
    let test = |ok: fn(&T, &T) -> bool, wanted: &Value| value.as_ref().is_some_and(|value| ok(value, &read(wanted)));
    every_field(filter, |name, wanted| match name {
        "eq" => test(|a, b| a == b, wanted),
        "gt" => test(|a, b| a > b, wanted),
        "gte" => test(|a, b| a >= b, wanted),
        "lt" => test(|a, b| a < b, wanted),
        "lte" => test(|a, b| a <= b, wanted),
        "isNull" => *wanted == value.is_none(),
        name => panic!("{name}"),
    })
}

fn every_field(filter: &Value, mut holds: impl FnMut(&str, &Value) -> bool) -> bool {
    filter.as_object().is_some_and(|fields| fields.iter().all(|(name, wanted)| holds(name, wanted)))
}

fn instant(wanted: &Value, now: DateTime<Utc>) -> DateTime<Utc> {
    let wanted = wanted.as_str().unwrap_or_default();
    match wanted {
        "-P7D" => now - Duration::days(7),
        "P1W" => now + Duration::days(7),
        "P1M" => now.checked_add_months(Months::new(1)).expect("a month from now"),
        "-P1M" => now.checked_sub_months(Months::new(1)).expect("a month ago"),
        "PT0S" => now,
        wanted => wanted.parse().expect("an instant"),
    }
}

fn set(row: &Value, field: &str) -> BTreeSet<String> {
    let list = row[field].as_array().cloned().unwrap_or_default();
    list.iter().map(|entry| text(entry, "id").to_owned()).collect()
}

impl World {
    fn now(&self, app: &TestApp) -> DateTime<Utc> {
        app.clock.now()
    }

    fn holds(&self, filter: &Value, row: &Value, now: DateTime<Utc>) -> bool {
        let again = |filter: &Value| self.holds(filter, row, now);
        let many = |filters: &Value| filters.as_array().cloned().unwrap_or_default();
        let time = |filter: &Value, field: &str| {
            let value = row[field].as_str().map(|at| at.parse().expect("an instant"));
            ordered(filter, value, |wanted| instant(wanted, now))
        };
        let hours = |filter: &Value, field: &str| {
            ordered(filter, row[field].as_f64(), |wanted| wanted.as_f64().unwrap_or(f64::NAN))
        };
        every_field(filter, |name, wanted| match name {
            "and" => many(wanted).iter().all(again),
            "or" => many(wanted).iter().any(again),
            "not" => !again(wanted),
            "id" => one_of(wanted, row["id"].as_str()),
            "title" => string(wanted, row["title"].as_str()),
            "status" => one_of(wanted, row["status"].as_str()),
            "priority" => one_of(wanted, row["priority"].as_str()),
            "dueAt" | "createdAt" | "updatedAt" | "completedAt" => time(wanted, name),
            "estimatedHours" | "actualHours" => hours(wanted, name),
            "isOverdue" => {
                let past = row["dueAt"].as_str().is_some_and(|due| due.parse::<DateTime<Utc>>().is_ok_and(|d| d < now));
                *wanted == (past && !["DONE", "ARCHIVED"].contains(&text(row, "status")))
            }
            "team" => {
                let team = row["team"]["id"].as_str();
                let found = team.and_then(|id| self.teams.iter().find(|team| team.0 == id));
                every_field(wanted, |name, wanted| match name {
                    "isNull" => *wanted == team.is_none(),
                    "id" => one_of(wanted, team),
                    "name" => found.is_some_and(|team| string(wanted, Some(team.1))),
                    "hasViewer" => *wanted == found.is_some_and(|team| team.2.contains(&self.acme.member.id)),
                    name => panic!("{name}"),
                })
            }
            "parent" => every_field(wanted, |name, wanted| match name {
                "isNull" => *wanted == row["parent"].is_null(),
                _ => one_of(wanted, row["parent"]["id"].as_str()),
            }),
            "createdBy" => self.is_person(wanted, text(&row["createdBy"], "id")),
            "assignees" => to_many(wanted, &set(row, "assignees"), |filter, id| self.is_person(filter, id)),
            "tags" => to_many(wanted, &set(row, "tags"), |filter, id| {
                let name = self.tags.iter().find(|tag| tag.0 == id).map(|tag| tag.1);
                every_field(filter, |field, wanted| match field {
                    "id" => one_of(wanted, Some(id)),
                    _ => string(wanted, name),
                })
            }),
            name => panic!("{name}"),
        })
    }

    fn is_person(&self, filter: &Value, id: &str) -> bool {
        let Some((_, username, role)) = self.people.iter().find(|person| person.0 == id) else { return false };
        every_field(filter, |name, wanted| match name {
            "id" => one_of(wanted, Some(id)),
            "name" => string(wanted, Some(username)),
            "email" => string(wanted, Some(&format!("{username}@example.com"))),
            "isViewer" => *wanted == (id == self.acme.member.id),
            "roles" => wanted.as_array().is_some_and(|roles| roles.iter().any(|wanted| wanted == role)),
            name => panic!("{name}"),
        })
    }

    /// A filter of up to `depth` levels.
    fn random(&self, dice: &mut Dice, depth: usize) -> Value {
        let mut filter = json!({});
        for _ in 0..=dice.below(2) {
            let (name, value) = match dice.below(if depth > 1 { 20 } else { 15 }) {
                0 => ("status", enumeration(dice, &STATUSES)),
                1 => ("priority", enumeration(dice, &PRIORITIES)),
                2 => ("title", words(dice, &TITLES)),
                3 => ("dueAt", times(dice)),
                4 => (*dice.pick(&["createdAt", "updatedAt", "completedAt"]), times(dice)),
                5 => ("isOverdue", json!(dice.below(2) == 0)),
                6 => (
                    *dice.pick(&["estimatedHours", "actualHours"]),
                    match dice.below(3) {
                        0 => json!({ "isNull": dice.below(2) == 0 }),
                        1 => json!({ "eq": dice.pick(&[0.0, 0.5, 3.0]) }),
                        _ => json!({ "gt": 0, "lte": dice.pick(&[0.5, 1.0, 7.5]) }),
                    },
                ),
                7 | 8 => {
                    let ids: Vec<String> = self.teams.iter().map(|team| team.0.clone()).collect();
                    let value = match dice.below(4) {
                        0 => json!({ "isNull": dice.below(2) == 0 }),
                        1 => json!({ "hasViewer": dice.below(2) == 0 }),
                        2 => json!({ "id": ids_filter(dice, &ids) }),
                        _ => json!({ "name": words(dice, &["Core", "édge", "CORE 2", "x"]) }),
                    };
                    ("team", value)
                }
                9 => {
                    let ids: Vec<String> =
                        self.rows.iter().rev().take(3).map(|row| text(row, "id").to_owned()).collect();
                    let by_id = json!({ "id": ids_filter(dice, &ids) });
                    ("parent", dice.pick(&[json!({ "isNull": true }), json!({ "isNull": false }), by_id]).clone())
                }
                10 => ("createdBy", self.person(dice)),
                11 | 12 => {
                    let inner = self.person(dice);
                    ("assignees", quantified(dice, inner))
                }
                13 | 14 => {
                    let ids: Vec<String> = self.tags.iter().map(|tag| tag.0.clone()).collect();
                    let by_id = json!({ "id": ids_filter(dice, &ids) });
                    let by_name = json!({ "name": words(dice, &["bug", "Bug fix", "üi"]) });
                    let inner = dice.pick(&[json!({}), by_id, by_name]).clone();
                    ("tags", quantified(dice, inner))
                }
                15 | 16 => ("not", self.random(dice, depth - 1)),
                17 | 18 => ("or", (0..dice.below(4)).map(|_| self.random(dice, depth - 1)).collect()),
                _ => ("and", (0..dice.below(4)).map(|_| self.random(dice, depth - 1)).collect()),
            };
            filter[name] = value;
        }
        if dice.below(25) == 0 { json!({}) } else { filter }
    }

    fn person(&self, dice: &mut Dice) -> Value {
        let ids: Vec<String> = self.people.iter().map(|person| person.0.clone()).collect();
        match dice.below(5) {
            0 => json!({ "isViewer": dice.below(2) == 0 }),
            1 => json!({ "id": ids_filter(dice, &ids) }),
            2 => json!({ "roles": dice.some(&["OWNER", "ADMIN", "MEMBER", "VIEWER"]) }),
            3 => json!({ "email": { "startsWith": dice.pick(&["ACME-", "acme-a", "x"]) } }),
            _ => json!({ "name": { "contains": dice.pick(&["MEM", "adm", "acme", "x"]) } }),
        }
    }
}

fn to_many(filter: &Value, members: &BTreeSet<String>, holds: impl Fn(&Value, &str) -> bool) -> bool {
    every_field(filter, |name, wanted| match name {
        "some" => members.iter().any(|member| holds(wanted, member)),
        "every" => members.iter().all(|member| holds(wanted, member)),
        "none" => !members.iter().any(|member| holds(wanted, member)),
        _ => *wanted == members.is_empty(),
    })
}

fn quantified(dice: &mut Dice, inner: Value) -> Value {
    match dice.below(5) {
        0 => json!({ "some": inner }),
        1 => json!({ "every": inner }),
        2 => json!({ "none": inner }),
        3 => json!({ "isEmpty": dice.below(2) == 0 }),
        _ => json!({ "every": inner, "isEmpty": false }),
    }
}

fn enumeration(dice: &mut Dice, values: &[&str]) -> Value {
    match dice.below(4) {
        0 => json!({ "eq": dice.pick(values) }),
        1 => json!({ "neq": dice.pick(values) }),
        2 => json!({ "in": dice.some(values) }),
        _ => json!({ "notIn": dice.some(values) }),
    }
}

fn ids_filter(dice: &mut Dice, ids: &[String]) -> Value {
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    enumeration(dice, &ids)
}

fn words(dice: &mut Dice, values: &[&str]) -> Value {
    let word = *dice.pick(values);
    let part: String = word.chars().take(1 + dice.below(2)).collect();
    let case = dice.below(2) == 0;
    let word = if case { word.to_owned() } else { word.to_uppercase() };
    match dice.below(6) {
        0 => json!({ "eq": word, "ignoreCase": case }),
        1 => json!({ "neq": word }),
        2 => json!({ "in": [word, "x"] }),
        3 => json!({ "notIn": [word], "ignoreCase": case }),
        4 => json!({ "contains": part, "ignoreCase": case }),
        _ => json!({ "startsWith": part }),
    }
}

fn times(dice: &mut Dice) -> Value {
    let when = dice.pick(&["-P7D", "P1W", "P1M", "-P1M", "PT0S", "2026-03-02T09:00:05Z", "2026-03-02T10:00:00+01:00"]);
    match dice.below(5) {
        0 => json!({ "gt": when }),
        1 => json!({ "gte": when }),
        2 => json!({ "lt": when }),
        3 => json!({ "lte": when, "isNull": false }),
        _ => json!({ "isNull": dice.below(2) == 0 }),
    }
}

#[databases]
async fn every_order_pages_both_ways_through_the_same_list(app: TestApp) {
    let World { acme, rows, .. } = world(&app, 25).await;
    for field in FIELDS {
        for direction in ["ASC", "DESC"] {
            for nulls in ["FIRST", "LAST"] {
                let orders = [json!({ "field": field, "direction": direction, "nulls": nulls })];
                walks(&app, &acme, &orders, &sorted(&rows, &orders)).await;
            }
        }
    }
}

#[databases]
async fn lists_of_one_tag_or_person_page_alike_whatever_became_of_the_items(app: TestApp) {
    let mut world = world(&app, 45).await;
    let acme = world.acme.clone();
    let ids: Vec<String> = world.rows.iter().map(|row| text(row, "id").to_owned()).collect();
    let tags: Vec<String> = world.tags.iter().map(|tag| tag.0.clone()).collect();
    let people: Vec<String> = world.people.iter().map(|person| person.0.clone()).collect();
    let mut dice = Dice(46);
    for id in &ids {
        let change = match dice.below(4) {
            0 => json!({ "tags": { "add": [dice.pick(&tags)] }, "assignees": { "add": [dice.pick(&people)] } }),
            1 => json!({ "tags": { "set": [dice.pick(&tags), dice.pick(&tags)] } }),
            2 => json!({ "tags": { "remove": [dice.pick(&tags)] }, "assignees": { "set": [dice.pick(&people)] } }),
            _ => json!({ "title": "Called otherwise" }),
        };
        mutate(&app, &acme, &acme.admin, ("itemUpdate", ""), json!({ "id": id, "patch": change })).done().await;
    }
    // Subtasks go to the trash and come back with what they are part of: only items at the top alone are put there.
    for (place, id) in ids.iter().skip(1).enumerate().filter(|(place, _)| place % 4 == 0) {
        mutate(&app, &acme, &acme.admin, ("itemDelete", ""), json!({ "id": id })).done().await;
        if place % 8 == 0 {
            mutate(&app, &acme, &acme.admin, ("itemRestore", ""), json!({ "id": id })).done().await;
        }
    }
    // What the previous release writes.
    let db = app.beside().await;
    for (table, other, from) in [("item_tag", "tag_id", "tag"), ("item_assignee", "user_id", "membership")] {
        let theirs = if from == "tag" { "id" } else { "user_id" };
        let sql = format!(
            "INSERT INTO {table} (organization_id, item_id, {other}) SELECT i.organization_id, i.id, o.{theirs} \
             FROM item i, {from} o WHERE i.organization_id = o.organization_id AND (i.number + length(i.title)) % 5 = 0 \
             AND o.{theirs} = (SELECT min_of.{theirs} FROM {from} min_of ORDER BY 1 LIMIT 1) \
             AND NOT EXISTS (SELECT 1 FROM {table} l WHERE l.item_id = i.id AND l.{other} = o.{theirs})"
        );
        let written = db.execute_unprepared(&sql).await.expect("links without a time").rows_affected();
        assert!(written > 0, "{table}");
        let apart = format!(
            "DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM item i WHERE i.organization_id = {table}.organization_id \
             AND i.id = {table}.item_id AND ({table}.item_created_at IS NULL OR {table}.item_created_at <> i.created_at))"
        );
        assert_eq!(db.execute_unprepared(&apart).await.expect("none").rows_affected(), 0, "{table}");
    }
    db.close().await.expect("it closes");

    let id = |filter: &str, id: &String| json!({ "some": { "id": { filter: if filter == "in" { json!([id]) } else { json!(id) } } } });
    let (tag, other_tag) = (&tags[0], &tags[1]);
    let (person, own) = (&people[0], json!({ "some": { "isViewer": true } }));
    let filters = [
        json!({ "tags": id("eq", tag) }),
        json!({ "assignees": id("in", person) }),
        json!({ "assignees": own, "tags": id("eq", other_tag) }),
        json!({ "assignees": id("eq", person), "tags": id("in", tag), "status": { "in": ["TODO", "IN_PROGRESS"] } }),
        json!({ "and": [{ "tags": id("eq", tag) }, { "and": [{ "tags": id("eq", other_tag) }] }] }),
        json!({ "and": [{ "assignees": own }], "assignees": id("eq", person), "not": { "tags": id("eq", tag) } }),
        json!({ "or": [{ "tags": id("eq", tag) }, { "assignees": id("eq", person) }] }),
        json!({ "assignees": { "some": { "isViewer": true }, "none": { "id": { "eq": person } } } }),
        json!({ "tags": { "some": { "id": { "in": [tag, other_tag] } } }, "assignees": own }),
        json!({ "not": { "assignees": own }, "tags": { "some": { "id": { "eq": tag } }, "every": { "id": { "in": [tag, other_tag] } } } }),
    ];
    let now = world.now(&app);
    for scope in ["ALL", "ACTIVE", "TRASHED"] {
        let all = json!({ "scope": scope, "first": 50 });
        let data = list(&app, &acme, &all, ROW).data().await;
        world.rows = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
        assert!(!world.rows.is_empty());
        for filter in &filters {
            for direction in ["ASC", "DESC"] {
                let orders = [json!({ "field": "CREATED_AT", "direction": direction })];
                let rows: Vec<Value> = world.rows.iter().filter(|row| world.holds(filter, row, now)).cloned().collect();
                assert!(scope == "TRASHED" || !rows.is_empty(), "{filter} finds nothing");
                let list = json!({ "scope": scope, "orderBy": orders, "filter": filter });
                walks_list(&app, &acme, &list, 3, &sorted(&rows, &orders)).await;
            }
        }
    }

    // A tag that is gone is gone at once, whether or not it has been taken off its items.
    mutate(&app, &acme, &acme.admin, ("tagDelete", ""), json!({ "id": tag })).done().await;
    let gone = page(&app, &acme, &json!({ "filter": filters[0], "first": 5 })).await;
    assert_eq!((&gone["totalCount"], page_ids(&gone).len()), (&json!(0), 0));
}

#[databases]
async fn an_order_of_several_fields_pages_alike(app: TestApp) {
    let World { acme, rows, .. } = world(&app, 25).await;
    for orders in [
        vec![json!({ "field": "PRIORITY", "direction": "DESC" }), json!({ "field": "DUE_AT", "nulls": "FIRST" })],
        vec![json!({ "field": "STATUS" }), json!({ "field": "TITLE", "direction": "DESC" })],
        vec![json!({ "field": "COMPLETED_AT", "direction": "DESC", "nulls": "FIRST" }), json!({ "field": "STATUS" })],
        vec![],
    ] {
        walks(&app, &acme, &orders, &sorted(&rows, &orders)).await;
    }
    let six = vec![json!({ "field": "TITLE" }); 6];
    assert_eq!(refused(&app, &acme, json!({ "orderBy": six })).await, "BAD_REQUEST");
}

#[databases]
async fn titles_sort_by_their_folded_form_in_code_points(app: TestApp) {
    let acme = app.company("acme").await;
    for title in ["Zoo", "zoo 2", "Äpfel", "äpfel 2", "apfel", "Banane", "😀", "\u{fffd}", "ÖL", "a_b", "a b", "A-b"]
    {
        app.item(&acme, title).await;
    }
    let arguments = json!({ "orderBy": [{ "field": "TITLE" }] });
    let data = list(&app, &acme, &arguments, "nodes { title }").data().await;
    let nodes = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
    let titles: Vec<&str> = nodes.iter().map(|node| text(node, "title")).collect();
    let expected = ["a b", "A-b", "a_b", "apfel", "Banane", "Zoo", "zoo 2", "Äpfel", "äpfel 2", "ÖL", "\u{fffd}", "😀"];
    assert_eq!(titles, expected);
}

#[databases]
async fn what_is_inserted_between_pages_shifts_nothing(app: TestApp) {
    let World { acme, rows, .. } = world(&app, 25).await;
    let newest = [json!({ "field": "CREATED_AT", "direction": "DESC" })];
    let whole = sorted(&rows, &newest);
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    for round in 0..4 {
        let mut arguments = json!({ "scope": "ALL", "first": 7 });
        if round > 0 {
            arguments["after"] = cursor;
        }
        let page = page(&app, &acme, &arguments).await;
        assert_eq!(page["totalCount"], 25 + round);
        seen.extend(page_ids(&page));
        cursor = page["pageInfo"]["endCursor"].clone();
        app.clock.advance(Duration::seconds(1));
        app.item(&acme, "new").await;
    }
    assert_eq!(seen, whole);
}

/// A row that a cursor names may be gone; its place is not.
#[databases]
async fn a_cursor_outlives_its_row(app: TestApp) {
    let World { acme, rows, .. } = world(&app, 25).await;
    let whole = sorted(&rows, &[json!({ "field": "CREATED_AT", "direction": "DESC" })]);
    let first = page(&app, &acme, &json!({ "scope": "ALL", "first": 7 })).await;
    let input = json!({ "id": whole[6], "permanently": true });
    let leaf = mutate(&app, &acme, &acme.admin, ("itemDelete", ""), input);
    leaf.done().await;
    let next = json!({ "scope": "ALL", "first": 7, "after": first["pageInfo"]["endCursor"] });
    assert_eq!(page_ids(&page(&app, &acme, &next).await), whole[7..14]);
}

#[databases]
async fn a_cursor_belongs_to_its_list(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "Core" })).await;
    for title in ["a", "b", "c"] {
        app.create(&acme, &acme.member, "item", json!({ "title": title, "teamId": team })).await;
    }
    let base = json!({ "first": 1, "filter": { "status": { "eq": "TODO" } } });
    let cursor = page(&app, &acme, &base).await["pageInfo"]["endCursor"].clone();
    let mut same = base.clone();
    same["after"] = cursor.clone();
    same["first"] = json!(2);
    assert_eq!(page_ids(&page(&app, &acme, &same).await).len(), 2, "the size of a page may change");
    for (field, other) in [
        ("orderBy", json!([{ "field": "TITLE" }])),
        ("orderBy", json!([{ "field": "CREATED_AT", "direction": "ASC" }])),
        ("orderBy", json!([{ "field": "CREATED_AT", "direction": "DESC", "nulls": "FIRST" }])),
        ("filter", json!({ "status": { "neq": "DONE" } })),
        ("filter", json!({})),
        ("scope", json!("ALL")),
    ] {
        let mut arguments = same.clone();
        arguments[field] = other;
        assert_eq!(refused(&app, &acme, arguments.clone()).await, "INVALID_CURSOR", "{arguments}");
    }
    // Another list with the same arguments is another list.
    let plain = page(&app, &acme, &json!({ "first": 1 })).await["pageInfo"]["endCursor"].clone();
    for query in [
        "query($t: ID!, $c: Cursor) { node(id: $t) { ... on Team { items(first: 1, after: $c) { nodes { id } } } } }",
        "query($c: Cursor) { organization { tags(first: 1, after: $c) { nodes { id } } } }",
        "query($c: Cursor) { organization { members(first: 1, after: $c) { nodes { id } } } }",
        "query($c: Cursor) { events(first: 1, after: $c) { nodes { id } } }",
    ] {
        let variables = if query.contains("$t") { json!({ "t": team, "c": plain }) } else { json!({ "c": plain }) };
        let code = app.call(&acme, &acme.member, query).vars(variables).error_code().await;
        assert_eq!(code, "INVALID_CURSOR", "{query}");
    }
}

#[databases]
async fn a_cursor_that_was_not_given_out_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    for title in ["a", "b"] {
        app.item(&acme, title).await;
    }
    for field in ["TITLE", "DUE_AT", "CREATED_AT", "PRIORITY"] {
        let order = json!([{ "field": field }]);
        let data = page(&app, &acme, &json!({ "first": 1, "orderBy": order })).await;
        let cursor = text(&data["pageInfo"], "endCursor").to_owned();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&cursor).expect("base64url");
        let parts: Value = serde_json::from_slice(&bytes).expect("what the server writes");
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut parts = parts.clone();
            change(&mut parts);
            BASE64_URL_SAFE_NO_PAD.encode(parts.to_string())
        };
        let id = parts[2][1].clone();
        let tampered = [
            String::new(),
            "x".to_owned(),
            "not a cursor".to_owned(),
            "AAAA".to_owned(),
            format!("{cursor}="),
            format!("{cursor}{cursor}"),
            cursor[..cursor.len() - 2].to_owned(),
            cursor[2..].to_owned(),
            BASE64_URL_SAFE_NO_PAD.encode("[]"),
            BASE64_URL_SAFE_NO_PAD.encode("{}"),
            changed(&|parts| parts[0] = json!(1)),
            changed(&|parts| parts[1] = json!(i64::MAX)),
            changed(&|parts| parts[2] = json!([])),
            changed(&|parts| parts[2] = json!([id])),
            changed(&|parts| parts[2] = json!([parts[2][0], id, id])),
            changed(&|parts| parts[2][1] = Value::Null),
            changed(&|parts| parts[2][1] = json!("nonsense")),
            changed(&|parts| parts[2][0] = json!({})),
            changed(&|parts| parts[2][0] = json!([1])),
            changed(&|parts| parts[2][0] = json!(if field == "TITLE" { json!(1) } else { json!("a") })),
            changed(&|parts| parts[2][0] = json!(if field == "TITLE" { json!("a\0") } else { json!(i64::MAX) })),
        ];
        for cursor in tampered {
            let arguments = json!({ "first": 1, "orderBy": order, "after": cursor });
            assert_eq!(refused(&app, &acme, arguments).await, "INVALID_CURSOR", "{field} {cursor}");
        }
        // Far beyond any calendar: refused or an empty page, never a failure of the server.
        for far in [-8_000_000_000_000_000_i64, 8_000_000_000_000_000] {
            let cursor = changed(&|parts| parts[2][0] = if field == "TITLE" { json!("a") } else { json!(far) });
            let arguments = json!({ "first": 1, "orderBy": order, "after": cursor });
            let answer = list(&app, &acme, &arguments, "nodes { id }").answer().await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert!(code.is_null() || code == "INVALID_CURSOR", "{field} {far} {answer:#}");
        }
    }
}

#[databases]
async fn sizes_and_cursors_that_contradict_are_refused(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "a").await;
    let cursor = page(&app, &acme, &json!({ "first": 1 })).await["pageInfo"]["endCursor"].clone();
    for arguments in [
        json!({ "first": 1, "last": 1 }),
        json!({ "first": 101 }),
        json!({ "last": 101 }),
        json!({ "first": -1 }),
        json!({ "last": -1 }),
        json!({ "first": 1, "after": cursor, "before": cursor }),
        json!({ "last": 1, "after": cursor }),
        json!({ "first": 1, "before": cursor }),
    ] {
        assert_eq!(refused(&app, &acme, arguments.clone()).await, "BAD_REQUEST", "{arguments}");
    }
    let none = page(&app, &acme, &json!({ "first": 0 })).await;
    let info = json!({ "hasNextPage": true, "hasPreviousPage": false, "startCursor": null, "endCursor": null });
    assert_eq!(none, json!({ "totalCount": 1, "pageInfo": info, "edges": [] }));
    assert_eq!(page_ids(&page(&app, &acme, &json!({ "first": 100 })).await).len(), 1);
    let beyond = page(&app, &acme, &json!({ "first": 1, "after": cursor })).await;
    assert_eq!((page_ids(&beyond).len(), &beyond["totalCount"]), (0, &json!(1)));
    assert_eq!(beyond["pageInfo"]["hasPreviousPage"], true);
    assert_eq!(beyond["pageInfo"]["hasNextPage"], false);
}

#[databases]
async fn a_page_has_twenty_nodes_unless_said(app: TestApp) {
    let World { acme, rows, .. } = world(&app, 25).await;
    let whole = sorted(&rows, &[json!({ "field": "CREATED_AT", "direction": "DESC" })]);
    let default = page(&app, &acme, &json!({ "scope": "ALL" })).await;
    assert_eq!(page_ids(&default), whole[..20]);
}

#[databases]
async fn text_is_compared_without_wildcards(app: TestApp) {
    let acme = app.company("acme").await;
    for title in ["100% sure", "1000 sure", "a_b", "axb", "Straße", "ÄPFEL", "äpfel", "back\\slash", "quo'te", "*x?"]
    {
        app.item(&acme, title).await;
    }
    for (filter, expected) in [
        (json!({ "contains": "0%" }), vec!["100% sure"]),
        (json!({ "contains": "%" }), vec!["100% sure"]),
        (json!({ "startsWith": "a_" }), vec!["a_b"]),
        (json!({ "contains": "_" }), vec!["a_b"]),
        (json!({ "contains": "\\" }), vec!["back\\slash"]),
        (json!({ "contains": "'" }), vec!["quo'te"]),
        (json!({ "startsWith": "*" }), vec!["*x?"]),
        (json!({ "eq": "äPFEL" }), vec!["ÄPFEL", "äpfel"]),
        (json!({ "eq": "äpfel", "ignoreCase": false }), vec!["äpfel"]),
        (json!({ "startsWith": "Ä", "ignoreCase": false }), vec!["ÄPFEL"]),
        (json!({ "contains": "PFE" }), vec!["ÄPFEL", "äpfel"]),
        (json!({ "contains": "PFE", "ignoreCase": false }), vec!["ÄPFEL"]),
        (json!({ "startsWith": "STRAß" }), vec!["Straße"]),
        (json!({ "startsWith": "a", "contains": "b" }), vec!["a_b", "axb"]),
        (json!({ "contains": " sure" }), vec!["100% sure", "1000 sure"]),
        (json!({ "in": ["A_B", "nothing", "AXB"] }), vec!["a_b", "axb"]),
        (json!({ "in": [] }), vec![]),
    ] {
        assert_eq!(found(&app, &acme, json!({ "title": filter })).await, expected, "{filter}");
    }
    let rest = found(&app, &acme, json!({ "title": { "notIn": ["ÄPFEL"] } })).await;
    assert_eq!(rest.len(), 8);
    assert_eq!(found(&app, &acme, json!({ "title": { "contains": "" } })).await.len(), 10);
}

#[databases]
async fn a_relative_time_is_relative_to_the_first_page(app: TestApp) {
    let acme = app.company("acme").await;
    for (title, due) in [
        ("week ago", "2026-02-23T09:00:00Z"),
        ("almost a week ago", "2026-02-23T09:00:00.001Z"),
        ("in a month", "2026-04-02T09:00:00Z"),
        ("in 30 days", "2026-04-01T09:00:00Z"),
    ] {
        app.create(&acme, &acme.member, "item", json!({ "title": title, "dueAt": due })).await;
    }
    app.item(&acme, "never").await;
    for (filter, expected) in [
        (json!({ "gt": "-P7D" }), vec!["almost a week ago", "in 30 days", "in a month"]),
        (json!({ "lte": "-P7D" }), vec!["week ago"]),
        (json!({ "lte": "-P1W" }), vec!["week ago"]),
        (json!({ "gte": "P1M" }), vec!["in a month"]),
        (json!({ "gt": "P30D" }), vec!["in a month"]),
        (json!({ "lt": "PT0S", "gt": "-P7D" }), vec!["almost a week ago"]),
        (json!({ "gt": "2026-03-02T09:00:00+14:00", "lte": "2026-04-01T09:00:00Z" }), vec!["in 30 days"]),
        (json!({ "isNull": true }), vec!["never"]),
    ] {
        assert_eq!(found(&app, &acme, json!({ "dueAt": filter })).await, expected, "{filter}");
    }
    let arguments = json!({ "first": 1, "filter": { "dueAt": { "gt": "-P7D" } }, "orderBy": [{ "field": "DUE_AT" }] });
    let first = page(&app, &acme, &arguments).await;
    assert_eq!(first["totalCount"], 3);
    app.clock.advance(Duration::minutes(5));
    let mut next = arguments.clone();
    next["after"] = first["pageInfo"]["endCursor"].clone();
    assert_eq!(page(&app, &acme, &next).await["totalCount"], 3, "the list does not drift between pages");
    assert_eq!(page(&app, &acme, &arguments).await["totalCount"], 2);
    for wrong in ["7 days", "P", "", "yesterday", "P1D2"] {
        let filter = json!({ "filter": { "dueAt": { "gt": wrong } } });
        let answer = list(&app, &acme, &filter, "nodes { id }").answer().await;
        let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none");
        assert!(["BAD_REQUEST", "GRAPHQL_VALIDATION_FAILED"].contains(&code), "{wrong} {code}");
    }
    // Beyond what a calendar holds: an answer all the same, or a refusal, never a failure of the server.
    for (far, side, holds) in [
        ("P9000Y", "lt", true),
        ("P9000Y", "gt", false),
        ("-P9000Y", "lt", false),
        ("-P9000Y", "gt", true),
        ("P200000Y", "lt", true),
        ("-P200000Y", "gt", true),
        ("P4000000Y", "lt", true),
    ] {
        let filter = json!({ "filter": { "dueAt": { side: far } } });
        let answer = list(&app, &acme, &filter, "totalCount").answer().await;
        let refused = answer["errors"][0]["extensions"]["code"] == "BAD_REQUEST";
        let expected = if holds { 4 } else { 0 };
        assert!(refused || answer["data"]["items"]["totalCount"] == expected, "{side} {far} {answer:#}");
    }
}

#[databases]
async fn what_is_absent_is_included_by_not(app: TestApp) {
    let acme = app.company("acme").await;
    let team = app.create(&acme, &acme.admin, "team", json!({ "name": "Core" })).await;
    let due = json!({ "title": "due", "dueAt": "2026-03-01T00:00:00Z", "teamId": team, "estimatedHours": 2 });
    app.create(&acme, &acme.member, "item", due).await;
    app.item(&acme, "bare").await;
    for condition in [
        json!({ "dueAt": { "lt": "PT0S" } }),
        json!({ "estimatedHours": { "gt": 1 } }),
        json!({ "team": { "id": { "eq": team } } }),
        json!({ "team": { "name": { "startsWith": "c" } } }),
        json!({ "isOverdue": true }),
    ] {
        assert_eq!(found(&app, &acme, condition.clone()).await, ["due"], "{condition}");
        assert_eq!(found(&app, &acme, json!({ "not": condition })).await, ["bare"], "{condition}");
        let twice = json!({ "not": { "not": condition } });
        assert_eq!(found(&app, &acme, twice).await, ["due"], "{condition}");
    }
    assert_eq!(found(&app, &acme, json!({ "team": { "id": { "neq": team } } })).await, ["bare"]);
    assert_eq!(found(&app, &acme, json!({ "team": { "id": { "notIn": [team] } } })).await, ["bare"]);
}

#[databases]
async fn nothing_combined_is_true_for_and_and_false_for_or(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "a").await;
    for (filter, holds) in [
        (json!({}), true),
        (json!({ "and": [] }), true),
        (json!({ "or": [] }), false),
        (json!({ "not": {} }), false),
        (json!({ "and": [{}] }), true),
        (json!({ "or": [{}] }), true),
        (json!({ "not": { "and": [] } }), false),
        (json!({ "not": { "or": [] } }), true),
        (json!({ "or": [{ "or": [] }, { "and": [] }] }), true),
        (json!({ "and": [{ "or": [] }, { "and": [] }] }), false),
        (json!({ "not": { "not": {} } }), true),
        (json!({ "or": [{ "not": {} }] }), false),
        (json!({ "team": {} }), true),
        (json!({ "not": { "team": {} } }), false),
        (json!({ "assignees": { "every": {} } }), true),
        (json!({ "assignees": { "some": {} } }), false),
        (json!({ "assignees": { "none": {} } }), true),
        (json!({ "not": { "createdBy": {} } }), false),
    ] {
        assert_eq!(!found(&app, &acme, filter.clone()).await.is_empty(), holds, "{filter}");
    }
}

#[databases]
async fn a_comparator_that_says_nothing_is_refused(app: TestApp) {
    let acme = app.company("acme").await;
    let id = app.clock.new_id::<kind::User>().to_string();
    for filter in [
        json!({ "status": {} }),
        json!({ "priority": {} }),
        json!({ "title": {} }),
        json!({ "title": { "ignoreCase": false } }),
        json!({ "id": {} }),
        json!({ "dueAt": {} }),
        json!({ "estimatedHours": {} }),
        json!({ "team": { "id": {} } }),
        json!({ "team": { "name": {} } }),
        json!({ "parent": { "id": {} } }),
        json!({ "createdBy": { "email": {} } }),
        json!({ "assignees": { "some": { "id": {} } } }),
        json!({ "tags": { "none": { "name": {} } } }),
        json!({ "or": [{ "and": [{ "title": {} }] }] }),
        json!({ "team": { "id": { "eq": id } } }),
        json!({ "id": { "in": [id] } }),
    ] {
        assert_eq!(refused(&app, &acme, json!({ "filter": filter })).await, "BAD_REQUEST", "{filter}");
    }
    for filter in [
        json!({ "status": null }),
        json!({ "title": { "eq": null } }),
        json!({ "and": null }),
        json!({ "or": [{ "not": null }] }),
        json!({ "assignees": { "some": null } }),
        json!({ "isOverdue": null }),
    ] {
        let code = refused(&app, &acme, json!({ "filter": filter })).await;
        assert!(["BAD_REQUEST", "GRAPHQL_VALIDATION_FAILED"].contains(&code.as_str()), "{filter} {code}");
    }
    // A whole filter that is null or unset is as if left out.
    app.item(&acme, "Found").await;
    let unset = "query($f: ItemFilter) { items(filter: $f) { totalCount } }";
    for variables in [json!({}), json!({ "f": null })] {
        let seen = app.call(&acme, &acme.member, unset).vars(variables).data().await;
        assert_eq!(seen["items"]["totalCount"], 1);
    }
    let unset = "query($t: StringFilter) { items(filter: {title: $t}) { nodes { id } } }";
    let code = app.call(&acme, &acme.member, unset).answer().await;
    assert!(code["errors"].is_array() || code["data"]["items"]["nodes"] == json!([]), "{code:#}");
}

#[databases]
async fn a_filter_is_five_deep_and_has_fifty_conditions_at_most(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "a").await;
    let condition = json!({ "title": { "eq": "a" } });
    let nested = |levels: usize| (1..levels).fold(condition.clone(), |inner, _| json!({ "and": [inner] }));
    assert_eq!(found(&app, &acme, nested(5)).await, ["a"]);
    assert_eq!(refused(&app, &acme, json!({ "filter": nested(6) })).await, "BAD_REQUEST");
    let negated = (1..6).fold(condition.clone(), |inner, _| json!({ "not": inner }));
    assert_eq!(refused(&app, &acme, json!({ "filter": negated })).await, "BAD_REQUEST");
    let wide = |count: usize| json!({ "or": vec![condition.clone(); count] });
    assert_eq!(found(&app, &acme, wide(50)).await, ["a"]);
    assert_eq!(refused(&app, &acme, json!({ "filter": wide(51) })).await, "BAD_REQUEST");
}

#[databases]
async fn people_are_found_by_their_names(app: TestApp) {
    let acme = app.company("acme").await;
    app.create(&acme, &acme.admin, "item", json!({ "title": "of admin" })).await;
    app.item(&acme, "of member").await;
    let named = "mutation { userUpdate(input: {patch: {fullName: \"Ann Lee\"}}) { userErrors { code path } } }";
    app.call(&acme, &acme.admin, named).done().await;
    let by = |name: Value| found(&app, &acme, json!({ "createdBy": { "name": name } }));
    assert_eq!(by(json!({ "eq": "ACME-member" })).await, ["of member"]);
    assert_eq!(by(json!({ "eq": "Ann Lee" })).await, ["of admin"], "the full name");
    assert_eq!(by(json!({ "contains": "Lee" })).await, ["of admin"]);
    assert_eq!(by(json!({ "eq": "acme-admin" })).await, ["of admin"], "the username still");
    assert_eq!(by(json!({ "neq": "acme-member" })).await, ["of admin"], "neither name is");
    assert_eq!(by(json!({ "notIn": ["acme-admin", "x"] })).await, ["of member"]);
    assert_eq!(by(json!({ "neq": "Ann Lee" })).await, ["of member"]);
}

/// Somebody of another organization can't be asked about.
#[databases]
async fn a_filter_can_not_look_into_another_tenant(app: TestApp) {
    let (acme, other) = (app.company("acme").await, app.company("other").await);
    let team = app.create(&other, &other.admin, "team", json!({ "name": "Secret" })).await;
    app.create(&other, &other.member, "item", json!({ "title": "theirs", "teamId": team })).await;
    app.item(&acme, "mine").await;
    for filter in [
        json!({ "team": { "id": { "eq": team } } }),
        json!({ "team": { "name": { "eq": "Secret" } } }),
        json!({ "createdBy": { "email": { "contains": "other" } } }),
        json!({ "title": { "eq": "theirs" } }),
    ] {
        assert_eq!(found(&app, &acme, filter.clone()).await, Vec::<String>::new(), "{filter}");
    }
}

#[databases]
async fn random_filters_find_what_they_mean(app: TestApp) {
    let world = world(&app, 30).await;
    let mut dice = Dice(7);
    let (mut none, mut all) = (0, 0);
    for round in 0..200 {
        let filter = world.random(&mut dice, 4);
        let now = world.now(&app);
        let mut expected: Vec<&str> =
            world.rows.iter().filter(|row| world.holds(&filter, row, now)).map(|row| text(row, "id")).collect();
        expected.sort_unstable_by_key(|id| Reverse(*id));
        let arguments = json!({ "filter": filter, "scope": "ALL", "first": 50, "orderBy": [
            { "field": "IDENTIFIER", "direction": "DESC" },
        ] });
        let data = list(&app, &world.acme, &arguments, "totalCount nodes { id }").data().await;
        let nodes = data["items"]["nodes"].as_array().cloned().unwrap_or_default();
        let mut given: Vec<&str> = nodes.iter().map(|node| text(node, "id")).collect();
        given.sort_unstable_by_key(|id| Reverse(*id));
        assert_eq!(given, expected, "round {round}: {filter:#}");
        assert_eq!(data["items"]["totalCount"], expected.len());
        none += usize::from(expected.is_empty());
        all += usize::from(expected.len() == world.rows.len());
    }
    assert!(none < 100 && all < 100, "filters that tell: {none} found nothing, {all} everything");
}
