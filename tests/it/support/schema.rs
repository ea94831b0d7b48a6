//! Documents made from the schema, so that a new field is tested without anybody listing it.

use std::cell::Cell;

use apollo_compiler::{Schema, validation::Valid};
use async_graphql::registry::{MetaField, MetaInputValue, MetaType, Registry};
use serde_json::{Value, json};
use todo_platform::{
    api::{schema, validation::RequestValidator},
    base::config::LimitsConfig,
};

/// The schema as it is committed.
pub fn sdl() -> Valid<Schema> {
    Schema::parse_and_validate(include_str!("../../../schema.graphql"), "schema.graphql").expect("a valid schema")
}

/// Validation alone, without a server.
pub fn validator(limits: LimitsConfig) -> RequestValidator {
    let sdl = schema::sdl(&schema::build(&limits, false).expect("a schema"));
    RequestValidator::new(schema::registry(false), &sdl, limits, true).expect("the schema is valid")
}

/// The schema's types, and values to fill its inputs with.
pub struct Documents {
    pub registry: Registry,
    serial: Cell<u32>,
}

/// A place in a field's arguments, such as one where an id goes, `["input", "patch", "teamId"]`.
pub type IdPath = Vec<String>;

impl Documents {
    pub fn new() -> Self {
        Self { registry: schema::registry(false), serial: Cell::new(0) }
    }

    /// Fields of `Query`, `Mutation` and `Subscription`, with the operation's keyword.
    pub fn root_fields(&self) -> Vec<(&'static str, &MetaField)> {
        let of = |keyword, name: &str| {
            let fields = match self.registry.types.get(name) {
                Some(MetaType::Object { fields, .. }) => fields.values().collect(),
                _ => Vec::new(),
            };
            fields.into_iter().map(move |field| (keyword, field)).collect::<Vec<_>>()
        };
        [of("query", "Query"), of("mutation", "Mutation"), of("subscription", "Subscription")].concat()
    }

    /// A document that selects one root field with `arguments` as its variables.
    pub fn document(&self, keyword: &str, field: &MetaField, selection: &str) -> String {
        let declared: Vec<String> = field.args.values().map(|arg| format!("${}: {}", arg.name, arg.ty)).collect();
        let passed: Vec<String> = field.args.values().map(|arg| format!("{0}: ${0}", arg.name)).collect();
        let list =
            |parts: Vec<String>| if parts.is_empty() { String::new() } else { format!("({})", parts.join(", ")) };
        format!("{keyword}{} {{ {}{} {selection} }}", list(declared), field.name, list(passed))
    }

    /// [`Documents::document`] with only the arguments that `given` has, for an unset filter is refused.
    pub fn document_with(&self, keyword: &str, field: &MetaField, given: &Value, selection: &str) -> String {
        let mut trimmed = MetaField::new(field.name.clone(), field.ty.clone());
        let has = |name: &str| given.get(name).is_some();
        for (name, arg) in field.args.iter().filter(|(name, _)| has(name)) {
            let mut copy = self.argument(arg);
            copy.name.clone_from(name);
            trimmed.args.insert(name.clone(), copy);
        }
        self.document(keyword, &trimmed, selection)
    }

    fn argument(&self, arg: &MetaInputValue) -> MetaInputValue {
        MetaInputValue {
            name: arg.name.clone(),
            description: None,
            ty: arg.ty.clone(),
            deprecation: arg.deprecation.clone(),
            default_value: None,
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            is_secret: false,
            directive_invocations: Vec::new(),
        }
    }

    /// What to select of a field's result: something small that shows what happened.
    pub fn selection(&self, field: &MetaField) -> String {
        let Some(ty) = self.registry.types.get(bare(&field.ty)) else { return String::new() };
        let has = |name: &str| ty.field_by_name(name).is_some();
        match ty {
            _ if has("userErrors") => "{ userErrors { code message path details } }".to_owned(),
            _ if has("totalCount") => "{ totalCount nodes { __typename } }".to_owned(),
            _ if has("nodes") => "{ nodes { __typename } }".to_owned(),
            _ if ty.is_composite() => "{ __typename }".to_owned(),
            _ => String::new(),
        }
    }

    /// The least arguments that a field takes; `id` says which id goes where.
    pub fn least(&self, field: &MetaField, id: &dyn Fn(&str) -> Value) -> Value {
        let required = field.args.values().filter(|arg| is_required(arg));
        Value::Object(required.map(|arg| (arg.name.clone(), self.value(&arg.name, &arg.ty, id))).collect())
    }

