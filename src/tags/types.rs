use async_graphql::{Context, Object};

use crate::{
    auth::policy::{Permission, requires},
    entity::tag,
    error::{Error, Result},
    graphql::{
        context::ContextExt,
        payload::payload,
        scalars::{Color, DateTime},
    },
    id::TagId,
};

/// A coloured label on items.
#[derive(Clone, Debug)]
pub struct Tag(pub tag::Model);

#[Object(directive = requires::apply(Permission::ItemRead))]
impl Tag {
    pub async fn id(&self) -> TagId {
        self.0.id
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn color(&self) -> Color {
        Color(self.0.color.clone())
    }

    /// Items outside the trash that carry it.
    async fn item_count(&self, ctx: &Context<'_>) -> Result<i32> {
        Box::pin(async move {
            let count = ctx.loaders()?.tag_item_counts.load_one(self.0.id).await?;
            i32::try_from(count.unwrap_or(0)).map_err(Error::internal)
        })
        .await
    }

    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    fn version(&self) -> i32 {
        self.0.version
    }
}

payload! {
    TagPayload { tag: Tag }
}
