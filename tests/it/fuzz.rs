//! Documents and variables by chance, against parser, validator, collector and walk: whatever comes, validation answers, and
//! what it hands on has the form that the executor is promised.
//!
//! Texts are made from those of the guides and of earlier rounds that passed, by cutting, doubling, splicing and adding
//! words. `FUZZ_SECONDS` makes a long run, `FUZZ_SEED` (1) another one.

use std::{
    collections::HashSet,
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use async_graphql::{
    Request, Variables,
    parser::types::{Selection, SelectionSet},
};
use fastrand::Rng;
use serde_json::{Value, json};
use todo_platform::{
    api::validation::{RequestValidator, ValidRequest},
    base::{config::LimitsConfig, error::Error},
};

use crate::support::schema::validator;

/// Rounds without `FUZZ_SECONDS`.
const ROUNDS: usize = 15_000;
/// Texts kept for further rounds.
const KEPT: usize = 400;
const WORDS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "=",
    "$",
    "@",
    "...",
    "|",
    "&",
    "\"",
    "\"\"\"",
    "\\",
    "\\u{1F600}",
    "\\uD83D",
    "#",
    "\n",
    "\r",
    ",",
    "\u{feff}",
    "😀",
    "ש",
    "\u{0}",
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "null",
    "true",
    "5",
    "-1",
    "1e9",
    "99999999999999999999",
    "{ ... on Item { id } }",
    "...F",
    "fragment F on Query { __typename }",
    "$a",
    "($a: Int)",
    "($a: ItemFilter!)",
    "@skip(if: $a)",
    "@include(if: true)",
    "items",
    "nodes",
    "node(id: \"x\")",
    "filter: {and: [{}]}",
    "first: 5",
    "__schema { types { fields { name } } }",
    "__typename",
    "x: ",
    "\"a description\"",
];

fn seeds() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let guides = std::fs::read_dir(root).expect("docs").map(|entry| entry.expect("an entry").path());
    let texts = guides.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let mut seeds: Vec<String> = texts
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("a text");
            let blocks = text.split("```graphql\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
            blocks.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    seeds.sort();
    seeds.extend(
        [
            "query Q($a: Int = 5, $f: ItemFilter) { items(first: $a, filter: $f) { ...F nodes { ... on Item { id } } } } \
             fragment F on ItemConnection { totalCount pageInfo { hasNextPage } }",
            "{ node(id: \"x\") { id ... on Item { id title team { id } } ... on Node { id } ...F } } fragment F on Tag { name }",
            "mutation($i: ItemCreateInput!) { itemCreate(input: $i) { item { id } userErrors { code } } }",
            "subscription { events(filter: {types: [ITEM_CREATED]}) { cursor events { id } } }",
            "{ __schema { types { name fields { name type { name ofType { name } } } } } }",
        ]
        .map(str::to_owned),
    );
    seeds
}

fn changed(text: &str, corpus: &[String], rng: &mut Rng) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..rng.usize(1..6) {
        let length = characters.len();
        let at = rng.usize(0..=length);
        let upto = (at + rng.usize(0..=20)).min(length);
        match rng.u8(0..8) {
            0 => drop(characters.drain(at..upto)),
            1 => {
                let part = characters[at..upto].to_vec();
                characters.splice(at..at, part);
            }
            2 => {
                let part = characters[at..upto].repeat(rng.usize(1..60));
                characters.splice(at..at, part);
            }
            3 => {
                let other: Vec<char> = corpus[rng.usize(0..corpus.len())].chars().collect();
                let from = rng.usize(0..=other.len());
                characters.splice(at.., other[from..].iter().copied());
            }
            4 => {
                if let Some(character) = characters.get_mut(at) {
                    *character = char::from(rng.u8(0x20..0x7f));
                }
            }
            _ => {
                let word = format!(" {} ", WORDS[rng.usize(0..WORDS.len())]);
                characters.splice(at..at, word.chars());
            }
        }
        characters.truncate(20_000);
    }
    characters.into_iter().collect()
}

fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.u8(0..if depth > 5 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(rng.bool()),
        2 => json!(rng.i64(..)),
        3 => json!(rng.f64() * 1e300),
        4 => json!(WORDS[rng.usize(0..WORDS.len())]),
        5 => json!("TITLE"),
        6 => (0..rng.usize(0..4)).map(|_| value(rng, depth + 1)).collect(),
        _ => {
            let names = ["title", "and", "or", "not", "eq", "in", "id", "status", "team", "input", "patch", "subtasks"];
            let fields =
                (0..rng.usize(0..4)).map(|_| (names[rng.usize(0..names.len())].to_owned(), value(rng, depth + 1)));
            Value::Object(fields.collect())
        }
    }
}

/// What the executor is promised.
fn holds(set: &SelectionSet) {
    let mut keys = HashSet::new();
    for selection in &set.items {
        assert!(selection.node.directives().is_empty(), "a directive is left");
        match &selection.node {
            Selection::Field(field) => {
                assert!(keys.insert(field.node.response_key().node.as_str()), "a key is there twice");
                holds(&field.node.selection_set.node);
            }
            Selection::InlineFragment(inline) => holds(&inline.node.selection_set.node),
            Selection::FragmentSpread(_) => panic!("a spread is left"),
        }
    }
}

fn check(validator: &RequestValidator, text: &str, variables: Value) -> Option<ValidRequest> {
    let mut request = Request::new(text).variables(Variables::from_json(variables));
    match validator.check(&mut request) {
        Ok(passed) => {
            let runs = validator.runs(&passed, &request.variables).expect("it passed before");
            for (_, operation) in runs.operations.iter() {
                holds(&operation.node.selection_set.node);
            }
            validator.remember(&passed);
            Some(passed)
        }
        Err(Error::Refused(refusal)) => {
            assert!(!refusal.message.is_empty() && refusal.more.len() < 20, "{refusal:?}");
            None
        }
        Err(other) => panic!("validation only refuses: {other:?}"),
    }
}

#[test]
fn whatever_comes_is_answered() {
    let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let until = number("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut rng = Rng::with_seed(number("FUZZ_SEED").unwrap_or(1));
    let validator = validator(LimitsConfig::default());
    let mut corpus = seeds();
    let (first, mut rounds, mut passed) = (corpus.len(), 0, 0);
    while until.map_or(rounds < ROUNDS, |until| Instant::now() < until) {
        rounds += 1;
        let text = changed(&corpus[rng.usize(0..corpus.len())], &corpus, &mut rng);
        let variables = match rng.u8(0..3) {
            0 => json!({}),
            _ => {
                json!({ "a": value(&mut rng, 0), "f": value(&mut rng, 0), "i": value(&mut rng, 0), "input": value(&mut rng, 0) })
            }
        };
        let checked = catch_unwind(AssertUnwindSafe(|| check(&validator, &text, variables.clone())));
        let Ok(checked) = checked else { panic!("with {variables}:\n{text}") };
        if checked.is_some() {
            passed += 1;
            if corpus.len() < first + KEPT {
                corpus.push(text);
            } else {
                let place = first + rng.usize(0..KEPT);
                corpus[place] = text;
            }
        }
    }
    println!("{rounds} rounds, {passed} passed");
    // It can only find something while some of it gets through.
    assert!(passed * 50 > rounds, "{passed} of {rounds}");
}
