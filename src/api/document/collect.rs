//! What will run: fields collected and merged as the specification's CollectFields and MergeSelectionSets have it, with
//! `@skip` and `@include` resolved, and arguments left out whose variable is not set.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use apollo_compiler::{Schema, schema::ExtendedType};
use async_graphql::{
    Name, Pos, Positioned, Value as ConstValue, Variables,
    parser::types::{
        Directive, DocumentOperations, ExecutableDocument, Field, InlineFragment, OperationDefinition, OperationType,
        Selection, SelectionSet, TypeCondition,
    },
    registry::{MetaField, MetaType, Registry},
};
use async_graphql_value::{
    Value,
    indexmap::{IndexMap, IndexSet},
};
use serde_json::json;

use super::{Document, Operation, measure::MAX_VISITS, path::Path};
use crate::{
    api::document::coordinate::about_argument,
    base::error::{Code, Error, Refusal, Result},
    graphql::{filter::null_in_filter, type_name::bare},
};

/// What was collected first, for all requests whose variables are in the same states: most documents have but one.
#[derive(Debug, Default)]
pub struct Memo(OnceLock<(Vec<State>, Arc<ExecutableDocument>)>);

/// As much of a variable's value as decides on what is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unset,
    Null,
    Flag(bool),
    Value,
}

impl State {
    fn of(value: Option<&ConstValue>) -> Self {
        match value {
            None => Self::Unset,
            Some(ConstValue::Null) => Self::Null,
            Some(ConstValue::Boolean(flag)) => Self::Flag(*flag),
            Some(_) => Self::Value,
        }
    }
}

/// The object types of each abstract type, by name.
pub type Possible = HashMap<String, IndexSet<String>>;

pub fn possible(schema: &Schema) -> Possible {
    let mut possible = Possible::new();
    for (name, ty) in &schema.types {
        match ty {
            ExtendedType::Object(object) => {
                for interface in &object.implements_interfaces {
                    possible.entry(interface.to_string()).or_default().insert(name.to_string());
                }
            }
            ExtendedType::Union(union) => {
                let members = union.members.iter().map(ToString::to_string);
                possible.entry(name.to_string()).or_default().extend(members);
            }
            _ => {}
        }
    }
    possible
}

pub fn collected(
    document: &Document,
    operation: &Operation,
    (registry, possible): (&Registry, &Possible),
    variables: &Variables,
) -> Result<Arc<ExecutableDocument>> {
    let states = operation.variables.iter().map(|variable| State::of(variables.get(&variable.name)));
    let states: Vec<State> = states.collect();
    if let Some((of, known)) = operation.collected.0.get()
        && *of == states
    {
        return Ok(known.clone());
    }
    let definition = &operation.definition;
    let root = match definition.node.ty {
        OperationType::Query => Some(registry.query_type.as_str()),
        OperationType::Mutation => registry.mutation_type.as_deref(),
        OperationType::Subscription => registry.subscription_type.as_deref(),
    };
    let root = root.and_then(|name| registry.types.get(name));
    let mut collector = Collector { document, registry, possible, variables, produced: 0 };
    let selection_set = &definition.node.selection_set;
    let items = collector.selections(&[&selection_set.node], root)?;
    let runs = OperationDefinition {
        ty: definition.node.ty,
        variable_definitions: definition.node.variable_definitions.clone(),
        directives: Vec::new(),
        selection_set: Positioned::new(SelectionSet { items }, selection_set.pos),
    };
    let runs = Positioned::new(runs, definition.pos);
    let collected = Arc::new(ExecutableDocument {
        operations: match &operation.name {
            Some(name) => DocumentOperations::Multiple([(name.clone(), runs)].into()),
            None => DocumentOperations::Single(runs),
        },
        fragments: Default::default(),
    });
    // It is weighed by its tokens: what fragments have made larger than that is collected anew.
    if collector.produced <= document.tokens {
        let _ = operation.collected.0.set((states, collected.clone()));
    }
    Ok(collected)
}

struct Collector<'d> {
    document: &'d Document,
    registry: &'d Registry,
    possible: &'d Possible,
    variables: &'d Variables,
    /// Fields so far.
    produced: usize,
}

/// Fields of one response key, of which one is made. `on`: the type whose objects alone have it, of several possible ones.
type Groups<'d> = IndexMap<(&'d str, Option<&'d str>), Vec<&'d Positioned<Field>>>;

