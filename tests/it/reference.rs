//! Held to the reference: documents made from the schema, valid and broken, with what graphql-js says of them
//! (`tests/clients/reference.mjs`). Validation must give the same verdict, coerce variables to the same values, and hand on
//! the same fields with the same arguments in the same order.
//!
//! `REFERENCE_CASES` (3,000) and `REFERENCE_SEED` (1) make it a longer or another run; `docs/quality.md` has the figures.

use std::{collections::BTreeMap, env, process::Command};

use async_graphql::{
    Request, Value as Literal, Variables,
    parser::types::{ExecutableDocument, Selection, SelectionSet},
};
use async_graphql_value::Value as Ast;
use serde_json::{Map, Value, json};
use todo_platform::{
    api::{document::Validator, validation::RequestValidator},
    base::{
        config::LimitsConfig,
        error::{Code, Error, Refusal},
    },
};

use crate::{clients, support::schema::validator};

/// What validation says of a case.
enum Outcome {
    Runs { coerced: Value, runs: Box<ExecutableDocument>, variables: Variables },
    Refused(Box<Refusal>),
}

fn ask(validator: &RequestValidator, case: &Value) -> Outcome {
    let mut request = Request::new(case["document"].as_str().expect("a document"))
        .variables(Variables::from_json(case["variables"].clone()));
    request.operation_name = case["operationName"].as_str().map(str::to_owned);
    match validator.check(&mut request) {
        Ok(passed) => {
            let runs = validator.runs(&passed, &request.variables).expect("it passed before");
            let coerced = serde_json::to_value(&request.variables).expect("JSON");
            Outcome::Runs { coerced, runs: Box::new(ExecutableDocument::clone(&runs)), variables: request.variables }
        }
        Err(Error::Refused(refusal)) => Outcome::Refused(Box::new(refusal)),
        Err(other) => panic!("validation only refuses: {other:?}\n{case:#}"),
    }
}

/// What is the server's own, beyond the specification: limits, filters that would silently widen, and guesses.
fn is_own_rule(refusal: &Refusal) -> bool {
    let about_filter = refusal.message.contains("a filter would silently widen");
    let about_tries = refusal.message.starts_with("At most one field a document that takes a password");
    matches!(refusal.code, Code::QueryTooComplex | Code::QueryTooDeep) || about_filter || about_tries
}

/// Fields in order, as the script has them: of each possible type.
fn shape(set: &SelectionSet, object: &str, expected: &Value, variables: &Variables) -> Value {
    let mut entries = Vec::new();
    collect(set, object, expected, variables, &mut entries);
    Value::Array(entries)
}

fn collect(set: &SelectionSet, object: &str, expected: &Value, variables: &Variables, entries: &mut Vec<Value>) {
    for selection in &set.items {
        match &selection.node {
            Selection::Field(field) => {
                let field = &field.node;
                let arguments: Map<String, Value> = field
                    .arguments
                    .iter()
                    .map(|(name, value)| (name.node.to_string(), written(&value.node, variables)))
                    .collect();
                let mut entry =
                    json!({ "key": field.response_key().node, "name": field.name.node, "arguments": arguments });
                // The types that are possible are the schema's, so they are taken from there.
                if let Some(types) = expected.get(entries.len()).and_then(|expected| expected["types"].as_object()) {
                    let below = types.iter().map(|(name, expected)| {
                        (name.clone(), shape(&field.selection_set.node, name, expected, variables))
                    });
                    entry["types"] = Value::Object(below.collect());
                } else if !field.selection_set.node.items.is_empty() {
                    entry["types"] = json!("unexpected");
                }
                entries.push(entry);
            }
            Selection::InlineFragment(inline) => {
                let on = inline.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                if on.is_none_or(|on| on == object) {
                    collect(&inline.node.selection_set.node, object, expected, variables, entries);
                }
            }
            Selection::FragmentSpread(_) => panic!("what is collected has no spreads"),
        }
    }
}

