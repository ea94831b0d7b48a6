//! Schema steps, in order. One file a step; a step that has landed is never edited, and imports no entity, so that it
//! means the same years later. A step must tolerate the previous release still running: expand, move, contract.
//!
//! To add one: `mYYYYMMDD_NNNNNN_what.rs` with a function `up`, then its name here, twice: as a module and as the last of
//! [`Migrator::migrations`].
//!
//! Every table of a tenant has `PRIMARY KEY (organization_id, id)`, and its references are composite, so that a row
//! can't point into another organization on either database.

use std::{future::Future, pin::Pin};

use sea_orm_migration::prelude::*;

mod columns;
pub mod keys;
mod m20261123_000001_people;
mod m20261123_000002_organizations;
mod m20261123_000003_work;
mod m20261123_000004_ledger;
mod m20261123_000005_api_keys;
mod m20261123_000006_account_tokens;
mod m20261123_000007_quotas;
mod m20261123_000008_usage;
mod m20261123_000009_idempotency;
mod m20261124_000010_webhooks;
mod m20261124_000011_inbound_hooks;
mod m20261124_000012_hook_indexes;
mod m20261124_000013_plan_renewal;
mod m20261126_000014_jobs;
mod m20261126_000015_retention;
mod m20261126_000016_billing_order;
mod m20261126_000017_rights;
mod m20261126_000018_keys;
mod m20261126_000020_store_probe;
mod m20261126_000022_hash_secret;
mod m20261126_000024_document_sets;
mod m20261127_000026_profile_revision;
mod m20261127_000028_relations;
mod m20261127_000030_bulk_outcomes;
mod m20261127_000032_watchers;
mod m20261127_000034_search;
mod m20261127_000036_trash;
mod m20261127_000038_rank;
mod m20261128_000044_ledger_epoch;
mod m20261128_000046_link_times;
mod m20261128_000048_reference_revision;
mod m20261128_000050_link_ids;
mod m20261128_000052_search_by_kind;
mod m20261128_000054_imports;
pub mod words;

pub use sea_orm_migration::{
    IntoSchemaManagerConnection, MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations,
};

/// All schema steps of the server.
pub struct Migrator;

/// One step: the file's name, by which databases know it, and what it does.
struct Step(&'static str, Up);

type Up = for<'a> fn(&'a SchemaManager<'a>) -> Pin<Box<dyn Future<Output = Result<(), DbErr>> + Send + 'a>>;

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.0
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        (self.1)(manager).await
    }
}

macro_rules! steps {
    ($($step:ident),* $(,)?) => {
        vec![$(Box::new(Step(stringify!($step), |manager| Box::pin($step::up(manager))))),*]
    };
}

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        steps![
            m20261123_000001_people,
            m20261123_000002_organizations,
            m20261123_000003_work,
            m20261123_000004_ledger,
            m20261123_000005_api_keys,
            m20261123_000006_account_tokens,
            m20261123_000007_quotas,
            m20261123_000008_usage,
            m20261123_000009_idempotency,
            m20261124_000010_webhooks,
            m20261124_000011_inbound_hooks,
            m20261124_000012_hook_indexes,
            m20261124_000013_plan_renewal,
            m20261126_000014_jobs,
            m20261126_000015_retention,
            m20261126_000016_billing_order,
            m20261126_000017_rights,
            m20261126_000018_keys,
            m20261126_000020_store_probe,
            m20261126_000022_hash_secret,
            m20261126_000024_document_sets,
            m20261127_000026_profile_revision,
            m20261127_000028_relations,
            m20261127_000030_bulk_outcomes,
            m20261127_000032_watchers,
            m20261127_000034_search,
            m20261127_000036_trash,
            m20261127_000038_rank,
            m20261128_000044_ledger_epoch,
            m20261128_000046_link_times,
            m20261128_000048_reference_revision,
            m20261128_000050_link_ids,
            m20261128_000052_search_by_kind,
            m20261128_000054_imports,
        ]
    }
}