impl<'d> Collector<'d> {
    /// The selections of objects of a type, from all that was selected of one.
    fn selections(
        &mut self,
        sets: &[&'d SelectionSet],
        parent: Option<&'d MetaType>,
    ) -> Result<Vec<Positioned<Selection>>> {
        let Some(possible) = parent.and_then(|parent| self.possible.get(parent.name())) else {
            let mut groups = Groups::default();
            let object = parent.map(MetaType::name);
            sets.iter().try_for_each(|set| self.gather(set, object, &mut groups, &mut HashSet::new()))?;
            return self.fields(groups, parent);
        };
        let parent_name = parent.map_or("", MetaType::name);
        if let Some(groups) = self.gather_in_place(sets, parent_name)? {
            return self.fields(groups, parent);
        }
        // The same key for all of them and for one: each type is told apart.
        let mut selections = Vec::new();
        for name in possible {
            let mut groups = Groups::default();
            sets.iter().try_for_each(|set| self.gather(set, Some(name), &mut groups, &mut HashSet::new()))?;
            let fields = self.fields(groups, self.registry.types.get(name))?;
            selections.extend(on_type(name, fields));
        }
        Ok(selections)
    }

    /// One selection for each group, in order; those on a type within a fragment.
    fn fields(&mut self, groups: Groups<'d>, parent: Option<&'d MetaType>) -> Result<Vec<Positioned<Selection>>> {
        let mut selections = Vec::with_capacity(groups.len());
        let mut narrowed: Option<(&'d str, Vec<Positioned<Selection>>)> = None;
        for ((_, on), fields) in groups {
            let ty = on.map_or(parent, |on| self.registry.types.get(on));
            let field = self.field(&fields, ty)?;
            if let Some((name, inside)) = narrowed.take_if(|(name, _)| on != Some(name)) {
                selections.extend(on_type(name, inside));
            }
            match (on, &mut narrowed) {
                (None, _) => selections.push(field),
                (Some(_), Some((_, inside))) => inside.push(field),
                (Some(on), narrowed) => *narrowed = Some((on, vec![field])),
            }
        }
        if let Some((name, inside)) = narrowed {
            selections.extend(on_type(name, inside));
        }
        Ok(selections)
    }

    fn field(
        &mut self,
        fields: &[&'d Positioned<Field>],
        parent: Option<&'d MetaType>,
    ) -> Result<Positioned<Selection>> {
        self.produced += 1;
        if self.produced > MAX_VISITS {
            let message = format!("A document has at most {MAX_VISITS} fields, merged for each type.");
            return Err(Refusal::new(Code::QueryTooComplex, message).details(json!({ "limit": MAX_VISITS })).into());
        }
        let first = fields[0];
        let meta = parent.and_then(|parent| parent.field_by_name(&first.node.name.node));
        let ty = meta.and_then(|meta| self.registry.types.get(bare(&meta.ty)));
        let sets: Vec<&SelectionSet> = fields.iter().map(|field| &field.node.selection_set.node).collect();
        let field = Field {
            alias: first.node.alias.clone(),
            name: first.node.name.clone(),
            arguments: self.arguments(&first.node, meta).map_err(|error| match (parent, meta) {
                (Some(parent), Some(meta)) => about_argument(error, self.registry, parent.name(), meta),
                _ => error,
            })?,
            directives: Vec::new(),
            selection_set: Positioned::new(
                SelectionSet { items: self.selections(&sets, ty)? },
                first.node.selection_set.pos,
            ),
        };
        Ok(Positioned::new(Selection::Field(Positioned::new(field, first.pos)), first.pos))
    }

    /// CollectFields for one object type; every fragment's for one that is not in the registry, which has but objects
    /// (introspection).
    fn gather(
        &self,
        set: &'d SelectionSet,
        object: Option<&str>,
        groups: &mut Groups<'d>,
        seen: &mut HashSet<&'d str>,
    ) -> Result<()> {
        let applies = |condition: &Name| object.is_none_or(|object| self.applies(condition, object));
        for selection in &set.items {
            if !self.is_included(selection.node.directives())? {
                continue;
            }
            match &selection.node {
                Selection::Field(field) => {
                    groups.entry((field.node.response_key().node.as_str(), None)).or_default().push(field);
                }
                Selection::InlineFragment(inline) => {
                    if inline.node.type_condition.as_ref().is_none_or(|on| applies(&on.node.on.node)) {
                        self.gather(&inline.node.selection_set.node, object, groups, seen)?;
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if let Some(fragment) = self.document.fragments.get(name)
                        && seen.insert(name)
                        && applies(&fragment.type_condition.node.on.node)
                    {
                        self.gather(&fragment.selection_set.node, object, groups, seen)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The same for an abstract type, as long as each key is either for all of its objects or for those of one type; `None`
    /// where that is not so.
    fn gather_in_place(&self, sets: &[&'d SelectionSet], parent: &'d str) -> Result<Option<Groups<'d>>> {
        let mut gathered = InPlace { groups: Groups::default(), narrowed: HashSet::new(), seen: HashSet::new() };
        for set in sets {
            if !self.gather_narrowed(set, parent, None, &mut gathered)? {
                return Ok(None);
            }
        }
        Ok(Some(gathered.groups))
    }

    /// False where it can't be written in place.
    fn gather_narrowed(
        &self,
        set: &'d SelectionSet,
        parent: &'d str,
        on: Option<&'d str>,
        into: &mut InPlace<'d>,
    ) -> Result<bool> {
        for selection in &set.items {
            if !self.is_included(selection.node.directives())? {
                continue;
            }
            let (condition, below) = match &selection.node {
                Selection::Field(field) => {
                    if !into.add(field, on) {
                        return Ok(false);
                    }
                    continue;
                }
                Selection::InlineFragment(inline) => {
                    let condition = inline.node.type_condition.as_ref().map(|on| &on.node.on.node);
                    (condition, &inline.node.selection_set.node)
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    let Some(fragment) = self.document.fragments.get(name) else { continue };
                    if !into.seen.insert((name, on)) {
                        continue;
                    }
                    (Some(&fragment.type_condition.node.on.node), &fragment.selection_set.node)
                }
            };
            let narrowed = match condition {
                None => Narrowed::To(on),
                Some(condition) => self.narrow(condition, parent, on),
            };
            match narrowed {
                Narrowed::To(on) => {
                    if !self.gather_narrowed(below, parent, on, into)? {
                        return Ok(false);
                    }
                }
                Narrowed::Nothing => {}
                Narrowed::Some => return Ok(false),
            }
        }
        Ok(true)
    }

    fn narrow(&self, condition: &'d Name, parent: &'d str, on: Option<&'d str>) -> Narrowed<'d> {
        if let Some(object) = on {
            return if self.applies(condition, object) { Narrowed::To(on) } else { Narrowed::Nothing };
        }
        let Some(of_parent) = self.possible.get(parent).filter(|_| condition != parent) else {
            return Narrowed::To(None);
        };
        let mut matching = of_parent.iter().filter(|object| self.applies(condition, object));
        match (matching.next(), matching.next(), matching.count()) {
            (None, ..) => Narrowed::Nothing,
            (Some(only), None, _) => Narrowed::To(Some(only)),
            (_, _, more) if more + 2 == of_parent.len() => Narrowed::To(None),
            _ => Narrowed::Some,
        }
    }

    /// Whether a fragment on a type is for objects of another.
    fn applies(&self, condition: &str, object: &str) -> bool {
        condition == object || self.possible.get(condition).is_some_and(|possible| possible.contains(object))
    }

    fn is_included(&self, directives: &[Positioned<Directive>]) -> Result<bool> {
        let mut is_included = true;
        for directive in directives {
            let (name, position) = (directive.node.name.node.as_str(), directive.pos);
            let flag = directive.node.get_argument("if").map(|value| &value.node);
            let flag = match flag {
                Some(Value::Variable(variable)) => match self.variables.get(variable) {
                    Some(ConstValue::Boolean(flag)) => *flag,
                    _ => return Err(null_for_non_null(&Path::of("if"), "Boolean!", position)),
                },
                Some(Value::Boolean(flag)) => *flag,
                _ => continue,
            };
            is_included &= flag == (name == "include");
        }
        Ok(is_included)
    }

    fn arguments(
        &self,
        field: &'d Field,
        meta: Option<&'d MetaField>,
    ) -> Result<Vec<(Positioned<Name>, Positioned<Value>)>> {
        let mut arguments = Vec::with_capacity(field.arguments.len());
        for (name, value) in &field.arguments {
            let ty = meta.and_then(|meta| meta.args.get(name.node.as_str())).map_or("", |argument| &argument.ty);
            // A filter left out, as a whole, is none; within one, what is left out would widen it.
            let place = Place { ty, in_filter: false, position: value.pos };
            if let Some(given) = self.literal(&value.node, place, &Path::of(&name.node))? {
                arguments.push((name.clone(), Positioned::new(given, value.pos)));
            }
        }
        Ok(arguments)
    }

    /// A literal with what its variables leave of it; `None` for a variable that is not set.
    fn literal(&self, value: &Value, place: Place<'_>, path: &Path<'_>) -> Result<Option<Value>> {
        let input = self.registry.types.get(bare(place.ty));
        Ok(Some(match value {
            Value::Variable(variable) => match self.variables.get(variable) {
                None | Some(ConstValue::Null) if place.in_filter => return Err(null_in_filter(path)),
                None => return Ok(None),
                Some(ConstValue::Null) if place.ty.ends_with('!') => {
                    return Err(null_for_non_null(path, place.ty, place.position));
                }
                Some(_) => value.clone(),
            },
            Value::List(items) => {
                let item_type = place.ty.trim_end_matches('!').trim_start_matches('[');
                let item_type = item_type.strip_suffix(']').unwrap_or(item_type);
                let place = Place { ty: item_type, in_filter: place.in_filter || is_filter(place.ty), ..place };
                let items = items.iter().enumerate().map(|(index, item)| {
                    let path = path.index(index);
                    match self.literal(item, place, &path)? {
                        Some(item) => Ok(item),
                        None if item_type.ends_with('!') => Err(null_for_non_null(&path, item_type, place.position)),
                        None => Ok(Value::Null),
                    }
                });
                Value::List(items.collect::<Result<_>>()?)
            }
            Value::Object(fields) => {
                let known = match input {
                    Some(MetaType::InputObject { input_fields, .. }) => Some(input_fields),
                    _ => None,
                };
                let in_filter = place.in_filter || is_filter(place.ty);
                let mut given = IndexMap::with_capacity(fields.len());
                for (name, field) in fields {
                    let ty = known.and_then(|known| known.get(name.as_str())).map_or("", |known| &known.ty);
                    if let Some(value) = self.literal(field, Place { ty, in_filter, ..place }, &path.name(name))? {
                        given.insert(name.clone(), value);
                    }
                }
                Value::Object(given)
            }
            other => other.clone(),
        }))
    }
}

/// Where a literal stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    ty: &'p str,
    in_filter: bool,
    position: Pos,
}

/// What a condition leaves of an abstract type's objects.
enum Narrowed<'d> {
    /// All, or those of one type.
    To(Option<&'d str>),
    Nothing,
    /// Those of several types.
    Some,
}

/// What [`Collector::gather_in_place`] has gathered.
struct InPlace<'d> {
    groups: Groups<'d>,
    /// Keys that are for one type.
    narrowed: HashSet<&'d str>,
    seen: HashSet<(&'d Name, Option<&'d str>)>,
}

impl<'d> InPlace<'d> {
    /// False where a key is both for all and for one type, and that can't be made one.
    fn add(&mut self, field: &'d Positioned<Field>, on: Option<&'d str>) -> bool {
        let key = field.node.response_key().node.as_str();
        if on.is_some() {
            if self.groups.contains_key(&(key, None)) {
                // It is the same field, or it would not have been valid, and nothing is below it that could differ.
                return field.node.selection_set.node.items.is_empty();
            }
            self.narrowed.insert(key);
        } else if self.narrowed.contains(key) {
            return false;
        }
        self.groups.entry((key, on)).or_default().push(field);
        true
    }
}

/// A fragment on a type, unless it is empty.
fn on_type(name: &str, items: Vec<Positioned<Selection>>) -> Option<Positioned<Selection>> {
    let position = items.first()?.pos;
    let on = Positioned::new(Name::new(name), position);
    let fragment = InlineFragment {
        type_condition: Some(Positioned::new(TypeCondition { on }, position)),
        directives: Vec::new(),
        selection_set: Positioned::new(SelectionSet { items }, position),
    };
    Some(Positioned::new(Selection::InlineFragment(Positioned::new(fragment, position)), position))
}

fn is_filter(ty: &str) -> bool {
    bare(ty).ends_with("Filter")
}

fn null_for_non_null(path: &Path<'_>, ty: &str, position: Pos) -> Error {
    let path = path.to_string();
    let message = format!("`{path}` is given a variable that is null, and its type is {ty}.");
    Refusal::bad_request(message).details(json!({ "argument": path })).at(position).into()
}
