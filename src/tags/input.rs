use async_graphql::{InputObject, MaybeUndefined};
use sea_orm::Condition;

use crate::{
    accounts::input::required,
    db::filter::{everything, fold},
    entity::tag,
    error::{ProblemCode, Problems, Result},
    graphql::{
        filter::{Filtering, IdFilter, StringFilter},
        scalars::Color,
    },
    id::{ClientMade, TagId, kind},
};

#[derive(InputObject, Clone)]
pub struct TagCreateInput {
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<TagId>,
    pub name: String,
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

#[derive(InputObject, Clone)]
pub struct TagPatch {
    pub name: MaybeUndefined<String>,
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
        if let MaybeUndefined::Value(name) = name {
            row.name_key = fold(&name);
            row.name = name.trim().to_owned();
        }
        if let MaybeUndefined::Value(color) = color {
            row.color = color.0.to_uppercase();
        }
    }
}

#[derive(InputObject, Clone)]
pub struct TagUpdateInput {
    pub id: TagId,
    pub if_version: Option<i32>,
    pub patch: TagPatch,
}

#[derive(InputObject, Clone)]
pub struct TagMergeInput {
    pub from_id: TagId,
    pub into_id: TagId,
}

#[derive(InputObject, Clone)]
pub struct TagDeleteInput {
    pub id: TagId,
}

#[derive(InputObject, Clone, Debug, Default)]
pub struct TagFilter {
    pub id: Option<IdFilter>,
    pub name: Option<StringFilter>,
}

impl TagFilter {
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
