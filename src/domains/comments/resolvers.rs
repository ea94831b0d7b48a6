use async_graphql::{Context, Object};

use super::{
    input::{CommentCreateInput, CommentDeleteInput, CommentUpdateInput},
    service,
    types::{Comment, CommentPayload},
};
use crate::{
    base::{
        error::Result,
        policy::{Permission, requires},
    },
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct CommentMutation;

#[Object]
impl CommentMutation {
    /// Comments on an item, or answers a comment.
    #[graphql(directive = requires::apply(Permission::CommentWrite))]
    async fn comment_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new comment.")] input: CommentCreateInput,
    ) -> Result<Option<CommentPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Comment::from).await
    }

    /// Changes a comment: its author, or whoever holds COMMENT_MODERATE.
    #[graphql(directive = requires::apply(Permission::CommentWrite))]
    async fn comment_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which comment, and what to change.")] input: CommentUpdateInput,
    ) -> Result<Option<CommentPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::update(scope, &input), Comment::from).await
    }

    /// Deletes a comment with its replies: its author, or whoever holds COMMENT_MODERATE.
    #[graphql(directive = requires::apply(Permission::CommentWrite))]
    async fn comment_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which comment.")] input: CommentDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
