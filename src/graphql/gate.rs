//! The gate in front of the executor, the same for every transport: counts tokens before parsing, parses, walks the
//! document with the schema's types, and hands the parsed document on. What doesn't pass here never runs.
//!
//! The walk expands fragments, so that what counts is what would run. What it finds is priced in `cost.rs`.

use std::sync::Arc;

use async_graphql::{
    Name, Request, Value, Variables,
    parser::{
        parse_query,
        types::{
            ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet, VariableDefinition,
        },
    },
    registry::{MetaField, MetaType, Registry},
};
use async_graphql_value::Value as AstValue;
use moka::sync::Cache;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    cost::{self, Price, Prices, Shape},
    guard::Rule,
    tokens::{MAX_NESTING, count_tokens},
};
use crate::{
    auth::policy::Access,
    config::LimitsConfig,
    db::page::{DEFAULT_PAGE, DEFAULT_SYNC_PAGE, MAX_PAGE, MAX_SYNC_PAGE},
    error::{Code, Error, Refusal, Result},
};

/// Fields visited by the walk at most: what keeps fragments that spread fragments from taking long to count.
const MAX_VISITS: usize = 20_000;
/// Fields that try a password, an address or a token: one a document.
const THROTTLED: &[&str] = &[
    "sessionCreate",
    "userRegister",
    "userDelete",
    "passwordChange",
    "passwordResetRequest",
    "passwordResetComplete",
    "emailChangeRequest",
    "emailVerify",
];

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
}

impl Passed {
    /// What usage is counted under.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.roots)
    }
}

/// Bytes of documents remembered for automatic persisted queries.
const PERSISTED_BYTES: u64 = 16 << 20;

/// Bytes of text of the parsed documents remembered; parsed they take some ten times as much.
const PARSED_BYTES: u64 = 2 << 20;

/// Checks documents against the limits.
#[derive(Clone)]
pub struct Gate {
    registry: Arc<Registry>,
    limits: LimitsConfig,
    /// Documents by their SHA-256 in hex. Shared by all tenants: whoever knows the hash knows the document.
    persisted: Cache<String, Arc<str>>,
    /// Parsed documents by their text: clients send the same few again and again, and copying one is cheaper than
    /// parsing it.
    parsed: Cache<String, Arc<ExecutableDocument>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate(…)")
    }
}

impl Gate {
    pub fn new(registry: Registry, limits: LimitsConfig) -> Self {
        let weight =
            |hash: &String, document: &Arc<str>| u32::try_from(hash.len() + document.len()).unwrap_or(u32::MAX);
        let persisted = Cache::builder().weigher(weight).max_capacity(PERSISTED_BYTES).build();
        let weight = |text: &String, _: &Arc<ExecutableDocument>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let parsed = Cache::builder().weigher(weight).max_capacity(PARSED_BYTES).build();
        Self { registry: Arc::new(registry), limits, persisted, parsed }
    }

    /// Automatic persisted queries, as Apollo's clients speak them: a hash alone brings the document back, a hash with a
    /// document is checked, and remembered once the document has passed. Returns the hash to remember.
    fn recall(&self, request: &mut Request) -> Result<Option<String>> {
        let Some(Value::Object(named)) = request.extensions.get("persistedQuery") else { return Ok(None) };
        let (Some(Value::String(hash)), Some(Value::Number(version))) = (named.get("sha256Hash"), named.get("version"))
        else {
            return Err(Refusal::bad_request("`persistedQuery` needs `version` and `sha256Hash`.").into());
        };
        if version.as_u64() != Some(1) {
            return Err(Refusal::bad_request("Only version 1 of `persistedQuery` is known.").into());
        }
        let hash = hash.to_ascii_lowercase();
        if request.query.trim().is_empty() {
            // The message is what clients look for; they then send the document along.
            let unknown = || Refusal::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound");
            request.query = self.persisted.get(&hash).ok_or_else(unknown)?.to_string();
            return Ok(None);
        }
        let digest = Sha256::digest(request.query.as_bytes());
        let actual: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        if actual != hash {
            return Err(Refusal::bad_request("`sha256Hash` is not the hash of the document.").into());
        }
        Ok(Some(hash))
    }

