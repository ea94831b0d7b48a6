//! The walk over what will run, for its prices: one operation, its fields collected.

use async_graphql::{
    Name, Value, Variables,
    parser::types::{Field, OperationDefinition, OperationType, Selection, SelectionSet},
    registry::{MetaField, MetaType, Registry},
};
use async_graphql_value::Value as AstValue;
use serde_json::json;

use super::{
    RequestValidator, arguments,
    introspection::{At, Kind, Sizes},
};
use crate::{
    api::{
        cost::{self, Price, Prices, Shape, Weight},
        document::coordinate::about_argument,
    },
    base::{
        config::LimitsConfig,
        error::{Code, Refusal, Result},
        policy::Access,
    },
    data::db::{
        page::{DEFAULT_PAGE, DEFAULT_SYNC_PAGE, MAX_PAGE, MAX_SYNC_PAGE},
        search::MAX_HITS,
    },
    graphql::{
        field_tags::{OF_LEDGER, THROTTLED, has},
        rule::Rule,
        type_name::bare,
    },
};

/// What a selection is on.
#[derive(Clone, Copy)]
enum Parent<'a> {
    Type(&'a MetaType),
    /// Within `__schema`, `__type` or `_service`.
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
    validation: &'a RequestValidator,
    /// Coerced.
    variables: &'a Variables,
    pub visited: arguments::Visited,
    /// Within the nodes of `sync`.
    in_copy: bool,
    /// Objects that the bulk mutation names that is being looked at.
    bulk: u64,
    /// Within its `results`.
    in_results: bool,
    /// Whether every field so far has the tag [`OF_LEDGER`].
    is_of_ledger: bool,
}

/// What the walk found.
pub struct Found<'a> {
    pub prices: Prices,
    /// Names of the fields at the root.
    pub roots: Vec<&'a str>,
    /// Whether any of them needs to know who is calling.
    pub needs_caller: bool,
    /// Whether the answer is the same while the organization's ledger is: see [`OF_LEDGER`].
    pub is_of_ledger: bool,
}

impl<'a> Walk<'a> {
    pub fn new(validation: &'a RequestValidator, variables: &'a Variables) -> Self {
        Self {
            validation,
            variables,
            visited: arguments::Visited::default(),
            in_copy: false,
            bulk: 0,
            in_results: false,
            is_of_ledger: true,
        }
    }

