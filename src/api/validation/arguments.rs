//! What arguments hold, before the library builds typed input of it: a filter of `{}` by the hundred thousand is a
//! megabyte of text, and gigabytes once it is typed. Literals and variables are walked as one, along the schema's input
//! types.

use async_graphql::{
    Value, Variables,
    registry::{MetaInputValue, MetaType},
};
use async_graphql_value::Value as Literal;
use serde_json::json;

use super::walk::Walk;
use crate::{
    api::{
        cost::{MAX_RESULTS, Weight},
        document::path::Path,
    },
    base::error::{Code, Error, Refusal, Result},
    graphql::{
        filter::{MAX_CONDITIONS, bad, null_in_filter},
        type_name::bare,
    },
};

/// Entries of one list in the variables.
const MAX_LIST: usize = 1_000;
/// Lists and objects within each other in the variables.
const MAX_DEPTH: usize = 32;
/// Objects that one filter is made of: 50 conditions and what is around them, with room.
const MAX_FILTER_OBJECTS: usize = 300;
/// Values in the lists of all filters of an operation. SQLite takes 32,766 a statement.
const MAX_FILTER_VALUES: usize = 5_000;
/// Values visited in all arguments of an operation; a variable counts wherever it is used.
const MAX_VISITED: usize = 100_000;

/// Refuses variables of too many values, by their form alone.
pub fn measure_variables(variables: &Variables, limit: usize) -> Result<()> {
    let root = Path::of("variables");
    let mut measured = Measured { values: 0, limit };
    variables.iter().try_for_each(|(name, value)| measured.value(value, &root.name(name.as_str()), 1))
}

struct Measured {
    values: usize,
    limit: usize,
}

impl Measured {
    fn value(&mut self, value: &Value, path: &Path<'_>, depth: usize) -> Result<()> {
        self.values += 1;
        if self.values > self.limit {
            return Err(too_large(path, "values in the variables of a request", self.limit));
        }
        let is_flat = !matches!(value, Value::List(_) | Value::Object(_));
        if !is_flat && depth > MAX_DEPTH {
            return Err(too_large(path, "lists and objects within each other", MAX_DEPTH));
        }
        match value {
            Value::List(items) if items.len() > MAX_LIST => Err(too_large(path, "entries in one list", MAX_LIST)),
            Value::List(items) => {
                items.iter().enumerate().try_for_each(|(index, item)| self.value(item, &path.index(index), depth + 1))
            }
            Value::Object(fields) => {
                fields.iter().try_for_each(|(name, field)| self.value(field, &path.name(name), depth + 1))
            }
            _ => Ok(()),
        }
    }
}

fn too_large(path: &Path<'_>, what: &str, limit: usize) -> Error {
    let path = path.to_string();
    Refusal::new(Code::QueryTooComplex, format!("At most {limit} {what}; `{path}` is beyond that."))
        .details(json!({ "limit": limit, "argument": path }))
        .into()
}

/// What all arguments of an operation have come to.
#[derive(Default)]
pub struct Visited {
    values: usize,
    filter_values: usize,
}

/// One field's arguments.
struct Arguments<'w, 'a> {
    walk: &'w mut Walk<'a>,
    weight: Weight,
    /// Of the present filter.
    objects: usize,
    conditions: u32,
    /// Whether lists say what is to be written.
    is_mutation: bool,
}

