//! The manifests in which build tools list an application's documents.

use crate::base::error::Result;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

/// As graphql-codegen and Relay write it, an object of texts by id, or Apollo's list of operations.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Manifest {
    Apollo { operations: Vec<Entry> },
    ById(HashMap<String, String>),
}

#[derive(Deserialize)]
pub struct Entry {
    id: String,
    body: String,
}

impl Manifest {
    /// `None` for a value of another form.
    pub fn of(value: &serde_json::Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// The texts with their ids, in no order.
    pub fn documents(self) -> Vec<(String, String)> {
        match self {
            Self::Apollo { operations } => operations.into_iter().map(|entry| (entry.id, entry.body)).collect(),
            Self::ById(texts) => texts.into_iter().collect(),
        }
    }
}

/// Says what a request with a document would be refused for, whatever its variables are. The API gives it to requests.
#[derive(Clone)]
pub struct DocumentCheck(Arc<Check>);

type Check = dyn Fn(&str) -> Result<()> + Send + Sync;

impl DocumentCheck {
    pub fn new(check: impl Fn(&str) -> Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    pub fn check(&self, text: &str) -> Result<()> {
        (self.0)(text)
    }
}
