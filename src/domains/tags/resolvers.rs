use async_graphql::{Context, Object};

use super::{
    input::{TagCreateInput, TagDeleteInput, TagMergeInput, TagUpdateInput},
    service,
    types::{Tag, TagPayload},
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
pub struct TagMutation;

#[Object]
impl TagMutation {
    /// Creates a tag.
    #[graphql(directive = requires::apply(Permission::ItemWrite), directive = in_plan::apply(Feature::Tags))]
    async fn tag_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new tag.")] input: TagCreateInput,
    ) -> Result<Option<TagPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Tag::from).await
    }

    /// Changes a tag.
    #[graphql(directive = requires::apply(Permission::TagManage), directive = in_plan::apply(Feature::Tags))]
    async fn tag_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which tag, and what to change.")] input: TagUpdateInput,
    ) -> Result<Option<TagPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Tag::from).await
    }

    /// Gives every item of one tag another instead, then deletes the first. Of more than 500 items the rest follows
    /// shortly after.
    #[graphql(directive = requires::apply(Permission::TagManage), directive = in_plan::apply(Feature::Tags))]
    async fn tag_merge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which tag becomes part of which.")] input: TagMergeInput,
    ) -> Result<Option<TagPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::merge(scope, &input), Tag::from).await
    }

    /// Deletes a tag. Its items stay, without it.
    #[graphql(directive = requires::apply(Permission::TagManage))]
    async fn tag_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which tag.")] input: TagDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
