//! Documents, from a text to what the executor is handed. A new text is read, measured and validated once; the outcome
//! is remembered. With each request its variables are coerced and its fields collected, before anything runs.
//!
//! The executor's library validates only in part, and runs what it is given. So it is given no more than one operation
//! without fragments that are named, without directives, without a response key that occurs twice, and with variables that
//! fit their types: nothing is left in which it could do otherwise than the specification says. What apollo-compiler
//! validates and what is checked here is told in `docs/decisions.md`.

mod collect;
mod convert;
pub mod coordinate;
mod lengths;
mod measure;
pub mod path;
mod rules;
mod text;
mod values;

use std::{collections::HashMap, sync::Arc};

use apollo_compiler::{
    Schema,
    ast::{self, Type},
    diagnostic::ToCliReport as _,
    parser::SourceSpan,
    validation::{DiagnosticList, Valid},
};
use async_graphql::{
    Name, Pos, Positioned, Value, Variables,
    parser::types::{ExecutableDocument, FragmentDefinition, OperationDefinition},
    registry::Registry,
};
use serde_json::json;

use self::{
    collect::{Memo, Possible},
    coordinate::Coordinate,
    rules::Elements,
    text::Text,
};
use crate::base::{
    config::LimitsConfig,
    error::{Code, Error, Refusal, Result},
};

/// Faults that are told of one request; what is further on is often a consequence.
const MAX_FAULTS: usize = 20;
/// Characters of a message: names and literals in it are the caller's, and may be long.
const MAX_MESSAGE: usize = 400;
/// What apollo-compiler's introspection types lack of the specification's.
const IS_ONE_OF: &str = "extend type __Type { isOneOf: Boolean }";
/// What apollo-compiler finds and [`rules`] finds as well, more completely and in clearer words.
const FOUND_BY_RULES: &[&str] = &[
    "UndefinedField",
    "UnsupportedValueType",
    "IntCoercionError",
    "FloatCoercionError",
    "UndefinedEnumValue",
    "UndefinedInputValue",
    "RequiredField",
    "DisallowedVariableUsage",
    "UniqueInputValue",
    "SubscriptionUsesMultipleFields",
    "MissingSubselection",
];
/// What follows from a field that the schema doesn't have, because nothing below it is looked at.
const FOLLOWS_FROM_UNKNOWN_FIELD: &[&str] = &["UnusedVariable", "UnusedFragment"];

/// Validates documents against the schema.
#[derive(Clone)]
pub struct Validator {
    schema: Arc<Valid<Schema>>,
    possible: Arc<Possible>,
    has_suggestions: bool,
}

/// A valid document.
#[derive(Debug)]
pub struct Document {
    pub operations: Vec<Operation>,
    fragments: HashMap<Name, FragmentDefinition>,
    /// How large it is.
    pub tokens: usize,
}

/// One of a document's operations.
#[derive(Debug)]
pub struct Operation {
    pub name: Option<Name>,
    definition: Positioned<OperationDefinition>,
    variables: Vec<Variable>,
    collected: Memo,
}

/// A variable, as it is declared.
#[derive(Debug)]
struct Variable {
    name: Name,
    ty: Type,
    /// As it was coerced.
    default: Option<Value>,
    position: Pos,
}

/// Something wrong with a document, with the places that it is about.
#[derive(Debug)]
struct Fault {
    message: String,
    places: Vec<Option<SourceSpan>>,
    /// The element of the schema that it is about.
    coordinate: Option<String>,
}

impl Fault {
    fn new(message: impl Into<String>, places: impl IntoIterator<Item = Option<SourceSpan>>) -> Self {
        Self { message: message.into(), places: places.into_iter().collect(), coordinate: None }
    }

    fn about(self, element: Option<Coordinate<'_>>) -> Self {
        Self { coordinate: element.map(|element| element.to_string()), ..self }
    }

    /// Where it is, in bytes.
    fn offset(&self) -> usize {
        self.places.iter().flatten().map(SourceSpan::offset).next().unwrap_or_default()
    }

    fn refusal(self, text: &Text<'_>) -> Refusal {
        let places = self.places.iter();
        let positions = places.map(|place| text.position(place.map_or(0, |place| place.offset()))).collect();
        let refusal = Refusal::new(Code::GraphqlValidationFailed, told(self.message)).about(self.coordinate);
        Refusal { positions, ..refusal }
    }
}

impl Validator {
    /// A validator for the schema of an SDL, which the server wrote itself. INTERNAL for one that is no schema.
    /// `has_suggestions`: whether faults suggest names that the schema has.
    pub fn new(sdl: &str, has_suggestions: bool) -> Result<Self> {
        let schema = Schema::parse_and_validate(format!("{sdl}\n{IS_ONE_OF}"), "schema.graphql")
            .map_err(|faults| Error::internal(format!("the schema is not valid: {}", faults.errors)))?;
        let possible = Arc::new(collect::possible(&schema));
        Ok(Self { schema: Arc::new(schema), possible, has_suggestions })
    }

    /// Reads, measures and validates a text. GRAPHQL_PARSE_FAILED, QUERY_TOO_COMPLEX, QUERY_TOO_DEEP or
    /// GRAPHQL_VALIDATION_FAILED, each with the position.
    pub fn document(&self, text: &str, limits: &LimitsConfig) -> Result<Document> {
        let text = Text::read(text, limits.tokens)?;
        let parsed = ast::Document::parser().parse_ast(text.text.as_ref(), "").map_err(|faults| {
            let first = faults.errors.iter().next();
            let (message, place) =
                first.map_or_else(Default::default, |fault| (fault.error.to_string(), fault.error.location()));
            // One is enough: the others are what the parser made of the rest.
            let position = text.position(place.map_or(0, |place| place.offset()));
            let message = message.strip_prefix("syntax error: ").unwrap_or(&message).to_owned();
            Refusal::new(Code::GraphqlParseFailed, told(format!("Syntax error: {message}."))).at(position)
        })?;
        measure::measure(&parsed, limits, &text)?;
        if let Some(refusal) = self.validate(&parsed, &text) {
            return Err(refusal.into());
        }
        Ok(convert::document(&parsed, &self.schema, &text))
    }

