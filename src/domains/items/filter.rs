//! Filters over items, as conditions that mean the same on both databases.

use async_graphql::InputObject;
use sea_orm::{ColumnTrait, Condition, sea_query::Expr};

use super::input::ItemScope;
use crate::{
    base::{
        enums::{ItemStatus, Priority},
        error::Result,
        id::{TagId, UserId, kind},
    },
    data::{
        db::{
            OrgScope,
            filter::{everything, is_viewer, nothing, present, select},
            ordered_link::OrderedLink,
        },
        entity::{item, item_assignee, item_relation, item_tag, item_watcher, tag, team},
    },
    domains::{members::input::UserFilter, relations, tags::input::TagFilter, teams::input::has_the_viewer},
    graphql::filter::{DateTimeFilter, Filtering, IdFilter, NumberFilter, StringFilter, enum_filter, null_is},
};

enum_filter! {
    ItemStatusFilter of ItemStatus;
    PriorityFilter of Priority;
}

/// Depth at most 5, at most 50 conditions. `{}` matches everything; an explicit null is rejected.
#[derive(InputObject, Clone, Debug, Default)]
pub struct ItemFilter {
    /// All of these hold; an empty list holds.
    pub and: Option<Vec<ItemFilter>>,
    /// At least one of these holds; an empty list never holds.
    pub or: Option<Vec<ItemFilter>>,
    /// This does not hold; items for which a value is absent are then included.
    pub not: Option<Box<ItemFilter>>,
    /// By the item's id.
    pub id: Option<IdFilter>,
    /// By the title.
    pub title: Option<StringFilter>,
    /// Full text over title and description: what `search` takes as its query. A text without words matches nothing.
    pub text: Option<String>,
    /// By the status. The argument `scope` of the list holds, too.
    pub status: Option<ItemStatusFilter>,
    /// By the priority.
    pub priority: Option<PriorityFilter>,
    /// By when it is due.
    pub due_at: Option<DateTimeFilter>,
    /// Whether it is past due and neither done nor archived.
    pub is_overdue: Option<bool>,
    /// Whether an item blocks it that is neither done, archived nor in the trash.
    pub is_blocked: Option<bool>,
    /// Whether the caller watches it; nothing is watched by an API key.
    pub is_watched_by_viewer: Option<bool>,
    /// By the estimate, in hours.
    pub estimated_hours: Option<NumberFilter>,
    /// By the time it took, in hours.
    pub actual_hours: Option<NumberFilter>,
    /// By when it was created.
    pub created_at: Option<DateTimeFilter>,
    /// By when it was last changed.
    pub updated_at: Option<DateTimeFilter>,
    /// By when it was done.
    pub completed_at: Option<DateTimeFilter>,
    /// By its team.
    pub team: Option<ItemTeamFilter>,
    /// By the item it is a subtask of.
    pub parent: Option<ItemParentFilter>,
    /// By the person who created it. What API keys and inbound hooks created matches no person.
    pub created_by: Option<UserFilter>,
    /// By the people it is assigned to.
    pub assignees: Option<UserListFilter>,
    /// By its tags.
    pub tags: Option<TagListFilter>,
}

/// Condition on the parent; all that is given must hold.
#[derive(InputObject, Clone, Debug, Default)]
pub struct ItemParentFilter {
    /// True: items at the top alone; false: subtasks alone.
    pub is_null: Option<bool>,
    /// By the parent's id.
    pub id: Option<IdFilter>,
}

/// Condition on an item's team; all that is given must hold.
#[derive(InputObject, Clone, Debug, Default)]
pub struct ItemTeamFilter {
    /// True: items without a team alone; false: those with one.
    pub is_null: Option<bool>,
    /// By the team's id.
    pub id: Option<IdFilter>,
    /// By the team's name.
    pub name: Option<StringFilter>,
    /// Whether the caller is a member.
    pub has_viewer: Option<bool>,
}

/// `some`, `every` and `none` may be combined; `isEmpty` stands for no members at all.
#[derive(InputObject, Clone, Debug, Default)]
pub struct UserListFilter {
    /// At least one of them matches.
    pub some: Option<UserFilter>,
    /// All of them match; also when there are none.
    pub every: Option<UserFilter>,
    /// None of them matches.
    pub none: Option<UserFilter>,
    /// Whether there are none.
    pub is_empty: Option<bool>,
}

/// Condition on an item's tags. `some`, `every` and `none` may be combined.
#[derive(InputObject, Clone, Debug, Default)]
pub struct TagListFilter {
    /// At least one of them matches.
    pub some: Option<TagFilter>,
    /// All of them match; also when there are none.
    pub every: Option<TagFilter>,
    /// None of them matches.
    pub none: Option<TagFilter>,
    /// Whether there are none.
    pub is_empty: Option<bool>,
}

