use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::Condition;

use crate::{
    base::{
        error::{ProblemCode, Problems, Result},
        id::{ClientMade, TagId, kind},
    },
    data::{
        db::filter::{everything, fold},
        entity::tag,
    },
    domains::accounts::input::required,
    graphql::{
        filter::{Filtering, IdFilter, StringFilter},
        scalars::Color,
    },
};

/// A new tag.
#[derive(InputObject, Clone)]
pub struct TagCreateInput {
    /// Client-made id, `tag_` and a UUIDv7; made by the server when left out. Repeating a create with the same id and
    /// content returns the first result.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<TagId>,
    /// What it is called, 1 to 50 characters; TAKEN when a tag has that name in any case.
    pub name: String,
    /// Color to show it in.
    #[graphql(default_with = "Color(\"#3B82F6\".to_owned())")]
    pub color: Color,
}

impl TagCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "name"], &self.name, 1, 50);
        check_color(&mut problems, &["input", "color"], &self.color);
        problems.finish()
    }
}

/// Changes to a tag. What is left out stays as it is.
#[derive(InputObject, Clone)]
pub struct TagPatch {
    /// What it is called, 1 to 50 characters; TAKEN when another tag has that name in any case. Can't be cleared.
    pub name: MaybeUndefined<String>,
    /// Color to show it in. Can't be cleared.
    pub color: MaybeUndefined<Color>,
}

impl TagPatch {
    pub fn validate(&self) -> Result<()> {
        let Self { name, color } = self;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "name"], name);
        required(&mut problems, &["input", "patch", "color"], color);
        if let MaybeUndefined::Value(name) = name {
            problems.length(&["input", "patch", "name"], name, 1, 50);
        }
        if let MaybeUndefined::Value(color) = color {
            check_color(&mut problems, &["input", "patch", "color"], color);
        }
        problems.finish()
    }

    /// Writes what the patch says into the row.
    pub fn apply(&self, row: &mut tag::Model) {
        let Self { name, color } = self.clone();
        // The key of a name that stays is not made anew: what folds may have changed since with Unicode.
        if let MaybeUndefined::Value(name) = name
            && name.trim() != row.name
        {
            row.name_key = fold(&name);
            row.name = name.trim().to_owned();
        }
        if let MaybeUndefined::Value(color) = color {
            row.color = color.0.to_uppercase();
        }
    }
}

/// Which tag to change, and how.
#[derive(InputObject, Clone)]
pub struct TagUpdateInput {
    /// The tag.
    pub id: TagId,
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: TagPatch,
}

/// Which tag becomes part of which.
#[derive(InputObject, Clone)]
pub struct TagMergeInput {
    /// The tag that goes.
    pub from_id: TagId,
    /// The tag that stays; another one than `fromId`.
    pub into_id: TagId,
}

/// Which tag to delete. Deleting it again is harmless.
#[derive(InputObject, Clone)]
pub struct TagDeleteInput {
    /// The tag.
    pub id: TagId,
}

/// Condition on a tag; all that is given must hold.
#[derive(InputObject, Clone, Debug, Default)]
pub struct TagFilter {
    /// By the tag's id.
    pub id: Option<IdFilter>,
    /// By the tag's name.
    pub name: Option<StringFilter>,
}

impl TagFilter {
    /// The only tag that it matches, where it asks for one by id and nothing else.
    pub fn only(&self) -> Option<TagId> {
        let Self { id, name } = self;
        id.as_ref().filter(|_| name.is_none())?.only()
    }

    /// The condition on rows of tags.
    pub fn condition(&self, f: &mut Filtering<'_>) -> Result<Condition> {
        let Self { id, name } = self;
        let mut condition = everything();
        if let Some(id) = id {
            condition = condition.add(id.condition::<kind::Tag>(f, tag::Column::Id)?);
        }
        if let Some(name) = name {
            condition = condition.add(name.condition(f, tag::Column::Name, tag::Column::NameKey)?);
        }
        Ok(condition)
    }
}

fn check_color(problems: &mut Problems, path: &[&str], color: &Color) {
    let valid = color
        .0
        .strip_prefix('#')
        .is_some_and(|digits| digits.len() == 6 && digits.chars().all(|digit| digit.is_ascii_hexdigit()));
    if !valid {
        problems.push(ProblemCode::Invalid, path, "Not a color: write #RRGGBB.");
    }
}
