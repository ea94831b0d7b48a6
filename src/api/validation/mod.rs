//! Validation in front of the executor, the same for every transport: has the document read and validated, the variables
//! coerced and the fields collected ([`document`](super::document)), and prices what will run (`cost.rs`). What doesn't
//! pass here never runs, not even in part.

mod arguments;
mod documents;
mod introspection;
pub mod registered;
mod walk;

use std::{path::PathBuf, sync::Arc};

use async_graphql::{
    Request, ServerError, Variables,
    parser::types::{ExecutableDocument, OperationType},
    registry::Registry,
};
use serde::Serialize;

use self::{
    documents::{Documents, New},
    introspection::Sizes,
    registered::Registered,
    walk::{Found, Walk},
};
use super::{
    cost::{Dearest, Prices},
    document::{Document, Operation, Validator, coordinate::Asked},
};
use crate::{
    base::{
        cache_use::CacheUse,
        config::LimitsConfig,
        error::{Error, Refusal, Result},
    },
    domains::document_sets::manifest::DocumentCheck,
    graphql::guard,
};

/// Parts that the explanation of a price has.
const MAX_PARTS: usize = 10;

/// What validation found out about an operation that passed.
#[derive(Clone, Debug)]
pub struct ValidRequest {
    /// All of the document; [`RequestValidator::runs`] says what runs of it.
    pub document: Arc<Document>,
    pub operation: OperationType,
    /// The operation's name, for the log.
    pub name: Option<String>,
    /// The root fields of an operation without a name, `{ items viewer }`; empty for one that has a name.
    pub roots: String,
    /// Points at most.
    pub cost: u64,
    pub prices: Prices,
    /// Whether any root field needs to know who is calling.
    pub needs_caller: bool,
    /// Whether a query's answer depends on the ledger, profiles, the caller and the arguments alone
    /// ([`OF_LEDGER`](crate::graphql::field_tags::OF_LEDGER)).
    pub is_of_ledger: bool,
    /// Whether the operator has registered the document.
    pub is_registered: bool,
    /// What [`RequestValidator::remember`] keeps.
    new: Option<New>,
}

impl ValidRequest {
    /// What usage is counted under.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.roots)
    }
}

/// A part of an operation, with all that is below it.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    pub path: String,
    pub coordinate: Option<String>,
    /// At most, for all objects that have it.
    pub points: u64,
}

/// Checks documents against the schema and the limits.
#[derive(Clone)]
pub struct RequestValidator {
    registry: Arc<Registry>,
    validator: Arc<Validator>,
    sizes: Sizes,
    limits: Arc<LimitsConfig>,
    has_introspection: bool,
    documents: Documents,
    registered: Registered,
}

impl std::fmt::Debug for RequestValidator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestValidator(…)")
    }
}

impl RequestValidator {
    /// `sdl`: the same types as the validator reads them. `has_introspection`: whether `__schema` and `__type` pass, and
    /// refusals suggest names that the schema has. INTERNAL for types that are no valid schema, or declare no rules that can be
    /// read.
    pub fn new(registry: Registry, sdl: &str, limits: LimitsConfig, has_introspection: bool) -> Result<Self> {
        guard::verify(&registry)?;
        let validator = Arc::new(Validator::new(sdl, has_introspection)?);
        let sizes = Sizes::of(&registry);
        let (documents, registered) = (Documents::default(), Registered::default());
        let limits = Arc::new(limits);
        Ok(Self { registry: Arc::new(registry), validator, sizes, limits, has_introspection, documents, registered })
    }

    /// Registers the documents of manifests; `only`: nothing else passes. INTERNAL for a document that is not valid.
    pub fn register(self, manifests: &[PathBuf], only: bool) -> Result<Self> {
        let registered = Registered::read(manifests, only, &self.validator, &self.limits)?;
        if !manifests.is_empty() {
            tracing::info!(documents = registered.count(), only, "documents are registered");
        }
        Ok(Self { registered, ..self })
    }

    /// What a request with a document would be refused for.
    pub fn document_check(&self) -> DocumentCheck {
        let (validator, limits) = (self.validator.clone(), self.limits.clone());
        DocumentCheck::new(move |text| validator.document(text, &limits).map(drop))
    }

