use async_graphql::InputObject;

use crate::entity::enums::PlanTier;

#[derive(InputObject, Clone)]
pub struct PlanChangeInput {
    pub tier: PlanTier,
}
