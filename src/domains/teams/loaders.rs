use std::collections::HashMap;

use async_graphql::dataloader::Loader;

use crate::{
    base::{
        error::Result,
        id::{InvitationId, TeamId, UserId},
    },
    data::{
        db::{OrgScope, filter::among},
        entity::{invitation_team, team, team_member},
    },
    graphql::loaders::{LoadError, ScopedLoader},
};

/// Teams of a member, at most 50, by name.
pub struct TeamsOfMember(OrgScope);

impl ScopedLoader for TeamsOfMember {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<UserId> for TeamsOfMember {
    type Value = Vec<team::Model>;
    type Error = LoadError;

    async fn load(&self, ids: &[UserId]) -> Result<HashMap<UserId, Vec<team::Model>>, LoadError> {
        use team_member::Column;
        let links = self
            .0
            .find::<team_member::Entity>()
            .filter(among(self.0.db(), Column::UserId, ids.iter().copied()))
            .columns(Column::UserId, Column::TeamId)
            .await?;
        Ok(by_owner(&self.0, links).await?)
    }
}

/// Teams that an invited person will join.
pub struct TeamsOfInvitation(OrgScope);

impl ScopedLoader for TeamsOfInvitation {
    fn new(scope: OrgScope) -> Self {
        Self(scope)
    }
}

impl Loader<InvitationId> for TeamsOfInvitation {
    type Value = Vec<team::Model>;
    type Error = LoadError;

    async fn load(&self, ids: &[InvitationId]) -> Result<HashMap<InvitationId, Vec<team::Model>>, LoadError> {
        use invitation_team::Column;
        let links = self
            .0
            .find::<invitation_team::Entity>()
            .filter(among(self.0.db(), Column::InvitationId, ids.iter().copied()))
            .columns(Column::InvitationId, Column::TeamId)
            .await?;
        Ok(by_owner(&self.0, links).await?)
    }
}

async fn by_owner<O: std::hash::Hash + Eq>(
    scope: &OrgScope,
    links: Vec<(O, TeamId)>,
) -> Result<HashMap<O, Vec<team::Model>>> {
    let wanted: std::collections::BTreeSet<TeamId> = links.iter().map(|(_, team)| *team).collect();
    let teams = scope.find::<team::Entity>().filter(among(scope.db(), team::Column::Id, wanted)).all().await?;
    let teams: HashMap<TeamId, team::Model> = teams.into_iter().map(|team| (team.id, team)).collect();
    let mut owned: HashMap<O, Vec<team::Model>> = HashMap::new();
    for (owner, team) in links {
        if let Some(team) = teams.get(&team) {
            owned.entry(owner).or_default().push(team.clone());
        }
    }
    for teams in owned.values_mut() {
        teams.sort_by(|a, b| (&a.name_key, a.id).cmp(&(&b.name_key, b.id)));
        teams.truncate(50);
    }
    Ok(owned)
}
