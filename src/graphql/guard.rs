//! Enforces what the schema declares. A field's one declaration is its directive, `@requires` or `@access`, and beside it
//! `@inPlan` where it takes a feature; the guard reads them from the registry, so the SDL and the check can't differ. A
//! declaration that can't be read denies, and stops the start ([`verify`]).
//!
//! Roots are wrapped in [`Guarded`], which refuses a field without a declaration, checks before arguments are read, and
//! keeps a refused or failed field from taking its siblings' answers along. In other objects, a field that declares
//! something itself, or leads to objects of a type that does, calls [`check_field`] first; a test asks every one of them as
//! somebody who may not.

use std::{borrow::Cow, pin::Pin};

use async_graphql::{
    Context, ContextSelectionSet, ObjectType, OutputType, Positioned, Response, ServerResult, SubscriptionType, Value,
    parser::types::{Field, OperationType},
    registry::{MetaField, Registry},
    resolver_utils::{ContainerType, resolve_container},
};
use futures_util::{Stream, stream};
use tracing::{Instrument as _, field::Empty};

use super::{
    context::ContextExt,
    field_tags,
    rule::{Rule, feature_among},
};
use crate::base::{
    error::{Error, Result},
    policy::Access,
    trace,
};

/// Whether everything that is declared can be read, and every root field declares a rule; INTERNAL names what doesn't.
pub fn verify(registry: &Registry) -> Result<()> {
    let roots = [Some(&registry.query_type), registry.mutation_type.as_ref(), registry.subscription_type.as_ref()];
    for (name, ty) in &registry.types {
        let is_root = roots.iter().flatten().any(|root| *root == name);
        Rule::of_type(registry, name)?;
        for field in ty.fields().into_iter().flat_map(|fields| fields.values()) {
            let rule = Rule::among(&field.directive_invocations)?;
            feature_among(&field.directive_invocations)?;
            field_tags::verify(field)?;
            if is_root && rule.is_none() {
                return Err(undeclared(field));
            }
        }
    }
    Ok(())
}

fn undeclared(field: &MetaField) -> Error {
    Error::internal(format!("the field {} says neither @requires nor @access", field.name))
}

fn check(rule: Rule, ctx: &Context<'_>) -> Result<()> {
    match rule {
        Rule::Access(Access::Public) => Ok(()),
        Rule::Access(Access::User) => ctx.identified().map(drop),
        Rule::Access(Access::Member) => ctx.scope().map(drop),
        Rule::Requires(permission) => ctx.scope()?.require(permission),
    }
}

/// Checks the present field of `T`: what it declares itself, and what the type declares that it leads to. Who is calling
/// comes first, then whether the organization's plan has what the field takes.
pub fn check_field<T: OutputType>(ctx: &Context<'_>) -> Result<()> {
    let registry = &ctx.schema_env.registry;
    let field = registry.types.get(&*T::type_name()).and_then(|parent| parent.field_by_name(ctx.field().name()));
    let field = field.ok_or_else(|| Error::internal(format!("{} has no such field", T::type_name())))?;
    let rules = [Rule::among(&field.directive_invocations)?, Rule::of_target(registry, field)?];
    rules.into_iter().flatten().try_for_each(|rule| check(rule, ctx))?;
    check_feature(ctx, field)
}

fn check_feature(ctx: &Context<'_>, field: &MetaField) -> Result<()> {
    match feature_among(&field.directive_invocations)? {
        Some(feature) => ctx.scope()?.require_feature(feature),
        None => Ok(()),
    }
}

/// Whether the caller may see objects of a type: for fields that lead to several types.
pub fn may_see(ctx: &Context<'_>, type_name: &str) -> bool {
    match Rule::of_type(&ctx.schema_env.registry, type_name) {
        Ok(rule) => rule.is_none_or(|rule| check(rule, ctx).is_ok()),
        Err(_) => false,
    }
}

/// The present field of a root type.
fn root_field<'a>(ctx: &'a Context<'_>, root: &str) -> Option<&'a MetaField> {
    ctx.schema_env.registry.types.get(root)?.field_by_name(ctx.field().name())
}

/// Checks a field of a root type, which must declare a rule.
fn check_root(ctx: &Context<'_>, field: &MetaField) -> Result<()> {
    check(Rule::among(&field.directive_invocations)?.ok_or_else(|| undeclared(field))?, ctx)?;
    check_feature(ctx, field)
}

/// A root type whose every field is checked.
pub struct Guarded<T>(pub T);

impl<T: ObjectType> ContainerType for Guarded<T> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let Some(field) = root_field(ctx, &T::type_name()) else { return Ok(None) };
        if ctx.query_env.operation.node.ty == OperationType::Mutation {
            let rule = Rule::among(&field.directive_invocations).ok().flatten();
            ctx.request().next_mutation(ctx.item.node.response_key().node.as_str(), rule);
        }
        let answer = match check_root(ctx, field) {
            Ok(()) => {
                let span = tracing::debug_span!("field", field = field.name, otel.name = Empty);
                trace::name(&span, || format!("{}.{}", T::type_name(), field.name));
                self.0.resolve_field(ctx).instrument(span).await
            }
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

#[cfg(test)]
mod tests {
    use async_graphql::{Name, Object, registry::MetaType};

    use super::*;
    use crate::base::policy::{Permission, access, requires};

    struct Root;

    #[Object(name = "Query")]
    impl Root {
        #[graphql(directive = requires::apply(Permission::ItemRead))]
        async fn guarded(&self) -> i32 {
            1
        }

        #[graphql(directive = access::apply(Access::Public))]
        async fn open(&self) -> i32 {
            2
        }
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        Root::create_type_info(&mut registry);
        registry.query_type = "Query".to_owned();
        registry
    }

    /// With one word of the directives written otherwise.
    fn with(argument: &str, word: &str) -> Registry {
        let mut registry = registry();
        let MetaType::Object { fields, .. } = registry.types.get_mut("Query").expect("the root") else {
            panic!("a root")
        };
        let directives = fields.values_mut().flat_map(|field| &mut field.directive_invocations);
        for directive in directives.filter(|directive| directive.args.contains_key(argument)) {
            directive.args.insert(argument.to_owned(), Value::Enum(Name::new(word)));
        }
        registry
    }

    #[test]
    fn what_cannot_be_read_stops_the_start() {
        assert!(verify(&registry()).is_ok());
        assert!(verify(&with("permission", "ITEM_WRITE")).is_ok());
        assert!(verify(&with("permission", "ITEM_SEE")).is_err());
        assert!(verify(&with("level", "ANYBODY")).is_err());
    }

    #[test]
    fn a_root_field_that_declares_nothing_stops_the_start() {
        let mut registry = registry();
        let MetaType::Object { fields, .. } = registry.types.get_mut("Query").expect("the root") else {
            panic!("a root")
        };
        fields["open"].directive_invocations.clear();
        assert!(verify(&registry).is_err());
    }
}
