//! The walk over an operation's selections: sizes, depth, and prices, fragments expanded.

use std::sync::Arc;

use async_graphql::{
    Name, Value, Variables,
    parser::types::{
        ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet, VariableDefinition,
    },
    registry::{MetaField, MetaType, Registry},
};
use async_graphql_value::Value as AstValue;
use serde_json::json;

use super::{
    Gate, Passed, arguments, bare,
    introspection::{At, Kind, Sizes},
    too_complex,
};
use crate::{
    auth::policy::Access,
    config::LimitsConfig,
    db::page::{DEFAULT_PAGE, DEFAULT_SYNC_PAGE, MAX_PAGE, MAX_SYNC_PAGE},
    error::{Code, Refusal, Result},
    graphql::{
        cost::{self, Price, Prices, Shape, Weight},
        guard::Rule,
        tokens::MAX_NESTING,
    },
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

/// What a selection is on.
#[derive(Clone, Copy)]
enum Parent<'a> {
    Type(&'a MetaType),
    /// Within `__schema` or `__type`.
    Introspection(At),
    /// Nothing that is known: validation will say so.
    Unknown,
}

impl<'a> Parent<'a> {
    fn of(ty: Option<&'a MetaType>) -> Self {
        ty.map_or(Self::Unknown, Self::Type)
    }

    const fn ty(self) -> Option<&'a MetaType> {
        match self {
            Self::Type(ty) => Some(ty),
            Self::Introspection(_) | Self::Unknown => None,
        }
    }
}

pub struct Walk<'a> {
    gate: &'a Gate,
    /// To be kept with what passes.
    document: &'a Arc<ExecutableDocument>,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    visits: usize,
    aliases: usize,
    directives: usize,
    pub visited: arguments::Visited,
    /// Fragments around the present selection: a cycle is validation's to report, ours to survive.
    fragments: Vec<&'a str>,
    /// Within the nodes of `sync`.
    in_copy: bool,
}

impl<'a> Walk<'a> {
    pub fn new(
        gate: &'a Gate,
        document: &'a Arc<ExecutableDocument>,
        operation: &'a OperationDefinition,
        variables: &'a Variables,
    ) -> Self {
        Self {
            gate,
            document,
            operation,
            variables,
            visits: 0,
            aliases: 0,
            directives: 0,
            visited: arguments::Visited::default(),
            fragments: Vec::new(),
            in_copy: false,
        }
    }

