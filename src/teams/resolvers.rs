use async_graphql::{Context, Object};

use super::{
    input::{TeamCreateInput, TeamDeleteInput, TeamUpdateInput},
    service,
    types::{Team, TeamPayload},
};
use crate::{
    auth::policy::{Permission, in_plan, requires},
    entity::enums::Feature,
    error::Result,
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct TeamMutation;

#[Object]
impl TeamMutation {
    #[graphql(directive = requires::apply(Permission::TeamManage), directive = in_plan::apply(Feature::Teams))]
    async fn team_create(&self, ctx: &Context<'_>, input: TeamCreateInput) -> Result<Option<TeamPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Team).await
    }

    #[graphql(directive = requires::apply(Permission::TeamManage), directive = in_plan::apply(Feature::Teams))]
    async fn team_update(&self, ctx: &Context<'_>, input: TeamUpdateInput) -> Result<Option<TeamPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Team).await
    }

    /// Its items stay, without a team.
    #[graphql(directive = requires::apply(Permission::TeamManage))]
    async fn team_delete(&self, ctx: &Context<'_>, input: TeamDeleteInput) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
