use async_graphql::{Context, Object};

use super::{
    input::{TagCreateInput, TagDeleteInput, TagMergeInput, TagUpdateInput},
    service,
    types::{Tag, TagPayload},
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
pub struct TagMutation;

#[Object]
impl TagMutation {
    #[graphql(directive = requires::apply(Permission::ItemWrite), directive = in_plan::apply(Feature::Tags))]
    async fn tag_create(&self, ctx: &Context<'_>, input: TagCreateInput) -> Result<Option<TagPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Tag).await
    }

    #[graphql(directive = requires::apply(Permission::TagManage), directive = in_plan::apply(Feature::Tags))]
    async fn tag_update(&self, ctx: &Context<'_>, input: TagUpdateInput) -> Result<Option<TagPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Tag).await
    }

    /// Moves every item of one tag to another, then deletes the first.
    #[graphql(directive = requires::apply(Permission::TagManage), directive = in_plan::apply(Feature::Tags))]
    async fn tag_merge(&self, ctx: &Context<'_>, input: TagMergeInput) -> Result<Option<TagPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::merge(scope, &input), Tag).await
    }

    /// Its items stay, without it.
    #[graphql(directive = requires::apply(Permission::TagManage))]
    async fn tag_delete(&self, ctx: &Context<'_>, input: TagDeleteInput) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