/// The rows of a scope: working set, archive, trash.
pub fn in_scope(scope: ItemScope) -> Condition {
    use item::Column;
    let kept = everything().add(Column::DeletedAt.is_null());
    match scope {
        ItemScope::Active => kept.add(Column::Status.ne(ItemStatus::Archived)),
        ItemScope::Archived => kept.add(Column::Status.eq(ItemStatus::Archived)),
        ItemScope::Trashed => everything().add(Column::DeletedAt.is_not_null()),
        ItemScope::All => kept,
    }
}

impl ItemFilter {
    pub fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        self.at_depth(f, 1, None)
    }

    /// [`Self::condition`], apart from links that the list can be read through in the order of creation: to one person,
    /// to one tag.
    pub fn condition_and_links(&self, f: &mut Filtering<'_>) -> Result<(Condition, Vec<OrderedLink>)> {
        let mut demanded = Demanded::default();
        let condition = self.at_depth(f, 1, Some(&mut demanded))?;
        Ok((condition, demanded.links(f.scope)))
    }

    /// `demanded` of what every item must satisfy: neither under `or` nor under `not`.
    fn at_depth(&self, f: &mut Filtering<'_>, depth: u32, mut demanded: Option<&mut Demanded>) -> Result<Condition> {
        use item::Column;
        f.descend(depth)?;
        let Self {
            and,
            or,
            not,
            id,
            title,
            text,
            status,
            priority,
            due_at,
            is_overdue,
            is_blocked,
            is_watched_by_viewer,
            estimated_hours,
            actual_hours,
            created_at,
            updated_at,
            completed_at,
            team,
            parent,
            created_by,
            assignees,
            tags,
        } = self;
        let mut all = everything();
        for filter in and.iter().flatten() {
            all = all.add(filter.at_depth(f, depth + 1, demanded.as_deref_mut())?);
        }
        if let Some(filters) = or {
            // `or: []` is false.
            let mut any = Condition::any().add(nothing());
            for filter in filters {
                any = any.add(filter.at_depth(f, depth + 1, None)?);
            }
            all = all.add(any);
        }
        if let Some(filter) = not {
            all = all.add(negated(filter.at_depth(f, depth + 1, None)?));
        }
        if let Some(filter) = id {
            all = all.add(filter.condition::<kind::Item>(f, Column::Id)?);
        }
        if let Some(filter) = title {
            all = all.add(filter.condition(f, Column::Title, Column::TitleKey)?);
        }
        if let Some(text) = text {
            all = all.add(f.text(text, Column::Id)?);
        }
        if let Some(filter) = status {
            all = all.add(filter.condition(f, Column::Status)?);
        }
        if let Some(filter) = priority {
            all = all.add(filter.condition(f, Column::Priority)?);
        }
        for (filter, column) in [
            (due_at, Column::DueAt),
            (created_at, Column::CreatedAt),
            (updated_at, Column::UpdatedAt),
            (completed_at, Column::CompletedAt),
        ] {
            if let Some(filter) = filter {
                all = all.add(filter.condition(f, column)?);
            }
        }
        for (filter, column) in [(estimated_hours, Column::EstimatedHours), (actual_hours, Column::ActualHours)] {
            if let Some(filter) = filter {
                all = all.add(filter.condition(f, column)?);
            }
        }
        if let Some(wanted) = is_overdue {
            f.spend()?;
            let overdue = present(Column::DueAt, Column::DueAt.lt(f.now()))
                .add(Column::Status.is_not_in([ItemStatus::Done, ItemStatus::Archived]));
            all = all.add(if *wanted { overdue } else { overdue.not() });
        }
        if let Some(wanted) = is_blocked {
            f.spend()?;
            let waits = select::<item_relation::Entity>(
                f.scope,
                item_relation::Column::RelatedItemId,
                relations::loaders::blocking(f.scope),
            );
            let blocked = everything().add(Column::Id.in_subquery(waits));
            all = all.add(if *wanted { blocked } else { blocked.not() });
        }
        if let Some(wanted) = is_watched_by_viewer {
            f.spend()?;
            // Watching is not in the ledger: such an answer is not kept.
            f.scope.note_time();
            let own = is_viewer(f.scope, item_watcher::Column::UserId, true);
            let watched = select::<item_watcher::Entity>(f.scope, item_watcher::Column::ItemId, own);
            let watched = everything().add(Column::Id.in_subquery(watched));
            all = all.add(if *wanted { watched } else { watched.not() });
        }
        if let Some(filter) = team {
            all = all.add(filter.condition(f)?);
        }
        if let Some(ItemParentFilter { is_null, id }) = parent {
            if let Some(null) = is_null {
                f.spend()?;
                all = all.add(null_is(Column::ParentId, *null));
            }
            if let Some(id) = id {
                all = all.add(id.condition::<kind::Item>(f, Column::ParentId)?);
            }
        }
        if let Some(filter) = created_by {
            all = all.add(filter.condition(f, Column::CreatedById)?);
        }
        if let Some(UserListFilter { some, every, none, is_empty }) = assignees {
            let mut matching = |filter: &UserFilter| filter.condition(f, item_assignee::Column::UserId);
            let mut conditions = Linked {
                some: some.as_ref().map(&mut matching).transpose()?,
                every: every.as_ref().map(&mut matching).transpose()?,
                none: none.as_ref().map(&mut matching).transpose()?,
                is_empty: *is_empty,
            };
            if let Some(demanded) = demanded.as_deref_mut()
                && demanded.assignee.is_none()
                && let Some(person) = some.as_ref().and_then(|filter| filter.only(f.scope))
            {
                demanded.assignee = Some(person);
                conditions.some = None;
            }
            all = all.add(conditions.on::<item_assignee::Entity>(f, item_assignee::Column::ItemId)?);
        }
        if let Some(TagListFilter { some, every, none, is_empty }) = tags {
            let mut matching = |filter: &TagFilter| {
                let condition = filter.condition(f)?;
                let tags = select::<tag::Entity>(f.scope, tag::Column::Id, condition);
                Ok::<_, crate::base::error::Error>(everything().add(item_tag::Column::TagId.in_subquery(tags)))
            };
            let mut conditions = Linked {
                some: some.as_ref().map(&mut matching).transpose()?,
                every: every.as_ref().map(&mut matching).transpose()?,
                none: none.as_ref().map(&mut matching).transpose()?,
                is_empty: *is_empty,
            };
            if let Some(demanded) = demanded
                && demanded.tag.is_none()
                && let Some(tag) = some.as_ref().and_then(TagFilter::only)
            {
                demanded.tag = Some(tag);
                conditions.some = None;
            }
            all = all.add(conditions.on::<item_tag::Entity>(f, item_tag::Column::ItemId)?);
        }
        Ok(all)
    }
}

