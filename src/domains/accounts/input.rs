use async_graphql::{InputObject, MaybeUndefined};

use crate::{
    base::{
        error::{Problem, ProblemCode, Problems, Result},
        id::SessionId,
    },
    data::{
        db::filter::{fold, parse_email, shown_email},
        entity::user,
    },
    graphql::scalars::Url,
    platform::{auth::password, mail},
};

/// Who signs in.
#[derive(InputObject, Clone)]
pub struct SessionCreateInput {
    /// The account's e-mail address, in any case.
    pub email: String,
    /// The account's password.
    #[graphql(secret)]
    pub password: String,
}

/// Which session goes on.
#[derive(InputObject, Clone)]
pub struct SessionRefreshInput {
    /// The refresh token that was given last.
    #[graphql(secret)]
    pub refresh_token: String,
}

/// Without an id: this session; `everywhere` ends all of them.
#[derive(InputObject, Clone)]
pub struct SessionRevokeInput {
    /// One of `Viewer.sessions`.
    pub id: Option<SessionId>,
    /// Ends all sessions of the person, this one included.
    #[graphql(default)]
    pub everywhere: bool,
}

/// A new account.
#[derive(InputObject, Clone)]
pub struct UserRegisterInput {
    /// E-mail address, `name@domain`; TAKEN when an account has it. A token that proves it is mailed there, unless the
    /// invitation's e-mail has proven it.
    pub email: String,
    /// Letters, digits, dots, hyphens and underscores, 2 to 32; TAKEN when an account has it in any case.
    pub username: String,
    /// Any characters, 8 to 128.
    #[graphql(secret)]
    pub password: String,
    /// Full name, 1 to 100 characters.
    pub full_name: Option<String>,
    /// Name of a time zone in the IANA database; UTC when left out.
    pub time_zone: Option<String>,
    /// Token of an invitation to this address. The one from the e-mail also proves the address.
    #[graphql(secret)]
    pub invitation_token: Option<String>,
}

impl UserRegisterInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_email(&mut problems, &["input", "email"], &self.email);
        check_username(&mut problems, &["input", "username"], &self.username);
        check_password(&mut problems, &["input", "password"], &self.password);
        if let Some(name) = &self.full_name {
            problems.length(&["input", "fullName"], name, 1, 100);
        }
        if let Some(zone) = &self.time_zone {
            check_time_zone(&mut problems, &["input", "timeZone"], zone);
        }
        problems.finish()
    }
}

/// The password, typed again, confirms.
#[derive(InputObject, Clone)]
pub struct UserDeleteInput {
    /// The account's password.
    #[graphql(secret)]
    pub password: String,
}

/// Proof of an e-mail address.
#[derive(InputObject, Clone)]
pub struct EmailVerifyInput {
    /// The token from the e-mail. It works once, for a day unless configured otherwise.
    #[graphql(secret)]
    pub token: String,
}

/// Another e-mail address for the caller's account.
#[derive(InputObject, Clone)]
pub struct EmailChangeRequestInput {
    /// The new address; TAKEN when an account has it.
    pub new_email: String,
    /// The account's password, to confirm.
    #[graphql(secret)]
    pub password: String,
}

impl EmailChangeRequestInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_email(&mut problems, &["input", "newEmail"], &self.new_email);
        problems.finish()
    }
}

/// Another password, given by whoever knows the present one.
#[derive(InputObject, Clone)]
pub struct PasswordChangeInput {
    /// The present password.
    #[graphql(secret)]
    pub current_password: String,
    /// Any characters, 8 to 128.
    #[graphql(secret)]
    pub new_password: String,
}

impl PasswordChangeInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_password(&mut problems, &["input", "newPassword"], &self.new_password);
        problems.finish()
    }
}

/// Whose password was forgotten.
#[derive(InputObject, Clone)]
pub struct PasswordResetRequestInput {
    /// The account's e-mail address.
    pub email: String,
}

/// Another password, given by whoever gets the account's mail.
#[derive(InputObject, Clone)]
pub struct PasswordResetCompleteInput {
    /// The token from the e-mail. It works once, for an hour unless configured otherwise.
    #[graphql(secret)]
    pub token: String,
    /// Any characters, 8 to 128.
    #[graphql(secret)]
    pub new_password: String,
}

impl PasswordResetCompleteInput {
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        check_password(&mut problems, &["input", "newPassword"], &self.new_password);
        problems.finish()
    }
}

