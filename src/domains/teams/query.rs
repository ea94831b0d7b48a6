//! Lists of teams.

use super::input::TeamFilter;
use crate::{
    base::error::Result,
    data::{
        db::{
            OrgScope,
            filter::everything,
            page::{Key, Page, PageArgs, PageStart, Wants},
        },
        entity::team,
    },
    graphql::{connection::list_filtered, filter::list_condition},
};

/// Teams by name.
pub async fn teams(
    scope: &OrgScope,
    filter: Option<&TeamFilter>,
    args: &PageArgs,
    wants: Wants,
) -> Result<Page<team::Model>> {
    let mut start = PageStart::read(args, &list_filtered("teams", filter), scope.clock())?;
    let condition = match filter {
        Some(filter) => list_condition(scope, &mut start, |f| filter.condition(f))?,
        None => everything(),
    };
    let keys = vec![Key::asc(team::Column::NameKey)];
    start.plan::<team::Entity>(condition, keys, team::Column::Id, wants)?.fetch(scope).await
}
