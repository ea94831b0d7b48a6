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
    graphql::{connection::list_filtered, filter::Filtering},
};

/// Teams by name.
pub async fn teams(
    scope: &OrgScope,
    filter: Option<&TeamFilter>,
    args: &PageArgs,
    wants: Wants,
) -> Result<Page<team::Model>> {
    let start = PageStart::read(args, &list_filtered("teams", filter), scope.clock())?;
    let condition = match filter {
        Some(filter) => filter.condition(&mut Filtering::new(scope, start.now))?,
        None => everything(),
    };
    let keys = vec![Key::asc(team::Column::NameKey)];
    start.plan::<team::Entity>(condition, keys, team::Column::Id, wants)?.fetch(scope).await
}
