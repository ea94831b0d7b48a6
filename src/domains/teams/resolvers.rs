use async_graphql::{Context, Object};

use super::{
    input::{TeamCreateInput, TeamDeleteInput, TeamUpdateInput},
    service,
    types::{Team, TeamPayload},
};
use crate::{
    base::{
        enums::Feature,
        error::Result,
        policy::{Permission, in_plan, requires},
    },
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct TeamMutation;

#[Object]
impl TeamMutation {
    /// Creates a team.
    #[graphql(directive = requires::apply(Permission::TeamManage), directive = in_plan::apply(Feature::Teams))]
    async fn team_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new team.")] input: TeamCreateInput,
    ) -> Result<Option<TeamPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Team::from).await
    }

    /// Changes a team, or who is in it.
    #[graphql(directive = requires::apply(Permission::TeamManage), directive = in_plan::apply(Feature::Teams))]
    async fn team_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which team, and what to change.")] input: TeamUpdateInput,
    ) -> Result<Option<TeamPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Team::from).await
    }

    /// Deletes a team. Its items stay, without a team.
    #[graphql(directive = requires::apply(Permission::TeamManage))]
    async fn team_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which team.")] input: TeamDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
