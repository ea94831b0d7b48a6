use async_graphql::{InputObject, MaybeUndefined};

use crate::{
    accounts::input::{check_time_zone, required},
    entity::organization,
    error::{ProblemCode, Problems, Result},
    id::{ClientMade, OrganizationId},
};

#[derive(InputObject, Clone)]
pub struct OrganizationCreateInput {
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<OrganizationId>,
    pub name: String,
    /// 2 to 48 lower-case letters, digits and hyphens; part of the organization's path, `/o/{slug}/`.
    pub slug: String,
    /// 2 to 6 capital letters and digits, `ACME` of `ACME-42`; made from the slug when left out. Never changes.
    pub item_prefix: Option<String>,
    #[graphql(default = "UTC")]
    pub time_zone: String,
}

impl OrganizationCreateInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.length(&["input", "name"], &self.name, 1, 100);
        check_slug(&mut problems, &["input", "slug"], &self.slug);
        check_time_zone(&mut problems, &["input", "timeZone"], &self.time_zone);
        if let Some(prefix) = &self.item_prefix {
            let valid = (2..=6).contains(&prefix.len())
                && prefix.starts_with(|c: char| c.is_ascii_uppercase())
                && prefix.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
            if !valid {
                let message = "2 to 6 capital letters and digits, a letter first.";
                problems.push(ProblemCode::Invalid, &["input", "itemPrefix"], message);
            }
        }
        problems.finish()
    }

    /// The prefix asked for, or one made from the slug: `acme-corp` becomes `ACME`.
    pub fn prefix(&self) -> String {
        self.item_prefix.clone().unwrap_or_else(|| {
            let letters = self.slug.chars().filter(char::is_ascii_alphabetic).take(4);
            let prefix: String = letters.map(|c| c.to_ascii_uppercase()).collect();
            if prefix.len() < 2 { "ITEM".to_owned() } else { prefix }
        })
    }
}

#[derive(InputObject, Clone)]
pub struct OrganizationPatch {
    pub name: MaybeUndefined<String>,
    pub slug: MaybeUndefined<String>,
    pub time_zone: MaybeUndefined<String>,
}

impl OrganizationPatch {
    /// Writes what the patch says into the row.
    pub fn apply(self, row: &mut organization::Model) {
        let Self { name, slug, time_zone } = self;
        if let MaybeUndefined::Value(name) = name {
            row.name = name.trim().to_owned();
        }
        if let MaybeUndefined::Value(slug) = slug {
            row.slug = slug;
        }
        if let MaybeUndefined::Value(zone) = time_zone {
            row.time_zone = zone;
        }
    }
}

#[derive(InputObject, Clone)]
pub struct OrganizationUpdateInput {
    pub if_version: Option<i32>,
    pub patch: OrganizationPatch,
}

impl OrganizationUpdateInput {
    pub fn validate(&self) -> Result<()> {
        let OrganizationPatch { name, slug, time_zone } = &self.patch;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "name"], name);
        required(&mut problems, &["input", "patch", "slug"], slug);
        required(&mut problems, &["input", "patch", "timeZone"], time_zone);
        if let MaybeUndefined::Value(name) = name {
            problems.length(&["input", "patch", "name"], name, 1, 100);
        }
        if let MaybeUndefined::Value(slug) = slug {
            check_slug(&mut problems, &["input", "patch", "slug"], slug);
        }
        if let MaybeUndefined::Value(zone) = time_zone {
            check_time_zone(&mut problems, &["input", "patch", "timeZone"], zone);
        }
        problems.finish()
    }
}

/// The slug, typed again, confirms.
#[derive(InputObject, Clone)]
pub struct OrganizationDeleteInput {
    pub confirm_slug: String,
}

fn check_slug(problems: &mut Problems, path: &[&str], slug: &str) {
    let valid = (2..=48).contains(&slug.len())
        && slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !slug.starts_with('-')
        && !slug.ends_with('-');
    if !valid {
        let message = "2 to 48 lower-case letters, digits and hyphens, no hyphen at either end.";
        problems.push(ProblemCode::Invalid, path, message);
    }
}
