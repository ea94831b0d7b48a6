use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::{
    base::{
        clock::Instant,
        enums::ActorKind,
        id::{EventId, ItemId, OrganizationId, TeamId},
    },
    data::entity::EventType,
};

/// One change; see `ledger`.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub id: EventId,
    pub r#type: EventType,
    pub occurred_at: Instant,
    pub actor_kind: ActorKind,
    pub actor_id: Uuid,
    /// The prefix of the subject's id.
    pub subject_kind: String,
    pub subject_id: Uuid,
    pub item_id: Option<ItemId>,
    pub team_id: Option<TeamId>,
    pub changes: Json,
    pub request_id: String,
    pub ip: Option<String>,
}

table!(tenant);
keyed!(Event, "event");
