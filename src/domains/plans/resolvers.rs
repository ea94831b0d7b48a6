use async_graphql::{Context, Object};

use super::{
    input::PlanChangeInput,
    service::{self, Fit},
};
use crate::{
    base::{
        error::Result,
        policy::{Permission, requires},
    },
    domains::organizations::types::{Organization, OrganizationPayload},
    graphql::{context::ContextExt, payload::write},
};

#[derive(Default)]
pub struct PlanMutation;

#[Object]
impl PlanMutation {
    /// Puts the organization on another plan, which must have room for what is in use. Refused where billing is
    /// configured: see `Plan.billingPortalUrl`.
    #[graphql(directive = requires::apply(Permission::BillingManage))]
    async fn plan_change(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which plan.")] input: PlanChangeInput,
    ) -> Result<Option<OrganizationPayload>> {
        let scope = ctx.scope()?;
        let billing = &ctx.state().config.billing;
        let change = async || {
            service::refuse_with_billing(billing)?;
            service::change(scope, input.tier, Fit::Required).await
        };
        write(ctx, change, Organization).await
    }
}
