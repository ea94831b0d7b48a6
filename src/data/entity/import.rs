use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{ActorKind, ImportStatus},
    id::{ImportId, OrganizationId},
};

/// A file of items that somebody sends, and what became of it. What it makes is told in the ledger.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "import")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ImportId,
    /// Without a folder.
    pub file_name: String,
    pub check_only: bool,
    pub skip_bad: bool,
    /// `domains::imports::options::Options`.
    pub options: Json,
    pub status: ImportStatus,
    /// Bytes of the file, once it is there.
    pub size: Option<i64>,
    /// `domains::imports::report::Report`, once the file has been read.
    pub report: Option<Json>,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    /// How much has been written.
    pub item_count: i32,
    pub comment_count: i32,
    pub tag_count: i32,
    pub team_count: i32,
    /// Whoever asked for it: it never does more than they may at the time.
    pub created_by_kind: ActorKind,
    pub created_by_id: Uuid,
    pub created_at: Instant,
    /// How long the file may come.
    pub upload_until: Instant,
    /// The latest try to send the file: parts of an earlier one are not taken.
    pub attempt: Option<Uuid>,
    pub finished_at: Option<Instant>,
}

table!(tenant);
keyed!(Import, "import");
