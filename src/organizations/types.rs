use async_graphql::{Context, Object, SimpleObject};

use crate::{
    api_keys::{self, types::ApiKey},
    auth::policy::{Permission, Permissions, requires},
    document_sets::{self, types::DocumentSet},
    entity::{enums::Role, organization},
    error::Result,
    graphql::{
        connection::{Connection, page_args, wants},
        context::ContextExt,
        guard,
        payload::payload,
        range::DateRange,
        scalars::{Cursor, DateTime},
    },
    id::OrganizationId,
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
};

/// A tenant: the one that this request is about.
#[derive(Clone, Debug)]
pub struct Organization(pub organization::Model);

#[Object]
impl Organization {
    pub async fn id(&self) -> OrganizationId {
        self.0.id
    }

    fn name(&self) -> &str {
        &self.0.name
    }

    fn slug(&self) -> &str {
        &self.0.slug
    }

    /// Prefix of item identifiers, e.g. `ACME` in `ACME-42`.
    fn item_prefix(&self) -> &str {
        &self.0.item_prefix
    }

    fn time_zone(&self) -> &str {
        &self.0.time_zone
    }

    fn plan(&self) -> Plan {
        Plan { tier: self.0.plan_tier, renews_at: self.0.plan_renews_at }
    }

    #[graphql(directive = requires::apply(Permission::MemberRead))]
    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn members(
        &self,
        ctx: &Context<'_>,
        filter: Option<MembershipFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Membership>> {
        guard::check_field::<Self>(ctx)?;
        let page =
            members::query::members(ctx.scope()?, filter.as_ref(), &page_args(first, after, last, before), wants(ctx))
                .await?;
        Ok(Connection::new(page, Membership))
    }

    #[graphql(directive = requires::apply(Permission::MemberManage))]
    async fn invitations(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
    ) -> Option<Result<Connection<Invitation>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = members::query::invitations(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, Invitation))
        };
        Some(page.await)
    }

    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn teams(
        &self,
        ctx: &Context<'_>,
        filter: Option<TeamFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Team>> {
        guard::check_type::<Team>(ctx)?;
        let args = page_args(first, after, last, before);
        let page = teams::query::teams(ctx.scope()?, filter.as_ref(), &args, wants(ctx)).await?;
        Ok(Connection::new(page, Team))
    }

    #[allow(clippy::too_many_arguments, reason = "GraphQL arguments")]
    async fn tags(
        &self,
        ctx: &Context<'_>,
        filter: Option<TagFilter>,
        first: Option<i32>,
        after: Option<Cursor>,
        last: Option<i32>,
        before: Option<Cursor>,
    ) -> Result<Connection<Tag>> {
        guard::check_type::<Tag>(ctx)?;
        let args = page_args(first, after, last, before);
        let page = tags::query::tags(ctx.scope()?, filter.as_ref(), &args, wants(ctx)).await?;
        Ok(Connection::new(page, Tag))
    }

    /// Newest first, revoked ones included.
    #[graphql(directive = requires::apply(Permission::ApiKeyManage))]
    async fn api_keys(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
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

    /// Newest first.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn webhooks(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
    ) -> Option<Result<Connection<Webhook>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = webhooks::query::webhooks(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, Webhook))
        };
        Some(page.await)
    }

    /// Newest first.
    #[graphql(directive = requires::apply(Permission::WebhookManage))]
    async fn inbound_hooks(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<Cursor>,
    ) -> Option<Result<Connection<InboundHook>>> {
        let page = async {
            guard::check_field::<Self>(ctx)?;
            let args = page_args(first, after, None, None);
            let page = inbound_hooks::query::inbound_hooks(ctx.scope()?, &args, wants(ctx)).await?;
            Ok(Connection::new(page, InboundHook))
        };
        Some(page.await)
    }

    #[graphql(directive = requires::apply(Permission::UsageRead))]
    async fn usage(&self, ctx: &Context<'_>, range: Option<DateRange>) -> Option<Result<Usage>> {
        let allowed = guard::check_field::<Self>(ctx);
        Some(allowed.and_then(|()| Usage::new(ctx.scope()?, range.as_ref())))
    }

    /// Who may do what: the whole matrix.
    fn roles(&self) -> Vec<RoleGrant> {
        [Role::Owner, Role::Admin, Role::Member, Role::Viewer]
            .map(|role| RoleGrant { role, permissions: Permissions::of(role).iter().collect() })
            .into()
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

/// The published rights matrix, one row per role.
#[derive(SimpleObject)]
pub struct RoleGrant {
    role: Role,
    permissions: Vec<Permission>,
}

payload! {
    OrganizationPayload { organization: Organization }
}
