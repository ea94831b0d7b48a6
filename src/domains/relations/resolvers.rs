use async_graphql::{Context, Object};

use super::{
    input::{ItemRelationCreateInput, ItemRelationDeleteInput},
    service,
    types::{ItemRelation, ItemRelationPayload},
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
pub struct RelationMutation;

#[Object]
impl RelationMutation {
    /// Relates two items. Neither item's version rises.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_relation_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The new relation.")] input: ItemRelationCreateInput,
    ) -> Result<Option<ItemRelationPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), ItemRelation::from).await
    }

    /// Deletes a relation between two items.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn item_relation_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which relation.")] input: ItemRelationDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}
