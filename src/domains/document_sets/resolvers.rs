use async_graphql::{Context, Object};

use super::{
    input::{DocumentSetCreateInput, DocumentSetDeleteInput, DocumentSetUpdateInput, documents},
    manifest::DocumentCheck,
    service::{self, Documents, Said},
    types::{DocumentSet, DocumentSetPayload},
};
use crate::{
    base::{
        enums::Feature,
        error::{Error, Result},
        policy::{Permission, in_plan, requires},
    },
    graphql::{
        context::ContextExt,
        payload::{DeletePayload, write},
    },
};

#[derive(Default)]
pub struct DocumentSetMutation;

#[Object]
impl DocumentSetMutation {
    /// Registers the documents of an application: of its build's manifest.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn document_set_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The set's name and its manifest.")] input: DocumentSetCreateInput,
    ) -> Result<Option<DocumentSetPayload>> {
        let (scope, input) = (ctx.scope()?, &input);
        let attempt = || async move {
            input.validate()?;
            let documents = Some(read(ctx, &input.manifest.0, &["input", "manifest"]).await?);
            let said = Said { id: input.id, name: Some(input.name.clone()), documents };
            service::create(scope, &said).await
        };
        write(ctx, attempt, DocumentSet).await
    }

    /// Renames a document set, or has another manifest take the place of its documents: from then on keys that are bound to
    /// it run those alone.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage), directive = in_plan::apply(Feature::ApiKeys))]
    async fn document_set_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which set, and what changes.")] input: DocumentSetUpdateInput,
    ) -> Result<Option<DocumentSetPayload>> {
        let (scope, input) = (ctx.scope()?, &input);
        let attempt = || async move {
            input.validate()?;
            let documents = match input.patch.manifest.value() {
                Some(manifest) => Some(read(ctx, &manifest.0, &["input", "patch", "manifest"]).await?),
                None => None,
            };
            let said = Said { id: None, name: input.patch.name.value().cloned(), documents };
            service::update(scope, input.id, input.if_version, &said).await
        };
        write(ctx, attempt, DocumentSet).await
    }

    /// Deletes a document set that no key is bound to.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn document_set_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which set.")] input: DocumentSetDeleteInput,
    ) -> Result<Option<DeletePayload>> {
        let scope = ctx.scope()?;
        write(ctx, || service::delete(scope, input.id), |id| id.any()).await
    }
}

/// The manifest's documents, each checked as a request with it would be.
async fn read(ctx: &Context<'_>, manifest: &serde_json::Value, path: &[&str]) -> Result<Documents> {
    let checker = ctx.data::<DocumentCheck>().map_err(|error| Error::internal(error.message))?;
    documents(manifest, path, |text| checker.check(text)).await
}
