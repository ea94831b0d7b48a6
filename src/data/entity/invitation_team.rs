use sea_orm::entity::prelude::*;
use serde::Serialize;

use crate::base::id::{InvitationId, OrganizationId, TeamId};

/// A team that an invited person will join.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel, Serialize)]
#[serde(rename_all = "camelCase")]
#[sea_orm(table_name = "invitation_team")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub invitation_id: InvitationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub team_id: TeamId,
}

table!(tenant);
