//! Where in the schema something is, by its coordinate, as the specification writes them (September 2025): `Item.title`,
//! `Query.items(first:)`, `@skip(if:)`. Errors say it as `extensions.coordinate`. This is the one place that makes them.
//!
//! A coordinate names what the schema has. Of a name that it has not, the type, the field or the directive is told where it
//! was looked for; not even that where the schema is not shown (`TODO_SERVER_INTROSPECTION`), as with suggestions.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use async_graphql::{
    ErrorExtensionValues, Pos, ServerError, Value,
    parser::types::{Field, OperationType, Selection, SelectionSet},
    registry::{MetaField, MetaType, Registry},
};

use super::{Document, Operation};
use crate::{base::error::Error, graphql::type_name::bare};

/// An element of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinate<'n> {
    Type(&'n str),
    /// A field of an object, an interface or an input, or a value of an enum.
    Member(&'n str, &'n str),
    /// Of a field.
    Argument(&'n str, &'n str, &'n str),
    Directive(&'n str),
    DirectiveArgument(&'n str, &'n str),
}

impl<'n> Coordinate<'n> {
    /// The argument of a field or a directive.
    pub const fn argument(self, name: &'n str) -> Self {
        match self {
            Self::Member(ty, field) => Self::Argument(ty, field, name),
            Self::Directive(directive) => Self::DirectiveArgument(directive, name),
            other => other,
        }
    }
}

impl fmt::Display for Coordinate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(ty) => f.write_str(ty),
            Self::Member(ty, name) => write!(f, "{ty}.{name}"),
            Self::Argument(ty, field, name) => write!(f, "{ty}.{field}({name}:)"),
            Self::Directive(name) => write!(f, "@{name}"),
            Self::DirectiveArgument(directive, name) => write!(f, "@{directive}({name}:)"),
        }
    }
}

/// A field of a type.
type Found<'r> = (&'r str, &'r MetaField);

/// An operation whose answer has places to be named.
#[derive(Clone, Copy)]
pub struct Asked<'d> {
    pub registry: &'d Registry,
    pub document: &'d Document,
    pub operation: &'d Operation,
}

