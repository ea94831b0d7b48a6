//! `migrate`: brings the schema up to date, once, before instances of a new release start.

use crate::{
    base::{clock::Clock, config::Config},
    data::db::Db,
};

pub async fn run(config: &Config) -> anyhow::Result<()> {
    let db = Db::connect(&config.database, Clock::system(), None).await?;
    let applied = db.migrate(config.database.migration_wait).await?;
    for step in &applied {
        println!("applied {step}");
    }
    println!("{} schema step(s) applied; the schema is current", applied.len());
    db.close().await;
    Ok(())
}