/// Changes to the caller's profile. What is left out stays as it is, null clears.
#[derive(InputObject, Clone)]
pub struct UserPatch {
    /// Letters, digits, dots, hyphens and underscores, 2 to 32; TAKEN when an account has it in any case. Can't be
    /// cleared.
    pub username: MaybeUndefined<String>,
    /// Full name, 1 to 100 characters; null: none.
    pub full_name: MaybeUndefined<String>,
    /// Address of a picture, `http` or `https`, 2,048 characters at most; null: none.
    pub avatar_url: MaybeUndefined<Url>,
    /// Name of a time zone in the IANA database. Can't be cleared.
    pub time_zone: MaybeUndefined<String>,
}

impl UserPatch {
    /// Writes what the patch says into the row.
    pub fn apply(self, row: &mut user::Model) {
        let Self { username, full_name, avatar_url, time_zone } = self;
        // The keys of names that stay are not made anew: what folds may have changed since with Unicode.
        if let MaybeUndefined::Value(username) = username
            && username.trim() != row.username
        {
            row.username_key = fold(&username);
            row.username = username.trim().to_owned();
        }
        let full_name_before = row.full_name.clone();
        full_name.map_value(|name| name.trim().to_owned()).update_to(&mut row.full_name);
        if row.full_name != full_name_before {
            row.full_name_key = row.full_name.as_deref().map(fold);
        }
        avatar_url.map_value(|url| url.0).update_to(&mut row.avatar_url);
        if let MaybeUndefined::Value(zone) = time_zone {
            row.time_zone = zone;
        }
    }
}

/// How to change the caller's profile.
#[derive(InputObject, Clone)]
pub struct UserUpdateInput {
    /// The `version` that was read: CONFLICT, and nothing is written, when it is another by now. Left out: not
    /// checked.
    pub if_version: Option<i32>,
    /// What to change.
    pub patch: UserPatch,
}

impl UserUpdateInput {
    pub fn validate(&self) -> Result<()> {
        let UserPatch { username, full_name, avatar_url, time_zone } = &self.patch;
        let mut problems = Problems::default();
        required(&mut problems, &["input", "patch", "username"], username);
        required(&mut problems, &["input", "patch", "timeZone"], time_zone);
        if let MaybeUndefined::Value(username) = username {
            check_username(&mut problems, &["input", "patch", "username"], username);
        }
        if let MaybeUndefined::Value(name) = full_name {
            problems.length(&["input", "patch", "fullName"], name, 1, 100);
        }
        if let MaybeUndefined::Value(url) = avatar_url {
            check_url(&mut problems, &["input", "patch", "avatarUrl"], &url.0);
        }
        if let MaybeUndefined::Value(zone) = time_zone {
            check_time_zone(&mut problems, &["input", "patch", "timeZone"], zone);
        }
        problems.finish()
    }
}

/// A field that can't be cleared.
pub fn required<T>(problems: &mut Problems, path: &[&str], value: &MaybeUndefined<T>) {
    if value.is_null() {
        problems.push(ProblemCode::Required, path, "Can't be cleared.");
    }
}

pub fn check_email(problems: &mut Problems, path: &[&str], email: &str) {
    if parse_email(email).is_none() || !mail::is_address(&shown_email(email)) {
        problems.push(ProblemCode::Invalid, path, "Not an e-mail address, such as ann@example.com.");
    }
}

fn check_username(problems: &mut Problems, path: &[&str], username: &str) {
    problems.length(path, username, 2, 32);
    if !username.trim().chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) {
        problems.push(ProblemCode::Invalid, path, "Letters, digits, dots, hyphens and underscores only.");
    }
}

fn check_password(problems: &mut Problems, path: &[&str], password: &str) {
    let length = password.chars().count();
    if length < *password::LENGTH.start() {
        problems.add(
            Problem::new(ProblemCode::TooShort, path, format!("At least {} characters.", password::LENGTH.start()))
                .details(serde_json::json!({ "minimum": password::LENGTH.start() })),
        );
    } else if length > *password::LENGTH.end() {
        problems.add(
            Problem::new(ProblemCode::TooLong, path, format!("At most {} characters.", password::LENGTH.end()))
                .details(serde_json::json!({ "limit": password::LENGTH.end() })),
        );
    }
}

pub fn check_time_zone(problems: &mut Problems, path: &[&str], zone: &str) {
    if zone.parse::<chrono_tz::Tz>().is_err() {
        problems.push(ProblemCode::Invalid, path, "Not a time zone of the IANA database, such as Europe/Berlin.");
    }
}

pub fn check_url(problems: &mut Problems, path: &[&str], url: &str) {
    let absolute = url.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !absolute || url.len() > 2048 {
        problems.push(ProblemCode::Invalid, path, "Not an absolute http(s) URL of at most 2,048 characters.");
    }
}
