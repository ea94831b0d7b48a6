//! The life of an object, the same in every domain: created or found again, opened at a version, saved with its event,
//! removed. A domain says what its events show of a row, and what must hold.

use sea_orm::ColumnTrait as _;

use super::WriteTx;
use crate::{
    base::{
        error::{Error, Problem, ProblemCode, Rejected, Result},
        id::Id,
    },
    data::{
        entity::{Keyed, Row, Versioned},
        ledger::{Change, Fields, NewEvent, changes},
    },
};

/// An object to be changed, in the version asked for; CONFLICT with the present state where that is another.
pub fn at_version<M: Versioned>(row: M, if_version: Option<i32>) -> Result<M, Rejected<M>> {
    let version = row.version();
    if if_version.is_some_and(|wanted| wanted != version) {
        return Err(Rejected::conflict(row, version));
    }
    Ok(row)
}

/// The problem with an id that a client made and that another object has.
pub fn id_taken(path: Vec<String>) -> Problem {
    Problem { path, ..Problem::new(ProblemCode::Taken, &[], "The id is in use.") }
}

/// What events will show of a change: `None` when that is nothing. INTERNAL for rows that differ in what events don't
/// show: `fields` leaves something out, and the change would be answered but not stored.
pub fn changed<M: PartialEq>(before: &M, after: &M, fields: impl Fn(&M) -> Fields) -> Result<Option<Vec<Change>>> {
    let changed = changes(Some(&fields(before)), Some(&fields(after)));
    if !changed.is_empty() {
        return Ok(Some(changed));
    }
    if before == after { Ok(None) } else { Err(Error::internal("a change that no event would show")) }
}

impl WriteTx {
    /// What a create finds under the id that the client made for it: nothing, or what it made before, when the content is
    /// the same. Anything else is TAKEN.
    pub async fn made_before<E: Keyed>(
        &self,
        id: Option<Id<E::Kind>>,
        is_same: impl AsyncFnOnce(&E::Model) -> Result<bool>,
    ) -> Result<Option<E::Model>> {
        let Some(id) = id else { return Ok(None) };
        let Some(present) = self.find::<E>().filter(E::ID.eq(id)).one().await? else { return Ok(None) };
        if is_same(&present).await? {
            return Ok(Some(present));
        }
        Err(id_taken(vec!["input".to_owned(), "id".to_owned()]).into())
    }

    /// An object to be changed, by the input's `id` and `ifVersion`: locked until the transaction ends.
    pub async fn open<E>(&self, id: Id<E::Kind>, if_version: Option<i32>) -> Result<E::Model, Rejected<E::Model>>
    where
        E: Keyed<Model: Versioned>,
    {
        at_version(self.locked::<E>(id, &["input", "id"]).await?, if_version)
    }

    /// Saves what a change has made of a row: in its next version, with the event that tells of it. Where events would show
    /// no difference there is none, and nothing is written.
    pub async fn save<M: Row + Versioned + PartialEq>(
        &mut self,
        before: M,
        after: M,
        fields: impl Fn(&M) -> Fields,
        event: impl FnOnce(&M, Vec<Change>) -> NewEvent,
    ) -> Result<M> {
        let Some(changed) = changed(&before, &after, fields)? else { return Ok(before) };
        self.write_next(after, |row| event(row, changed)).await
    }

    /// Writes a row in its next version, with an event.
    pub async fn write_next<M: Row + Versioned>(
        &mut self,
        mut row: M,
        event: impl FnOnce(&M) -> NewEvent,
    ) -> Result<M> {
        row.advance(self.scope().clock().now());
        let row = self.update_whole(row).await?;
        self.record(event(&row));
        Ok(row)
    }

    /// Inserts a new row, with the event that tells of it.
    pub async fn create<M: Row>(&mut self, row: M, event: impl FnOnce(&M) -> NewEvent) -> Result<M> {
        let row = self.insert(row).await?;
        self.record(event(&row));
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_events_leave_out_is_told_apart() {
        let shown = |(title, _): &(&str, i32)| -> Fields { vec![("title", (*title).into())] };
        assert!(matches!(changed(&("a", 1), &("a", 1), shown), Ok(None)));
        assert!(matches!(changed(&("a", 1), &("b", 2), shown), Ok(Some(changes)) if changes.len() == 1));
        assert!(matches!(changed(&("a", 1), &("a", 2), shown), Err(Error::Internal(_))));
    }
}
