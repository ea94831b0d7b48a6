//! Which record is below which: parents come first, none is its own ancestor, and none is too deep.

use std::collections::{BTreeSet, HashMap};

use super::{
    file::{
        record::{Field, Record},
        values::shorten,
    },
    lookups::{levels, present},
    options::{Asker, Setting},
};
use crate::{
    base::{error::Result, id::ItemId},
    data::db::OrgScope,
    domains::items::input::MAX_ANCESTORS,
};

/// Records by what is above them, and which of them are items already.
pub struct Tree {
    /// The parent of each, where it is a record that is not an item yet, or comes along as one.
    in_file: Vec<Option<usize>>,
    ids: Vec<Option<ItemId>>,
    /// `None` of a record that is no item yet; whether it is in the trash of one that is.
    present: Vec<Option<bool>>,
}

impl Tree {
    /// Looks the records up by their ids, and their parents: among the records, or else among the organization's items by
    /// the id that a record of that name has.
    pub async fn of(
        scope: &OrgScope,
        records: &mut [Record],
        ids: &[ItemId],
        id_of: impl Fn(&str) -> ItemId,
        asked_by: Asker,
    ) -> Result<Self> {
        let mut places: HashMap<String, usize> = HashMap::new();
        for (index, record) in records.iter().enumerate().filter(|(_, record)| !record.source_id.is_empty()) {
            places.entry(record.source_id.clone()).or_insert(index);
        }
        let in_file: Vec<Option<usize>> = records
            .iter()
            .map(|record| record.parent.as_ref().and_then(|parent| places.get(parent).copied()))
            .collect();
        let parent_ids: Vec<Option<ItemId>> =
            records.iter().map(|record| record.parent.as_deref().map(&id_of)).collect();
        let all: BTreeSet<ItemId> = ids.iter().chain(parent_ids.iter().flatten()).copied().collect();
        let there = present(scope, &all.into_iter().collect::<Vec<_>>()).await?;
        let named = |index: usize| Some(ids[index]).filter(|_| !records[index].source_id.is_empty());
        let present: Vec<Option<bool>> =
            (0..records.len()).map(|index| named(index).and_then(|id| there.get(&id).copied())).collect();

        let hung: BTreeSet<ItemId> = parent_ids.iter().flatten().filter(|id| there.contains_key(id)).copied().collect();
        let levels = levels(scope, &hung.into_iter().collect::<Vec<_>>()).await?;
        for (index, record) in records.iter_mut().enumerate().filter(|(index, _)| present[*index].is_none()) {
            let Some(parent) = parent_ids[index] else { continue };
            match (there.get(&parent), in_file[index]) {
                (Some(true), _) => {
                    record.fault("INVALID_STATE", Field::Parent, "The parent is in the trash; restore it first.");
                }
                (None, None) => {
                    let name = shorten(record.parent.as_deref().unwrap_or_default());
                    let leave = asked_by.calls(Setting::Without(Field::Parent));
                    let message = format!(
                        "The parent {name:?} is neither in the file nor imported before; {leave} leaves parents out."
                    );
                    record.fault("UNKNOWN_PARENT", Field::Parent, message);
                }
                _ => {}
            }
        }
        // How deep each is whose parent is an item, and all others.
        let begin: Vec<usize> = parent_ids
            .iter()
            .map(|parent| parent.and_then(|parent| levels.get(&parent)).map_or(0, |level| level + 1))
            .collect();
        let above: Vec<Option<usize>> =
            in_file.iter().map(|parent| parent.filter(|parent| present[*parent].is_none())).collect();
        for (index, level) in depths(&above, &begin).into_iter().enumerate() {
            if present[index].is_some() {
                continue;
            }
            match level {
                None => records[index].fault("CYCLE", Field::Parent, "It is its own ancestor, or below one that is."),
                Some(level) if level > MAX_ANCESTORS => {
                    let message = format!("Subtasks are at most {MAX_ANCESTORS} deep.");
                    records[index].fault("OUT_OF_RANGE", Field::Parent, message);
                }
                Some(_) => {}
            }
        }
        Ok(Self { in_file: above, ids: parent_ids, present })
    }

    /// All records in the order of the file, but for parents, which come before their children. None of a circle.
    pub fn order(&self) -> Vec<usize> {
        let mut is_out = vec![false; self.in_file.len()];
        let mut order = Vec::with_capacity(self.in_file.len());
        for index in 0..self.in_file.len() {
            let mut path = Vec::new();
            let mut next = Some(index);
            while let Some(at) = next.filter(|at| !is_out[*at]) {
                is_out[at] = true;
                path.push(at);
                next = self.in_file[at];
            }
            order.extend(path.into_iter().rev());
        }
        order
    }

    pub fn is_present(&self, index: usize) -> bool {
        self.present[index].is_some()
    }

    pub fn is_trashed(&self, index: usize) -> bool {
        self.present[index] == Some(true)
    }

    pub fn parent_in_file(&self, index: usize) -> Option<usize> {
        self.in_file[index]
    }

    pub fn parent_id(&self, index: usize) -> Option<ItemId> {
        self.ids[index]
    }
}

/// How many are above each: `begin` of those without a parent here; `None` of those in a circle, or below one.
fn depths(above: &[Option<usize>], begin: &[usize]) -> Vec<Option<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Unknown,
        Open,
        Known(Option<usize>),
    }
    let mut states = vec![State::Unknown; above.len()];
    for index in 0..above.len() {
        let (mut path, mut at) = (Vec::new(), index);
        let mut level = loop {
            match states[at] {
                State::Open => break None,
                State::Known(level) => break level.map(|level| level + 1),
                State::Unknown => {
                    states[at] = State::Open;
                    path.push(at);
                }
            }
            match above[at] {
                Some(parent) => at = parent,
                None => break Some(begin[at]),
            }
        };
        for at in path.into_iter().rev() {
            states[at] = State::Known(level);
            level = level.map(|level| level + 1);
        }
    }
    let known = |state: State| if let State::Known(level) = state { level } else { None };
    states.into_iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depths_and_circles() {
        let depth = |above: &[Option<usize>]| depths(above, &vec![0; above.len()]);
        assert_eq!(depth(&[Some(1), Some(2), None]), [Some(2), Some(1), Some(0)]);
        assert_eq!(depth(&[Some(1), Some(0), Some(0), None, Some(3)]), [None, None, None, Some(0), Some(1)]);
        assert_eq!(depth(&[Some(0)]), [None]);
        assert_eq!(depths(&[None, Some(0)], &[3, 0]), [Some(3), Some(4)]);
        let tree = Tree { in_file: vec![Some(2), None, Some(1)], ids: vec![None; 3], present: vec![None; 3] };
        assert_eq!(tree.order(), [1, 2, 0]);
    }
}
