use sea_orm::entity::prelude::*;

use crate::base::{clock::Instant, enums::ActorKind, id::OrganizationId};

/// Work that a committed change has left to be done in chunks. A row is deleted with its last chunk. See `db::jobs`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The organization that it works in, one job at a time; none for work on the whole server.
    pub organization_id: Option<OrganizationId>,
    /// The name of a kind in `jobs::kinds`.
    pub kind: String,
    /// What that kind reads.
    pub payload: Json,
    /// The object that the work is about.
    pub subject_id: Option<Uuid>,
    /// Who asked for it; the events of its chunks are theirs.
    pub actor_kind: ActorKind,
    pub actor_id: Uuid,
    pub created_at: Instant,
    /// Not before.
    pub run_at: Instant,
    /// Failures in a row.
    pub attempts: i32,
    pub last_error: Option<String>,
    /// When it was given up.
    pub failed_at: Option<Instant>,
    /// The fencing token: rises with each worker that takes the job.
    pub lease: i64,
    /// Milliseconds since 1970 by the database's clock; whoever holds it later than that holds it no more.
    pub leased_until: i64,
}

table!();
