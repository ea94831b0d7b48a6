use async_graphql::{Context, Object};

use super::{
    input::{CommentCreateInput, CommentDeleteInput, CommentUpdateInput},
    service,
    types::{Comment, CommentPayload},
};
use crate::{
    auth::policy::{Permission, requires},
    error::Result,
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct CommentMutation;

#[Object]
impl CommentMutation {
    #[graphql(directive = requires::apply(Permission::CommentWrite))]
    async fn comment_create(&self, ctx: &Context<'_>, input: CommentCreateInput) -> Result<Option<CommentPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Comment).await
    }

    /// Authors edit their own; COMMENT_MODERATE edits any.
    #[graphql(directive = requires::apply(Permission::CommentWrite))]
    async fn comment_update(&self, ctx: &Context<'_>, input: CommentUpdateInput) -> Result<Option<CommentPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Comment).await
    }

    /// With its replies.
    #[graphql(directive = requires::apply(Permission::CommentWrite))]
    async fn comment_delete(&self, ctx: &Context<'_>, input: CommentDeleteInput) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
