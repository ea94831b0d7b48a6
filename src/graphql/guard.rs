//! Enforces what the schema declares. A field's one declaration is its directive, `@requires` or `@access`, and beside it
//! `@inPlan` where it takes a feature; the guard reads them from the registry, so the SDL and the check can't differ.
//!
//! Roots are wrapped in [`Guarded`], which refuses a field without a declaration, checks before arguments are read, and
//! keeps a refused or failed field from taking its siblings' answers along. Other objects call [`check_field`] in the body
//! of a guarded field, and [`check_type`] on the way to a type that says `@requires` itself.

use std::{borrow::Cow, pin::Pin};

use async_graphql::{
    Context, ContextSelectionSet, InputType, ObjectType, OutputType, Positioned, Response, ServerResult,
    SubscriptionType, Value,
    parser::types::{Field, OperationType},
    registry::{MetaDirectiveInvocation, MetaField, Registry},
    resolver_utils::{ContainerType, resolve_container},
};
use futures_util::{Stream, stream};

use super::context::ContextExt;
use crate::{
    auth::policy::{Access, Permission},
    entity::enums::Feature,
    error::{Error, Result},
};

/// What a field or type declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Requires(Permission),
    Access(Access),
}

impl Rule {
    /// The rule among a field's or a type's directives.
    pub fn among(directives: &[MetaDirectiveInvocation]) -> Option<Self> {
        directives.iter().find_map(|directive| {
            let argument = |name: &str| match directive.args.get(name) {
                Some(Value::Enum(value)) => Some(value.as_str()),
                _ => None,
            };
            match directive.name.as_str() {
                "requires" => Permission::named(argument("permission")?).map(Self::Requires),
                "access" => match argument("level")? {
                    "PUBLIC" => Some(Self::Access(Access::Public)),
                    "USER" => Some(Self::Access(Access::User)),
                    _ => Some(Self::Access(Access::Member)),
                },
                _ => None,
            }
        })
    }

    /// The rule of a field.
    pub fn of_field(registry: &Registry, type_name: &str, field: &str) -> Option<Self> {
        Self::among(&registry.types.get(type_name)?.field_by_name(field)?.directive_invocations)
    }

    /// The rule of a type itself.
    pub fn of_type(registry: &Registry, type_name: &str) -> Option<Self> {
        match registry.types.get(type_name)? {
            async_graphql::registry::MetaType::Object { directive_invocations, .. } => {
                Self::among(directive_invocations)
            }
            _ => None,
        }
    }

    fn check(self, ctx: &Context<'_>) -> Result<()> {
        match self {
            Self::Access(Access::Public) => Ok(()),
            Self::Access(Access::User) => ctx.identified().map(drop),
            Self::Access(Access::Member) => ctx.scope().map(drop),
            Self::Requires(permission) => ctx.scope()?.require(permission),
        }
    }
}

/// The feature that a field takes, by its directive `@inPlan`.
pub fn feature_among(directives: &[MetaDirectiveInvocation]) -> Option<Feature> {
    let declared = directives.iter().find(|directive| directive.name == "inPlan")?;
    Feature::parse(declared.args.get("feature").cloned()).ok()
}

/// Who is calling first, then whether the organization's plan has what the field takes.
fn check(ctx: &Context<'_>, rule: Option<Rule>, feature: Option<Feature>) -> Result<()> {
    rule.map_or(Ok(()), |rule| rule.check(ctx))?;
    feature.map_or(Ok(()), |feature| ctx.scope()?.require_feature(feature))
}

/// Checks the present field of `T`; a field that declares nothing passes.
pub fn check_field<T: OutputType>(ctx: &Context<'_>) -> Result<()> {
    let parent = ctx.schema_env.registry.types.get(&*T::type_name());
    match parent.and_then(|parent| parent.field_by_name(ctx.field().name())) {
        Some(field) => {
            let directives = &field.directive_invocations;
            check(ctx, Rule::among(directives), feature_among(directives))
        }
        None => Ok(()),
    }
}

/// Checks the way to objects of type `T`.
pub fn check_type<T: OutputType>(ctx: &Context<'_>) -> Result<()> {
    let rule = Rule::of_type(&ctx.schema_env.registry, &T::type_name());
    rule.map_or(Ok(()), |rule| rule.check(ctx))
}

/// The present field of a root type.
fn root_field<'a>(ctx: &'a Context<'_>, root: &str) -> Option<&'a MetaField> {
    ctx.schema_env.registry.types.get(root)?.field_by_name(ctx.field().name())
}

/// Checks a field of a root type, which must declare a rule.
fn check_root(ctx: &Context<'_>, field: &MetaField) -> Result<()> {
    match Rule::among(&field.directive_invocations) {
        Some(rule) => check(ctx, Some(rule), feature_among(&field.directive_invocations)),
        None => Err(Error::internal(format!("the field {} says neither @requires nor @access", field.name))),
    }
}

/// A root type whose every field is checked.
pub struct Guarded<T>(pub T);

impl<T: ObjectType> ContainerType for Guarded<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let Some(field) = root_field(ctx, &T::type_name()) else { return Ok(None) };
        if ctx.query_env.operation.node.ty == OperationType::Mutation {
            let rule = Rule::among(&field.directive_invocations);
            ctx.request().next_mutation(ctx.item.node.response_key().node.as_str(), rule);
        }
        let answer = match check_root(ctx, field) {
            Ok(()) => self.0.resolve_field(ctx).await,
            Err(error) => {
                let error = async_graphql::Error::from(error).into_server_error(ctx.item.pos);
                Err(ctx.set_error_path(error))
            }
        };
        match answer {
            Err(error) if !field.ty.ends_with('!') => {
                ctx.add_error(error);
                Ok(Some(Value::Null))
            }
            answer => answer,
        }
    }
}

impl<T: SubscriptionType> SubscriptionType for Guarded<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    fn create_field_stream<'a>(
        &'a self,
        ctx: &'a Context<'_>,
    ) -> Option<Pin<Box<dyn Stream<Item = Response> + Send + 'a>>> {
        let field = root_field(ctx, &T::type_name())?;
        match check_root(ctx, field) {
            Ok(()) => self.0.create_field_stream(ctx),
            Err(error) => {
                let error = async_graphql::Error::from(error).into_server_error(ctx.item.pos);
                let response = Response::from_errors(vec![ctx.set_error_path(error)]);
                Some(Box::pin(stream::iter([response])))
            }
        }
    }
}

impl<T: ObjectType> OutputType for Guarded<T> {
    fn type_name() -> Cow<'static, str> {
        T::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        T::create_type_info(registry)
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        resolve_container(ctx, self).await
    }
}

impl<T: ObjectType> ObjectType for Guarded<T> {}
