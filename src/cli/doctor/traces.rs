//! The collector of traces, where one is configured.

use std::sync::Arc;

use super::finding::Finding;
use crate::{base::config::Config, platform::trace_export::Collector};

pub async fn look_at(config: Arc<Config>) -> Vec<Finding> {
    let collector = match Collector::new(&config.tracing) {
        Ok(Some(collector)) => collector,
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Finding::failed("traces", error.to_string(), "correct the setting")],
    };
    match collector.probe().await {
        Ok(()) => vec![Finding::ok("traces", "the collector takes spans")],
        Err(cause) => {
            let advice =
                "see TODO_TRACING_ENDPOINT and the collector's log; without it spans are dropped, and nothing else";
            vec![Finding::warning("traces", format!("the collector takes no spans: {cause}"), advice)]
        }
    }
}
