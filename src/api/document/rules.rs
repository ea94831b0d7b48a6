//! The rules of validation that apollo-compiler has not, or has in part: fields that exist (with suggestions), values of
//! their types in literals (custom scalars included), input fields that are given once, exactly one field of a `@oneOf`
//! input, variables in the places that their types allow (within lists and objects, too), and the one field of a
//! subscription. Each has its name in the specification's chapter on validation.

use std::collections::{HashMap, HashSet};

use apollo_compiler::{
    Name as ApolloName, Node, Schema,
    ast::{self, Argument, Definition, DirectiveList, OperationDefinition, Selection, Type, Value, VariableDefinition},
    parser::SourceSpan,
    schema::{ExtendedType, InputObjectType, InputValueDefinition},
};

use super::{Fault, convert::constant};
use crate::{api::document::coordinate::Coordinate, graphql::scalars};

/// Names that a suggestion lists at most.
const MAX_SUGGESTIONS: usize = 5;
/// Longer names are no slips of the pen, and dear to compare.
const MAX_SUGGESTED_LENGTH: usize = 64;
/// Faults that are looked for, and of those that suggest.
const MAX_FAULTS: usize = 100;
const MAX_SUGGESTED: usize = 20;

/// Elements of the schema by where a document names them, or looks for what they don't have: in bytes.
pub type Elements<'d> = HashMap<usize, Coordinate<'d>>;

/// What is wrong with a document by these rules, and what it names.
pub fn faults<'d>(
    schema: &'d Schema,
    document: &'d ast::Document,
    has_suggestions: bool,
) -> (Vec<Fault>, Elements<'d>) {
    let mut faults = Faults { schema, has_suggestions, found: Vec::new(), elements: HashMap::new() };
    let mut fragments = HashMap::new();
    for definition in &document.definitions {
        if let Definition::FragmentDefinition(fragment) = definition {
            let mut body = Body::default();
            faults.directives(&fragment.directives, &mut body);
            faults.selection(&fragment.selection_set, schema.types.get(&fragment.type_condition), &mut body);
            fragments.insert(fragment.name.as_str(), (&fragment.selection_set[..], body));
        }
    }
    for operation in document.definitions.iter().filter_map(Definition::as_operation_definition) {
        let mut body = Body::default();
        for variable in &operation.variables {
            faults.directives(&variable.directives, &mut body);
            if let Some(default) = &variable.default_value {
                let at = Coordinate::Type(variable.ty.inner_named_type());
                faults.value(default, Place { ty: &variable.ty, at, has_default: false, one_of: None }, &mut body);
            }
        }
        faults.directives(&operation.directives, &mut body);
        let root = schema.root_operation(operation.operation_type).and_then(|root| schema.types.get(root));
        faults.selection(&operation.selection_set, root, &mut body);
        faults.variables(operation, &body, &fragments);
        if operation.operation_type == ast::OperationType::Subscription {
            faults.subscription(operation, &fragments);
        }
    }
    (faults.found, faults.elements)
}

/// What an operation or a fragment uses, fragments that it spreads aside.
#[derive(Default)]
struct Body<'d> {
    usages: Vec<Usage<'d>>,
    spreads: Vec<&'d str>,
}

/// The fragments of a document by name: their selections and what they use.
type Fragments<'d> = HashMap<&'d str, (&'d [Selection], Body<'d>)>;

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place<'d> {
    ty: &'d Type,
    /// The argument or the input field that it is of; of a variable's default its type.
    at: Coordinate<'d>,
    /// Whether the argument or the input field has a default.
    has_default: bool,
    /// The `@oneOf` input that it is the field of.
    one_of: Option<&'d str>,
}

/// A variable where a value belongs.
struct Usage<'d> {
    variable: &'d str,
    place: Place<'d>,
    span: Option<SourceSpan>,
}

struct Faults<'d> {
    schema: &'d Schema,
    has_suggestions: bool,
    found: Vec<Fault>,
    elements: Elements<'d>,
}

impl<'d> Faults<'d> {
    fn add(
        &mut self,
        message: impl Into<String>,
        places: impl IntoIterator<Item = Option<SourceSpan>>,
        about: Option<Coordinate<'_>>,
    ) {
        if self.found.len() < MAX_FAULTS {
            self.found.push(Fault::new(message, places).about(about));
        }
    }

    /// Of a name that is not there, where it was looked for; `None` where the schema is not shown.
    fn shown(&self, element: Coordinate<'d>) -> Option<Coordinate<'d>> {
        self.has_suggestions.then_some(element)
    }

    fn note(&mut self, place: Option<SourceSpan>, element: Option<Coordinate<'d>>) {
        if let (Some(place), Some(element)) = (place, element) {
            self.elements.insert(place.offset(), element);
        }
    }

    /// For the first faults alone: names are dear to compare, and a document may have thousands that are wrong.
    fn suggest<'n>(&self, name: &str, known: impl Iterator<Item = &'n str>) -> String {
        let is_told = self.has_suggestions && self.found.len() < MAX_SUGGESTED;
        if is_told { did_you_mean(name, known) } else { String::new() }
    }