    /// The schema's types.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The id by which a request names a document that the server doesn't know: perhaps the caller's organization does.
    pub fn other_id<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let id = self.registered.other_id(request)?;
        (!self.documents.is_persisted(id)).then_some(id)
    }

    /// Whether the request's document has been checked before, or need not be.
    pub fn knows(&self, request: &Request) -> bool {
        let text = &request.query;
        text.is_empty() || self.documents.has(text) || matches!(self.registered.document(text), Ok(Some(_)) | Err(_))
    }

    /// Checks a request, and leaves in it what will run, with its variables coerced.
    pub fn check(&self, request: &mut Request) -> Result<ValidRequest> {
        // Some clients send an empty name for none.
        request.operation_name = request.operation_name.take().filter(|name| !name.is_empty());
        let hash = if self.registered.recall(request)? { None } else { self.documents.recall(request)? };
        if request.query.trim().is_empty() {
            return Err(Refusal::bad_request("The request has no `query`.").into());
        }
        let registered = self.registered.document(&request.query)?;
        let is_registered = registered.is_some();
        let known = registered.or_else(|| self.documents.valid(&request.query));
        let is_known = known.is_some();
        let document = match known {
            Some(document) => document,
            None => Arc::new(self.validator.document(&request.query, &self.limits)?),
        };
        let operation = document.operation(request.operation_name.as_deref())?;
        arguments::measure_variables(&request.variables, self.limits.values)?;
        request.variables = self.validator.coerce(operation, std::mem::take(&mut request.variables))?;
        let runs = self.validator.collected(&document, operation, &self.registry, &request.variables)?;
        let (_, collected) = runs.operations.iter().next().ok_or_else(|| Error::internal("nothing was collected"))?;
        let Found { prices, roots, needs_caller, is_of_ledger } =
            Walk::new(self, &request.variables).operation(&collected.node)?;
        if prices.total() > self.limits.cost {
            return Err(prices.too_dear(self.limits.cost, self.dearest(&prices, &document, operation)).into());
        }
        let name = operation.name.as_ref().map(ToString::to_string);
        let valid = ValidRequest {
            document: document.clone(),
            operation: collected.node.ty,
            roots: if name.is_some() { String::new() } else { listed(&roots) },
            name,
            cost: prices.total(),
            prices,
            needs_caller,
            is_of_ledger: is_of_ledger && collected.node.ty == OperationType::Query,
            is_registered,
            new: (!is_known || hash.is_some()).then(|| New {
                text: request.query.clone(),
                hash,
                document: document.clone(),
            }),
        };
        request.set_parsed_query(ExecutableDocument::clone(&runs));
        Ok(valid)
    }

    /// What runs of an operation that passed with these variables, coerced as they are then.
    pub fn runs(&self, valid: &ValidRequest, variables: &Variables) -> Result<Arc<ExecutableDocument>> {
        let operation = valid.document.operation(valid.name.as_deref())?;
        self.validator.collected(&valid.document, operation, &self.registry, variables)
    }

    /// The way to the dearest part of an operation, by the answer's names, and the field there, by its coordinate.
    fn dearest(&self, prices: &Prices, document: &Document, operation: &Operation) -> Dearest {
        let path = prices.dearest_path();
        let asked = Asked { registry: &self.registry, document, operation };
        let coordinate = asked.field(path.split('.')).map(|field| field.to_string());
        Dearest { path, coordinate }
    }

    /// The same of one that passed.
    pub fn dearest_of(&self, valid: &ValidRequest) -> Dearest {
        match valid.document.operation(valid.name.as_deref()) {
            Ok(operation) => self.dearest(&valid.prices, &valid.document, operation),
            Err(_) => Dearest::default(),
        }
    }

    /// The dearest parts of an operation that passed, each with all that is below it; the dearest first.
    pub fn breakdown(&self, valid: &ValidRequest) -> Vec<Part> {
        let Ok(operation) = valid.document.operation(valid.name.as_deref()) else { return Vec::new() };
        let asked = Asked { registry: &self.registry, document: &valid.document, operation };
        let parts = valid.prices.dearest(MAX_PARTS).into_iter();
        parts
            .map(|(path, points)| {
                let coordinate = asked.field(path.iter().copied()).map(|field| field.to_string());
                Part { path: path.join("."), coordinate, points }
            })
            .collect()
    }

    /// Says of an answer's errors which fields of the schema they are of.
    pub fn locate(&self, valid: &ValidRequest, errors: &mut [ServerError]) {
        if errors.is_empty() {
            return;
        }
        if let Ok(operation) = valid.document.operation(valid.name.as_deref()) {
            Asked { registry: &self.registry, document: &valid.document, operation }.locate(errors);
        }
    }

    /// Keeps the document of an operation that was validated, for a caller who was let in: what is kept can't be chosen by
    /// whoever may not call.
    pub fn remember(&self, valid: &ValidRequest) {
        if let Some(new) = &valid.new {
            self.documents.remember(new);
        }
    }

    /// How the documents are used that are kept.
    pub fn cache_uses(&self) -> [CacheUse; 2] {
        self.documents.cache_uses()
    }
}

/// `{ items viewer }`, each field once.
fn listed(roots: &[&str]) -> String {
    let mut text = String::from("{");
    for (place, root) in roots.iter().enumerate() {
        if !roots[..place].contains(root) {
            text.push(' ');
            text.push_str(root);
        }
    }
    text.push_str(" }");
    text
}
