//! From the headers of a request to a caller: [`Authenticator`].

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    api_key::{self, KeyMint},
    token::{KeyRing, Verified},
};
use crate::{
    base::{
        clock::Instant,
        error::{Code, Refusal, Result},
        id::DocumentSetId,
    },
    data::{
        actor::Origin,
        db::{
            Consumer, Db, OrgScope,
            identity::{Identified, KeyHolder, OrganizationChoice},
            identity_cache::CredentialKey,
        },
    },
};

/// Who sent a request, in which organization.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Nobody, without credentials.
    pub identified: Option<Identified>,
    /// The organization of the request, where it has one.
    pub scope: Option<OrgScope>,
    /// Named one that the caller has no part in (or that does not exist: never told apart).
    pub organization_refused: bool,
    /// When the credential stops being good by itself.
    pub expires_at: Option<Instant>,
}

impl Caller {
    /// The documents that the caller's API key may run alone; none: any.
    pub fn document_set(&self) -> Option<DocumentSetId> {
        match &self.identified {
            Some(Identified::ApiKey(holder)) => holder.key.document_set_id,
            _ => None,
        }
    }

    /// Why there is no organization, with the choices.
    pub fn organization_required(&self) -> Refusal {
        let choices: Vec<_> = self
            .identified
            .iter()
            .flat_map(|identified| match identified {
                Identified::Person(signed_in) => signed_in.memberships.as_slice(),
                Identified::ApiKey(_) => &[],
            })
            .map(|(_, organization)| {
                serde_json::json!({
                    "id": organization.id, "slug": organization.slug, "name": organization.name,
                })
            })
            .collect();
        let message = if self.organization_refused {
            "There is no such organization among yours."
        } else if choices.is_empty() {
            "You belong to no organization yet: create one with `organizationCreate`, or accept an invitation."
        } else {
            "You belong to several organizations: choose one by the path `/o/{slug}/graphql` or the header `X-Organization`."
        };
        Refusal::new(Code::OrganizationRequired, message).details(serde_json::json!({ "organizations": choices }))
    }
}

impl Caller {
    /// Whose share of the database's connections the caller uses: in their organization, by themselves, or as whoever else
    /// is at an address without credentials.
    pub fn consumer(&self, origin: &Origin) -> Consumer {
        match (&self.scope, &self.identified) {
            (Some(scope), _) => scope.consumer(),
            (None, Some(identified)) => Consumer::person(identified.actor().id),
            (None, None) => Consumer::of_address(origin.ip),
        }
    }
}

/// What a request proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The access token of a session.
    AccessToken(String),
    ApiKey(String),
}

impl Credential {
    /// What stands after `Bearer`.
    pub fn bearer(token: &str) -> Self {
        if token.starts_with(api_key::PREFIX) {
            Self::ApiKey(token.to_owned())
        } else {
            Self::AccessToken(token.to_owned())
        }
    }
}

impl std::fmt::Debug for Credential {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AccessToken(_) => "AccessToken(…)",
            Self::ApiKey(_) => "ApiKey(…)",
        })
    }
}

/// What surrounds a look into the database for a credential; one that was looked up a moment ago needs none.
pub struct LookUps<'a> {
    /// Whether it may be: somebody who guesses may not go on for ever.
    pub may: &'a (dyn Fn() -> Result<()> + Sync),
    /// It was there.
    pub found: &'a (dyn Fn() + Sync),
}

/// Turns credentials into callers.
#[derive(Clone, Debug)]
pub struct Authenticator {
    pub db: Db,
    pub keys: KeyRing,
    pub mint: KeyMint,
}

impl Authenticator {
    /// Who is calling; a refusal (UNAUTHENTICATED) for a credential that isn't good any more.
    pub async fn authenticate(
        &self,
        credential: Option<&Credential>,
        choice: Option<&OrganizationChoice>,
        origin: &Origin,
        look_ups: &LookUps<'_>,
    ) -> Result<Caller> {
        match credential {
            None => Ok(Caller { organization_refused: choice.is_some(), ..Caller::default() }),
            Some(Credential::AccessToken(token)) => self.session(token, choice, origin, look_ups).await,
            Some(Credential::ApiKey(key)) => self.api_key(key, choice, origin, look_ups).await,
        }
    }