/// What one field's arguments make the database do. Refuses what no filter may hold.
pub fn weigh<'a>(
    walk: &mut Walk<'a>,
    field: &'a async_graphql::parser::types::Field,
    meta: &'a async_graphql::registry::MetaField,
    is_mutation: bool,
) -> Result<Weight> {
    let mut arguments = Arguments { walk, weight: Weight::default(), objects: 0, conditions: 0, is_mutation };
    for (name, value) in &field.arguments {
        let Some(argument) = meta.args.get(name.node.as_str()) else { continue };
        let path = Path::of(name.node.as_str());
        arguments.weight.texts += u64::from(is_full_text(meta, name.node.as_str()));
        (arguments.objects, arguments.conditions) = (0, 0);
        let is_filter = is_filter(&argument.ty);
        // A filter left out, as a whole, is none: the specification's rule for an argument without a value.
        if is_filter && arguments.resolve(Given::Literal(&value.node)).is_none() {
            continue;
        }
        arguments.value(Given::Literal(&value.node), &argument.ty, is_filter, &path)?;
        if name.node.as_str() == "orderBy"
            && let Some(Form::List(keys)) = arguments.resolve(Given::Literal(&value.node)).map(Given::form)
        {
            arguments.weight.orders += (keys.len() as u64).saturating_sub(1);
        }
    }
    Ok(arguments.weight)
}

/// Whether an argument is what is searched for.
fn is_full_text(field: &async_graphql::registry::MetaField, argument: &str) -> bool {
    bare(&field.ty) == "SearchHit" && argument == "query"
}

/// A value in the document, or in a variable.
#[derive(Clone, Copy)]
enum Given<'v> {
    Literal(&'v Literal),
    Variable(&'v Value),
}

/// A list or an object, to be walked.
enum Form<'v> {
    List(Vec<Given<'v>>),
    Object(Vec<(&'v str, Given<'v>)>),
    Other,
}

impl<'v> Given<'v> {
    fn form(self) -> Form<'v> {
        match self {
            Self::Literal(Literal::List(items)) => Form::List(items.iter().map(Self::Literal).collect()),
            Self::Literal(Literal::Object(fields)) => {
                Form::Object(fields.iter().map(|(name, value)| (name.as_str(), Self::Literal(value))).collect())
            }
            Self::Literal(_) => Form::Other,
            Self::Variable(Value::List(items)) => Form::List(items.iter().map(Self::Variable).collect()),
            Self::Variable(Value::Object(fields)) => {
                Form::Object(fields.iter().map(|(name, value)| (name.as_str(), Self::Variable(value))).collect())
            }
            Self::Variable(_) => Form::Other,
        }
    }
}

