//! The server as a subgraph of a federation (`TODO_SERVER_FEDERATION`), after Apollo's specification
//! (<https://www.apollographql.com/docs/graphos/schema-design/federated-schemas/reference/subgraph-spec>): a router reads
//! from `_service` what this schema adds to those of other servers, and asks `_entities` for objects that these only name.
//!
//! Of our own: the library answers `_entities` before the root's guard sees it, fails all of a list for one object that is
//! not there, and writes an SDL in which `@requires` is federation's and ours at once. Every [`Node`] is an entity, and
//! what a caller sees of it is what `node(id:)` shows.

use std::{
    borrow::Cow,
    collections::HashSet,
    sync::{Arc, OnceLock},
};

use apollo_compiler::{
    Node as Part,
    ast::{self, Definition, Directive, DirectiveList, FieldDefinition, InputValueDefinition},
    name,
};
use async_graphql::{
    Context, ContextSelectionSet, Object, OutputType, Positioned, ServerResult, Value,
    parser::types::Field,
    registry::{MetaType, MetaTypeId, Registry},
};
use serde_json::json;

use crate::{
    base::{
        error::{Error, Refusal, Result},
        policy::{Access, access},
    },
    domains::{
        Node,
        node::{self, MAX_NODES},
    },
    graphql::{context::ContextExt, scalars::Representation},
};

/// What a server that is no subgraph does without.
const FIELDS: [&str; 2] = ["_entities", "_service"];
const TYPES: [&str; 3] = ["_Any", "_Entity", "_Service"];

/// Federation's directives of the subgraph's SDL. The oldest version that has them: whatever speaks Federation 2 knows it.
const LINK: &str =
    r#"extend schema @link(url: "https://specs.apollo.dev/federation/v2.0", import: ["@key", "@shareable"])"#;
/// Directives that stay: the specification's. What ours mean, no router knows.
const KEPT: [&str; 3] = ["deprecated", "oneOf", "specifiedBy"];

/// A [`Node`], of the union that the specification demands: all types that implement the interface.
#[derive(Debug)]
pub struct Entity(Node);

impl OutputType for Entity {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("_Entity")
    }

    fn introspection_type_name(&self) -> Cow<'static, str> {
        self.0.introspection_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        registry.create_output_type::<Self, _>(MetaTypeId::Union, |registry| MetaType::Union {
            name: Self::type_name().into_owned(),
            description: Some("Whatever has a global id: all types that implement `Node`.".to_owned()),
            possible_types: registry.create_fake_output_type::<Node>().possible_types().cloned().unwrap_or_default(),
            visible: None,
            inaccessible: false,
            tags: Vec::new(),
            rust_typename: Some(std::any::type_name::<Self>()),
            directive_invocations: Vec::new(),
        })
    }

    async fn resolve(&self, ctx: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        self.0.resolve(ctx, field).await
    }
}

/// The subgraph's SDL, set once the schema is made; empty where the server is none.
#[derive(Clone, Debug, Default)]
pub struct SubgraphSdl(pub(super) Arc<OnceLock<String>>);

/// What a router reads.
pub struct Service;

/// What this schema adds to a federated one.
#[Object(name = "_Service")]
impl Service {
    /// The schema for composition: with federation's directives, without its fields, and without this server's own directives.
    async fn sdl<'ctx>(&self, ctx: &Context<'ctx>) -> Result<&'ctx str> {
        ctx.text(ctx.data_unchecked::<SubgraphSdl>().0.get().map_or("", String::as_str))
    }
}

#[derive(Default)]
pub struct FederationQuery;

#[Object]
impl FederationQuery {
    /// Up to 100 objects that a router has names of, in the order asked; null in the place of those absent, not visible, or of
    /// another type than the name says.
    #[graphql(name = "_entities", directive = access::apply(Access::Member))]
    async fn entities(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The objects' names, 100 at most.")] representations: Vec<Representation>,
    ) -> Result<Vec<Option<Entity>>> {
        if representations.len() > MAX_NODES {
            return Err(Refusal::bad_request(format!("At most {MAX_NODES} representations.")).into());
        }
        let union = ctx.schema_env.registry.types.get(&*Entity::type_name());
        let is_known = |name: &str| union.is_some_and(|union| union.is_possible_type(name));
        if let Some(index) = representations.iter().position(|named| !is_known(&named.type_name)) {
            let path = format!("representations.{index}.__typename");
            let refusal = Refusal::bad_request(format!("`{path}` names no entity of this server."));
            return Err(refusal.details(json!({ "argument": path })).into());
        }
        let loaded = representations.iter().map(async |named| {
            let found = node::load(ctx, named.id).await?;
            Ok(found.filter(|node| node.introspection_type_name() == named.type_name).map(Entity))
        });
        futures_util::future::try_join_all(loaded).await
    }

    /// The schema of this server as a router needs it. Refused where introspection is off, and priced like it.
    #[graphql(name = "_service", directive = access::apply(Access::Public))]
    async fn service(&self) -> Service {
        Service
    }
}

