use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{ActorKind, ItemStatus, Priority},
    id::{ItemId, OrganizationId, TeamId},
    rank,
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "item")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ItemId,
    /// `42` of `ACME-42`.
    pub number: i64,
    pub title: String,
    /// The title's folded form, which filters and orders compare.
    pub title_key: String,
    pub description: Option<String>,
    pub status: ItemStatus,
    pub status_before_archive: Option<ItemStatus>,
    pub priority: Priority,
    pub due_at: Option<Instant>,
    pub estimated_hours: Option<f64>,
    pub actual_hours: Option<f64>,
    pub team_id: Option<TeamId>,
    pub parent_id: Option<ItemId>,
    /// Subtasks outside the trash; kept with every change of one.
    pub subtask_count: i32,
    /// Those of them that are done, or were when they were archived.
    pub subtask_done_count: i32,
    pub comment_count: i32,
    pub created_by_kind: ActorKind,
    pub created_by_id: Uuid,
    pub created_at: Instant,
    pub updated_at: Instant,
    pub started_at: Option<Instant>,
    pub completed_at: Option<Instant>,
    pub archived_at: Option<Instant>,
    pub deleted_at: Option<Instant>,
    /// One for all that went to the trash together, so that a restore brings back just these.
    pub deletion_id: Option<Uuid>,
    /// Its place in the manual order; empty until a job has given it one. See [`Model::place`].
    pub rank: String,
    pub version: i32,
}

impl Model {
    /// Its place in the manual order.
    pub fn place(&self) -> String {
        if self.rank.is_empty() { rank::of_number(self.number) } else { self.rank.clone() }
    }
}

table!(
    tenant;
    organization_id, id, number, title, title_key, description nullable, status, status_before_archive nullable,
    priority, due_at nullable, estimated_hours nullable, actual_hours nullable, team_id nullable,
    parent_id nullable, subtask_count, subtask_done_count, comment_count, created_by_kind, created_by_id,
    created_at, updated_at, started_at nullable, completed_at nullable, archived_at nullable, deleted_at nullable,
    deletion_id nullable, rank, version
);
keyed!(Item, "item");
versioned!(updated_at);
