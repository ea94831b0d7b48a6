use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::{ColumnTrait, Condition};

use crate::{
    base::{
        error::{Problems, Result},
        id::{ClientMade, TeamId, UserId, kind},
    },
    data::{
        db::filter::{everything, fold, present, select},
        entity::{team, team_member},
    },
    domains::accounts::input::required,
    graphql::{
        filter::{Filtering, IdFilter, StringFilter},
        patch::{IdSetPatch, check_set},
        scalars::Markdown,
    },
};

/// Members of a team at most.
pub const MAX_MEMBERS: usize = 1000;
/// Characters of a description at most.
pub const MAX_DESCRIPTION: usize = 50_000;

/// A new team.
#[derive(InputObject, Clone, Default)]
pub struct TeamCreateInput {
    /// Client-made id, `tem_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<TeamId>,
    /// What it is called, 1 to 100 characters; TAKEN when a team has that name in any case.
    pub name: String,
    /// What it is for, 50,000 characters at most.
    pub description: Option<Markdown>,
    /// User ids of members, 1,000 at most.
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

/// Changes to a team. What is left out stays as it is, null clears.
#[derive(InputObject, Clone)]
pub struct TeamPatch {
    /// What it is called, 1 to 100 characters; TAKEN when another team has that name in any case. Can't be cleared.
    pub name: MaybeUndefined<String>,
    /// What it is for, 50,000 characters at most; null: none.
    pub description: MaybeUndefined<Markdown>,
    /// User ids of members, 1,000 at most. Null is REQUIRED.
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
        // The key of a name that stays is not made anew: what folds may have changed since with Unicode.
        if let MaybeUndefined::Value(name) = name
            && name.trim() != row.name
        {
            row.name_key = fold(&name);
            row.name = name.trim().to_owned();
        }
        description.map_value(|text| text.0).update_to(&mut row.description);
    }
}

/// Which team to change, and how.
#[derive(InputObject, Clone)]
pub struct TeamUpdateInput {
    /// The team.
    pub id: TeamId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: TeamPatch,
}

/// Which team to delete. Deleting it again is harmless.
#[derive(InputObject, Clone)]
pub struct TeamDeleteInput {
    /// The team.
    pub id: TeamId,
}

/// Condition on a team; all that is given must hold.
#[derive(InputObject, Clone, Debug, Default)]
pub struct TeamFilter {
    /// By the team's id.
    pub id: Option<IdFilter>,
    /// By the team's name.
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
    let viewer = crate::data::db::filter::is_viewer(f.scope, team_member::Column::UserId, true);
    let teams = select::<team_member::Entity>(f.scope, team_member::Column::TeamId, viewer);
    let condition = present(column, column.in_subquery(teams));
    Ok(if wanted { condition } else { condition.not() })
}
