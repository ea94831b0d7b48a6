//! An organization with its people, teams and tags, in one transaction.

use fastrand::Rng;
use sea_orm::ActiveValue::Set;
use todo_sample as sample;

use super::{Filling, batch::shown, email, origin};
use crate::{
    base::{
        enums::{MembershipStatus, PlanTier, QuotaResource, Role},
        error::{Error, Result},
        id::{OrganizationId, TagId, TeamId, UserId},
    },
    data::{
        db::{
            AccountTx, Db,
            filter::{email_key, fold},
        },
        entity::{ActorRef, EventType, credential, membership, organization, tag, team, team_member, user},
        ledger::{NewEvent, changes},
    },
    domains::{
        members,
        organizations::input::OrganizationCreateInput,
        tags::{self, input::TagCreateInput},
        teams::{self, input::TeamCreateInput},
    },
    graphql::scalars::Color,
};

/// What items refer to.
pub(super) struct World {
    pub(super) organization_id: OrganizationId,
    pub(super) people: Vec<UserId>,
    /// Those who may write.
    pub(super) writers: Vec<UserId>,
    pub(super) teams: Vec<TeamId>,
    pub(super) tags: Vec<TagId>,
}

impl Filling<'_> {
    /// The organization with its people, teams and tags.
    pub(super) async fn found(&self, db: &Db, password_hash: &str, rng: &mut Rng) -> Result<World> {
        let now = db.clock().now();
        let OrganizationCreateInput { ref name, ref slug, ref time_zone, .. } = self.organization;
        let tx = AccountTx::begin(db, &origin()).await?;
        let mut people = Vec::with_capacity(self.size.people);
        for index in 0..self.size.people {
            let address = email(slug, index);
            let username = format!("user{}.{slug}", index + 1);
            let full_name =
                format!("{} {}", sample::one(rng, sample::FIRST_NAMES), sample::one(rng, sample::LAST_NAMES));
            let person = tx
                .insert(user::ActiveModel {
                    id: Set(db.clock().new_id()),
                    email_key: Set(email_key(&address)),
                    email: Set(address),
                    username_key: Set(fold(&username)),
                    username: Set(username),
                    full_name_key: Set(Some(fold(&full_name))),
                    full_name: Set(Some(full_name)),
                    avatar_url: Set(None),
                    time_zone: Set("UTC".to_owned()),
                    email_verified_at: Set(Some(now)),
                    created_at: Set(now),
                    updated_at: Set(now),
                    version: Set(1),
                })
                .await?;
            tx.insert(credential::ActiveModel {
                user_id: Set(person.id),
                password_hash: Set(password_hash.to_owned()),
                updated_at: Set(now),
            })
            .await?;
            people.push(person.id);
        }
        let row = organization::ActiveModel {
            id: Set(db.clock().new_id()),
            name: Set(name.clone()),
            slug: Set(slug.clone()),
            item_prefix: Set(self.organization.prefix()),
            time_zone: Set(time_zone.clone()),
            // Whatever new organizations begin with: what is measured must fit.
            plan_tier: Set(PlanTier::Enterprise),
            plan_renews_at: Set(None),
            created_at: Set(now),
            updated_at: Set(now),
            version: Set(1),
        };
        let mut tx = tx.found(ActorRef::user(people[0]), row).await?;
        let organization_id = tx.organization_id();
        tx.record(NewEvent::new(EventType::OrganizationCreated, organization_id.any(), shown("name", name)));

        let memberships: Vec<membership::Model> = people
            .iter()
            .enumerate()
            .map(|(index, user_id)| membership::Model {
                organization_id,
                id: db.clock().new_id(),
                user_id: *user_id,
                role: role(index),
                status: MembershipStatus::Active,
                joined_at: now,
                last_active_at: None,
                version: 1,
                removed_at: None,
            })
            .collect();
        tx.insert_many(memberships.clone()).await?;
        tx.count(QuotaResource::Members, i64::try_from(memberships.len()).map_err(Error::internal)?);
        for row in &memberships {
            let joined = changes(None, Some(&members::service::fields(row)));
            tx.record(NewEvent::new(EventType::MemberJoined, row.id.any(), joined));
        }

        let teams: Vec<team::Model> = (1..=self.size.teams)
            .map(|number| TeamCreateInput { name: format!("Team {number}"), ..TeamCreateInput::default() })
            .map(|input| teams::service::new_row(&input, organization_id, db.clock()))
            .collect();
        tx.insert_many(teams.clone()).await?;
        let links: Vec<team_member::Model> = people
            .iter()
            .zip(teams.iter().cycle())
            .map(|(user_id, team)| team_member::Model { organization_id, team_id: team.id, user_id: *user_id })
            .collect();
        for row in &teams {
            let members = links.iter().filter(|link| link.team_id == row.id).map(|link| link.user_id).collect();
            tx.record(teams::service::created(row, &members));
        }
        tx.insert_many(links).await?;

        let tags: Vec<tag::Model> = (0..self.size.tags)
            .map(|index| {
                let (name, color) = sample::TAGS[index % sample::TAGS.len()];
                let name = format!("{name} {}", index / sample::TAGS.len() + 1);
                let input = TagCreateInput { id: None, name, color: Color(color.to_owned()) };
                tags::service::new_row(&input, organization_id, db.clock())
            })
            .collect();
        tx.insert_many(tags.clone()).await?;
        for row in &tags {
            tx.record(tags::service::created(row));
        }

        let writers = memberships.iter().filter(|row| row.role > Role::Viewer).map(|row| row.user_id).collect();
        let teams = teams.iter().map(|row| row.id).collect();
        let tags = tags.iter().map(|row| row.id).collect();
        tx.commit(()).await?;
        Ok(World { organization_id, people, writers, teams, tags })
    }
}

fn role(person: usize) -> Role {
    match person {
        0 => Role::Owner,
        1..4 => Role::Admin,
        _ if (person + 1).is_multiple_of(10) => Role::Viewer,
        _ => Role::Member,
    }
}
