use async_graphql::{Context, Object};

use super::{
    input::{OrganizationCreateInput, OrganizationDeleteInput, OrganizationUpdateInput},
    service,
    types::{Organization, OrganizationPayload},
};
use crate::{
    auth::policy::{Access, Permission, access, requires},
    error::Result,
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct OrganizationQuery;

#[Object]
impl OrganizationQuery {
    /// The current organization: people, teams, tags, integrations, quotas, usage.
    #[graphql(directive = access::apply(Access::Member))]
    async fn organization(&self, ctx: &Context<'_>) -> Result<Organization> {
        Ok(Organization(ctx.scope()?.organization().clone()))
    }
}

#[derive(Default)]
pub struct OrganizationMutation;

#[Object]
impl OrganizationMutation {
    /// The caller becomes OWNER.
    #[graphql(directive = access::apply(Access::User))]
    async fn organization_create(
        &self,
        ctx: &Context<'_>,
        input: OrganizationCreateInput,
    ) -> Result<Option<OrganizationPayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        write(ctx, || service::create(&request.state, &request.origin, person, &input), Organization).await
    }

    #[graphql(directive = requires::apply(Permission::OrganizationManage))]
    async fn organization_update(
        &self,
        ctx: &Context<'_>,
        input: OrganizationUpdateInput,
    ) -> Result<Option<OrganizationPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Organization).await
    }

    /// For good, with everything in it.
    #[graphql(directive = requires::apply(Permission::OrganizationDelete))]
    async fn organization_delete(
        &self,
        ctx: &Context<'_>,
        input: OrganizationDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, &input), |id| id.any()).await
    }
}
