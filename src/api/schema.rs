//! The schema: all domains' roots merged, each guarded.

use std::collections::BTreeMap;

use async_graphql::{
    MergedObject, OutputType, SDLExportOptions, Schema, SubscriptionType as _, ValidationMode,
    registry::{MetaType, Registry},
};
use sha2::{Digest, Sha256};

use super::{
    cost::price_list::{self, PriceList},
    federation::{self, FederationQuery, NoSubgraph, SubgraphSdl},
};
use crate::{
    base::{config::LimitsConfig, enums::Feature, error::Result, policy},
    domains::{DomainQuery, Mutation, Node, Subscription, server::SchemaHash},
    graphql::{
        guard::Guarded,
        payload::Payload,
        rule::{Rule, feature_among},
    },
};

/// What can be read. A request is about one organization: the API key's, that of the path `/o/{slug-or-id}/graphql`,
/// that of the header `X-Organization`, or the caller's only one.
#[derive(MergedObject, Default)]
pub struct Query(DomainQuery, FederationQuery);

pub type ApiSchema = Schema<Guarded<Query>, Guarded<Mutation>, Guarded<Subscription>>;

/// Builds the schema. What comes to it was validated by validation, so that the library's own rules, which are fewer, would
/// only take time. `has_federation`: as a subgraph. INTERNAL where that can't be made of it.
pub fn build(limits: &LimitsConfig, has_federation: bool) -> Result<ApiSchema> {
    let (hash, subgraph) = (SchemaHash::default(), SubgraphSdl::default());
    let mut builder =
        Schema::build(Guarded(Query::default()), Guarded(Mutation::default()), Guarded(Subscription::default()))
            .register_output_type::<Node>()
            .register_output_type::<Payload>();
    if !has_federation {
        builder = builder.register_output_type::<NoSubgraph>();
    }
    let schema = builder
        .register_output_type::<PriceList>()
        .limit_recursive_depth(limits.depth * 2 + 2)
        .validation_mode(ValidationMode::Fast)
        .data(hash.clone())
        .data(subgraph.clone())
        .finish();
    let sdl = sdl(&schema);
    if has_federation {
        let _ = subgraph.0.set(federation::subgraph_sdl(&sdl)?);
    }
    let digest = Sha256::digest(sdl.as_bytes());
    let short = hex::encode(&digest[..8]);
    let _ = hash.0.set(short);
    Ok(schema)
}

/// The schema as `schema.graphql` has it.
pub fn sdl(schema: &ApiSchema) -> String {
    schema.sdl_with_options(SDLExportOptions::new().include_specified_by())
}

/// The types, for validation's walk and for tests. `has_federation`: those of a subgraph.
pub fn registry(has_federation: bool) -> Registry {
    let mut registry = Registry {
        query_type: "Query".to_owned(),
        mutation_type: Some("Mutation".to_owned()),
        subscription_type: Some("Subscription".to_owned()),
        ..Registry::default()
    };
    Query::create_type_info(&mut registry);
    Mutation::create_type_info(&mut registry);
    Subscription::create_type_info(&mut registry);
    Node::create_type_info(&mut registry);
    Payload::create_type_info(&mut registry);
    // The parts that the roots are merged from.
    registry.remove_unused_types();
    if !has_federation {
        federation::remove(&mut registry);
    }
    price_list::declare(&mut registry);
    registry
}

/// Fields and types by the permission or access level that they declare; INTERNAL for one that can't be read.
pub fn declared(registry: &Registry) -> Result<BTreeMap<String, Vec<String>>> {
    let name = |rule: Rule| match rule {
        Rule::Requires(permission) => permission.name(),
        Rule::Access(access) => async_graphql::resolver_utils::enum_value(access).to_string(),
    };
    let mut declared: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (type_name, ty) in &registry.types {
        let MetaType::Object { fields, directive_invocations, .. } = ty else { continue };
        if let Some(rule) = Rule::among(directive_invocations)? {
            declared.entry(name(rule)).or_default().push(format!("`{type_name}`"));
        }
        for field in fields.values() {
            if let Some(rule) = Rule::among(&field.directive_invocations)? {
                declared.entry(name(rule)).or_default().push(shown(type_name, &field.name));
            }
        }
    }
    Ok(declared)
}

/// Fields by the feature that they take; INTERNAL for one that can't be read.
pub fn in_plan(registry: &Registry) -> Result<BTreeMap<Feature, Vec<String>>> {
    let mut fields: BTreeMap<Feature, Vec<String>> = BTreeMap::new();
    for (type_name, ty) in &registry.types {
        let MetaType::Object { fields: of_type, .. } = ty else { continue };
        for field in of_type.values() {
            if let Some(feature) = feature_among(&field.directive_invocations)? {
                fields.entry(feature).or_default().push(shown(type_name, &field.name));
            }
        }
    }
    Ok(fields)
}

/// A field as `docs/POLICY.md` names it.
fn shown(type_name: &str, field: &str) -> String {
    match type_name {
        "Query" | "Mutation" => format!("`{field}`"),
        "Subscription" => format!("`subscription {field}`"),
        _ => format!("`{type_name}.{field}`"),
    }
}

/// `docs/POLICY.md`.
pub fn policy_page() -> Result<String> {
    let registry = registry(false);
    Ok(policy::markdown(&declared(&registry)?, &in_plan(&registry)?))
}
