//! `migrate`: brings the schema up to date, once, before instances of a new release start.

use crate::{clock::Clock, config::Config, db::Db};

pub async fn run(config: &Config) -> anyhow::Result<()> {
    let db = Db::connect(&config.database, Clock::system(), None).await?;
    let pending = db.pending_migrations().await?;
    db.migrate().await?;
    for step in &pending {
        println!("applied {step}");
    }
    println!("{} schema step(s) applied; the schema is current", pending.len());
    db.close().await;
    Ok(())
}
