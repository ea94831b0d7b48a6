//! People and organizations, made through the API like anybody's.

use serde_json::{Value, json};

use super::{app::TestApp, client::Call};

/// Somebody with a session.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub email: String,
    pub token: String,
    pub refresh_token: String,
    /// Of their membership, once they have one.
    pub membership_id: String,
}

pub const PASSWORD: &str = "correct horse battery";

/// An organization with somebody in each role.
#[derive(Clone, Debug)]
pub struct Company {
    pub id: String,
    pub slug: String,
    pub owner: Person,
    pub admin: Person,
    pub member: Person,
    pub viewer: Person,
}

impl TestApp {
    /// Registers `name@example.com`.
    pub async fn register(&self, name: &str) -> Person {
        self.register_with(name, None).await
    }

    async fn register_with(&self, name: &str, invitation: Option<&str>) -> Person {
        let email = format!("{name}@example.com");
        let payload = self
            .gql(
                "mutation($input: UserRegisterInput!) { userRegister(input: $input) { accessToken refreshToken \
                 viewer { user { id } } userErrors { code path message } } }",
            )
            .vars(json!({ "input": {
                "email": email, "username": name, "password": PASSWORD, "invitationToken": invitation,
            } }))
            .answer()
            .await;
        let payload = &payload["data"]["userRegister"];
        assert_eq!(payload["userErrors"], json!([]), "{payload:#}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Person {
            id: text(&payload["viewer"]["user"]["id"]),
            email,
            token: text(&payload["accessToken"]),
            refresh_token: text(&payload["refreshToken"]),
            membership_id: String::new(),
        }
    }

    /// The same person in a new session, its tokens made now.
    pub async fn sign_in(&self, person: &Person) -> Person {
        let query = "mutation($email: String!, $password: String!) { sessionCreate(input: {email: $email, \
                     password: $password}) { accessToken refreshToken userErrors { code path } } }";
        let payload = self.gql(query).vars(json!({ "email": person.email, "password": PASSWORD })).done().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Person { token: text(&payload["accessToken"]), refresh_token: text(&payload["refreshToken"]), ..person.clone() }
    }

    /// Founds an organization; gives its id.
    pub async fn found(&self, owner: &Person, slug: &str) -> String {
        let payload = self
            .gql(
                "mutation($slug: String!) { organizationCreate(input: {name: $slug, slug: $slug}) { \
                 organization { id } userErrors { code path message } } }",
            )
            .vars(json!({ "slug": slug }))
            .token(&owner.token)
            .done()
            .await;
        payload["organization"]["id"].as_str().unwrap_or_default().to_owned()
    }

    /// Somebody new, invited by `by` into `slug` and joined.
    pub async fn join(&self, by: &Person, slug: &str, name: &str, role: &str) -> Person {
        let invited = self
            .gql(
                "mutation($email: String!, $role: Role!) { invitationCreate(input: {email: $email, role: $role}) { \
                 token userErrors { code path message } } }",
            )
            .vars(json!({ "email": format!("{name}@example.com"), "role": role }))
            .token(&by.token)
            .at(slug)
            .done()
            .await;
        self.accept(slug, name, invited["token"].as_str().unwrap_or_default()).await
    }

    /// Somebody new, joined by the token of an invitation to `name@example.com`.
    pub async fn accept(&self, slug: &str, name: &str, token: &str) -> Person {
        let mut person = self.register_with(name, Some(token)).await;
        let me = self.gql("{ viewer { user { membership { id } } } }").token(&person.token).at(slug).data().await;
        person.membership_id = me["viewer"]["user"]["membership"]["id"].as_str().unwrap_or_default().to_owned();
        person
    }

    /// An organization with an owner, an admin, a member and a viewer.
    pub async fn company(&self, slug: &str) -> Company {
        let mut owner = self.register(&format!("{slug}-owner")).await;
        let id = self.found(&owner, slug).await;
        let me = self.gql("{ viewer { user { membership { id } } } }").token(&owner.token).at(slug).data().await;
        owner.membership_id = me["viewer"]["user"]["membership"]["id"].as_str().unwrap_or_default().to_owned();
        Company {
            admin: self.join(&owner, slug, &format!("{slug}-admin"), "ADMIN").await,
            member: self.join(&owner, slug, &format!("{slug}-member"), "MEMBER").await,
            viewer: self.join(&owner, slug, &format!("{slug}-viewer"), "VIEWER").await,
            id,
            slug: slug.to_owned(),
            owner,
        }
    }

    /// A call as a member of an organization.
    pub fn call<'a>(&'a self, company: &Company, person: &Person, query: &str) -> Call<'a> {
        self.gql(query).token(&person.token).at(&company.slug)
    }

    /// Creates something by one mutation `field(input: $input) { selected { id } }` and gives its id.
    pub async fn create(&self, company: &Company, person: &Person, kind: &str, input: impl Into<Value>) -> String {
        let (first, rest) = kind.split_at(1);
        let query = format!(
            "mutation($input: {}{rest}CreateInput!) {{ {kind}Create(input: $input) {{ {kind} {{ id }} \
             userErrors {{ code path message }} }} }}",
            first.to_uppercase(),
        );
        let payload = self.call(company, person, &query).vars(json!({ "input": input.into() })).done().await;
        payload[kind]["id"].as_str().unwrap_or_default().to_owned()
    }

    /// An API key with these scopes: its id and the key itself.
    pub async fn api_key(&self, company: &Company, maker: &Person, scopes: &[&str]) -> (String, String) {
        let query = "mutation($input: ApiKeyCreateInput!) { apiKeyCreate(input: $input) { apiKey { id } secret \
                     userErrors { code path message } } }";
        let input = json!({ "name": "Integration", "scopes": scopes });
        let made = self.call(company, maker, query).vars(json!({ "input": input })).done().await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&made["apiKey"]["id"]), text(&made["secret"]))
    }

    /// An item of this title; gives its id.
    pub async fn item(&self, company: &Company, title: &str) -> String {
        self.create(company, &company.member, "item", json!({ "title": title })).await
    }
}
