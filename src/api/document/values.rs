//! Values and their types: those of variables, as JSON has them, and literals.

use apollo_compiler::{
    Schema,
    ast::{InputValueDefinition, Type},
    schema::{EnumType, ExtendedType, InputObjectType},
};
use async_graphql::{Name, Value};
use async_graphql_value::{Number, indexmap::IndexMap};

use super::{convert::constant, path::Path, rules::did_you_mean};
use crate::{api::document::coordinate::Coordinate, graphql::scalars};

/// Faults of one variable that are told.
const MAX_FAULTS: usize = 20;
/// Characters of a name that a message repeats.
const MAX_SHOWN: usize = 100;

/// A value that does not fit its type.
#[derive(Debug)]
pub struct Misfit {
    pub message: String,
    /// `input.items.0.dueAt`.
    pub path: String,
    /// Within the variable: names of fields, and positions in lists from 0.
    pub within: Vec<String>,
    /// The input field that it is of, or the type that it should be of.
    pub coordinate: Option<String>,
}

/// The value of a variable, coerced to its type, with what does not fit. Written as the executor reads it: with the
/// defaults of input fields, and a single value as a list of one where a list belongs.
pub fn coerce(schema: &Schema, value: Value, ty: &Type, name: &str, has_suggestions: bool) -> (Value, Vec<Misfit>) {
    let mut coercion = Coercion { schema, has_suggestions, misfits: Vec::new() };
    let value =
        coercion.value(value, ty, At { path: &Path::of(name), element: Coordinate::Type(ty.inner_named_type()) });
    (value, coercion.misfits)
}

/// The same for a literal that was validated.
pub fn coerce_literal(schema: &Schema, literal: Value, ty: &Type) -> Value {
    coerce(schema, literal, ty, "", false).0
}

/// Where a value is.
#[derive(Clone, Copy)]
struct At<'p> {
    path: &'p Path<'p>,
    element: Coordinate<'p>,
}

struct Coercion<'s> {
    schema: &'s Schema,
    has_suggestions: bool,
    misfits: Vec<Misfit>,
}

impl Coercion<'_> {
    fn misfit(&mut self, message: impl Into<String>, at: At<'_>) -> Value {
        self.refuse(message.into(), at.path, Some(at.element));
        Value::Null
    }

    fn refuse(&mut self, message: String, path: &Path<'_>, element: Option<Coordinate<'_>>) {
        if self.misfits.len() < MAX_FAULTS {
            let (within, coordinate) = (path.within(), element.map(|element| element.to_string()));
            self.misfits.push(Misfit { message, path: path.to_string(), within, coordinate });
        }
    }

    fn value(&mut self, value: Value, ty: &Type, at: At<'_>) -> Value {
        if self.misfits.len() >= MAX_FAULTS {
            return Value::Null;
        }
        if value == Value::Null {
            return if ty.is_non_null() { self.misfit(format!("null is no value of {ty}."), at) } else { Value::Null };
        }
        match ty {
            Type::List(item) | Type::NonNullList(item) => match value {
                Value::List(items) => {
                    let items = items.into_iter().enumerate();
                    let entry = |(index, value)| self.value(value, item, At { path: &at.path.index(index), ..at });
                    Value::List(items.map(entry).collect())
                }
                single => Value::List(vec![self.value(single, item, at)]),
            },
            Type::Named(name) | Type::NonNullNamed(name) => match self.schema.types.get(name) {
                Some(ExtendedType::InputObject(object)) => self.object(value, object, at),
                Some(ExtendedType::Enum(definition)) => self.enumeration(value, definition, at),
                _ => scalar(name, value).unwrap_or_else(|message| self.misfit(message, at)),
            },
        }
    }

    fn enumeration(&mut self, value: Value, definition: &EnumType, at: At<'_>) -> Value {
        let name = &definition.name;
        let text = match &value {
            Value::String(text) => text.as_str(),
            Value::Enum(name) => name.as_str(),
            other => {
                let message = format!("{} is no value of {name}; expected its name as a string.", kind(other));
                return self.misfit(message, at);
            }
        };
        if definition.values.contains_key(text) {
            return value;
        }
        let suggestion = self.suggest(text, definition.values.keys().map(|name| name.as_str()));
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        self.misfit(format!("`{shown}` is no value of {name}.{suggestion}"), at)
    }

    fn object(&mut self, value: Value, object: &InputObjectType, at: At<'_>) -> Value {
        let ty = &object.name;
        let Value::Object(mut sent) = value else {
            return self.misfit(format!("{} is no value of {ty}; expected an object.", kind(&value)), at);
        };
        let mut coerced = IndexMap::new();
        for (name, field) in &object.fields {
            let at = At { path: &at.path.name(name), element: Coordinate::Member(ty, name) };
            let value = match sent.shift_remove(name.as_str()) {
                Some(value) => Some(self.value(value, &field.ty, at)),
                None => default_of(self.schema, field),
            };
            if let Some(value) = value {
                coerced.insert(Name::new(name), value);
            } else if field.ty.is_non_null() {
                self.misfit(format!("{ty}.{name} is required and not set."), at);
            }
        }
        for name in sent.keys() {
            let suggestion = self.suggest(name, object.fields.keys().map(|name| name.as_str()));
            let shown: String = name.chars().take(MAX_SHOWN).collect();
            let message = format!("{ty} has no field `{shown}`.{suggestion}");
            self.refuse(message, &at.path.name(&shown), self.has_suggestions.then_some(Coordinate::Type(ty)));
        }
        let is_one = coerced.len() == 1 && coerced.values().all(|value| *value != Value::Null);
        if object.directives.has("oneOf") && !is_one && sent.is_empty() {
            self.misfit(
                format!("{ty} takes exactly one field, and not null."),
                At { element: Coordinate::Type(ty), ..at },
            );
        }
        Value::Object(coerced)
    }

    fn suggest<'n>(&self, name: &str, known: impl Iterator<Item = &'n str>) -> String {
        if self.has_suggestions { did_you_mean(name, known) } else { String::new() }
    }
}