/// Takes all of it out of a registry: what a server that is no subgraph has.
pub fn remove(registry: &mut Registry) {
    let query = registry.query_type.clone();
    if let Some(MetaType::Object { fields, .. }) = registry.types.get_mut(&query) {
        fields.retain(|name, _| !FIELDS.contains(&name.as_str()));
    }
    registry.types.retain(|name, _| !TYPES.contains(&name.as_str()));
}

/// No type of its own: to register it is [`remove`], for the registry of a schema that is being built.
pub struct NoSubgraph;

impl OutputType for NoSubgraph {
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed("NoSubgraph")
    }

    fn create_type_info(registry: &mut Registry) -> String {
        remove(registry);
        Self::type_name().into_owned()
    }

    async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
        Ok(Value::Null)
    }
}

/// What a router composes, of the schema's SDL. INTERNAL for a text that is no SDL.
pub fn subgraph_sdl(sdl: &str) -> Result<String> {
    let mut document = ast::Document::parse(format!("{LINK}\n{sdl}"), "schema.graphql")
        .map_err(|faults| Error::internal(format!("the schema can't be read: {}", faults.errors)))?;
    let mut of_directives = HashSet::new();
    for directive in document.definitions.iter().filter_map(Definition::as_directive_definition) {
        of_directives.extend(directive.arguments.iter().map(|argument| argument.ty.inner_named_type().clone()));
    }
    document.definitions.retain_mut(of_subgraph);
    // What only our directives used.
    let mut used = HashSet::new();
    for definition in &document.definitions {
        let fields: &[Part<FieldDefinition>] = match definition {
            Definition::ObjectTypeDefinition(object) => &object.fields,
            Definition::InterfaceTypeDefinition(interface) => &interface.fields,
            _ => &[],
        };
        let inputs: &[Part<InputValueDefinition>] = match definition {
            Definition::InputObjectTypeDefinition(input) => &input.fields,
            _ => &[],
        };
        let arguments = fields.iter().flat_map(|field| &field.arguments).chain(inputs);
        used.extend(fields.iter().map(|field| field.ty.inner_named_type().clone()));
        used.extend(arguments.map(|argument| argument.ty.inner_named_type().clone()));
    }
    document
        .definitions
        .retain(|definition| definition.name().is_none_or(|name| used.contains(name) || !of_directives.contains(name)));
    Ok(document.to_string())
}

/// Makes a definition what it is in the subgraph's SDL; false for one that is not there.
fn of_subgraph(definition: &mut Definition) -> bool {
    if definition.name().is_some_and(|name| TYPES.contains(&name.as_str())) {
        return false;
    }
    match definition {
        // Its roots have the names that they have without it.
        Definition::SchemaDefinition(_) => return false,
        // Composers that don't know it yet need its definition, others take it.
        Definition::DirectiveDefinition(directive) => return directive.name == "oneOf",
        Definition::ScalarTypeDefinition(scalar) => strip(&mut scalar.make_mut().directives),
        Definition::ObjectTypeDefinition(object) => {
            let object = object.make_mut();
            strip(&mut object.directives);
            object.fields.retain(|field| !FIELDS.contains(&field.name.as_str()));
            strip_fields(&mut object.fields);
            if object.implements_interfaces.iter().any(|interface| interface == "Node") {
                let fields = ast::Argument { name: name!(fields), value: Part::new("id".into()) };
                object.directives.push(Directive { name: name!(key), arguments: vec![Part::new(fields)] });
            }
            // Every server with connections has one.
            if object.name == "PageInfo" {
                object.directives.push(Directive::new(name!(shareable)));
            }
        }
        Definition::InterfaceTypeDefinition(interface) => {
            let interface = interface.make_mut();
            strip(&mut interface.directives);
            strip_fields(&mut interface.fields);
        }
        Definition::UnionTypeDefinition(union) => strip(&mut union.make_mut().directives),
        Definition::EnumTypeDefinition(definition) => {
            let definition = definition.make_mut();
            strip(&mut definition.directives);
            definition.values.iter_mut().for_each(|value| strip(&mut value.make_mut().directives));
        }
        Definition::InputObjectTypeDefinition(input) => {
            let input = input.make_mut();
            strip(&mut input.directives);
            strip_inputs(&mut input.fields);
        }
        _ => {}
    }
    true
}

fn strip_fields(fields: &mut [Part<FieldDefinition>]) {
    for field in fields {
        let field = field.make_mut();
        strip(&mut field.directives);
        strip_inputs(&mut field.arguments);
    }
}

fn strip_inputs(inputs: &mut [Part<InputValueDefinition>]) {
    inputs.iter_mut().for_each(|input| strip(&mut input.make_mut().directives));
}

fn strip(directives: &mut DirectiveList) {
    directives.0.retain(|directive| KEPT.contains(&directive.name.as_str()));
}
