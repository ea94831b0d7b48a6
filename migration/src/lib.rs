//! Schema steps, in order. One file a step; a step that has landed is never edited, and imports no entity, so that it
//! means the same years later. A step must tolerate the previous release still running: expand, move, contract.
//!
//! To add one: `mYYYYMMDD_NNNNNN_what.rs`, then a line in [`Migrator::migrations`].
//!
//! Every table of a tenant has `PRIMARY KEY (organization_id, id)`, and its references are composite, so that a row
//! can't point into another organization on either database.

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

pub use sea_orm_migration::{
    IntoSchemaManagerConnection, MigrationTrait, MigratorTrait, SchemaManager, seaql_migrations,
};

/// All schema steps of the server.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_people::Migration),
            Box::new(m20261123_000002_organizations::Migration),
            Box::new(m20261123_000003_work::Migration),
            Box::new(m20261123_000004_ledger::Migration),
            Box::new(m20261123_000005_api_keys::Migration),
            Box::new(m20261123_000006_account_tokens::Migration),
            Box::new(m20261123_000007_quotas::Migration),
            Box::new(m20261123_000008_usage::Migration),
            Box::new(m20261123_000009_idempotency::Migration),
            Box::new(m20261124_000010_webhooks::Migration),
            Box::new(m20261124_000011_inbound_hooks::Migration),
            Box::new(m20261124_000012_hook_indexes::Migration),
            Box::new(m20261124_000013_plan_renewal::Migration),
            Box::new(m20261126_000014_jobs::Migration),
            Box::new(m20261126_000015_retention::Migration),
            Box::new(m20261126_000016_billing_order::Migration),
            Box::new(m20261126_000017_rights::Migration),
            Box::new(m20261126_000018_keys::Migration),
            Box::new(m20261126_000020_store_probe::Migration),
            Box::new(m20261126_000022_hash_secret::Migration),
            Box::new(m20261126_000024_document_sets::Migration),
        ]
    }
}