    /// The schema's types.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Checks a request and leaves its parsed document in it.
    pub fn check(&self, request: &mut Request) -> Result<Passed> {
        let remember = self.recall(request)?;
        if request.query.trim().is_empty() {
            return Err(Refusal::bad_request("The request has no `query`.").into());
        }
        let known = self.parsed.get(&request.query);
        let is_new = known.is_none();
        let document = match known {
            Some(document) => document,
            None => Arc::new(self.parse(&request.query)?),
        };
        let chosen = choose(&document, request.operation_name.as_deref())?;
        let (name, operation) = chosen;
        let mut walk = Walk {
            registry: &self.registry,
            document: &document,
            shared: &document,
            operation,
            variables: &request.variables,
            limits: &self.limits,
            visits: 0,
            aliases: 0,
            directives: 0,
            fragments: Vec::new(),
        };
        let passed = walk.operation(name)?;
        // Operations that won't run are validated too, so their size counts as well.
        for (_, other) in document.operations.iter() {
            if !std::ptr::eq(&other.node, operation) {
                walk.operation = &other.node;
                walk.count_directives(other.node.directives.len())?;
                walk.measure(&other.node.selection_set.node)?;
            }
        }
        if let Some(hash) = remember {
            self.persisted.insert(hash, request.query.as_str().into());
        }
        request.set_parsed_query(ExecutableDocument::clone(&document));
        if is_new {
            self.parsed.insert(request.query.clone(), document);
        }
        Ok(passed)
    }

