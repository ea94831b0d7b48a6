use std::sync::Arc;

use async_graphql::{Context, Description, Object};

use crate::{
    base::{
        error::Result,
        id::TeamId,
        policy::{Permission, requires},
    },
    data::entity::{item, team},
    domains::{
        items::{
            self,
            input::{ItemFilter, ItemOrder, ItemScope, newest_first},
            types::Item,
        },
        members::{self, types::Membership},
    },
    graphql::{
        connection::{Connection, page_args},
        context::ContextExt,
        guard,
        node::row_node,
        payload::payload,
        scalars::{Cursor, DateTime, Markdown},
    },
};

/// A group of members, which items may belong to.
#[derive(Clone, Debug, Description)]
pub struct Team(pub Arc<team::Model>);

row_node!(Team: team, Self::from);

impl From<team::Model> for Team {
    fn from(row: team::Model) -> Self {
        Self(Arc::new(row))
    }
}

#[Object(use_type_description, directive = requires::apply(Permission::ItemRead))]
impl Team {
    /// Global id, `tem_…`.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    pub async fn id(&self) -> TeamId {
        self.0.id
    }

    /// What it is called, 1 to 100 characters; unique within the organization whatever the case.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn name(&self) -> &str {
        &self.0.name
    }

    /// What it is for, 50,000 characters at most; null when there is none.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn description(&self, ctx: &Context<'_>) -> Result<Option<Markdown>> {
        ctx.markdown(self.0.description.as_deref())
    }

    /// Who is in it, in the order they joined the organization.
    #[graphql(directive = requires::apply(Permission::MemberRead))]
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Membership>> {
        Box::pin(async move {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, last, before);
            let page = members::query::of_team(ctx, self.0.id, &args).await?;
            Ok(Connection::new(page, Membership))
        })
        .await
    }

    /// Items of the team that match, page by page.
    #[graphql(tag = "of-ledger", directive = requires::apply(Permission::ItemRead))]
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn items(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<Box<ItemFilter>>,
        #[graphql(default_with = "ItemScope::Active", desc = "Which items to read: see `ItemScope`.")] scope: ItemScope,
        #[graphql(
            default_with = "newest_first()",
            desc = "Up to 5 keys, the most important one first; newest first unless said."
        )]
        order_by: Vec<ItemOrder>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Item>> {
        Box::pin(async move {
            guard::check_field::<Self>(ctx)?;
            let list = items::query::ItemList { filter, scope, order_by, args: page_args(first, after, last, before) };
            items::query::children(ctx, item::Column::TeamId, self.0.id.uuid(), &list).await
        })
        .await
    }

    /// When it was created.
    #[graphql(tag = "same-for-all", tag = "of-ledger")]
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was last changed, its members included.
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
    /// What became of a mutation of a team.
    TeamPayload { team: Team }
}