    async fn session(
        &self,
        token: &str,
        choice: Option<&OrganizationChoice>,
        origin: &Origin,
        look_ups: &LookUps<'_>,
    ) -> Result<Caller> {
        let invalid = || {
            Refusal::new(
                Code::Unauthenticated,
                "The access token is invalid or has expired; refresh it or sign in again.",
            )
        };
        let not_yet = || {
            Refusal::new(
                Code::Unauthenticated,
                "The access token is not valid yet: the clock of the instance that signed it is ahead of this one's. Try \
                 again later; clocks of the server have to be set right.",
            )
        };
        let (user, session, expires_at) = match self.keys.verify(token).await? {
            Verified::Good { user, session, expires_at } => (user, session, expires_at),
            Verified::NotYet => return Err(not_yet().into()),
            Verified::Bad => return Err(invalid().into()),
        };
        let key = CredentialKey::Session(session, choice.cloned());
        let read = async || {
            (look_ups.may)()?;
            let signed_in = self.db.identify(session, user, choice).await?;
            if signed_in.is_some() {
                (look_ups.found)();
            }
            Ok(signed_in.map(|signed_in| Identified::Person(signed_in.into())))
        };
        let Some(Identified::Person(signed_in)) = self.db.cached_identity(key, read).await? else {
            return Err(invalid().into());
        };
        let only = choice.is_some() || signed_in.memberships.len() == 1;
        let scope = if only { signed_in.scope(&self.db, 0, origin.clone()) } else { None };
        let organization_refused = choice.is_some() && scope.is_none();
        let expires_at = Instant::from_timestamp(expires_at, 0);
        Ok(Caller { identified: Some(Identified::Person(signed_in)), scope, organization_refused, expires_at })
    }

    /// Checksum first, so that a mistyped key costs no statement; then the secret, in constant time; then whether the key
    /// still stands. Only who holds the secret is told why it doesn't.
    async fn api_key(
        &self,
        text: &str,
        choice: Option<&OrganizationChoice>,
        origin: &Origin,
        look_ups: &LookUps<'_>,
    ) -> Result<Caller> {
        let now = self.db.clock().now();
        let presented = self.mint.read(text).ok_or_else(|| {
            refused("MALFORMED", "This is no API key of ours: it is mistyped or cut off (its checksum is wrong).")
        })?;
        let unknown = || refused("UNKNOWN", "There is no such API key.");
        let read = async || {
            (look_ups.may)()?;
            let holder = self.db.identify_key(&presented.lookup).await?;
            let is_known = |holder: &KeyHolder| {
                let hashes = [Some(&holder.key.secret_hash), holder.key.previous_hash.as_ref()];
                hashes.into_iter().flatten().any(|hash| presented.matches(hash))
            };
            if holder.as_ref().is_some_and(is_known) {
                (look_ups.found)();
            }
            Ok(holder.map(|holder| Identified::ApiKey(holder.into())))
        };
        let key = CredentialKey::ApiKey(presented.lookup.clone());
        let Some(Identified::ApiKey(holder)) = self.db.cached_identity(key, read).await? else {
            return Err(unknown().into());
        };
        let key = &holder.key;
        let previous = key.previous_hash.as_deref().filter(|_| key.previous_until.is_some_and(|until| until > now));
        let is_present = presented.matches(&key.secret_hash);
        if !is_present && !previous.is_some_and(|hash| presented.matches(hash)) {
            return Err(unknown().into());
        }
        if key.revoked_at.is_some() {
            return Err(refused("REVOKED", "The API key has been revoked.").into());
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(refused("EXPIRED", "The API key has expired.").into());
        }
        if !holder.creator_is_active {
            let message = "The member who made the API key is suspended or has left.";
            return Err(refused("CREATOR_INACTIVE", message).into());
        }
        if !admits(&key.ip_allowlist, origin.ip) {
            return Err(refused("ADDRESS", "The API key may not be used from this address.").into());
        }
        if let Some(choice) = choice {
            let same = match choice {
                OrganizationChoice::Id(id) => *id == holder.organization.id,
                OrganizationChoice::Slug(slug) => *slug == holder.organization.slug,
            };
            if !same {
                let message = "The API key is of another organization than the one the request names.";
                return Err(Refusal::bad_request(message).into());
            }
        }
        if is_present && key.hash_secret_id.as_deref() != Some(self.mint.secret_id()) {
            // Best effort: with the next use otherwise.
            let rehashed = self.db.rehash_key(key, presented.hash(), self.mint.secret_id()).await;
            if let Err(error) = rehashed {
                tracing::warn!(error = %error.describe(), "an API key could not be hashed under the present secret");
            }
        }
        let scope = holder.scope(&self.db, origin.clone());
        // A secret that was replaced is good for a while.
        let replaced = key.previous_until.filter(|_| !is_present);
        let expires_at = key.expires_at.into_iter().chain(replaced).min();
        let identified = Some(Identified::ApiKey(holder));
        Ok(Caller { identified, scope: Some(scope), organization_refused: false, expires_at })
    }
}

fn refused(reason: &'static str, message: &'static str) -> Refusal {
    Refusal::new(Code::Unauthenticated, message).details(serde_json::json!({ "reason": reason }))
}

/// Whether an address is in a list of networks; an empty list admits every address.
fn admits(allowlist: &serde_json::Value, ip: Option<IpAddr>) -> bool {
    let networks: Vec<IpNet> =
        allowlist.as_array().into_iter().flatten().filter_map(|network| network.as_str()?.parse().ok()).collect();
    networks.is_empty() || ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip)))
}
