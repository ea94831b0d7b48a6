use sea_orm::entity::prelude::*;

use crate::base::{clock::Instant, enums::ActorKind, id::OrganizationId};

/// The outcome of one root field of a request with an idempotency key; see `db::idempotency`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    /// The nil UUID for a request without an organization.
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor_kind: ActorKind,
    #[sea_orm(primary_key, auto_increment = false)]
    pub actor_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// The field's name or alias in the answer.
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    /// SHA-256 of the document and its variables.
    pub fingerprint: Vec<u8>,
    /// The id of the payload's object.
    pub object_id: Option<String>,
    /// The problems of a refused write.
    pub problems: Option<Json>,
    /// What became of each item of a bulk mutation.
    pub outcomes: Option<Json>,
    pub cursor_organization_id: Option<OrganizationId>,
    pub cursor_sequence: Option<i64>,
    pub created_at: Instant,
    pub expires_at: Instant,
}

table!(global);
