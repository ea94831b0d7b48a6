//! What the schema declares of a field or type, read from its registry: `@requires`, `@access`, `@inPlan`.

use async_graphql::{
    InputType,
    registry::{MetaDirectiveInvocation, MetaField, MetaType, Registry},
};

use super::type_name::bare;
use crate::base::{
    enums::Feature,
    error::{Error, Result},
    policy::{Access, Permission},
};

/// What a field or type declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Requires(Permission),
    Access(Access),
}

impl Rule {
    /// The rule among a field's or a type's directives; INTERNAL for one that can't be read.
    pub fn among(directives: &[MetaDirectiveInvocation]) -> Result<Option<Self>> {
        let mut rules = directives.iter().filter_map(|directive| match directive.name.as_str() {
            "requires" => Some(argument(directive, "permission").map(Self::Requires)),
            "access" => Some(argument(directive, "level").map(Self::Access)),
            _ => None,
        });
        rules.next().transpose()
    }

    /// The rule of a field.
    pub fn of_field(registry: &Registry, type_name: &str, field: &str) -> Result<Option<Self>> {
        let ty = registry.types.get(type_name);
        let field = ty.and_then(|ty| ty.field_by_name(field));
        field.map_or(Ok(None), |field| Self::among(&field.directive_invocations))
    }

    /// The rule of a type itself.
    pub fn of_type(registry: &Registry, type_name: &str) -> Result<Option<Self>> {
        match registry.types.get(type_name) {
            Some(MetaType::Object { directive_invocations, .. }) => Self::among(directive_invocations),
            _ => Ok(None),
        }
    }

    /// The rule of the type that a field leads to, through a list or the pages of one.
    pub fn of_target(registry: &Registry, field: &MetaField) -> Result<Option<Self>> {
        let target = bare(&field.ty);
        let nodes = registry.types.get(target).filter(|_| target.ends_with("Connection"));
        let nodes = nodes.and_then(|connection| connection.field_by_name("nodes"));
        Self::of_type(registry, nodes.map_or(target, |nodes| bare(&nodes.ty)))
    }
}

/// What a directive's argument names.
fn argument<T: InputType>(directive: &MetaDirectiveInvocation, name: &str) -> Result<T> {
    let value = directive.args.get(name).cloned();
    T::parse(value).map_err(|_| Error::internal(format!("@{}({name}:) can't be read", directive.name)))
}

/// The feature that a field takes, by its directive `@inPlan`; INTERNAL for one that can't be read.
pub fn feature_among(directives: &[MetaDirectiveInvocation]) -> Result<Option<Feature>> {
    let declared = directives.iter().find(|directive| directive.name == "inPlan");
    declared.map(|declared| argument(declared, "feature")).transpose()
}
