//! `admin create-owner`: how the first person gets into a new server, and an operator into any organization.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{failure, origin, plan, retrying, say};
use crate::{
    base::{error::Error, secret},
    domains::{
        accounts::input::UserRegisterInput,
        organizations::{self, input::OrganizationCreateInput},
    },
    platform::state::State,
};

#[derive(Debug, clap::Args)]
pub struct OwnerArgs {
    /// Of the person. Whoever has it already stays as they are, with their password.
    #[arg(long)]
    email: String,
    /// Of a new person.
    #[arg(long)]
    username: String,
    /// Of a new person.
    #[arg(long)]
    full_name: Option<String>,
    /// Slug of the organization.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    /// Of a new organization; its slug when left out.
    #[arg(long)]
    name: Option<String>,
    /// Read a new person's password from the standard input instead of making one up.
    #[arg(long)]
    password_stdin: bool,
}

pub async fn create(state: &State, args: OwnerArgs) -> anyhow::Result<()> {
    let password = if args.password_stdin { read_password()? } else { new_password()? };
    let person = UserRegisterInput {
        email: args.email,
        username: args.username,
        password,
        full_name: args.full_name,
        time_zone: None,
        invitation_token: None,
    };
    let organization = OrganizationCreateInput {
        id: None,
        name: args.name.unwrap_or_else(|| args.organization.clone()),
        slug: args.organization,
        item_prefix: None,
        time_zone: "UTC".to_owned(),
    };
    let origin = origin();
    let installed = retrying(|| organizations::service::install(state, &origin, &person, &organization)).await;
    let installed = installed.map_err(by_option)?.value;
    let mut said = format!("{} owns the organization {}", installed.user.email, installed.organization.slug);
    if installed.organization_is_new {
        said += &format!(", which was made on the plan {}", plan::name(installed.organization.plan_tier));
    }
    said += match (installed.person_is_new, args.password_stdin) {
        (true, true) => "; the person is new.",
        (true, false) => "; the person is new, and this is their password, shown only now:",
        (false, _) => "; the person was there already, with the password they had.",
    };
    say(said);
    if installed.person_is_new && !args.password_stdin {
        say(&person.password);
    }
    Ok(())
}

/// One line; what ends it is not part of the password.
fn read_password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("--password-stdin: no text")?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.contains('\n') {
        bail!("--password-stdin: more than one line");
    }
    Ok(password.to_owned())
}

/// 120 bits.
fn new_password() -> anyhow::Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(secret::random::<15>().map_err(failure)?))
}

/// Problems by the options of the command instead of the paths of the API.
fn by_option(error: Error) -> anyhow::Error {
    let Error::Invalid(problems) = &error else { return failure(error) };
    let option = |path: &[String]| match path.last().map(String::as_str) {
        Some("slug") => "--organization: ".to_owned(),
        Some("fullName") => "--full-name: ".to_owned(),
        Some("password") => "the password: ".to_owned(),
        Some(field @ ("email" | "username" | "name")) => format!("--{field}: "),
        _ => String::new(),
    };
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("{}{}", option(&problem.path), problem.message)).collect();
    anyhow::Error::msg(lines.join("\n"))
}
