use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::{
    clock::Instant,
    enums::{InboundAction, InboundProvider},
    id::{InboundHookId, OrganizationId, UserId},
};

/// An endpoint for another system.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "inbound_hook")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: InboundHookId,
    /// In its address, made by the server: finds it without a tenant.
    pub token: String,
    pub name: String,
    pub provider: InboundProvider,
    /// `None`: the provider's preset.
    pub action: Option<InboundAction>,
    /// From input fields to JSON pointers into the sender's body; `None` with a preset.
    pub mapping: Option<Json>,
    pub is_enabled: bool,
    /// Sealed.
    pub secret: Vec<u8>,
    /// The secret before the last rotation, while it still works. Sealed.
    pub previous_secret: Option<Vec<u8>>,
    pub previous_until: Option<Instant>,
    /// The hook's rights never exceed this member's present ones.
    pub created_by_id: UserId,
    pub created_at: Instant,
    pub version: i32,
}

table!(tenant);
keyed!(InboundHook, "inbound hook");
versioned!();