    fn selection(&mut self, selections: &'d [Selection], parent: Option<&'d ExtendedType>, body: &mut Body<'d>) {
        for selection in selections {
            match selection {
                Selection::Field(field) => self.field(field, parent, body),
                Selection::InlineFragment(inline) => {
                    self.directives(&inline.directives, body);
                    let parent = match &inline.type_condition {
                        Some(on) => self.schema.types.get(on),
                        None => parent,
                    };
                    self.selection(&inline.selection_set, parent, body);
                }
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.directives, body);
                    body.spreads.push(&spread.fragment_name);
                }
            }
        }
    }

    /// Field Selections: it exists. Leaf Field Selections, as far as a selection is missing. Its arguments' values are of
    /// their types.
    fn field(&mut self, field: &'d Node<ast::Field>, parent: Option<&'d ExtendedType>, body: &mut Body<'d>) {
        self.directives(&field.directives, body);
        let schema = self.schema;
        let definition = parent.map(|parent| (parent, schema.type_field(parent.name(), &field.name)));
        let ty = match definition {
            Some((parent, Ok(definition))) => {
                let at = Coordinate::Member(parent.name(), &definition.name);
                self.note(field.location(), Some(at));
                self.arguments(&field.arguments, &definition.arguments, at, body);
                let ty = schema.types.get(definition.ty.inner_named_type());
                if field.selection_set.is_empty() && ty.is_some_and(|ty| fields_of(ty).is_some()) {
                    let (name, ty) = (&field.name, &definition.ty);
                    let message = format!(
                        "Field \"{name}\" of type \"{ty}\" must have a selection of subfields. Did you mean \"{name} {{ ... }}\"?"
                    );
                    self.add(message, [field.location()], Some(at));
                }
                ty
            }
            Some((parent, Err(_))) => {
                if let Some(known) = fields_of(parent) {
                    let (name, ty) = (&field.name, parent.name());
                    let suggestion = self.suggest(name, known.into_iter());
                    let message = format!("Cannot query field \"{name}\" on type \"{ty}\".{suggestion}");
                    self.add(message, [field.location()], self.shown(Coordinate::Type(ty)));
                }
                None
            }
            None => None,
        };
        self.selection(&field.selection_set, ty, body);
    }

    fn directives(&mut self, directives: &'d DirectiveList, body: &mut Body<'d>) {
        for directive in directives.iter() {
            // One that is unknown is apollo-compiler's to report.
            if let Some(definition) = self.schema.directive_definitions.get(&directive.name) {
                let at = Coordinate::Directive(&definition.name);
                self.note(directive.location(), Some(at));
                self.arguments(&directive.arguments, &definition.arguments, at, body);
            }
        }
    }

    fn arguments(
        &mut self,
        arguments: &'d [Node<Argument>],
        known: &'d [Node<InputValueDefinition>],
        of: Coordinate<'d>,
        body: &mut Body<'d>,
    ) {
        for argument in arguments {
            let Some(known) = known.iter().find(|known| known.name == argument.name) else {
                // That it is unknown is apollo-compiler's to report.
                self.note(argument.location(), self.shown(of));
                continue;
            };
            let at = of.argument(&known.name);
            self.note(argument.location(), Some(at));
            let place = Place { ty: &known.ty, at, has_default: known.default_value.is_some(), one_of: None };
            self.value(&argument.value, place, body);
        }
    }

    /// Values of Correct Type.
    fn value(&mut self, value: &'d Node<Value>, place: Place<'d>, body: &mut Body<'d>) {
        let (ty, span, at) = (place.ty, value.location(), Some(place.at));
        if let Value::Variable(variable) = &**value {
            body.usages.push(Usage { variable, place, span });
            return;
        }
        if value.is_null() {
            if ty.is_non_null() {
                self.add(format!("Expected value of type \"{ty}\", found null."), [span], at);
            }
            return;
        }
        match (ty, &**value) {
            (Type::List(item) | Type::NonNullList(item), Value::List(items)) => {
                for value in items {
                    self.value(value, Place { ty: item, has_default: false, one_of: None, ..place }, body);
                }
            }
            (Type::List(item) | Type::NonNullList(item), _) => {
                self.value(value, Place { ty: item, ..place }, body);
            }
            (Type::Named(name) | Type::NonNullNamed(name), given) => match self.schema.types.get(name) {
                Some(ExtendedType::InputObject(object)) => match given {
                    Value::Object(fields) => self.object(object, fields, span, body),
                    _ => self.add(format!("Expected value of type \"{ty}\", found {given}."), [span], at),
                },
                Some(ExtendedType::Enum(definition)) => match given {
                    Value::Enum(found) if definition.values.contains_key(found) => {}
                    Value::Enum(found) => {
                        let suggestion = self.suggest(found, definition.values.keys().map(|name| name.as_str()));
                        let message = format!("Value \"{found}\" does not exist in \"{name}\" enum.{suggestion}");
                        self.add(message, [span], at);
                    }
                    Value::String(_) => self.add(
                        format!(
                            "Enum \"{name}\" cannot represent a string: {given}; its values are written without quotes."
                        ),
                        [span],
                        at,
                    ),
                    _ => self.add(format!("Enum \"{name}\" cannot represent non-enum value: {given}."), [span], at),
                },
                Some(ExtendedType::Scalar(_)) => {
                    if let Err(message) = scalar(name, given) {
                        self.add(message, [span], at);
                    }
                }
                _ => {}
            },
        }
    }

    /// Input Object Field Names, Uniqueness, Required Fields; and of a `@oneOf` input exactly one field.
    fn object(
        &mut self,
        object: &'d InputObjectType,
        fields: &'d [(ApolloName, Node<Value>)],
        span: Option<SourceSpan>,
        body: &mut Body<'d>,
    ) {
        let ty = object.name.as_str();
        let is_one_of = object.directives.has("oneOf");
        let mut given = HashMap::new();
        for (name, value) in fields {
            if let Some(first) = given.insert(name.as_str(), name.location()) {
                let message = format!("There can be only one input field named \"{name}\".");
                self.add(message, [first, name.location()], Some(Coordinate::Type(ty)));
            }
            let Some(field) = object.fields.get(name) else {
                let suggestion = self.suggest(name, object.fields.keys().map(|name| name.as_str()));
                let message = format!("Field \"{name}\" is not defined by type \"{ty}\".{suggestion}");
                self.add(message, [name.location()], self.shown(Coordinate::Type(ty)));
                continue;
            };
            let (at, has_default) = (Coordinate::Member(ty, &field.name), field.default_value.is_some());
            self.value(value, Place { ty: &field.ty, at, has_default, one_of: is_one_of.then_some(ty) }, body);
        }
        for (name, field) in &object.fields {
            if field.is_required() && !given.contains_key(name.as_str()) {
                let message = format!("Field \"{ty}.{name}\" of required type \"{}\" was not provided.", field.ty);
                self.add(message, [span], Some(Coordinate::Member(ty, name)));
            }
        }
        if is_one_of {
            match fields {
                [(name, value)] if value.is_null() => {
                    let message = format!("Field \"{ty}.{name}\" must be non-null.");
                    self.add(message, [value.location()], Some(Coordinate::Type(ty)));
                }
                [_] => {}
                _ => {
                    let message = format!("OneOf Input Object \"{ty}\" must specify exactly one key.");
                    self.add(message, [span], Some(Coordinate::Type(ty)));
                }
            }
        }
    }

    /// All Variable Usages Are Allowed.
    fn variables(&mut self, operation: &'d OperationDefinition, body: &Body<'d>, fragments: &Fragments<'d>) {
        let declared: HashMap<&str, &Node<VariableDefinition>> =
            operation.variables.iter().map(|variable| (variable.name.as_str(), variable)).collect();
        let mut seen = HashSet::new();
        let mut bodies = vec![body];
        while let Some(body) = bodies.pop() {
            for usage in &body.usages {
                // One that is not declared is apollo-compiler's to report.
                if let Some(variable) = declared.get(usage.variable) {
                    self.usage(variable, usage);
                }
            }
            for name in &body.spreads {
                if let Some((_, body)) = fragments.get(name)
                    && seen.insert(*name)
                {
                    bodies.push(body);
                }
            }
        }
    }

    fn usage(&mut self, variable: &Node<VariableDefinition>, usage: &Usage<'d>) {
        let (name, ty, place) = (&variable.name, &*variable.ty, usage.place);
        if !self.schema.types.contains_key(ty.inner_named_type()) {
            return;
        }
        let places = [variable.location(), usage.span];
        if let Some(one_of) = place.one_of
            && !ty.is_non_null()
        {
            let message = format!(
                "Variable \"${name}\" is of type \"{ty}\" but must be non-nullable to be used for OneOf Input Object \
                 \"{one_of}\"."
            );
            self.add(message, places, Some(place.at));
            return;
        }
        let is_allowed = if place.ty.is_non_null() && !ty.is_non_null() {
            let has_value = variable.default_value.as_ref().is_some_and(|value| !value.is_null());
            (has_value || place.has_default) && ty.is_assignable_to(&place.ty.clone().nullable())
        } else {
            ty.is_assignable_to(place.ty)
        };
        if !is_allowed {
            let expected = place.ty;
            let message =
                format!("Variable \"${name}\" of type \"{ty}\" used in position expecting type \"{expected}\".");
            self.add(message, places, Some(place.at));
        }
    }

    /// Single Root Field: one response key, however often and through whatever fragments it is selected.
    fn subscription(&mut self, operation: &'d Node<OperationDefinition>, fragments: &Fragments<'d>) {
        let mut keys: Vec<(&str, Option<SourceSpan>)> = Vec::new();
        let mut seen = HashSet::new();
        let mut sets = vec![&operation.selection_set[..]];
        while let Some(set) = sets.pop() {
            for selection in set {
                match selection {
                    Selection::Field(field) => {
                        let key = field.response_name().as_str();
                        if !keys.iter().any(|(known, _)| *known == key) {
                            keys.push((key, field.location()));
                        }
                    }
                    Selection::InlineFragment(inline) => sets.push(&inline.selection_set),
                    Selection::FragmentSpread(spread) => {
                        if let Some((set, _)) = fragments.get(spread.fragment_name.as_str())
                            && seen.insert(spread.fragment_name.as_str())
                        {
                            sets.push(set);
                        }
                    }
                }
            }
            if keys.len() > MAX_FAULTS {
                break;
            }
        }
        if keys.len() > 1 {
            let which = operation
                .name
                .as_ref()
                .map_or_else(|| "Anonymous Subscription".to_owned(), |name| format!("Subscription \"{name}\""));
            let places: Vec<_> = keys.into_iter().skip(1).take(MAX_SUGGESTIONS).map(|(_, place)| place).collect();
            self.add(format!("{which} must select only one top level field."), places, None);
        }
    }
}

