use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::{ColumnTrait, Condition};

use crate::{
    accounts::input::required,
    db::filter::{everything, fold, present, select},
    entity::{team, team_member},
    error::{Problems, Result},
    graphql::{
        filter::{Filtering, IdFilter, StringFilter},
        patch::{IdSetPatch, check_set},
        scalars::Markdown,
    },
    id::{ClientMade, TeamId, UserId, kind},
};

/// Members of a team at most.
pub const MAX_MEMBERS: usize = 1000;
/// Characters of a description at most.
pub const MAX_DESCRIPTION: usize = 50_000;

#[derive(InputObject, Clone)]
pub struct TeamCreateInput {
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<TeamId>,
    pub name: String,
    pub description: Option<Markdown>,
    pub member_ids: Option<Vec<UserId>>,
}

impl TeamCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "name"], &self.name, 1, 100);
        if let Some(text) = &self.description {
            problems.length(&["input", "description"], &text.0, 0, MAX_DESCRIPTION);
        }
        problems.count(&["input", "memberIds"], self.member_ids.as_ref().map_or(0, Vec::len), MAX_MEMBERS);
        problems.finish()
    }
}

#[derive(InputObject, Clone)]
pub struct TeamPatch {
    pub name: MaybeUndefined<String>,
    pub description: MaybeUndefined<Markdown>,
    /// User ids.
    pub members: MaybeUndefined<IdSetPatch>,
}

impl TeamPatch {
    pub fn validate(&self) -> Result<()> {
        let Self { name, description, members } = self;
        let mut problems = Problems::default();
        check_set(&mut problems, &["input", "patch", "members"], members);
        required(&mut problems, &["input", "patch", "name"], name);
        if let MaybeUndefined::Value(name) = name {
            problems.length(&["input", "patch", "name"], name, 1, 100);
        }
        if let MaybeUndefined::Value(text) = description {
            problems.length(&["input", "patch", "description"], &text.0, 0, MAX_DESCRIPTION);
        }
        problems.finish()
    }

    /// Writes what the patch says into the row; the members are another table's.
    pub fn apply(&self, row: &mut team::Model) {
        let Self { name, description, members: _ } = self.clone();
        if let MaybeUndefined::Value(name) = name {
            row.name_key = fold(&name);
            row.name = name.trim().to_owned();
        }
        description.map_value(|text| text.0).update_to(&mut row.description);
    }
}

#[derive(InputObject, Clone)]
pub struct TeamUpdateInput {
    pub id: TeamId,
    pub if_version: Option<i32>,
    pub patch: TeamPatch,
}

#[derive(InputObject, Clone)]
pub struct TeamDeleteInput {
    pub id: TeamId,
}

#[derive(InputObject, Clone, Debug, Default)]
pub struct TeamFilter {
    pub id: Option<IdFilter>,
    pub name: Option<StringFilter>,
    /// Whether the caller is a member.
    pub has_viewer: Option<bool>,
}

impl TeamFilter {
    pub fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        let Self { id, name, has_viewer } = self;
        let mut condition = everything();
        if let Some(id) = id {
            condition = condition.add(id.condition::<kind::Team>(f, team::Column::Id)?);
        }
        if let Some(name) = name {
            condition = condition.add(name.condition(f, team::Column::Name, team::Column::NameKey)?);
        }
        if let Some(wanted) = has_viewer {
            condition = condition.add(has_the_viewer(f, team::Column::Id, *wanted)?);
        }
        Ok(condition)
    }
}

/// Whether the caller belongs to the team that `column` names.
pub fn has_the_viewer(f: &mut Filtering<'_>, column: impl ColumnTrait, wanted: bool) -> Result<Condition> {
    f.spend()?;
    let viewer = crate::db::filter::is_viewer(f.scope, team_member::Column::UserId, true);
    let teams = select::<team_member::Entity>(f.scope, team_member::Column::TeamId, viewer);
    let condition = present(column, column.in_subquery(teams));
    Ok(if wanted { condition } else { condition.not() })
}