impl<'a> Arguments<'_, 'a> {
    /// A value with its variable, if it is one, replaced; `None` for null, and for a variable that is not set.
    fn resolve(&self, given: Given<'a>) -> Option<Given<'a>> {
        match given {
            Given::Literal(Literal::Variable(name)) => {
                self.walk.variable(name).filter(|value| **value != Value::Null).map(Given::Variable)
            }
            Given::Literal(Literal::Null) | Given::Variable(Value::Null) => None,
            given => Some(given),
        }
    }

    fn value(&mut self, given: Given<'a>, ty: &str, in_filter: bool, path: &Path<'_>) -> Result<()> {
        self.walk.visited.values += 1;
        if self.walk.visited.values > MAX_VISITED {
            return Err(too_large(path, "values in the arguments of an operation", MAX_VISITED));
        }
        let Some(given) = self.resolve(given) else {
            return if in_filter { Err(null_in_filter(path)) } else { Ok(()) };
        };
        let named = ty.trim_end_matches('!');
        let element = named.strip_prefix('[').map(|rest| rest.strip_suffix(']').unwrap_or(rest));
        let input = self.walk.registry().types.get(bare(ty));
        match given.form() {
            Form::List(items) => {
                let is_flat = !matches!(input, Some(MetaType::InputObject { .. }));
                self.entries(items.len(), is_flat, in_filter, path)?;
                let element = element.unwrap_or(named);
                for (index, item) in items.into_iter().enumerate() {
                    self.value(item, element, in_filter, &path.index(index))?;
                }
                Ok(())
            }
            Form::Object(fields) => self.object(fields, input, in_filter, path),
            Form::Other => Ok(()),
        }
    }

    fn entries(&mut self, count: usize, is_flat: bool, in_filter: bool, path: &Path<'_>) -> Result<()> {
        let many = count as u64;
        match (in_filter, is_flat) {
            (true, true) => {
                self.weight.values += many;
                self.walk.visited.filter_values += count;
                if self.walk.visited.filter_values > MAX_FILTER_VALUES {
                    return Err(too_large(path, "values in the filters of an operation", MAX_FILTER_VALUES));
                }
            }
            (false, false) if self.is_mutation => self.weight.objects += many,
            (false, true) if self.is_mutation => self.weight.entries += many,
            _ => {}
        }
        Ok(())
    }

    fn object(
        &mut self,
        fields: Vec<(&'a str, Given<'a>)>,
        input: Option<&'a MetaType>,
        in_filter: bool,
        path: &Path<'_>,
    ) -> Result<()> {
        let known = match input {
            Some(MetaType::InputObject { input_fields, .. }) => Some(input_fields),
            _ => None,
        };
        let is_selector = input.is_some_and(|input| input.name().ends_with("Selector"));
        let is_nested = |field: &MetaInputValue| is_filter(&field.ty);
        // Of comparators alone no filter is made: `{eq: …}` is one condition, whatever it compares.
        let is_comparator = known.is_some_and(|known| !known.values().any(is_nested));
        if in_filter {
            self.objects += 1;
            if self.objects > MAX_FILTER_OBJECTS {
                return Err(too_much_in_filter(path, "objects", MAX_FILTER_OBJECTS));
            }
            self.weight.conditions += 1;
            if is_comparator {
                self.condition(path)?;
            }
        }
        for (name, value) in fields {
            let field = known.and_then(|known| known.get(name));
            if in_filter && !is_comparator && field.is_some_and(|field| !is_nested(field)) {
                self.condition(path)?;
            }
            let ty = field.map_or("", |field| field.ty.as_str());
            match name {
                "contains" if in_filter => self.weight.contains += 1,
                "text" if in_filter => self.weight.texts += 1,
                "startsWith" if in_filter => self.weight.starts_with += 1,
                "ids" if is_selector => self.weight.named += self.length(value),
                "expectedCount" if !in_filter => self.weight.named += self.number(value),
                _ => {}
            }
            // A mutation may name its objects by a filter.
            let begins = !in_filter && is_filter(ty);
            if begins {
                (self.objects, self.conditions) = (0, 0);
            }
            self.value(value, ty, in_filter || begins, &path.name(name))?;
        }
        Ok(())
    }

    fn length(&self, given: Given<'a>) -> u64 {
        match self.resolve(given).map(Given::form) {
            Some(Form::List(items)) => items.len() as u64,
            _ => 0,
        }
    }

    /// A number of objects, as far as a bulk mutation takes as many.
    fn number(&self, given: Given<'a>) -> u64 {
        let number = match self.resolve(given) {
            Some(Given::Literal(Literal::Number(number))) | Some(Given::Variable(Value::Number(number))) => {
                number.as_u64()
            }
            _ => None,
        };
        number.unwrap_or_default().min(MAX_RESULTS)
    }

    fn condition(&mut self, path: &Path<'_>) -> Result<()> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(too_much_in_filter(path, "conditions", MAX_CONDITIONS as usize));
        }
        Ok(())
    }
}

/// Whether a type is a filter's: its comparisons are counted. What wraps the filter of a bulk mutation is none.
fn is_filter(ty: &str) -> bool {
    let name = bare(ty);
    name.ends_with("Filter") && !name.ends_with("BulkFilter")
}

fn too_much_in_filter(path: &Path<'_>, what: &str, limit: usize) -> Error {
    let refusal = match bad(format!("A filter has at most {limit} {what}.")) {
        Error::Refused(refusal) => refusal,
        other => return other,
    };
    refusal.details(json!({ "limit": limit, "argument": path.to_string() })).into()
}
