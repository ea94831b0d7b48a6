//! The price table (`cost.rs`) as the schema tells it: `@cost` and `@listSize`, after the draft of the cost directives
//! (<https://ibm.github.io/graphql-specs/cost-spec.html>). Nobody writes them onto a field: they are put onto all of the
//! registry once its types are there, by what a field answers with, so a new field has its price by construction.
//!
//! Points are the draft's type cost, and the weights of fields and input fields that have one besides. So an object needs
//! no directive (1), and what is free but an object for the schema's sake (the operation's root, an edge, `pageInfo`) has
//! the weight 0. What the draft has no words for is told in `docs/API.md`.

use std::borrow::Cow;

use async_graphql::{
    ContextSelectionSet, OutputType, Positioned, ServerResult, TypeDirective, Value,
    parser::types::Field,
    registry::{__DirectiveLocation, MetaDirectiveInvocation, MetaField, MetaType, Registry},
};

use super::{CONTAINS_PRICE, COUNT_PRICE, Kind, LIST_PRICE, LIST_SIZE, MAX_RESULTS, STARTS_WITH_PRICE, TEXT_PRICE};
use crate::{
    data::db::page::{DEFAULT_PAGE, MAX_PAGE},
    graphql::type_name::bare,
};

/// What it adds to an operation's price each time that it is asked for, in points. Without it an object counts 1, and
/// anything else nothing. After the draft https://ibm.github.io/graphql-specs/cost-spec.html; how a price comes of it is told
/// in docs/API.md.
#[TypeDirective(
    location = "ArgumentDefinition",
    location = "Enum",
    location = "FieldDefinition",
    location = "InputFieldDefinition",
    location = "Object"
)]
pub fn cost(#[graphql(desc = "Points, as a decimal number.")] weight: String) {}

/// How many objects a price takes a list to hold. After the draft https://ibm.github.io/graphql-specs/cost-spec.html.
#[TypeDirective(name = "listSize", location = "FieldDefinition")]
pub fn list_size(
    #[graphql(desc = "So many where no argument says it.")] assumed_size: Option<i32>,
    #[graphql(desc = "Arguments that say how many.")] slicing_arguments: Option<Vec<String>>,
    #[graphql(desc = "Fields below this one that are the lists; without them it is one itself.")] sized_fields: Option<
        Vec<String>,
    >,
    #[graphql(desc = "Whether exactly one of the arguments must be given.", default_with = "Some(true)")]
    require_one_slicing_argument: Option<bool>,
) {
}

/// Puts the directives onto all types of a registry, and defines them.
pub fn declare(registry: &mut Registry) {
    cost.register(registry);
    // The draft has it, and the macro has no name for it.
    if let Some(definition) = registry.directives.get_mut("cost") {
        definition.locations.push(__DirectiveLocation::SCALAR);
    }
    list_size.register(registry);
    let roots = [Some(&registry.query_type), registry.mutation_type.as_ref(), registry.subscription_type.as_ref()];
    let mut free: Vec<String> = roots.into_iter().flatten().cloned().collect();
    let mut of_fields = Vec::new();
    // What introspection is made of is priced by its size.
    for (name, ty) in registry.types.iter().filter(|(name, _)| !name.starts_with("__")) {
        for field in ty.fields().into_iter().flat_map(|fields| fields.values()) {
            let kind = Kind::of(registry, name, field);
            if matches!(kind, Kind::Edges | Kind::Page) {
                free.push(bare(&field.ty).to_owned());
            }
            let directives = of_field(kind, field, matches!(ty, MetaType::Interface { .. }));
            if !directives.is_empty() {
                of_fields.push((name.clone(), field.name.clone(), directives));
            }
        }
    }
    for (ty, field, directives) in of_fields {
        if let Some(field) = registry.types.get_mut(&ty).and_then(|ty| field_of(ty, &field)) {
            field.directive_invocations.extend(directives);
        }
    }
    free.sort_unstable();
    free.dedup();
    for name in free {
        if let Some(MetaType::Object { directive_invocations, .. }) = registry.types.get_mut(&name) {
            directive_invocations.push(weight(0));
        }
    }
    for ty in registry.types.values_mut() {
        let MetaType::InputObject { name, input_fields, .. } = ty else { continue };
        if name.ends_with("Filter") {
            for (name, points) in
                [("contains", CONTAINS_PRICE), ("startsWith", STARTS_WITH_PRICE), ("text", TEXT_PRICE)]
            {
                if let Some(field) = input_fields.get_mut(name) {
                    field.directive_invocations.push(weight(points));
                }
            }
        }
    }
}

fn field_of<'t>(ty: &'t mut MetaType, field: &str) -> Option<&'t mut MetaField> {
    match ty {
        MetaType::Object { fields, .. } | MetaType::Interface { fields, .. } => fields.get_mut(field),
        _ => None,
    }
}

/// What is said of a field. An interface's has no weight, by the draft: those of its types have it.
fn of_field(kind: Kind, field: &MetaField, in_interface: bool) -> Vec<MetaDirectiveInvocation> {
    let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let slicing =
        ["first", "last"].into_iter().filter(|name| field.args.contains_key(*name)).map(str::to_owned).collect();
    let mut directives = match kind {
        Kind::Leaf | Kind::Object | Kind::Nodes | Kind::Edges | Kind::Page | Kind::SyncNodes => Vec::new(),
        Kind::List => vec![weight(LIST_PRICE), list_size::apply(size(LIST_SIZE), None, None, None)],
        Kind::Hits => vec![weight(TEXT_PRICE), list_size::apply(None, Some(slicing), None, Some(false))],
        Kind::Named => vec![list_size::apply(size(MAX_PAGE), None, None, None)],
        Kind::Results => vec![list_size::apply(size(MAX_RESULTS), None, None, None)],
        Kind::Connection(_) => {
            vec![list_size::apply(size(DEFAULT_PAGE), Some(slicing), names(&["nodes", "edges"]), Some(false))]
        }
        // The argument has a default, which counts.
        Kind::Sync => vec![list_size::apply(None, Some(slicing), names(&["nodes"]), Some(false))],
        // Where it is kept with its parent it costs less, which a weight can't say.
        Kind::Count => vec![weight(COUNT_PRICE)],
    };
    if in_interface {
        directives.retain(|directive| directive.name != "cost");
    }
    directives
}

fn weight(points: u64) -> MetaDirectiveInvocation {
    cost::apply(format!("{points}.0"))
}

fn size(objects: u64) -> Option<i32> {
    i32::try_from(objects).ok()
}

/// No type of its own: registered last, it is the library's one way to the registry of a schema that is being built.
pub struct PriceList;

impl OutputType for PriceList {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("PriceList")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        declare(registry);
        Self::type_name().into_owned()
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}