/// A literal of a scalar type; the message says why it is none.
fn scalar(name: &str, literal: &Value) -> Result<(), String> {
    let refuse = |what: &str| Err(format!("{name} cannot represent {what} value: {literal}."));
    match (name, literal) {
        ("Int", Value::Int(_)) if literal.to_i32().is_some() => Ok(()),
        ("Int", Value::Int(_)) => refuse("non 32-bit signed integer"),
        ("Int", _) => refuse("non-integer"),
        ("Float", Value::Int(_) | Value::Float(_)) if literal.to_f64().is_some() => Ok(()),
        ("Float", _) => refuse("non numeric"),
        ("String", Value::String(_)) | ("Boolean", Value::Boolean(_)) => Ok(()),
        ("ID", Value::String(_) | Value::Int(_)) => Ok(()),
        ("String", _) => refuse("a non string"),
        ("Boolean", _) => refuse("a non boolean"),
        ("ID", _) => refuse("a non-string and non-integer"),
        // One with variables within it can only be `JSON`, which takes anything, or `_Any`, which is read with their values.
        _ => match constant(literal) {
            Some(value) => scalars::check(name, &value),
            None if ["JSON", "_Any"].contains(&name) => Ok(()),
            None => refuse("a list's or an object's"),
        },
    }
}

