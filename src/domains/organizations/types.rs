use async_graphql::{Context, Description, Object, SimpleObject};

use crate::{
    base::{
        enums::Role,
        error::Result,
        id::{OrganizationId, kind},
        policy::{Permission, Permissions, requires},
    },
    data::entity::organization,
    domains::{
        api_keys::{self, types::ApiKey},
        document_sets::{self, types::DocumentSet},
        imports::{self, types::Import},
        inbound_hooks::{self, types::InboundHook},
        members::{
            self,
            input::MembershipFilter,
            types::{Invitation, Membership},
        },
        plans::types::Plan,
        tags::{self, input::TagFilter, types::Tag},
        teams::{self, input::TeamFilter, types::Team},
        usage::types::Usage,
        webhooks::{self, types::Webhook},
    },
    graphql::{
        connection::{Connection, page_args, wants},
        context::ContextExt,
        guard,
        node::NodeType,
        payload::payload,
        range::DateRange,
        scalars::{Cursor, DateTime},
    },
};

/// A tenant: the one that this request is about.
#[derive(Clone, Debug, Description)]
pub struct Organization(pub organization::Model);

impl NodeType for Organization {
    type Kind = kind::Organization;

    async fn find(ctx: &Context<'_>, id: OrganizationId) -> Result<Option<Self>> {
        let own = ctx.scope()?.organization();
        Ok((own.id == id).then(|| Self(own.clone())))
    }
}

#[Object(use_type_description)]
impl Organization {
    /// Global id, `org_…`.
    pub async fn id(&self) -> OrganizationId {
        self.0.id
    }

    /// What it is called, 1 to 100 characters.
    fn name(&self) -> &str {
        &self.0.name
    }

    /// Its name in paths, `/o/{slug}/graphql`; unique on this server.
    fn slug(&self) -> &str {
        &self.0.slug
    }

    /// Prefix of item identifiers, e.g. `ACME` in `ACME-42`.
    fn item_prefix(&self) -> &str {
        &self.0.item_prefix
    }

    /// Its time zone, by its name in the IANA database: days of usage begin by it.
    fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    /// What it may have, and how much of that is used.
    fn plan(&self) -> Plan {
        Plan { tier: self.0.plan_tier, renews_at: self.0.plan_renews_at }
    }

    /// Its members, active and suspended, in the order they joined.
    #[graphql(directive = requires::apply(Permission::MemberRead))]
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<MembershipFilter>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Membership>> {
        guard::check_field::<Self>(ctx)?;
        let page =
            members::query::members(ctx.scope()?, filter.as_ref(), &page_args(first, after, last, before), wants(ctx))
                .await?;
        Ok(Connection::new(page, Membership))
    }

    /// Open invitations, oldest first.
    #[graphql(directive = requires::apply(Permission::MemberManage))]
    async fn invitations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Option<Result<Connection<Invitation>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = members::query::invitations(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, Invitation))
        };
        Some(page.await)
    }

    /// Its teams, by name.
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn teams(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<TeamFilter>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Team>> {
        guard::check_field::<Self>(ctx)?;
        let args = page_args(first, after, last, before);
        let page = teams::query::teams(ctx.scope()?, filter.as_ref(), &args, wants(ctx)).await?;
        Ok(Connection::new(page, Team::from))
    }

    /// Its tags, by name.
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn tags(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What must hold; null or left out: everything.")] filter: Option<TagFilter>,
        #[graphql(desc = "Entries from the start: 0 to 100, 20 unless said. Not with `last`.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor. Not with `last`.")] after: Option<Cursor>,
        #[graphql(desc = "Entries from the end: 0 to 100. Not with `first`.")] last: Option<i32>,
        #[graphql(desc = "The page ends before the entry with this cursor. Needs `last`.")] before: Option<Cursor>,
    ) -> Result<Connection<Tag>> {
        guard::check_field::<Self>(ctx)?;
        let args = page_args(first, after, last, before);
        let page = tags::query::tags(ctx.scope()?, filter.as_ref(), &args, wants(ctx)).await?;
        Ok(Connection::new(page, Tag::from))
    }

    /// Its API keys, newest first, revoked ones included.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Option<Result<Connection<ApiKey>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = api_keys::query::api_keys(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, ApiKey))
        };
        Some(page.await)
    }

    /// Documents that applications have registered, newest first.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn document_sets(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many from the beginning, 100 at most; 20 when left out.")] first: Option<i32>,
        #[graphql(desc = "Begins after the place that this cursor names.")] after: Option<Cursor>,
    ) -> Option<Result<Connection<DocumentSet>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = document_sets::query::document_sets(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, DocumentSet))
        };
        Some(page.await)
    }

    /// Files of items that were sent to be imported in the last 30 days, newest first.
    #[graphql(directive = requires::apply(Permission::ItemWrite))]
    async fn imports(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Option<Result<Connection<Import>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = imports::query::imports(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, Import))
        };
        Some(page.await)
    }

    /// Its webhooks, newest first.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn webhooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Option<Result<Connection<Webhook>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = webhooks::query::webhooks(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, Webhook))
        };
        Some(page.await)
    }

    /// Its inbound hooks, newest first.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn inbound_hooks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Entries of the page: 0 to 100, 20 unless said.")] first: Option<i32>,
        #[graphql(desc = "The page begins after the entry with this cursor.")] after: Option<Cursor>,
    ) -> Option<Result<Connection<InboundHook>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = inbound_hooks::query::inbound_hooks(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, InboundHook))
        };
        Some(page.await)
    }

    /// Requests within a range: how many, how fast, at what cost. A request shows up to 5 seconds late.
    #[graphql(directive = requires::apply(Permission::UsageRead))]
    async fn usage(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The last 30 days, today included, when left out. Widened to whole hours, or days.")]
        range: Option<DateRange>,
    ) -> Option<Result<Usage>> {
        let allowed = guard::check_field::<Self>(ctx);
        Some(allowed.and_then(|()| Usage::new(ctx.scope()?, range.as_ref())))
    }

    /// Who may do what: the whole matrix.
    fn roles(&self) -> Vec<RoleGrant> {
        [Role::Owner, Role::Admin, Role::Member, Role::Viewer]
            .map(|role| RoleGrant { role, permissions: Permissions::of(role).iter().collect() })
            .into()
    }

    /// When it was founded.
    fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When it was last changed itself, or its plan.
    fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// Rises by one with each change; pass as `ifVersion`.
    fn version(&self) -> i32 {
        self.0.version
    }
}

/// The published rights matrix, one row per role.
#[derive(SimpleObject)]
pub struct RoleGrant {
    /// Whose rights these are.
    role: Role,
    /// All that the role holds.
    permissions: Vec<Permission>,
}

payload! {
    /// What became of a mutation of the organization.
    OrganizationPayload { organization: Organization }
}
