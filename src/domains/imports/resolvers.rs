use async_graphql::{Context, Object};

use super::{
    input::{ImportCancelInput, ImportCreateInput},
    service,
    types::{Import, ImportPayload},
};
use crate::{
    base::{
        error::Result,
        policy::{Permission, requires},
    },
    graphql::{context::ContextExt, payload::write},
};

#[derive(Default)]
pub struct ImportMutation;

#[Object]
impl ImportMutation {
    /// Begins an import of items from a table, or from what another tool exports: send the file to `upload` then. It is read,
    /// checked and written by the server; `status` says how far it has got, and `report` what was found.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn import_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file, and how it is read.")] input: ImportCreateInput,
    ) -> Result<Option<ImportPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::create(scope, &input), Import).await
    }

    /// Cancels an import that waits or runs. What it has written stays.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn import_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which import.")] input: ImportCancelInput,
    ) -> Result<Option<ImportPayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::cancel(scope, input.id), Import).await
    }
}
