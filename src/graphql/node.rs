//! Objects with a global id, found again by it.

use std::future::Future;

use async_graphql::{Context, OutputType};

use super::guard;
use crate::base::{
    error::Result,
    id::{AnyId, Id, Kind},
};

/// An object type with a global id.
pub trait NodeType: OutputType + Sized {
    type Kind: Kind;

    /// The object, when it is there and the caller may see it, the rule of its type apart.
    fn find(ctx: &Context<'_>, id: Id<Self::Kind>) -> impl Future<Output = Result<Option<Self>>> + Send;
}

/// The object of that id, when the caller may see it; an id of another kind is refused.
pub async fn find<T: NodeType>(ctx: &Context<'_>, id: AnyId) -> Result<Option<T>> {
    if guard::may_see(ctx, &T::type_name()) { T::find(ctx, id.typed()?).await } else { Ok(None) }
}

/// Makes a type that is made of a row of a tenant's table a [`NodeType`]: `row_node!(Item: item, Self::from)`.
macro_rules! row_node {
    ($type:ident: $table:ident, $wrap:expr) => {
        impl $crate::graphql::node::NodeType for $type {
            type Kind = <$table::Entity as $crate::data::entity::Keyed>::Kind;

            async fn find(
                ctx: &async_graphql::Context<'_>,
                id: $crate::base::id::Id<Self::Kind>,
            ) -> $crate::base::error::Result<Option<Self>> {
                use $crate::graphql::{context::ContextExt as _, loaders::Rows};
                Ok(ctx.loader::<Rows<$table::Entity>>()?.load_one(id).await?.map($wrap))
            }
        }
    };
}
pub(crate) use row_node;