    fn parse(&self, text: &str) -> Result<ExecutableDocument> {
        count_tokens(text, self.limits.tokens)?;
        parse_query(text).map_err(|error| {
            let position = error.positions().next().map(|at| json!({ "line": at.line, "column": at.column }));
            let refusal = Refusal::new(Code::GraphqlParseFailed, first_line(&error.to_string()));
            match position {
                Some(position) => refusal.details(json!({ "position": position })).into(),
                None => refusal.into(),
            }
        })
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
    let chosen = match wanted.filter(|name| !name.is_empty()) {
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

struct Walk<'a> {
    registry: &'a Registry,
    document: &'a ExecutableDocument,
    /// The same, to be kept.
    shared: &'a Arc<ExecutableDocument>,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    limits: &'a LimitsConfig,
    visits: usize,
    aliases: usize,
    directives: usize,
    /// Fragments around the present selection: a cycle is validation's to report, ours to survive.
    fragments: Vec<&'a str>,
}

impl<'a> Walk<'a> {
    fn operation(&mut self, name: Option<String>) -> Result<Passed> {
        let operation = self.operation;
        let root = match operation.ty {
            OperationType::Query => Some(self.registry.query_type.as_str()),
            OperationType::Mutation => self.registry.mutation_type.as_deref(),
            OperationType::Subscription => self.registry.subscription_type.as_deref(),
        };
        let root_type = root.and_then(|name| self.registry.types.get(name));
        self.count_directives(operation.directives.len())?;
        self.check_required_variables()?;
        let mut roots = Vec::new();
        self.root_fields(&operation.selection_set.node, &mut roots, 0)?;
        if operation.ty == OperationType::Subscription {
            check_subscription(operation)?;
        }
        if roots.len() > self.limits.root_fields {
            return Err(too_complex("fields at the root", roots.len(), self.limits.root_fields));
        }
        // Aliases must not multiply the tries.
        let sign_ins = roots.iter().filter(|name| THROTTLED.contains(name)).count();
        if sign_ins > 1 {
            return Err(
                Refusal::bad_request("At most one field a document that takes a password or a mailed token.").into()
            );
        }
        let prices = self.selection(&operation.selection_set.node, root_type, 1)?;
        let cost = prices.total();
        if cost > self.limits.cost {
            return Err(prices.too_dear(self.limits.cost).into());
        }
        let public = |field: &str| {
            field.starts_with("__")
                || root.and_then(|root| Rule::of_field(self.registry, root, field))
                    == Some(Rule::Access(Access::Public))
        };
        let needs_caller = roots.iter().any(|field| !public(field));
        let roots = if name.is_some() { String::new() } else { listed(&roots) };
        let document = self.shared.clone();
        Ok(Passed { document, operation: operation.ty, name, roots, cost, prices, needs_caller })
    }

    /// Refuses an operation that lacks a variable it requires: the library would run the fields that don't use it.
    fn check_required_variables(&self) -> Result<()> {
        for definition in &self.operation.variable_definitions {
            let (name, required) = (&definition.node.name.node, !definition.node.var_type.node.nullable);
            if required && self.variable(name).is_none_or(|value| *value == Value::Null) {
                let message = format!("The variable `${name}` is required and not set.");
                return Err(Refusal::bad_request(message).details(json!({ "variable": name.as_str() })).into());
            }
        }
        Ok(())
    }

    /// Names of the fields at the root, fragments expanded.
    fn root_fields(&mut self, set: &'a SelectionSet, into: &mut Vec<&'a str>, depth: usize) -> Result<()> {
        for selection in &set.items {
            self.visit()?;
            match &selection.node {
                Selection::Field(field) => into.push(field.node.name.node.as_str()),
                Selection::InlineFragment(inline) => {
                    self.root_fields(&inline.node.selection_set.node, into, depth + 1)?;
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    if let Some(fragment) = fragment.filter(|_| depth < MAX_NESTING) {
                        self.root_fields(&fragment.node.selection_set.node, into, depth + 1)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn visit(&mut self) -> Result<()> {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return Err(too_complex("fields, fragments expanded", self.visits, MAX_VISITS));
        }
        Ok(())
    }

    /// Counts the directives of one place.
    fn count_directives(&mut self, here: usize) -> Result<()> {
        if here > self.limits.directives {
            return Err(too_complex("directives in one place", here, self.limits.directives));
        }
        self.directives += here;
        if self.directives > self.limits.document_directives {
            return Err(too_complex("directives", self.directives, self.limits.document_directives));
        }
        Ok(())
    }

    /// Visits a selection for its size alone.
    fn measure(&mut self, set: &'a SelectionSet) -> Result<()> {
        self.selection(set, None, 1).map(drop)
    }

    /// Prices a selection on a type; `depth` is that of its fields.
    fn selection(&mut self, set: &'a SelectionSet, ty: Option<&'a MetaType>, depth: usize) -> Result<Prices> {
        let mut prices = Prices::default();
        self.selection_into(set, ty, depth, &mut prices)?;
        Ok(prices)
    }

    fn selection_into(
        &mut self,
        set: &'a SelectionSet,
        ty: Option<&'a MetaType>,
        depth: usize,
        prices: &mut Prices,
    ) -> Result<()> {
        for selection in &set.items {
            self.visit()?;
            match &selection.node {
                Selection::Field(field) => {
                    self.count_directives(field.node.directives.len())?;
                    self.aliases += usize::from(field.node.alias.is_some());
                    if self.aliases > self.limits.aliases {
                        return Err(too_complex("aliases", self.aliases, self.limits.aliases));
                    }
                    if depth > self.limits.depth {
                        let message = format!("Fields are nested at most {} deep.", self.limits.depth);
                        return Err(Refusal::new(Code::QueryTooDeep, message)
                            .details(json!({ "limit": self.limits.depth }))
                            .into());
                    }
                    if let Some(price) = self.field(&field.node, ty, depth)? {
                        prices.add(price);
                    }
                }
                Selection::InlineFragment(inline) => {
                    self.count_directives(inline.node.directives.len())?;
                    let condition = inline.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    let ty = condition.map_or(ty, |name| self.registry.types.get(name));
                    self.selection_into(&inline.node.selection_set.node, ty, depth, prices)?;
                }
                Selection::FragmentSpread(spread) => {
                    self.count_directives(spread.node.directives.len())?;
                    let name = spread.node.fragment_name.node.as_str();
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if self.fragments.contains(&name) {
                        continue;
                    }
                    let ty = self.registry.types.get(fragment.node.type_condition.node.on.node.as_str());
                    self.fragments.push(name);
                    self.selection_into(&fragment.node.selection_set.node, ty, depth, prices)?;
                    self.fragments.pop();
                }
            }
        }
        Ok(())
    }

    /// The price of a field with all below it; `None` for what is free.
    fn field(&mut self, field: &'a Field, parent: Option<&'a MetaType>, depth: usize) -> Result<Option<Price>> {
        let name = field.name.node.as_str();
        let set = &field.selection_set.node;
        let priced = |shape, below| Ok(Some(Price::new(field.response_key().node.clone(), shape, below)));
        if name.starts_with("__") {
            self.selection(set, None, depth + 1)?;
            return if name == "__typename" { Ok(None) } else { priced(Shape::Introspection, Prices::default()) };
        }
        let meta = parent.and_then(|parent| parent.field_by_name(name));
        if let Some(meta) = meta {
            self.check_filters(field, meta)?;
        }
        let named = meta.map(|meta| bare(&meta.ty));
        let ty = named.and_then(|name| self.registry.types.get(name));
        let below = self.selection(set, ty, depth + 1)?;
        let parent = parent.map_or("", MetaType::name);
        if parent.ends_with("Connection") {
            return match name {
                "nodes" => priced(Shape::Nodes, below),
                "edges" => priced(Shape::Edges, below),
                "totalCount" => priced(Shape::Count, Prices::default()),
                "pageInfo" => priced(Shape::Page, Prices::default()),
                _ => Ok(None),
            };
        }
        match (meta, name) {
            _ if named.is_some_and(|name| name.ends_with("Connection")) => {
                let shape = Shape::Connection {
                    size: self.page_size(field, DEFAULT_PAGE, MAX_PAGE),
                    count: cost::count_price(parent, name),
                };
                priced(shape, below)
            }
            _ if named == Some("SyncPage") => {
                priced(Shape::Sync(self.page_size(field, DEFAULT_SYNC_PAGE.into(), MAX_SYNC_PAGE.into())), below)
            }
            _ if !ty.is_some_and(MetaType::is_composite) => Ok(None),
            // Those of one; the page multiplies them.
            (_, "nodes") if parent == "SyncPage" => priced(Shape::Named(1), below),
            (_, "nodes") => priced(Shape::Named(self.named(field)), below),
            (Some(meta), _) if meta.ty.starts_with('[') => priced(Shape::List, below),
            _ => priced(Shape::Object, below),
        }
    }

    /// How many objects the argument `ids` names; as many as it may where that can't be seen.
    fn named(&self, field: &Field) -> u64 {
        let ids = field.get_argument("ids").and_then(|ids| match &ids.node {
            AstValue::List(ids) => Some(ids.len()),
            other => match self.resolve(other)? {
                Value::List(ids) => Some(ids.len()),
                _ => None,
            },
        });
        // More are refused by the field itself.
        ids.and_then(|count| u64::try_from(count).ok()).unwrap_or(MAX_PAGE).min(MAX_PAGE)
    }

    /// How many nodes a page may have.
    fn page_size(&self, field: &Field, default: u64, max: u64) -> u64 {
        let asked = ["first", "last"].iter().find_map(|name| {
            let value = &field.get_argument(name)?.node;
            match self.resolve(value)? {
                Value::Number(number) => number.as_u64(),
                _ => None,
            }
        });
        asked.unwrap_or(default).min(max)
    }

    /// A value with its variable, if it is one, replaced; `None` for a variable that is not set.
    fn resolve(&self, value: &AstValue) -> Option<Value> {
        match value {
            AstValue::Variable(name) => self.variable(name).cloned(),
            other => other.clone().into_const(),
        }
    }

    fn variable(&self, name: &Name) -> Option<&Value> {
        self.variables.get(name).or_else(|| {
            let definition = self.definition(name)?;
            definition.default_value.as_ref().map(|value| &value.node)
        })
    }

    fn definition(&self, name: &Name) -> Option<&'a VariableDefinition> {
        let mut definitions = self.operation.variable_definitions.iter();
        definitions.find(|definition| definition.node.name.node == *name).map(|definition| &definition.node)
    }

    // ── filters: nothing may be absent by accident ──

    /// Refuses null and unset variables inside filters: they would widen them.
    fn check_filters(&self, field: &Field, meta: &MetaField) -> Result<()> {
        for (name, value) in &field.arguments {
            let argument = meta.args.get(name.node.as_str());
            if argument.is_some_and(|argument| bare(&argument.ty).ends_with("Filter")) {
                self.check_filter(&value.node, &mut vec![name.node.to_string()])?;
            }
        }
        Ok(())
    }

    fn check_filter(&self, value: &AstValue, path: &mut Vec<String>) -> Result<()> {
        match value {
            AstValue::Null => Err(null_in_filter(path)),
            AstValue::Variable(name) => match self.variable(name) {
                None => Err(null_in_filter(path)),
                Some(value) => check_const(value, path),
            },
            AstValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.check_filter(item, path)?;
                    path.pop();
                }
                Ok(())
            }
            AstValue::Object(fields) => {
                for (name, value) in fields {
                    path.push(name.to_string());
                    self.check_filter(value, path)?;
                    path.pop();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A subscription selects one field, and that directly: the library looks for it nowhere else.
fn check_subscription(operation: &OperationDefinition) -> Result<()> {
    let is_plain = match &operation.selection_set.node.items[..] {
        [one] => match &one.node {
            Selection::Field(field) => {
                field.node.directives.is_empty() && !field.node.name.node.as_str().starts_with("__")
            }
            _ => false,
        },
        _ => false,
    };
    if is_plain {
        return Ok(());
    }
    let message = "A subscription selects exactly one field, without a fragment or a directive around it.";
    Err(Refusal::new(Code::GraphqlValidationFailed, message).into())
}

/// `{ items viewer }`, each field once.
fn listed(roots: &[&str]) -> String {
    let mut text = String::from("{");
    for (place, root) in roots.iter().enumerate() {
        if !roots[..place].contains(root) {
            text.push(' ');
            text.push_str(root);
        }
    }
    text.push_str(" }");
    text
}

fn check_const(value: &Value, path: &mut Vec<String>) -> Result<()> {
    match value {
        Value::Null => Err(null_in_filter(path)),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(index.to_string());
                check_const(item, path)?;
                path.pop();
            }
            Ok(())
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                path.push(name.to_string());
                check_const(value, path)?;
                path.pop();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn null_in_filter(path: &[String]) -> Error {
    let path = path.join(".");
    let message =
        format!("`{path}` is null or an unset variable: a filter would silently widen. Leave it out instead.");
    Refusal::bad_request(message).details(json!({ "argument": path })).into()
}

fn too_complex(what: &str, found: usize, limit: usize) -> Error {
    Refusal::new(Code::QueryTooComplex, format!("A document has at most {limit} {what}; this one has {found} or more."))
        .details(json!({ "limit": limit }))
        .into()
}

/// The name in a type: `[Item!]!` is `Item`.
fn bare(ty: &str) -> &str {
    ty.trim_matches(['[', ']', '!'])
}