/// A literal as JSON, with its variables' values.
fn written(value: &Ast, variables: &Variables) -> Value {
    match value {
        Ast::Variable(name) => variables.get(name).map_or(json!("unset"), constant),
        Ast::List(items) => items.iter().map(|item| written(item, variables)).collect(),
        Ast::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.to_string(), written(value, variables))).collect())
        }
        other => constant(&other.clone().into_const().expect("no variable is in it")),
    }
}

fn constant(value: &Literal) -> Value {
    value.clone().into_json().expect("JSON")
}

/// Numbers by their value: the script's are doubles.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

/// `placed`: refusals whose first position is one of the reference's, and all.
fn disagreement(validator: &RequestValidator, case: &Value, placed: &mut [usize; 2]) -> Result<&'static str, String> {
    let phase = case["phase"].as_str();
    match (ask(validator, case), phase) {
        (Outcome::Refused(refusal), None) if is_own_rule(&refusal) => Ok("own rule"),
        (Outcome::Refused(refusal), None) => Err(format!("it should run: {refusal:?}")),
        (Outcome::Runs { .. }, Some(phase)) => {
            Err(format!("it should be refused ({phase}): {} {}", case["rules"], case["messages"]))
        }
        (Outcome::Refused(refusal), Some(phase)) => {
            let (code, is_placed) = (refusal.code, !refusal.positions.is_empty());
            let expected = match phase {
                "parse" => Code::GraphqlParseFailed,
                "validate" => Code::GraphqlValidationFailed,
                _ => Code::BadRequest,
            };
            if is_own_rule(&refusal) {
                return Ok("own rule");
            }
            let lines = case["lines"].as_array().expect("a list");
            let is_same = refusal.positions.first().is_some_and(|at| lines.contains(&json!([at.line, at.column])));
            placed[0] += usize::from(is_same);
            placed[1] += 1;
            // Nothing at all is no document, whichever way it is said.
            if code == expected && is_placed || case["document"].as_str().is_some_and(|text| text.trim().is_empty()) {
                return Ok("refused");
            }
            Err(format!("refused as {code}, not as {expected}: {refusal:?}"))
        }
        (Outcome::Runs { coerced, runs, variables }, None) => {
            if !same(&coerced, &case["coerced"]) {
                return Err(format!("coerced {coerced}\nexpected {}", case["coerced"]));
            }
            if case["shape"].is_null() {
                return Ok("runs");
            }
            let (_, operation) = runs.operations.iter().next().expect("one operation");
            let found = shape(&operation.node.selection_set.node, "", &case["shape"], &variables);
            if !same(&found, &case["shape"]) {
                return Err(format!("collected {found}\nexpected {}", case["shape"]));
            }
            Ok("runs")
        }
    }
}