    pub fn registry(&self) -> &'a Registry {
        &self.validation.registry
    }

    fn limits(&self) -> &'a LimitsConfig {
        &self.validation.limits
    }

    /// Prices the operation that will run.
    pub fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Found<'a>> {
        let root = match operation.ty {
            OperationType::Query => Some(self.registry().query_type.as_str()),
            OperationType::Mutation => self.registry().mutation_type.as_deref(),
            OperationType::Subscription => self.registry().subscription_type.as_deref(),
        };
        let root_type = root.and_then(|name| self.registry().types.get(name));
        let selected = operation.selection_set.node.items.iter();
        let roots: Vec<&str> = selected
            .filter_map(|selection| match &selection.node {
                Selection::Field(field) => Some(field.node.name.node.as_str()),
                // The root is an object: no fragment is left on it.
                Selection::InlineFragment(_) | Selection::FragmentSpread(_) => None,
            })
            .collect();
        let limit = self.limits().root_fields;
        if roots.len() > limit {
            let message =
                format!("A document has at most {limit} fields at the root; this one has {} or more.", roots.len());
            return Err(Refusal::new(Code::QueryTooComplex, message).details(json!({ "limit": limit })).into());
        }
        // Aliases must not multiply the tries.
        let is_throttled =
            |name: &&&str| root_type.and_then(|ty| ty.field_by_name(name)).is_some_and(|field| has(field, THROTTLED));
        let sign_ins = roots.iter().filter(is_throttled).count();
        if sign_ins > 1 {
            return Err(
                Refusal::bad_request("At most one field a document that takes a password or a mailed token.").into()
            );
        }
        let prices = self.selection(&operation.selection_set.node, Parent::of(root_type))?;
        let public = |field: &str| {
            field.starts_with("__")
                || root.is_some_and(|root| {
                    matches!(Rule::of_field(self.registry(), root, field), Ok(Some(Rule::Access(Access::Public))))
                })
        };
        let needs_caller = roots.iter().any(|field| !public(field));
        Ok(Found { prices, roots, needs_caller, is_of_ledger: self.is_of_ledger && needs_caller })
    }

    /// Prices a selection.
    fn selection(&mut self, set: &'a SelectionSet, parent: Parent<'a>) -> Result<Prices> {
        let mut prices = Prices::default();
        self.selection_into(set, parent, None, &mut prices)?;
        Ok(prices)
    }

    /// `on`: the type whose objects alone have it, of several possible ones.
    fn selection_into(
        &mut self,
        set: &'a SelectionSet,
        parent: Parent<'a>,
        on: Option<&'a str>,
        prices: &mut Prices,
    ) -> Result<()> {
        for selection in &set.items {
            match &selection.node {
                Selection::Field(field) => match self.field(&field.node, parent)? {
                    Some(price) => prices.add(price, on),
                    None => prices.add_leaf(on),
                },
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    let (parent, on) = condition.map_or((parent, on), |name| self.narrowed(parent, on, name));
                    self.selection_into(&inline.node.selection_set.node, parent, on, prices)?;
                }
                // What is collected has none.
                Selection::FragmentSpread(_) => {}
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
    fn field(&mut self, field: &'a Field, parent: Parent<'a>) -> Result<Option<Price>> {
        let name = field.name.node.as_str();
        if let Parent::Introspection(at) = parent {
            return self.introspected(field, at).map(Some);
        }
        match name {
            "__schema" | "__type" | "_service" => self.is_of_ledger = false,
            _ => {}
        }
        match name {
            "__schema" => return self.introspection(field, Kind::Schema).map(Some),
            "__type" => return self.introspection(field, Kind::Type { each: false, wraps: 0 }).map(Some),
            "_service" => return self.introspection(field, Kind::Service).map(Some),
            _ => {}
        }
        let parent = parent.ty();
        let meta = parent.and_then(|parent| parent.field_by_name(name));
        self.is_of_ledger &= name == "__typename" || meta.is_some_and(|meta| has(meta, OF_LEDGER));
        let parent = parent.map_or("", MetaType::name);
        let is_mutation = self.registry().mutation_type.as_deref() == Some(parent);
        let weight = match meta {
            Some(meta) => arguments::weigh(self, field, meta, is_mutation)
                .map_err(|error| about_argument(error, self.registry(), parent, meta))?,
            None => Weight::default(),
        };
        let ty = meta.and_then(|meta| self.registry().types.get(bare(&meta.ty)));
        let (was_in_copy, was_in_results) = (self.in_copy, self.in_results);
        self.in_copy |= parent == "SyncPage";
        self.in_results |= parent.ends_with("BulkPayload");
        if is_mutation {
            self.bulk = weight.objects + weight.named;
        }
        let below = self.selection(&field.selection_set.node, Parent::of(ty))?;
        (self.in_copy, self.in_results) = (was_in_copy, was_in_results);
        let shape = meta.and_then(|meta| self.shape(field, parent, meta, &below));
        Ok(shape.map(|shape| {
            let below = if matches!(shape, Shape::Count | Shape::Page) { Prices::default() } else { below };
            Price::new(field.response_key().node.clone(), shape, weight, below)
        }))
    }

    /// What a field answers with, with its sizes; `None` for what is free.
    fn shape(&self, field: &Field, parent: &str, meta: &MetaField, below: &Prices) -> Option<Shape> {
        Some(match cost::Kind::of(self.registry(), parent, meta) {
            cost::Kind::Leaf => return None,
            cost::Kind::Nodes => Shape::Nodes,
            cost::Kind::Edges => Shape::Edges,
            cost::Kind::Count => Shape::Count,
            cost::Kind::Page => Shape::Page,
            cost::Kind::Connection(count) => {
                let size = self.page_size(field, DEFAULT_PAGE, MAX_PAGE);
                let is_cheap = self.in_copy && below.has_plain_nodes();
                let size = if is_cheap { size.div_ceil(cost::REFERENCES_PER_POINT) } else { size };
                Shape::Connection { size, count }
            }
            cost::Kind::Sync => Shape::Sync(self.page_size(field, DEFAULT_SYNC_PAGE.into(), MAX_SYNC_PAGE.into())),
            // Those of one; the page multiplies them.
            cost::Kind::SyncNodes => Shape::Named(1),
            cost::Kind::Hits => Shape::Named(self.page_size(field, DEFAULT_PAGE, MAX_HITS)),
            cost::Kind::Named => Shape::Named(self.named(field)),
            cost::Kind::Results if below.is_plain() => return None,
            cost::Kind::Results => Shape::Named(self.bulk),
            cost::Kind::List | cost::Kind::Object if self.in_results && below.is_plain() => return None,
            cost::Kind::List if self.in_copy && below.is_plain() => Shape::References,
            cost::Kind::Object if self.in_copy && below.is_plain() => return None,
            cost::Kind::List => Shape::List,
            cost::Kind::Object => Shape::Object,
        })
    }

    /// `__schema`, `__type` or `_service`.
    fn introspection(&mut self, field: &'a Field, kind: Kind) -> Result<Price> {
        if !self.validation.has_introspection {
            let message = "This server answers no introspection (TODO_SERVER_INTROSPECTION).";
            return Err(Refusal::new(Code::GraphqlValidationFailed, message).into());
        }
        let values = self.selection(&field.selection_set.node, Parent::Introspection(At::of(kind)))?.total();
        let key = field.response_key().node.clone();
        Ok(Price::new(key, Shape::Introspection(values), Weight::default(), Prices::default()))
    }

    /// The values of a field within an introspection.
    fn introspected(&mut self, field: &'a Field, at: At) -> Result<Price> {
        let sizes: &'a Sizes = &self.validation.sizes;
        let (below, (times, of)) = sizes.step(at, field.name.node.as_str())?;
        let one = self.selection(&field.selection_set.node, Parent::Introspection(below))?.total();
        let values = one.saturating_add(1).saturating_mul(times).div_ceil(of);
        Ok(Price::of_values(field.response_key().node.clone(), values))
    }

    /// How many objects the argument names; as many as it may where that can't be seen.
    fn named(&self, field: &Field) -> u64 {
        let named = ["ids", "representations"].iter().find_map(|name| match &field.get_argument(name)?.node {
            AstValue::List(named) => Some(named.len()),
            other => match self.resolve(other)? {
                Value::List(named) => Some(named.len()),
                _ => None,
            },
        });
        // More are refused by the field itself.
        named.and_then(|count| u64::try_from(count).ok()).unwrap_or(MAX_PAGE).min(MAX_PAGE)
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

    /// What a variable holds.
    pub fn variable(&self, name: &Name) -> Option<&'a Value> {
        self.variables.get(name)
    }
}
