//! Changes to sets: replace, or add and remove.

use std::collections::BTreeSet;

use async_graphql::{InputObject, MaybeUndefined};

use crate::base::{
    error::{Error, Problem, ProblemCode, Problems, Refusal, Result},
    id::{AnyId, Id, Kind},
};

/// Change to a set: either replace it, or add and remove members (safe under concurrency).
#[derive(InputObject, Clone, Debug, Default)]
pub struct IdSetPatch {
    /// The whole set from now on; an empty list empties it. Not together with `add` or `remove`; null is REQUIRED.
    pub set: MaybeUndefined<Vec<AnyId>>,
    /// Ids to add; those that are in it already change nothing. Null is REQUIRED.
    pub add: MaybeUndefined<Vec<AnyId>>,
    /// Ids to take out, after `add`; those that are not in it change nothing. Null is REQUIRED.
    pub remove: MaybeUndefined<Vec<AnyId>>,
}

/// A set that can't be absent: null is REQUIRED, in the patch and in what it is made of, for it says neither "keep" nor
/// "empty". `{ set: [] }` empties a set.
pub fn check_set(problems: &mut Problems, path: &[&str], patch: &MaybeUndefined<IdSetPatch>) {
    match patch {
        MaybeUndefined::Undefined => {}
        MaybeUndefined::Null => null(problems, path),
        MaybeUndefined::Value(patch) => patch.check(problems, path),
    }
}

fn null(problems: &mut Problems, path: &[&str]) {
    problems.push(ProblemCode::Required, path, "Null is no set: leave it out, or empty the set with `{ set: [] }`.");
}

impl IdSetPatch {
    /// REQUIRED for each list that is null.
    pub fn check(&self, problems: &mut Problems, path: &[&str]) {
        let Self { set, add, remove } = self;
        for (name, list) in [("set", set), ("add", add), ("remove", remove)] {
            if list.is_null() {
                null(problems, &[path, &[name]].concat());
            }
        }
    }

    /// The set that the patch makes of `present`; at most `limit` ids.
    pub fn apply<K: Kind + Ord>(
        &self,
        present: &BTreeSet<Id<K>>,
        path: &[&str],
        limit: usize,
    ) -> Result<BTreeSet<Id<K>>> {
        let (set, add, remove) = (self.set.value(), self.add.value(), self.remove.value());
        if set.is_some() && (add.is_some() || remove.is_some()) {
            let message = "Either `set`, or `add` and `remove`.";
            return Err(Problem::new(ProblemCode::Invalid, path, message).into());
        }
        let mut after = match set {
            Some(ids) => typed(ids)?,
            None => present.clone(),
        };
        after.extend(typed(add.map(Vec::as_slice).unwrap_or_default())?);
        for id in typed(remove.map(Vec::as_slice).unwrap_or_default())? {
            after.remove(&id);
        }
        if after.len() > limit {
            let problem = Problem::new(ProblemCode::TooMany, path, format!("At most {limit} entries."));
            return Err(problem.details(serde_json::json!({ "limit": limit })).into());
        }
        Ok(after)
    }
}

fn typed<K: Kind + Ord>(ids: &[AnyId]) -> Result<BTreeSet<Id<K>>> {
    let wrong = |error| Error::from(Refusal::bad_request(format!("In a set of ids: {error}.")));
    ids.iter().map(|id| id.typed().map_err(wrong)).collect()
}
