//! The gate in front of the executor, the same for every transport: counts tokens before parsing, parses, walks the
//! document with the schema's types, and hands the parsed document on. What doesn't pass here never runs.
//!
//! The walk expands fragments, so that what counts is what would run. What it finds is priced in `cost.rs`.

mod arguments;
mod documents;
mod introspection;
mod walk;

use std::sync::Arc;

use async_graphql::{
    Request,
    parser::{
        parse_query,
        types::{ExecutableDocument, OperationDefinition, OperationType},
    },
    registry::Registry,
};
use serde_json::json;

use self::{
    documents::{Documents, New, Parsed},
    introspection::Sizes,
    walk::Walk,
};
use super::{cost::Prices, tokens::count_tokens};
use crate::{
    config::LimitsConfig,
    error::{Code, Refusal, Result},
};

/// What the gate found out about an operation that passed.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The parsed document.
    pub document: Arc<ExecutableDocument>,
    pub operation: OperationType,
    /// The operation's name, for the log.
    pub name: Option<String>,
    /// The root fields of an operation without a name, `{ items viewer }`; empty for one that has a name.
    pub roots: String,
    /// Points at most.
    pub cost: u64,
    pub prices: Prices,
    /// Whether any root field needs to know who is calling.
    pub needs_caller: bool,
    /// What [`Gate::remember`] keeps.
    new: Option<New>,
}

impl Passed {
    /// What usage is counted under.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.roots)
    }
}

/// Checks documents against the limits.
#[derive(Clone)]
pub struct Gate {
    registry: Arc<Registry>,
    sizes: Sizes,
    limits: LimitsConfig,
    has_introspection: bool,
    documents: Documents,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate(…)")
    }
}

impl Gate {
    pub fn new(registry: Registry, limits: LimitsConfig) -> Self {
        let sizes = Sizes::of(&registry);
        Self { registry: Arc::new(registry), sizes, limits, has_introspection: true, documents: Documents::default() }
    }

    /// Whether `__schema` and `__type` pass.
    #[must_use]
    pub fn introspection(self, has_introspection: bool) -> Self {
        Self { has_introspection, ..self }
    }

    /// The schema's types.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Checks a request and leaves its parsed document in it.
    pub fn check(&self, request: &mut Request) -> Result<Passed> {
        // Some clients send an empty name for none; the library would look for it.
        request.operation_name = request.operation_name.take().filter(|name| !name.is_empty());
        let hash = self.documents.recall(request)?;
        if request.query.trim().is_empty() {
            return Err(Refusal::bad_request("The request has no `query`.").into());
        }
        let known = self.documents.parsed(&request.query);
        let is_known = known.is_some();
        let parsed = match known {
            Some(parsed) => parsed,
            None => self.parse(&request.query)?,
        };
        let (name, operation) = choose(&parsed.document, request.operation_name.as_deref())?;
        arguments::measure_variables(&request.variables, self.limits.values)?;
        let mut walk = Walk::new(self, &parsed.document, operation, &request.variables);
        let mut passed = walk.operation(name)?;
        // Operations that won't run are validated too, so their size counts as well.
        for (_, other) in parsed.document.operations.iter() {
            if !std::ptr::eq(&other.node, operation) {
                walk.measure(&other.node)?;
            }
        }
        request.set_parsed_query(ExecutableDocument::clone(&parsed.document));
        if !is_known || hash.is_some() {
            passed.new = Some(New { text: request.query.clone(), hash, parsed });
        }
        Ok(passed)
    }

    /// Keeps the document of an operation that was validated, for a caller who was let in: what is kept can't be chosen by
    /// whoever may not call.
    pub fn remember(&self, passed: &Passed) {
        if let Some(new) = &passed.new {
            self.documents.remember(new);
        }
    }

    /// Bytes that the documents kept take, as they are weighed.
    pub fn remembered_bytes(&self) -> u64 {
        self.documents.bytes()
    }

    fn parse(&self, text: &str) -> Result<Parsed> {
        let tokens = count_tokens(text, self.limits.tokens)?;
        let document = parse_query(text).map_err(|error| {
            let position = error.positions().next().map(|at| json!({ "line": at.line, "column": at.column }));
            let refusal = Refusal::new(Code::GraphqlParseFailed, first_line(&error.to_string()));
            match position {
                Some(position) => refusal.details(json!({ "position": position })),
                None => refusal,
            }
        })?;
        Ok(Parsed { document: Arc::new(document), tokens })
    }
}

/// The first line of a parser's message: the rest draws the place with characters.
fn first_line(message: &str) -> String {
    let reason = message.lines().rev().find(|line| line.trim_start().starts_with('='));
    reason.or(message.lines().next()).unwrap_or("syntax error").trim_start_matches([' ', '=']).to_owned()
}

/// The operation to run.
fn choose<'d>(
    document: &'d ExecutableDocument,
    wanted: Option<&str>,
) -> Result<(Option<String>, &'d OperationDefinition)> {
    let mut operations = document.operations.iter();
    let chosen = match wanted {
        Some(wanted) => document.operations.iter().find(|(name, _)| name.is_some_and(|name| name == wanted)),
        None => match (operations.next(), operations.next()) {
            (Some(only), None) => Some(only),
            _ => return Err(Refusal::bad_request("The document has several operations: name one.").into()),
        },
    };
    let (name, operation) =
        chosen.ok_or_else(|| Refusal::bad_request("The document has no operation of that name."))?;
    Ok((name.map(ToString::to_string), &operation.node))
}

fn too_complex(what: &str, found: usize, limit: usize) -> Refusal {
    Refusal::new(Code::QueryTooComplex, format!("A document has at most {limit} {what}; this one has {found} or more."))
        .details(json!({ "limit": limit }))
}

/// The name in a type: `[Item!]!` is `Item`.
fn bare(ty: &str) -> &str {
    ty.trim_matches(['[', ']', '!'])
}
