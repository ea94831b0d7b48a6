//! What the schema says, printed: `schema` and `policy`.

use std::io::Write;

use super::sample::told;
use crate::{config::LimitsConfig, graphql::schema};

pub fn print_schema() -> anyhow::Result<()> {
    let sdl = schema::sdl(&schema::build(&LimitsConfig::default()));
    Ok(std::io::stdout().write_all(sdl.as_bytes())?)
}

pub fn print_policy() -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(schema::policy_page().map_err(told)?.as_bytes())?)
}
