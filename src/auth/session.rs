//! From the headers of a request to a caller: [`authenticate`].

use super::{actor::Origin, token::KeyRing};
use crate::{
    db::{
        Db, OrgScope,
        identity::{Identified, OrganizationChoice},
    },
    error::{Code, Refusal, Result},
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
}

impl Caller {
    /// Why there is no organization, with the choices.
    pub fn organization_required(&self) -> Refusal {
        let choices: Vec<_> = self
            .identified
            .iter()
            .flat_map(|identified| &identified.memberships)
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

/// The caller behind a bearer token; a refusal (UNAUTHENTICATED) for a token that isn't valid any more.
pub async fn authenticate(
    db: &Db,
    keys: &KeyRing,
    bearer: Option<&str>,
    choice: Option<&OrganizationChoice>,
    origin: &Origin,
) -> Result<Caller> {
    let Some(token) = bearer else {
        return Ok(Caller { organization_refused: choice.is_some(), ..Caller::default() });
    };
    let invalid = || {
        Refusal::new(Code::Unauthenticated, "The access token is invalid or has expired; refresh it or sign in again.")
    };
    let claims = keys.verify(token).await?.ok_or_else(invalid)?;
    let identified = db.identify(claims.sid, claims.sub, choice).await?.ok_or_else(invalid)?;
    let only = choice.is_some() || identified.memberships.len() == 1;
    let scope = if only { identified.scope(db, 0, origin.clone()) } else { None };
    let organization_refused = choice.is_some() && scope.is_none();
    Ok(Caller { identified: Some(identified), scope, organization_refused })
}
