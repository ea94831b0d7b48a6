//! Lists of members and invitations, for whichever object shows them.

use async_graphql::Context;
use sea_orm::ColumnTrait;
use uuid::Uuid;

use super::input::MembershipFilter;
use crate::{
    base::{
        error::Result,
        id::{ItemId, TeamId},
    },
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PagePlan, PageStart, ParentKey, Wants},
        },
        entity::{invitation, item_watcher, membership, team_member},
    },
    graphql::{
        connection::{list_filtered, wants},
        context::ContextExt,
        filter::list_condition,
        loaders::{ChildPage, Children},
    },
};

/// Members in the order they joined.
pub async fn members(
    scope: &OrgScope,
    filter: Option<&MembershipFilter>,
    args: &PageArgs,
    wants: Wants,
) -> Result<Page<membership::Model>> {
    members_plan(scope, filter, args, wants)?.fetch(scope).await
}

fn members_plan(
    scope: &OrgScope,
    filter: Option<&MembershipFilter>,
    args: &PageArgs,
    wants: Wants,
) -> Result<PagePlan<membership::Entity>> {
    let mut start = PageStart::read(args, &list_filtered("members", filter), scope.clock())?;
    let condition = match filter {
        Some(filter) => list_condition(scope, &mut start, |f| filter.condition(f))?,
        None => everything(),
    };
    start.plan(condition, vec![Key::asc(membership::Column::JoinedAt)], membership::Column::Id, wants)
}

/// Members of a team in the order they joined the organization.
pub async fn of_team(ctx: &Context<'_>, team_id: TeamId, args: &PageArgs) -> Result<Page<membership::Model>> {
    let link = ParentKey::linked::<membership::Entity, team_member::Entity>(
        membership::Column::UserId,
        team_member::Column::UserId,
        team_member::Column::TeamId,
    );
    linked(ctx, team_id.uuid(), link, args).await
}

/// Members who watch an item, in the order they joined the organization.
pub async fn watching(ctx: &Context<'_>, item_id: ItemId, args: &PageArgs) -> Result<Page<membership::Model>> {
    let link = ParentKey::linked::<membership::Entity, item_watcher::Entity>(
        membership::Column::UserId,
        item_watcher::Column::UserId,
        item_watcher::Column::ItemId,
    );
    linked(ctx, item_id.uuid(), link, args).await
}

async fn linked(ctx: &Context<'_>, parent: Uuid, link: ParentKey, args: &PageArgs) -> Result<Page<membership::Model>> {
    let plan = members_plan(ctx.scope()?, None, args, wants(ctx))?;
    let page = ctx.loader::<Children<membership::Entity>>()?.load_one(ChildPage::new(parent, link, plan)).await?;
    Ok(page.unwrap_or_default())
}

/// Open invitations, oldest first.
pub async fn invitations(scope: &OrgScope, args: &PageArgs, wants: Wants) -> Result<Page<invitation::Model>> {
    let start = PageStart::read(args, "invitations", scope.clock())?;
    let open = everything().add(invitation::Column::ExpiresAt.gt(scope.clock().now()));
    let keys = vec![Key::asc(invitation::Column::CreatedAt)];
    start.plan::<invitation::Entity>(open, keys, invitation::Column::Id, wants)?.fetch(scope).await
}