impl<'d> Asked<'d> {
    /// The type at the root.
    fn root(self) -> Option<&'d str> {
        match self.operation.definition().ty {
            OperationType::Query => Some(&self.registry.query_type),
            OperationType::Mutation => self.registry.mutation_type.as_deref(),
            OperationType::Subscription => self.registry.subscription_type.as_deref(),
        }
    }

    /// The field at a path of the answer's names, without positions in lists. `None` where it can't be told without the
    /// answer: one name on several types.
    pub fn field<'k>(self, path: impl IntoIterator<Item = &'k str>) -> Option<Coordinate<'d>> {
        let definition = self.operation.definition();
        let (mut sets, mut found) = (vec![(&definition.selection_set.node, self.root()?)], None);
        for key in path {
            let mut fields: Vec<(&'d Field, Found<'d>)> = Vec::new();
            for (field, ty) in self.selected(sets, key) {
                fields.push((field, self.known(ty, field.name.node.as_str())?));
            }
            let (_, first) = *fields.first()?;
            let is_same = |(ty, field): Found<'_>| (ty, &field.name) == (first.0, &first.1.name);
            let is_of_interface = |(ty, _): Found<'_>| self.registry.types.get(ty).is_some_and(MetaType::is_abstract);
            found = if fields.iter().all(|(_, other)| is_same(*other)) {
                Some(first)
            } else {
                // What all of its types have.
                fields.iter().map(|(_, other)| *other).find(|other| is_of_interface(*other))
            };
            sets = fields.iter().map(|(field, (_, meta))| (&field.selection_set.node, bare(&meta.ty))).collect();
        }
        found.map(|(ty, field)| Coordinate::Member(ty, &field.name))
    }

    fn known(self, ty: &'d str, field: &str) -> Option<Found<'d>> {
        let ty = self.registry.types.get(ty)?;
        Some((ty.name(), ty.field_by_name(field)?))
    }

    /// The fields of some selections that the answer has under a name, fragments included, with the types they are on.
    fn selected(self, mut sets: Vec<(&'d SelectionSet, &'d str)>, key: &str) -> Vec<(&'d Field, &'d str)> {
        let (mut fields, mut spread) = (Vec::new(), HashSet::new());
        while let Some((set, ty)) = sets.pop() {
            for selection in &set.items {
                match &selection.node {
                    Selection::Field(field) if field.node.response_key().node == key => fields.push((&field.node, ty)),
                    Selection::Field(_) => {}
                    Selection::InlineFragment(inline) => {
                        let on = inline.node.type_condition.as_ref().map_or(ty, |on| on.node.on.node.as_str());
                        sets.push((&inline.node.selection_set.node, on));
                    }
                    Selection::FragmentSpread(named) => {
                        let name = named.node.fragment_name.node.as_str();
                        if let Some(fragment) = self.document.fragment(name)
                            && spread.insert(name)
                        {
                            let on = fragment.type_condition.node.on.node.as_str();
                            sets.push((&fragment.selection_set.node, on));
                        }
                    }
                }
            }
        }
        fields
    }

    /// Says of each error with a path which field it is of, by its place in the document; with an `inputPath`, which of its
    /// inputs.
    pub fn locate(self, errors: &mut [ServerError]) {
        let mut fields = None;
        for error in errors.iter_mut().filter(|error| !error.path.is_empty()) {
            let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
            let Some(position) = error.locations.first() else { continue };
            let fields = fields.get_or_insert_with(|| self.by_position());
            let Some((ty, field)) = fields.get(position).filter(|_| extensions.get("coordinate").is_none()) else {
                continue;
            };
            let input: Vec<String> = match extensions.get("inputPath") {
                Some(Value::List(steps)) => steps.iter().filter_map(text).collect(),
                _ => Vec::new(),
            };
            let coordinate = within(self.registry, ty, field, input.iter().map(String::as_str));
            extensions.set("coordinate", coordinate.to_string());
        }
    }

    /// All fields of the operation and of the document's fragments, by where they are written. Each is looked at once, however
    /// often its fragment is spread.
    fn by_position(self) -> HashMap<Pos, Found<'d>> {
        let mut found = HashMap::new();
        let definition = self.operation.definition();
        let mut sets: Vec<(&'d SelectionSet, &'d str)> = Vec::new();
        sets.extend(self.root().map(|root| (&definition.selection_set.node, root)));
        for fragment in self.document.fragments() {
            sets.push((&fragment.selection_set.node, &fragment.type_condition.node.on.node));
        }
        while let Some((set, ty)) = sets.pop() {
            for selection in &set.items {
                match &selection.node {
                    Selection::Field(field) => {
                        let Some(known) = self.known(ty, &field.node.name.node) else { continue };
                        found.insert(field.pos, known);
                        sets.push((&field.node.selection_set.node, bare(&known.1.ty)));
                    }
                    Selection::InlineFragment(inline) => {
                        let on = inline.node.type_condition.as_ref().map_or(ty, |on| on.node.on.node.as_str());
                        sets.push((&inline.node.selection_set.node, on));
                    }
                    Selection::FragmentSpread(_) => {}
                }
            }
        }
        found
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The input at a path into a field's arguments, as far as the schema has it: the field itself, its argument, a field of an
/// input. Positions in lists are passed over.
fn within<'r, 'p>(
    registry: &'r Registry,
    ty: &'r str,
    field: &'r MetaField,
    path: impl IntoIterator<Item = &'p str>,
) -> Coordinate<'r> {
    let mut here = Coordinate::Member(ty, &field.name);
    let mut steps = path.into_iter().filter(|step| step.parse::<usize>().is_err());
    let Some(argument) = steps.next().and_then(|step| field.args.get(step)) else { return here };
    here = here.argument(&argument.name);
    let mut input = registry.types.get(bare(&argument.ty));
    for step in steps {
        let Some(MetaType::InputObject { name, input_fields, .. }) = input else { break };
        let Some(field) = input_fields.get(step) else { break };
        here = Coordinate::Member(name, &field.name);
        input = registry.types.get(bare(&field.ty));
    }
    here
}

/// Says of a refusal that names an argument of a field (`argument`: `filter.and.0.title`) which input that is.
pub fn about_argument(error: Error, registry: &Registry, ty: &str, field: &MetaField) -> Error {
    let Error::Refused(refusal) = error else { return error };
    let argument = refusal.details.as_ref().and_then(|details| details["argument"].as_str()).map(str::to_owned);
    match argument {
        Some(path) => {
            let coordinate = within(registry, ty, field, path.split('.')).to_string();
            refusal.about(Some(coordinate)).into()
        }
        None => refusal.into(),
    }
}
