use async_graphql::{Context, Object};

use crate::{
    auth::policy::{Permission, requires},
    entity::{item, team},
    error::Result,
    graphql::{
        connection::{Connection, page_args},
        guard,
        payload::payload,
        scalars::{Cursor, DateTime, Markdown, markdown},
    },
    id::TeamId,
    items::{
        self,
        input::{ItemFilter, ItemOrder, ItemScope, newest_first},
        types::Item,
    },
    members::{self, types::Membership},
};

/// A group of members that owns items.
#[derive(Clone, Debug)]
pub struct Team(pub team::Model);

#[Object(directive = requires::apply(Permission::ItemRead))]
impl Team {
    pub async fn id(&self) -> TeamId {
        self.0.id
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn description(&self, ctx: &Context<'_>) -> Result<Option<Markdown>> {
        markdown(ctx, self.0.description.as_deref())
    }

    #[graphql(directive = requires::apply(Permission::MemberRead))]
    async fn members(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Membership>> {
        Box::pin(async move {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, last, before);
            let page = members::query::of_team(ctx, self.0.id, &args).await?;
            Ok(Connection::new(page, Membership))
        })
        .await
    }

    #[graphql(directive = requires::apply(Permission::ItemRead))]
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn items(
        &self,
        ctx: &Context<'_>,
        filter: Option<ItemFilter>,
        #[graphql(default_with = "ItemScope::Active")] scope: ItemScope,
        #[graphql(default_with = "newest_first()")] order_by: Vec<ItemOrder>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Item>> {
        Box::pin(async move {
            guard::check_field::<Self>(ctx)?;
            let list = items::query::ItemList { filter, scope, order_by, args: page_args(first, after, last, before) };
            items::query::children(ctx, item::Column::TeamId, self.0.id.uuid(), &list).await
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
    TeamPayload { team: Team }
}