    /// What is wrong with a document.
    fn validate(&self, document: &ast::Document, text: &Text<'_>) -> Option<Refusal> {
        let (mut faults, elements) = rules::faults(&self.schema, document, self.has_suggestions);
        if let Err(found) = lengths::with_lengths(document).to_executable_validate(&self.schema) {
            faults.extend(apollo_faults(&found.errors, &elements));
        }
        if !document.definitions.iter().any(|definition| definition.as_operation_definition().is_some()) {
            faults.push(Fault::new("The document has no operation.", [None]));
        }
        faults.sort_by_key(Fault::offset);
        Refusal::all(faults.into_iter().take(MAX_FAULTS).map(|fault| fault.refusal(text)))
    }

    /// The values of an operation's variables, coerced to their types, with the defaults of those that are not set; what is
    /// not declared is left out. BAD_REQUEST with the variable's name and the path within it.
    pub fn coerce(&self, operation: &Operation, mut sent: Variables) -> Result<Variables> {
        let mut coerced = Variables::default();
        let mut faults = Vec::new();
        for variable in &operation.variables {
            let name = variable.name.as_str();
            let refuse = |message: String, within: &[String], coordinate: Option<String>| {
                Refusal::bad_request(told(message))
                    .details(json!({ "variable": name, "inputPath": within }))
                    .about(coordinate)
                    .at(variable.position)
            };
            match (sent.remove(&variable.name), &variable.default) {
                (None, Some(default)) => {
                    coerced.insert(variable.name.clone(), default.clone());
                }
                (None | Some(Value::Null), _) if variable.ty.is_non_null() => {
                    faults.push(refuse(format!("The variable `${name}` is required and not set."), &[], None));
                }
                (None, None) => {}
                (Some(value), _) => {
                    let (value, found) = values::coerce(&self.schema, value, &variable.ty, name, self.has_suggestions);
                    faults.extend(found.into_iter().map(|misfit| {
                        refuse(format!("`${}`: {}", misfit.path, misfit.message), &misfit.within, misfit.coordinate)
                    }));
                    coerced.insert(variable.name.clone(), value);
                }
            }
            if faults.len() >= MAX_FAULTS {
                break;
            }
        }
        match Refusal::all(faults.into_iter().take(MAX_FAULTS)) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(coerced),
        }
    }

    /// The document that runs for an operation: that one alone, its fields collected for these variables, which are
    /// coerced.
    pub fn collected(
        &self,
        document: &Document,
        operation: &Operation,
        registry: &Registry,
        variables: &Variables,
    ) -> Result<Arc<ExecutableDocument>> {
        collect::collected(document, operation, (registry, &self.possible), variables)
    }
}

impl Operation {
    /// As it was written.
    pub const fn definition(&self) -> &OperationDefinition {
        &self.definition.node
    }
}

impl Document {
    /// Its fragments, in no order.
    pub fn fragments(&self) -> impl Iterator<Item = &FragmentDefinition> {
        self.fragments.values()
    }

    /// A fragment by its name.
    pub fn fragment(&self, name: &str) -> Option<&FragmentDefinition> {
        self.fragments.get(name)
    }

    /// The operation to run, of a name or the only one. BAD_REQUEST where that is none.
    pub fn operation(&self, wanted: Option<&str>) -> Result<&Operation> {
        let chosen = match (wanted, &self.operations[..]) {
            (Some(wanted), all) => {
                all.iter().find(|operation| operation.name.as_ref().is_some_and(|name| name == wanted))
            }
            (None, [only]) => Some(only),
            (None, _) => return Err(Refusal::bad_request("The document has several operations: name one.").into()),
        };
        Ok(chosen.ok_or_else(|| Refusal::bad_request("The document has no operation of that name."))?)
    }
}

/// A message, cut where it is too long.
fn told(message: String) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

fn apollo_faults(found: &DiagnosticList, elements: &Elements<'_>) -> Vec<Fault> {
    let name = |fault: &_| apollo_name(fault);
    let has_unknown_field = found.iter().any(|fault| name(fault.error) == Some("UndefinedField"));
    let is_told = |name: &str| {
        !(FOUND_BY_RULES.contains(&name) || has_unknown_field && FOLLOWS_FROM_UNKNOWN_FIELD.contains(&name))
    };
    let told = found.iter().filter(|fault| name(fault.error).is_none_or(is_told));
    told.map(|fault| {
        let mut message = fault.error.unstable_compat_message().unwrap_or_else(|| fault.error.to_string());
        if name(fault.error) == Some("ConflictingFieldType") {
            // It forgets a quotation mark.
            message = message.replace(" and \"", "\" and \"");
        }
        let place = fault.error.location();
        Fault::new(message, [place]).about(place.and_then(|place| elements.get(&place.offset()).copied()))
    })
    .collect()
}

/// The kind of a fault, by a name that apollo-compiler calls unstable: `Cargo.toml` pins the version. With a kind that is
/// renamed a fault would be told twice, never overlooked.
fn apollo_name(fault: &apollo_compiler::validation::DiagnosticData) -> Option<&'static str> {
    fault.unstable_error_name()
}