/// Whom every item must be assigned to, and which tag it must have.
#[derive(Default)]
struct Demanded {
    assignee: Option<UserId>,
    tag: Option<TagId>,
}

impl Demanded {
    /// The person first: few have as many items as a tag.
    fn links(self, scope: &OrgScope) -> Vec<OrderedLink> {
        let Self { assignee, tag } = self;
        let of_person = assignee.map(|person| {
            use item_assignee::{Column, Entity};
            let keys = [Column::ItemCreatedAt, Column::ItemId];
            OrderedLink::new::<item::Entity, Entity>(
                item::Column::Id,
                keys,
                everything().add(Column::UserId.eq(person)),
            )
        });
        let of_tag = tag.map(|tag| {
            use item_tag::{Column, Entity};
            let keys = [Column::ItemCreatedAt, Column::ItemId];
            // A tag that is being taken off its items is gone already.
            let present = select::<tag::Entity>(scope, tag::Column::Id, everything().add(tag::Column::Id.eq(tag)));
            let condition = everything().add(Column::TagId.eq(tag)).add(Expr::exists(present));
            OrderedLink::new::<item::Entity, Entity>(item::Column::Id, keys, condition)
        });
        of_person.into_iter().chain(of_tag).collect()
    }
}

impl ItemTeamFilter {
    fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        let Self { is_null, id, name, has_viewer } = self;
        let column = item::Column::TeamId;
        let mut all = everything();
        if let Some(null) = is_null {
            f.spend()?;
            all = all.add(null_is(column, *null));
        }
        if let Some(id) = id {
            all = all.add(id.condition::<kind::Team>(f, column)?);
        }
        if let Some(name) = name {
            let named = name.condition(f, team::Column::Name, team::Column::NameKey)?;
            let teams = select::<team::Entity>(f.scope, team::Column::Id, named);
            all = all.add(present(column, column.in_subquery(teams)));
        }
        if let Some(wanted) = has_viewer {
            all = all.add(has_the_viewer(f, column, *wanted)?);
        }
        Ok(all)
    }
}

/// Conditions on the rows that link an item to something, turned into a condition on the item.
struct Linked {
    some: Option<Condition>,
    every: Option<Condition>,
    none: Option<Condition>,
    is_empty: Option<bool>,
}

impl Linked {
    fn on<L: crate::data::entity::Tenant>(self, f: &mut Filtering<'_>, item_id: L::Column) -> Result<Condition> {
        let Self { some, every, none, is_empty } = self;
        let linked =
            |condition| everything().add(item::Column::Id.in_subquery(select::<L>(f.scope, item_id, condition)));
        let mut all = everything();
        if let Some(condition) = some {
            all = all.add(linked(condition));
        }
        if let Some(condition) = every {
            all = all.add(linked(negated(condition)).not());
        }
        if let Some(condition) = none {
            all = all.add(linked(condition).not());
        }
        if let Some(wanted) = is_empty {
            let any = linked(everything());
            all = all.add(if wanted { any.not() } else { any });
        }
        f.spend()?;
        Ok(all)
    }
}

/// NOT of a condition; of none at all, nothing.
fn negated(condition: Condition) -> Condition {
    if condition.is_empty() { nothing() } else { condition.not() }
}