/// Names of a type's fields; `None` for one that has none, which is reported elsewhere.
fn fields_of(ty: &ExtendedType) -> Option<Vec<&str>> {
    match ty {
        ExtendedType::Object(object) => Some(object.fields.keys().map(|name| name.as_str()).collect()),
        ExtendedType::Interface(interface) => Some(interface.fields.keys().map(|name| name.as_str()).collect()),
        ExtendedType::Union(_) => Some(Vec::new()),
        _ => None,
    }
}

/// ` Did you mean "title" or "titles"?`, of the names that are like one; empty where none is.
pub fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    if name.len() > MAX_SUGGESTED_LENGTH {
        return String::new();
    }
    // As the reference implementation measures it: two fifths of the name may differ.
    let most = name.len() * 2 / 5 + 1;
    let lower = name.to_ascii_lowercase();
    let distance = |known: &str| match strsim::osa_distance(&lower, &known.to_ascii_lowercase()) {
        0 => 1,
        distance => distance,
    };
    let mut like: Vec<(usize, &str)> =
        known.map(|known| (distance(known), known)).filter(|(distance, _)| *distance <= most).collect();
    like.sort_unstable();
    let quoted: Vec<String> = like.iter().take(MAX_SUGGESTIONS).map(|(_, known)| format!("\"{known}\"")).collect();
    match &quoted[..] {
        [] => String::new(),
        [only] => format!(" Did you mean {only}?"),
        [first @ .., last] => format!(" Did you mean {} or {last}?", first.join(", ")),
    }
}
