//! What items refer to: teams, people, tags, and ids that must be free.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ColumnTrait as _;

use crate::{
    base::{
        enums::MembershipStatus,
        error::{Error, Problem, Result},
        id::{ItemId, TagId, TeamId, UserId},
    },
    data::{
        db::{WriteTx, filter::among, id_taken},
        entity::{item, membership, tag, team},
    },
};

/// What an item is to refer to, and where the input named it.
#[derive(Default)]
pub(super) struct References {
    pub(super) ids: BTreeMap<ItemId, Vec<String>>,
    pub(super) teams: BTreeMap<TeamId, Vec<String>>,
    pub(super) assignees: BTreeMap<UserId, Vec<String>>,
    pub(super) tags: BTreeMap<TagId, Vec<String>>,
}

impl References {
    /// Adds what another refers to.
    pub(super) fn extend(&mut self, other: Self) {
        let Self { ids, teams, assignees, tags } = other;
        self.ids.extend(ids);
        self.teams.extend(teams);
        self.assignees.extend(assignees);
        self.tags.extend(tags);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        let Self { ids, teams, assignees, tags } = self;
        ids.len() + teams.len() + assignees.len() + tags.len()
    }

    /// [`check`](Self::check) of what is in the database.
    pub(super) async fn look_up(&self, tx: &WriteTx) -> Result<()> {
        self.check(&Found::of(tx, [self]).await?)
    }

    /// Problems for whatever is not there, or is there already, each at its path.
    pub(super) fn check(&self, found: &Found) -> Result<()> {
        let mut problems = Vec::new();
        for (_, path) in self.ids.iter().filter(|(id, _)| found.ids.contains(id)) {
            problems.push(id_taken(path.clone()));
        }
        missing(&mut problems, &self.teams, &found.teams, "team");
        missing(&mut problems, &self.assignees, &found.assignees, "member");
        missing(&mut problems, &self.tags, &found.tags, "tag");
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems)) }
    }
}

fn missing<I: Ord>(problems: &mut Vec<Problem>, wanted: &BTreeMap<I, Vec<String>>, found: &BTreeSet<I>, what: &str) {
    for (_, path) in wanted.iter().filter(|(id, _)| !found.contains(id)) {
        problems.push(Problem { path: path.clone(), ..Problem::not_found(&[], what) });
    }
}

/// Which of the things that items are to refer to are there.
#[derive(Clone, Default)]
pub(super) struct Found {
    pub(super) ids: BTreeSet<ItemId>,
    pub(super) teams: BTreeSet<TeamId>,
    pub(super) assignees: BTreeSet<UserId>,
    pub(super) tags: BTreeSet<TagId>,
}

impl Found {
    /// At most one statement a kind, for all of them.
    pub(super) async fn of<'r>(tx: &WriteTx, all: impl IntoIterator<Item = &'r References>) -> Result<Self> {
        Self::wanted(all).look_up(tx).await
    }

    /// Everything that these refer to, as if it were there.
    pub(super) fn wanted<'r>(all: impl IntoIterator<Item = &'r References>) -> Self {
        let mut wanted = Self::default();
        for references in all {
            wanted.ids.extend(references.ids.keys());
            wanted.teams.extend(references.teams.keys());
            wanted.assignees.extend(references.assignees.keys());
            wanted.tags.extend(references.tags.keys());
        }
        wanted
    }

    /// [`Found::of`], but that its teams and tags are known to be there.
    pub(super) async fn look_up_others(&self, tx: &WriteTx) -> Result<Self> {
        let Self { ids, teams, assignees, tags } = self.clone();
        let others = Self { ids, assignees, ..Self::default() };
        Ok(Self { teams, tags, ..others.look_up(tx).await? })
    }

    /// Whether all its teams and tags are there.
    pub(super) async fn has_its_teams_and_tags(&self, tx: &WriteTx) -> Result<bool> {
        let Self { ids: _, teams, assignees: _, tags } = self.clone();
        let found = Self { teams, tags, ..Self::default() }.look_up(tx).await?;
        Ok(found.teams == self.teams && found.tags == self.tags)
    }

    /// Those of them that are there.
    pub(super) async fn look_up(self, tx: &WriteTx) -> Result<Self> {
        let wanted = self;
        let db = tx.scope().db();
        let mut found = Self::default();
        if !wanted.ids.is_empty() {
            let ids = tx.find::<item::Entity>().filter(among(db, item::Column::Id, wanted.ids));
            found.ids.extend(ids.column::<ItemId>(item::Column::Id).await?);
        }
        if !wanted.teams.is_empty() {
            let teams = tx.find::<team::Entity>().filter(among(db, team::Column::Id, wanted.teams));
            found.teams.extend(teams.column::<TeamId>(team::Column::Id).await?);
        }
        if !wanted.assignees.is_empty() {
            let members = tx
                .find::<membership::Entity>()
                .filter(among(db, membership::Column::UserId, wanted.assignees))
                .filter(membership::Column::Status.eq(MembershipStatus::Active));
            found.assignees.extend(members.column::<UserId>(membership::Column::UserId).await?);
        }
        if !wanted.tags.is_empty() {
            let tags = tx.find::<tag::Entity>().filter(among(db, tag::Column::Id, wanted.tags));
            found.tags.extend(tags.column::<TagId>(tag::Column::Id).await?);
        }
        Ok(found)
    }
}
