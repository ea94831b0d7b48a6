//! What an introspection expands to. It resolves without a pause, so nothing can stop it once it runs: its size is found
//! beforehand, from the sizes of the schema itself, and lists within lists have an end.

use async_graphql::registry::{MetaType, Registry};
use serde_json::json;

use crate::base::error::{Code, Refusal, Result};

/// Lists within each other at most, as `types { fields { args` has them: what graphql-js's full introspection needs.
const MAX_LISTS: usize = 3;

/// What an introspection looks at.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Schema,
    /// `each`: every type once, so that sizes are those on average; otherwise any one, and they are the largest.
    /// `wraps`: how many `ofType` may lead on.
    Type {
        each: bool,
        wraps: u8,
    },
    Field {
        each: bool,
    },
    Input,
    EnumValue,
    Directive,
    /// The SDL that a router asks for: what the whole schema has.
    Service,
    /// A scalar.
    Leaf,
}

/// Where the walk is within an introspection.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub kind: Kind,
    lists: usize,
}

impl At {
    pub const fn of(kind: Kind) -> Self {
        Self { kind, lists: 0 }
    }
}

/// A list's length: on average where all are looked at, and at most.
#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    total: u64,
    most: u64,
}

impl Lengths {
    fn add(&mut self, length: usize) {
        let length = length as u64;
        self.total += length;
        self.most = self.most.max(length);
    }

    /// Times that what is below one entry counts, as a fraction.
    fn times(self, each: bool, of: u64) -> (u64, u64) {
        if each { (self.total, of.max(1)) } else { (self.most, 1) }
    }
}

/// Sizes of the schema.
#[derive(Clone, Debug, Default)]
pub struct Sizes {
    types: u64,
    directives: u64,
    fields: Lengths,
    arguments: Lengths,
    inputs: Lengths,
    enum_values: Lengths,
    possible_types: Lengths,
    interfaces: Lengths,
    /// List and non-null around a type.
    wraps: u8,
}

/// The library's own types, which are not in the registry: `__Type` and the like, and the standard scalars.
const SYSTEM_TYPES: u64 = 16;

impl Sizes {
    pub fn of(registry: &Registry) -> Self {
        let mut sizes = Self { types: registry.types.len() as u64 + SYSTEM_TYPES, ..Self::default() };
        // Those of the library (`@skip`, `@include`, …) besides.
        sizes.directives = registry.directives.len() as u64 + 6;
        for ty in registry.types.values() {
            if let Some(fields) = ty.fields() {
                sizes.fields.add(fields.len());
                for field in fields.values() {
                    sizes.arguments.add(field.args.len());
                    sizes.wraps_of(&field.ty);
                    field.args.values().for_each(|argument| sizes.wraps_of(&argument.ty));
                }
            }
            match ty {
                MetaType::InputObject { input_fields, .. } => {
                    sizes.inputs.add(input_fields.len());
                    input_fields.values().for_each(|input| sizes.wraps_of(&input.ty));
                }
                MetaType::Enum { enum_values, .. } => sizes.enum_values.add(enum_values.len()),
                MetaType::Interface { possible_types, .. } | MetaType::Union { possible_types, .. } => {
                    sizes.possible_types.add(possible_types.len());
                }
                _ => {}
            }
        }
        registry.implements.values().for_each(|interfaces| sizes.interfaces.add(interfaces.len()));
        sizes
    }

    fn wraps_of(&mut self, ty: &str) {
        let wraps = ty.bytes().filter(|byte| matches!(byte, b'!' | b'[')).count();
        self.wraps = self.wraps.max(u8::try_from(wraps).unwrap_or(u8::MAX));
    }

    /// An SDL has the name, the description and the type of everything.
    const fn sdl(&self) -> u64 {
        3 * (self.types + self.fields.total + self.arguments.total + self.inputs.total + self.enum_values.total)
    }

    /// Where a field leads, and how many values are there for each one here, as a fraction. QUERY_TOO_COMPLEX where lists
    /// would be too deep within each other.
    pub fn step(&self, at: At, field: &str) -> Result<(At, (u64, u64))> {
        let any = Kind::Type { each: false, wraps: self.wraps };
        let named = Kind::Type { each: false, wraps: 0 };
        let one = (1, 1);
        let (kind, times, is_list) = match (at.kind, field) {
            (Kind::Schema, "types") => (Kind::Type { each: true, wraps: 0 }, (self.types, 1), true),
            (Kind::Schema, "queryType" | "mutationType" | "subscriptionType") => (named, one, false),
            (Kind::Schema, "directives") => (Kind::Directive, (self.directives, 1), true),
            (Kind::Type { each, .. }, "fields") => (Kind::Field { each }, self.fields.times(each, self.types), true),
            (Kind::Type { each, .. }, "inputFields") => (Kind::Input, self.inputs.times(each, self.types), true),
            (Kind::Type { each, .. }, "enumValues") => {
                (Kind::EnumValue, self.enum_values.times(each, self.types), true)
            }
            (Kind::Type { each, .. }, "interfaces") => (named, self.interfaces.times(each, self.types), true),
            (Kind::Type { each, .. }, "possibleTypes") => (named, self.possible_types.times(each, self.types), true),
            // A type with a name is around no other.
            (Kind::Type { wraps: 0, .. }, "ofType") => (named, (0, 1), false),
            (Kind::Type { wraps, .. }, "ofType") => (Kind::Type { each: false, wraps: wraps - 1 }, one, false),
            (Kind::Field { each }, "args") => (Kind::Input, self.arguments.times(each, self.fields.total), true),
            (Kind::Service, "sdl") => (Kind::Leaf, (self.sdl(), 1), false),
            (Kind::Directive, "args") => (Kind::Input, (2, 1), true),
            (Kind::Field { .. } | Kind::Input, "type") => (any, one, false),
            _ => (Kind::Leaf, one, false),
        };
        let lists = at.lists + usize::from(is_list);
        if lists > MAX_LISTS {
            let message = format!("An introspection has at most {MAX_LISTS} lists within each other.");
            return Err(Refusal::new(Code::QueryTooComplex, message)
                .details(json!({ "limit": MAX_LISTS, "field": field }))
                .into());
        }
        Ok((At { kind, lists }, times))
    }
}
