//! Who the people are that a source names.

use std::collections::{BTreeMap, HashMap};

use sea_orm::ColumnTrait as _;

use super::{
    file::record::{Fault, Field},
    file::values::shorten,
    options::{Asker, Options, Setting, UnknownPeople},
};
use crate::{
    base::{enums::MembershipStatus, error::Result, id::UserId},
    data::{
        db::{
            OrgScope,
            filter::{email_key, fold},
        },
        entity::membership,
    },
};

/// The organization's active members, by their addresses and names.
pub struct People {
    by_email: HashMap<String, UserId>,
    by_username: HashMap<String, UserId>,
    /// `None` for a name that several have.
    by_name: HashMap<String, Option<UserId>>,
    told: BTreeMap<String, String>,
    unknown: UnknownPeople,
    asked_by: Asker,
    /// Who was left out, and how often.
    skipped: BTreeMap<String, usize>,
}

impl People {
    pub async fn load(scope: &OrgScope, options: &Options) -> Result<Self> {
        let active = membership::Column::Status.eq(MembershipStatus::Active);
        let user_id = membership::Column::UserId;
        let members = scope.find::<membership::Entity>().filter(active).linked_people(user_id, user_id).await?;
        let (mut by_email, mut by_username, mut by_name) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (_, person) in members {
            by_email.insert(person.email_key, person.id);
            by_username.insert(person.username_key, person.id);
            if let Some(name) = person.full_name_key {
                by_name.entry(name).and_modify(|known| *known = None).or_insert(Some(person.id));
            }
        }
        let (told, unknown) = (options.people.clone(), options.unknown_people);
        Ok(Self { by_email, by_username, by_name, told, unknown, asked_by: options.asked_by, skipped: BTreeMap::new() })
    }

    /// The member that a source means: as whoever imports said, by address, or by username or full name. `None` is left out.
    pub fn find(&mut self, name: &str) -> Result<Option<UserId>, Fault> {
        let key = fold(name);
        let told = self.told.get(&key);
        let found = match told.map_or(name, String::as_str) {
            email if email.contains('@') => self.by_email.get(&email_key(email)).copied(),
            _ => self.by_username.get(&key).copied().or_else(|| self.by_name.get(&key).copied().flatten()),
        };
        let shown = shorten(name);
        match (found, self.unknown) {
            (Some(id), _) => Ok(Some(id)),
            (None, UnknownPeople::Skip) => {
                *self.skipped.entry(shown).or_default() += 1;
                Ok(None)
            }
            (None, UnknownPeople::Fail) => {
                let who = if name.contains('@') {
                    String::new()
                } else {
                    format!("{} says who it is, ", self.asked_by.calls(Setting::Person(&shown)))
                };
                let skip = self.asked_by.calls(Setting::SkipPeople);
                let message = format!("{shown:?} is no active member; {who}{skip} leaves them out.");
                Err(Fault::new("UNKNOWN_PERSON", Field::Assignees, message))
            }
        }
    }

    /// Notes who was left out.
    pub fn note(&self, notes: &mut Vec<String>) {
        for (name, count) in self.skipped.iter().take(20) {
            notes.push(format!("{name:?} is no active member: left out {count} time(s)"));
        }
        if self.skipped.len() > 20 {
            notes.push(format!("{} more people who are no members left out", self.skipped.len() - 20));
        }
    }
}
