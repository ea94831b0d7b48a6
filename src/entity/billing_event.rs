use sea_orm::entity::prelude::*;

use crate::{clock::Instant, id::OrganizationId};

/// What the payment provider has said of an organization, by the id of its event.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub organization_id: OrganizationId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// By the provider's clock.
    pub occurred_at: Instant,
    /// Of which subscription, by the provider's id.
    pub subscription_id: String,
    /// Whether the subscription was over with it.
    pub is_over: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