    fn value(&self, name: &str, ty: &str, id: &dyn Fn(&str) -> Value) -> Value {
        if ty.starts_with('[') {
            return json!([self.value(name, ty.trim_end_matches('!').trim_matches(['[', ']']), id)]);
        }
        match (bare(ty), self.registry.types.get(bare(ty))) {
            ("ID", _) => id(name),
            ("Int", _) => json!(1),
            ("Float", _) => json!(1.5),
            ("Boolean", _) => json!(false),
            ("DateTime" | "DateTimeOrDuration", _) => json!("2026-03-01T00:00:00Z"),
            ("Color", _) => json!("#123456"),
            ("Url", _) => json!("https://example.com/"),
            (_, Some(MetaType::Enum { enum_values, .. })) => json!(enum_values.keys().next()),
            (_, Some(MetaType::InputObject { input_fields, oneof, .. })) => {
                let wanted = |field: &&MetaInputValue| is_required(field);
                let fields: Vec<&MetaInputValue> = if *oneof {
                    input_fields.values().take(1).collect()
                } else {
                    input_fields.values().filter(wanted).collect()
                };
                Value::Object(
                    fields
                        .into_iter()
                        .map(|field| (field.name.clone(), self.value(&field.name, &field.ty, id)))
                        .collect(),
                )
            }
            // Names must be unique, and an e-mail address must look like one.
            _ => {
                self.serial.set(self.serial.get() + 1);
                json!(if name == "email" {
                    format!("someone{}@example.com", self.serial.get())
                } else {
                    format!("x{}", self.serial.get())
                })
            }
        }
    }

    /// Every place in a field's arguments where an id may go. A type is entered at most twice on one path.
    pub fn id_paths(&self, field: &MetaField) -> Vec<IdPath> {
        self.paths(field, &|ty| bare(ty) == "ID")
    }

    /// Every place in a field's arguments whose type is wanted; what is wanted is not entered.
    pub fn paths(&self, field: &MetaField, wanted: &dyn Fn(&str) -> bool) -> Vec<IdPath> {
        let mut found = Vec::new();
        for arg in field.args.values() {
            self.find(&arg.name, &arg.ty, wanted, &mut Vec::new(), &mut Vec::new(), &mut found);
        }
        found
    }

    /// The bare type of a place in a field's arguments.
    pub fn type_at(&self, field: &MetaField, path: &IdPath) -> String {
        let inside = |ty: String, name: &String| match self.registry.types.get(bare(&ty)) {
            Some(MetaType::InputObject { input_fields, .. }) => input_fields[name].ty.clone(),
            _ => panic!("{ty} has no field {name}"),
        };
        bare(&path[1..].iter().fold(field.args[&path[0]].ty.clone(), inside)).to_owned()
    }

    fn find(
        &self,
        name: &str,
        ty: &str,
        wanted: &dyn Fn(&str) -> bool,
        path: &mut IdPath,
        entered: &mut Vec<String>,
        found: &mut Vec<IdPath>,
    ) {
        path.push(name.to_owned());
        let bare = bare(ty);
        if wanted(ty) {
            found.push(path.clone());
        } else if let Some(MetaType::InputObject { input_fields, .. }) = self.registry.types.get(bare)
            && entered.iter().filter(|name| *name == bare).count() < 2
        {
            entered.push(bare.to_owned());
            for field in input_fields.values() {
                self.find(&field.name, &field.ty, wanted, path, entered, found);
            }
            entered.pop();
        }
        path.pop();
    }

    /// The least arguments with `value` at `path`, lists and objects made on the way.
    pub fn with_id(&self, field: &MetaField, path: &IdPath, value: &Value, id: &dyn Fn(&str) -> Value) -> Value {
        let mut arguments = self.least(field, id);
        let arg = &field.args[&path[0]];
        let present = arguments.get(&path[0]).cloned().unwrap_or(Value::Null);
        arguments[&path[0]] = self.put(&arg.ty, present, &path[1..], value, id);
        arguments
    }

    fn put(&self, ty: &str, present: Value, rest: &[String], value: &Value, id: &dyn Fn(&str) -> Value) -> Value {
        if ty.starts_with('[') {
            let inner = ty.trim_end_matches('!').trim_start_matches('[').trim_end_matches(']');
            let first = present.get(0).cloned().unwrap_or(Value::Null);
            return json!([self.put(inner, first, rest, value, id)]);
        }
        let Some((name, rest)) = rest.split_first() else { return value.clone() };
        let Some(MetaType::InputObject { input_fields, oneof, .. }) = self.registry.types.get(bare(ty)) else {
            panic!("{ty} has no field {name}");
        };
        let mut object = match present {
            Value::Object(fields) if !oneof => Value::Object(fields),
            _ if *oneof => json!({}),
            _ => self.value("", ty, id),
        };
        let inner = object.get(name).cloned().unwrap_or(Value::Null);
        object[name] = self.put(&input_fields[name].ty, inner, rest, value, id);
        object
    }
}

fn is_required(arg: &MetaInputValue) -> bool {
    arg.ty.ends_with('!') && arg.default_value.is_none()
}

/// The name in a type: `[Item!]!` is `Item`.
pub fn bare(ty: &str) -> &str {
    ty.trim_matches(['[', ']', '!'])
}
