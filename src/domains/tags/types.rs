use std::sync::Arc;

use async_graphql::{Context, Description, Object};

use super::loaders::ItemCounts;
use crate::{
    base::{
        error::{Error, Result},
        id::TagId,
        policy::{Permission, requires},
    },
    data::entity::tag,
    graphql::{
        context::ContextExt,
        node::row_node,
        payload::payload,
        scalars::{Color, DateTime},
    },
};

/// A coloured label on items.
#[derive(Clone, Debug, Description)]
pub struct Tag(pub Arc<tag::Model>);

row_node!(Tag: tag, Self::from);

impl From<tag::Model> for Tag {
    fn from(row: tag::Model) -> Self {
        Self(Arc::new(row))
    }
}

#[Object(use_type_description, directive = requires::apply(Permission::ItemRead))]
impl Tag {
    /// Global id, `tag_…`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn id(&self) -> TagId {
        self.0.id
    }

    /// What it is called, 1 to 50 characters; unique within the organization whatever the case.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Color to show it in.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn color(&self) -> Color {
        Color(self.0.color.clone())
    }

    /// Items outside the trash that carry it.
    #[graphql(tag = "of-ledger")]
    async fn item_count(&self, ctx: &Context<'_>) -> Result<i32> {
        Box::pin(async move {
            let count = ctx.loader::<ItemCounts>()?.load_one(self.0.id).await?;
            i32::try_from(count.unwrap_or(0)).map_err(Error::internal)
        })
        .await
    }

    /// When it was created.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was last changed itself; putting it on items does not count.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Rises by one with each change; pass as `ifVersion`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn version(&self) -> i32 {
        self.0.version
    }
}

payload! {
    /// What became of a mutation of a tag.
    TagPayload { tag: Tag }
}