fn default_of(schema: &Schema, field: &InputValueDefinition) -> Option<Value> {
    let literal = constant(field.default_value.as_ref()?)?;
    Some(coerce_literal(schema, literal, &field.ty))
}

/// A value of a scalar type; the message says why it is none. Numbers are taken as JSON has them, which knows no difference
/// between `5` and `5.0`.
pub fn scalar(name: &str, value: Value) -> Result<Value, String> {
    let refuse =
        |value: &Value, expected: &str| Err(format!("{} is no value of {name}; expected {expected}.", kind(value)));
    match (name, &value) {
        ("Int", Value::Number(number)) => match whole(number).map(i32::try_from) {
            Some(Ok(number)) => Ok(Value::Number(number.into())),
            Some(Err(_)) => Err(format!("{number} is out of range: an Int has 32 bits.")),
            None => Err(format!("{number} is no value of Int; expected a whole number.")),
        },
        ("Float", Value::Number(number)) if number.as_f64().is_some_and(f64::is_finite) => Ok(value),
        ("String", Value::String(_)) | ("Boolean", Value::Boolean(_)) | ("ID", Value::String(_)) => Ok(value),
        ("ID", Value::Number(number)) if is_whole(number) => Ok(Value::String(match number.as_i64() {
            Some(number) => number.to_string(),
            None => format!("{:.0}", number.as_f64().unwrap_or_default()),
        })),
        ("Int", _) => refuse(&value, "a whole number"),
        ("Float", _) => refuse(&value, "a number"),
        ("String", _) => refuse(&value, "a string"),
        ("Boolean", _) => refuse(&value, "true or false"),
        ("ID", _) => refuse(&value, "a string"),
        _ => scalars::check(name, &value).map(|()| value),
    }
}

fn is_whole(number: &Number) -> bool {
    number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn whole(number: &Number) -> Option<i64> {
    // Beyond 2^53 a number with a fraction is no longer one that can be told apart.
    let is_exact = |float: &f64| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
    number.as_i64().or_else(|| number.as_f64().filter(is_exact).map(|float| float as i64))
}

/// What a value is, in the words of JSON.
pub fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Enum(name) => format!("`{name}`"),
        Value::List(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Binary(_) => "binary data".to_owned(),
    }
}
