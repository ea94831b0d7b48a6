//! Changes to sets: replace, or add and remove.

use std::collections::BTreeSet;

use async_graphql::InputObject;

use crate::{
    error::{Error, Problem, ProblemCode, Refusal, Result},
    id::{AnyId, Id, Kind},
};

/// Change to a set: either replace it, or add and remove members (safe under concurrency).
#[derive(InputObject, Clone, Debug, Default)]
pub struct IdSetPatch {
    pub set: Option<Vec<AnyId>>,
    pub add: Option<Vec<AnyId>>,
    pub remove: Option<Vec<AnyId>>,
}

impl IdSetPatch {
    /// The set that the patch makes of `present`; at most `limit` ids.
    pub fn apply<K: Kind + Ord>(
        &self,
        present: &BTreeSet<Id<K>>,
        path: &[&str],
        limit: usize,
    ) -> Result<BTreeSet<Id<K>>> {
        if self.set.is_some() && (self.add.is_some() || self.remove.is_some()) {
            let message = "Either `set`, or `add` and `remove`.";
            return Err(Problem::new(ProblemCode::Invalid, path, message).into());
        }
        let mut after = match &self.set {
            Some(ids) => typed(ids)?,
            None => present.clone(),
        };
        after.extend(typed(self.add.as_deref().unwrap_or_default())?);
        for id in typed(self.remove.as_deref().unwrap_or_default())? {
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