#[test]
fn graphql_js_says_the_same() {
    let Some(folder) = clients::folder() else { return };
    let setting = |name: &str, or: &str| env::var(name).unwrap_or_else(|_| or.to_owned());
    let (seed, count) = (setting("REFERENCE_SEED", "1"), setting("REFERENCE_CASES", "3000"));
    let made = Command::new("node")
        .args(["reference.mjs", "../../schema.graphql", &seed, &count])
        .current_dir(folder)
        .env_remove("NODE_OPTIONS")
        .output()
        .expect("node runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // Only what the specification says is compared; the limits have tests of their own.
    let many = 1 << 20;
    let limits = LimitsConfig {
        depth: 100,
        aliases: many,
        root_fields: many,
        directives: many,
        document_directives: many,
        cost: u64::MAX,
        ..LimitsConfig::default()
    };
    let validator = validator(limits);
    let mut placed = [0, 0];
    let mut tally: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let (mut outcomes, mut disagreements): (BTreeMap<&str, usize>, Vec<String>) = Default::default();
    let text = String::from_utf8(made.stdout).expect("UTF-8");
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        let found = disagreement(&validator, &case, &mut placed);
        let rules = case["rules"].as_array().filter(|rules| !rules.is_empty());
        let rules: Vec<String> = match (rules, case["phase"].as_str()) {
            (Some(rules), _) => rules.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            (None, Some(phase)) => vec![format!("({phase})")],
            (None, None) => vec!["(runs)".to_owned()],
        };
        for rule in rules {
            tally.entry(rule).or_default()[usize::from(found.is_err())] += 1;
        }
        match found {
            Ok(outcome) => *outcomes.entry(outcome).or_default() += 1,
            Err(why) => disagreements.push(format!(
                "{}: {why}\n{}\n{}",
                case["made"],
                case["document"].as_str().unwrap_or_default(),
                case["variables"]
            )),
        }
    }
    for (rule, [agreed, not]) in &tally {
        println!("{rule:45} {agreed:6} {not:4}");
    }
    println!("{outcomes:?}, {} disagreements; {} of {} in the same place", disagreements.len(), placed[0], placed[1]);
    let all = text.lines().count();
    assert!(
        disagreements.is_empty(),
        "{} of {all}:\n{}",
        disagreements.len(),
        disagreements[..disagreements.len().min(12)].join("\n\n")
    );
    // It can only show something while most of it is compared.
    assert!(
        outcomes["own rule"] * 10 < all && outcomes["runs"] * 3 > all && outcomes["refused"] * 4 > all,
        "{outcomes:?}"
    );
    assert!(placed[0] * 10 > placed[1] * 7, "{placed:?}");
}

/// graphql-js's own cases of its rules, on its own schemas (`reference-upstream.mjs` has taken them from its tests).
#[test]
fn graphql_js_own_cases_are_judged_alike() {
    let text = include_str!("../clients/reference-upstream.json");
    let data: Value = serde_json::from_str(text).expect("JSON");
    let schemas = data["schemas"].as_array().expect("schemas").iter();
    // The server's SDL declares the directive, as the library writes it.
    let declared = |sdl: &Value| format!("directive @oneOf on INPUT_OBJECT {}", sdl.as_str().expect("a text"));
    let validators: Vec<_> = schemas.map(|sdl| Validator::new(&declared(sdl), true)).collect();
    let (mut compared, mut left_out, mut disagreements) = (0, 0, Vec::new());
    for case in data["cases"].as_array().expect("cases") {
        let index = usize::try_from(case["schema"].as_u64().expect("a number")).expect("an index");
        let Ok(validator) = &validators[index] else {
            left_out += 1;
            continue;
        };
        let document = case["document"].as_str().expect("a text");
        // Scalars that are not this server's take no value here; the depth of an introspection is bounded elsewhere.
        let is_about_depth = case["rules"] == json!(["MaxIntrospectionDepthRule"]);
        if is_about_depth || case["name"].as_str().is_some_and(|name| name.contains("custom scalar")) {
            left_out += 1;
            continue;
        }
        let is_valid = case["rules"].as_array().is_some_and(Vec::is_empty);
        let found = validator.document(document, &LimitsConfig { depth: 100, ..LimitsConfig::default() });
        compared += 1;
        let refusal = match found {
            Ok(_) => None,
            Err(Error::Refused(refusal)) => Some(refusal),
            Err(other) => panic!("{other:?}"),
        };
        if refusal.is_none() != is_valid && !refusal.as_ref().is_some_and(is_own_rule) {
            let said = format!("{} {} {}", case["rule"], case["name"], case["rules"]);
            disagreements.push(format!("{said}\n{refusal:?}\n{document}"));
        }
    }
    println!("{compared} compared, {left_out} left out, {} disagreements", disagreements.len());
    assert!(disagreements.is_empty(), "{} of {compared}:\n{}", disagreements.len(), disagreements.join("\n\n"));
    assert!(compared > 300, "{compared}, {left_out} left out");
}
