use async_graphql::InputObject;

use crate::base::enums::PlanTier;

/// Which plan the organization is to be on.
#[derive(InputObject, Clone)]
pub struct PlanChangeInput {
    /// The plan. The present one again changes nothing.
    pub tier: PlanTier,
}
