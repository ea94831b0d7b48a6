use async_graphql::{Context, Object};

use super::{
    input::{OrganizationCreateInput, OrganizationDeleteInput, OrganizationUpdateInput},
    service,
    types::{Organization, OrganizationPayload},
};
use crate::{
    base::{
        error::{Error, Result},
        policy::{Access, Permission, access, requires},
    },
    graphql::{
        context::{ContextExt, adopt_organization},
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
    /// Founds an organization; the caller becomes its OWNER. QUOTA_EXCEEDED when they have founded or own as many as
    /// one person may.
    #[graphql(directive = access::apply(Access::User))]
    async fn organization_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new organization.")] input: OrganizationCreateInput,
    ) -> Result<Option<OrganizationPayload>> {
        let (request, person) = (ctx.request(), ctx.person()?);
        let attempt = async || {
            let founded = service::create(&request.state, &request.origin, person, &input).await?;
            adopt_organization(ctx, founded.value.id).await?;
            Ok::<_, Error>(founded)
        };
        write(ctx, attempt, Organization).await
    }

    /// Changes the organization's name, slug or time zone.
    #[graphql(directive = requires::apply(Permission::OrganizationManage))]
    async fn organization_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What to change.")] input: OrganizationUpdateInput,
    ) -> Result<Option<OrganizationPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Organization).await
    }

    /// Deletes the organization for good, with everything in it.
    #[graphql(directive = requires::apply(Permission::OrganizationDelete))]
    async fn organization_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The slug, to confirm.")] input: OrganizationDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, &input), |id| id.any()).await
    }
}
