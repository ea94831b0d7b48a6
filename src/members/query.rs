//! Lists of members and invitations, for whichever object shows them.

use sea_orm::ColumnTrait;

use super::input::MembershipFilter;
use crate::{
    db::{
        OrgScope,
        filter::everything,
        page::{Key, Page, PageArgs, PagePlan, PageStart},
    },
    entity::{invitation, membership},
    error::Result,
    graphql::filter::Filtering,
};

/// Members in the order they joined.
pub async fn members(
    scope: &OrgScope,
    filter: Option<&MembershipFilter>,
    args: &PageArgs,
    wants_total: bool,
) -> Result<Page<membership::Model>> {
    members_plan(scope, filter, args, wants_total)?.fetch(scope).await
}

fn members_plan(
    scope: &OrgScope,
    filter: Option<&MembershipFilter>,
    args: &PageArgs,
    wants_total: bool,
) -> Result<PagePlan<membership::Entity>> {
    let start = PageStart::read(args, format!("members {filter:?}"), scope.clock())?;
    let condition = match filter {
        Some(filter) => filter.condition(&mut Filtering::new(scope, start.now))?,
        None => everything(),
    };
    start.plan(condition, vec![Key::asc(membership::Column::JoinedAt)], membership::Column::Id, wants_total)
}

/// Open invitations, oldest first.
pub async fn invitations(scope: &OrgScope, args: &PageArgs, wants_total: bool) -> Result<Page<invitation::Model>> {
    let start = PageStart::read(args, "invitations", scope.clock())?;
    let open = everything().add(invitation::Column::ExpiresAt.gt(scope.clock().now()));
    let keys = vec![Key::asc(invitation::Column::CreatedAt)];
    start.plan::<invitation::Entity>(open, keys, invitation::Column::Id, wants_total)?.fetch(scope).await
}