    pub fn registry(&self) -> &'a Registry {
        &self.gate.registry
    }

    fn limits(&self) -> &'a LimitsConfig {
        &self.gate.limits
    }

    /// Prices the operation that will run.
    pub fn operation(&mut self, name: Option<String>) -> Result<Passed> {
        let operation = self.operation;
        let root = match operation.ty {
            OperationType::Query => Some(self.registry().query_type.as_str()),
            OperationType::Mutation => self.registry().mutation_type.as_deref(),
            OperationType::Subscription => self.registry().subscription_type.as_deref(),
        };
        let root_type = root.and_then(|name| self.registry().types.get(name));
        self.count_directives(operation.directives.len())?;
        self.check_variables()?;
        let mut roots = Vec::new();
        self.root_fields(&operation.selection_set.node, &mut roots, 0)?;
        if operation.ty == OperationType::Subscription {
            check_subscription(operation)?;
        }
        if roots.len() > self.limits().root_fields {
            return Err(too_complex("fields at the root", roots.len(), self.limits().root_fields).into());
        }
        // Aliases must not multiply the tries.
        let sign_ins = roots.iter().filter(|name| THROTTLED.contains(name)).count();
        if sign_ins > 1 {
            return Err(
                Refusal::bad_request("At most one field a document that takes a password or a mailed token.").into()
            );
        }
        let prices = self.selection(&operation.selection_set.node, Parent::of(root_type), 1)?;
        let cost = prices.total();
        if cost > self.limits().cost {
            return Err(prices.too_dear(self.limits().cost).into());
        }
        let public = |field: &str| {
            field.starts_with("__")
                || root.and_then(|root| Rule::of_field(self.registry(), root, field))
                    == Some(Rule::Access(Access::Public))
        };
        let needs_caller = roots.iter().any(|field| !public(field));
        let roots = if name.is_some() { String::new() } else { listed(&roots) };
        let document = self.document.clone();
        Ok(Passed { document, operation: operation.ty, name, roots, cost, prices, needs_caller, new: None })
    }

    /// Refuses an operation that lacks a variable it requires: the library would run the fields that don't use it.
    fn check_variables(&mut self) -> Result<()> {
        for definition in &self.operation.variable_definitions {
            if let Some(value) = &definition.node.default_value {
                let (name, ty) = (definition.node.name.node.as_str(), definition.node.var_type.node.to_string());
                arguments::check_default(self, &value.node, &ty, name, value.pos)?;
            }
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
            return Err(too_complex("fields, fragments expanded", self.visits, MAX_VISITS).into());
        }
        Ok(())
    }

    /// Counts the directives of one place.
    fn count_directives(&mut self, here: usize) -> Result<()> {
        if here > self.limits().directives {
            return Err(too_complex("directives in one place", here, self.limits().directives).into());
        }
        self.directives += here;
        if self.directives > self.limits().document_directives {
            return Err(too_complex("directives", self.directives, self.limits().document_directives).into());
        }
        Ok(())
    }

    /// Visits an operation that won't run, for its size alone.
    pub fn measure(&mut self, operation: &'a OperationDefinition) -> Result<()> {
        self.operation = operation;
        self.count_directives(operation.directives.len())?;
        self.selection(&operation.selection_set.node, Parent::Unknown, 1).map(drop)
    }

    /// Prices a selection; `depth` is that of its fields.
    fn selection(&mut self, set: &'a SelectionSet, parent: Parent<'a>, depth: usize) -> Result<Prices> {
        let mut prices = Prices::default();
        self.selection_into(set, parent, None, depth, &mut prices)?;
        Ok(prices)
    }

    /// `on`: the type whose objects alone have it, of several possible ones.
    fn selection_into(
        &mut self,
        set: &'a SelectionSet,
        parent: Parent<'a>,
        on: Option<&'a str>,
        depth: usize,
        prices: &mut Prices,
    ) -> Result<()> {
        for selection in &set.items {
            self.visit()?;
            match &selection.node {
                Selection::Field(field) => {
                    self.count_directives(field.node.directives.len())?;
                    self.aliases += usize::from(field.node.alias.is_some());
                    if self.aliases > self.limits().aliases {
                        return Err(too_complex("aliases", self.aliases, self.limits().aliases).into());
                    }
                    if depth > self.limits().depth {
                        let message = format!("Fields are nested at most {} deep.", self.limits().depth);
                        return Err(Refusal::new(Code::QueryTooDeep, message)
                            .details(json!({ "limit": self.limits().depth }))
                            .into());
                    }
                    match self.field(&field.node, parent, depth)? {
                        Some(price) => prices.add(price, on),
                        None => prices.add_leaf(on),
                    }
                }
                Selection::InlineFragment(inline) => {
                    self.count_directives(inline.node.directives.len())?;
                    let condition = inline.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    let (parent, on) = condition.map_or((parent, on), |name| self.narrowed(parent, on, name));
                    self.selection_into(&inline.node.selection_set.node, parent, on, depth, prices)?;
                }
                Selection::FragmentSpread(spread) => {
                    self.count_directives(spread.node.directives.len())?;
                    let name = spread.node.fragment_name.node.as_str();
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if self.fragments.contains(&name) {
                        continue;
                    }
                    let condition = fragment.node.type_condition.node.on.node.as_str();
                    let (parent, on) = self.narrowed(parent, on, condition);
                    self.fragments.push(name);
                    self.selection_into(&fragment.node.selection_set.node, parent, on, depth, prices)?;
                    self.fragments.pop();
                }
            }
        }
        Ok(())
    }

    /// What a fragment on a type is on, within a selection.
    fn narrowed(&self, parent: Parent<'a>, on: Option<&'a str>, name: &'a str) -> (Parent<'a>, Option<&'a str>) {
        if let Parent::Introspection(_) = parent {
            return (parent, on);
        }
        let ty = self.registry().types.get(name);
        let was_abstract = parent.ty().is_some_and(MetaType::is_abstract);
        let is_object = matches!(ty, Some(MetaType::Object { .. }));
        (Parent::of(ty), if was_abstract && is_object { Some(name) } else { on })
    }

    /// The price of a field with all below it; `None` for what is free.
    fn field(&mut self, field: &'a Field, parent: Parent<'a>, depth: usize) -> Result<Option<Price>> {
        let name = field.name.node.as_str();
        if let Parent::Introspection(at) = parent {
            return self.introspected(field, at, depth).map(Some);
        }
        match name {
            "__schema" => return self.introspection(field, Kind::Schema, depth).map(Some),
            "__type" => return self.introspection(field, Kind::Type { each: false, wraps: 0 }, depth).map(Some),
            _ => {}
        }
        let parent = parent.ty();
        let meta = parent.and_then(|parent| parent.field_by_name(name));
        let parent = parent.map_or("", MetaType::name);
        let is_mutation = self.registry().mutation_type.as_deref() == Some(parent);
        let weight = meta.map(|meta| arguments::weigh(self, field, meta, is_mutation)).transpose()?.unwrap_or_default();
        let ty = meta.and_then(|meta| self.registry().types.get(bare(&meta.ty)));
        let was_in_copy = self.in_copy;
        self.in_copy |= parent == "SyncPage";
        let below = self.selection(&field.selection_set.node, Parent::of(ty), depth + 1)?;
        self.in_copy = was_in_copy;
        let shape = self.shape(field, parent, meta, ty, &below);
        Ok(shape.map(|shape| {
            let below = if matches!(shape, Shape::Count | Shape::Page) { Prices::default() } else { below };
            Price::new(field.response_key().node.clone(), shape, weight, below)
        }))
    }

    /// What a field answers with; `None` for what is free.
    fn shape(
        &self,
        field: &Field,
        parent: &str,
        meta: Option<&MetaField>,
        ty: Option<&MetaType>,
        below: &Prices,
    ) -> Option<Shape> {
        let name = field.name.node.as_str();
        if parent.ends_with("Connection") {
            return match name {
                "nodes" => Some(Shape::Nodes),
                "edges" => Some(Shape::Edges),
                "totalCount" => Some(Shape::Count),
                "pageInfo" => Some(Shape::Page),
                _ => None,
            };
        }
        let named = meta.map(|meta| bare(&meta.ty)).unwrap_or_default();
        let is_list = meta.is_some_and(|meta| meta.ty.starts_with('['));
        match name {
            _ if named.ends_with("Connection") => {
                let size = self.page_size(field, DEFAULT_PAGE, MAX_PAGE);
                let is_cheap = self.in_copy && below.has_plain_nodes();
                let size = if is_cheap { size.div_ceil(cost::REFERENCES_PER_POINT) } else { size };
                Some(Shape::Connection { size, count: cost::count_price(parent, name) })
            }
            _ if named == "SyncPage" => {
                Some(Shape::Sync(self.page_size(field, DEFAULT_SYNC_PAGE.into(), MAX_SYNC_PAGE.into())))
            }
            _ if !ty.is_some_and(MetaType::is_composite) => None,
            // Those of one; the page multiplies them.
            "nodes" if parent == "SyncPage" => Some(Shape::Named(1)),
            "nodes" => Some(Shape::Named(self.named(field))),
            _ if self.in_copy && below.is_plain() => is_list.then_some(Shape::References),
            _ if is_list => Some(Shape::List),
            _ => Some(Shape::Object),
        }
    }

    /// `__schema` or `__type`.
    fn introspection(&mut self, field: &'a Field, kind: Kind, depth: usize) -> Result<Price> {
        if !self.gate.has_introspection {
            let message = "This server answers no introspection (TODO_SERVER_INTROSPECTION).";
            return Err(Refusal::new(Code::GraphqlValidationFailed, message).into());
        }
        let values = self.selection(&field.selection_set.node, Parent::Introspection(At::of(kind)), depth + 1)?.total();
        let key = field.response_key().node.clone();
        Ok(Price::new(key, Shape::Introspection(values), Weight::default(), Prices::default()))
    }

    /// The values of a field within an introspection.
    fn introspected(&mut self, field: &'a Field, at: At, depth: usize) -> Result<Price> {
        let sizes: &'a Sizes = &self.gate.sizes;
        let (below, (times, of)) = sizes.step(at, field.name.node.as_str())?;
        let one = self.selection(&field.selection_set.node, Parent::Introspection(below), depth + 1)?.total();
        let values = one.saturating_add(1).saturating_mul(times).div_ceil(of);
        Ok(Price::of_values(field.response_key().node.clone(), values))
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

    /// What a variable holds: what was sent, or its default.
    pub fn variable(&self, name: &Name) -> Option<&'a Value> {
        self.variables.get(name).or_else(|| {
            let definition = self.definition(name)?;
            definition.default_value.as_ref().map(|value| &value.node)
        })
    }

    fn definition(&self, name: &Name) -> Option<&'a VariableDefinition> {
        let mut definitions = self.operation.variable_definitions.iter();
        definitions.find(|definition| definition.node.name.node == *name).map(|definition| &definition.node)
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
