use async_graphql::{InputObject, MaybeUndefined};

use crate::{
    base::{
        error::{ProblemCode, Problems, Result},
        id::{ClientMade, OrganizationId},
    },
    data::entity::organization,
    domains::accounts::input::{check_time_zone, required},
};

/// A new organization.
#[derive(InputObject, Clone)]
pub struct OrganizationCreateInput {
    /// Client-made id, `org_` and a UUIDv7; made by the server when left out. One that is in use is TAKEN.
    #[graphql(validator(custom = "ClientMade"))]
    pub id: Option<OrganizationId>,
    /// What it is called, 1 to 100 characters.
    pub name: String,
    /// Lower-case letters, digits and hyphens, 2 to 48, no hyphen at either end; part of the path `/o/{slug}/`. TAKEN
    /// when an organization has it.
    pub slug: String,
    /// Prefix of item identifiers, `ACME` of `ACME-42`: capital letters and digits, 2 to 6, a letter first. Made from
    /// the slug when left out; never changes.
    pub item_prefix: Option<String>,
    /// Name of a time zone in the IANA database.
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

/// Changes to the organization. What is left out stays as it is.
#[derive(InputObject, Clone)]
pub struct OrganizationPatch {
    /// What it is called, 1 to 100 characters. Can't be cleared.
    pub name: MaybeUndefined<String>,
    /// Lower-case letters, digits and hyphens, 2 to 48, no hyphen at either end; TAKEN when another organization has
    /// it. Can't be cleared.
    pub slug: MaybeUndefined<String>,
    /// Name of a time zone in the IANA database. Can't be cleared.
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

/// How to change the organization.
#[derive(InputObject, Clone)]
pub struct OrganizationUpdateInput {
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
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
    /// The organization's slug; INVALID when it is another.
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
