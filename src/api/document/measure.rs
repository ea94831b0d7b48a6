//! What a document is made of, fragments expanded, before it is validated: its size bounds the work of everything after.
//! Operations that won't run count as well, because they are validated too.

use std::collections::HashMap;

use apollo_compiler::{
    ast::{self, Definition, DirectiveList, FragmentDefinition, Selection},
    parser::SourceSpan,
};
use serde_json::json;

use super::text::{MAX_NESTING, Text};
use crate::base::{
    config::LimitsConfig,
    error::{Code, Refusal, Result},
};

/// Fields and fragments visited at most: what keeps fragments that spread fragments from taking long to count.
pub const MAX_VISITS: usize = 20_000;
/// Selections within each other, those of fragments included: what recursion over them may take of the stack.
const MAX_SELECTIONS: usize = 200;

/// Refuses a document that is too large: QUERY_TOO_COMPLEX or QUERY_TOO_DEEP.
pub fn measure(document: &ast::Document, limits: &LimitsConfig, text: &Text<'_>) -> Result<()> {
    let fragments = document.definitions.iter().filter_map(Definition::as_fragment_definition);
    let fragments = fragments.map(|fragment| (fragment.name.as_str(), &**fragment)).collect();
    let mut measured =
        Measured { limits, text, fragments, visits: 0, aliases: 0, directives: 0, within: Vec::new(), selections: 0 };
    for operation in document.definitions.iter().filter_map(Definition::as_operation_definition) {
        measured.directives(&operation.directives, operation.location())?;
        for variable in &operation.variables {
            measured.directives(&variable.directives, variable.location())?;
        }
        measured.selection(&operation.selection_set, 1)?;
    }
    Ok(())
}

struct Measured<'d> {
    limits: &'d LimitsConfig,
    text: &'d Text<'d>,
    fragments: HashMap<&'d str, &'d FragmentDefinition>,
    visits: usize,
    aliases: usize,
    directives: usize,
    /// Fragments around the present selection: a cycle is validation's to report, ours to survive.
    within: Vec<&'d str>,
    /// Selections around the present one.
    selections: usize,
}

impl<'d> Measured<'d> {
    /// `depth` is that of its fields.
    fn selection(&mut self, selections: &'d [Selection], depth: usize) -> Result<()> {
        self.selections += 1;
        for selection in selections {
            let place = selection.location();
            self.visits += 1;
            if self.visits > MAX_VISITS {
                return Err(self.too_complex("fields, fragments expanded", self.visits, MAX_VISITS, place).into());
            }
            if self.selections > MAX_SELECTIONS {
                return Err(self.too_deep("Selections are", MAX_SELECTIONS, place).into());
            }
            match selection {
                Selection::Field(field) => {
                    self.directives(&field.directives, place)?;
                    self.aliases += usize::from(field.alias.is_some());
                    if self.aliases > self.limits.aliases {
                        return Err(self.too_complex("aliases", self.aliases, self.limits.aliases, place).into());
                    }
                    if depth > self.limits.depth {
                        return Err(self.too_deep("Fields are", self.limits.depth, place).into());
                    }
                    self.selection(&field.selection_set, depth + 1)?;
                }
                Selection::InlineFragment(inline) => {
                    self.directives(&inline.directives, place)?;
                    self.selection(&inline.selection_set, depth)?;
                }
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.directives, place)?;
                    let name = spread.fragment_name.as_str();
                    let Some(fragment) = self.fragments.get(name).copied() else { continue };
                    if self.within.contains(&name) {
                        continue;
                    }
                    self.within.push(name);
                    if self.within.len() > MAX_NESTING {
                        return Err(self.too_deep("Fragments are", MAX_NESTING, place).into());
                    }
                    self.directives(&fragment.directives, fragment.name.location())?;
                    self.selection(&fragment.selection_set, depth)?;
                    self.within.pop();
                }
            }
        }
        self.selections -= 1;
        Ok(())
    }

    /// Counts the directives of one place.
    fn directives(&mut self, here: &DirectiveList, place: Option<SourceSpan>) -> Result<()> {
        let (here, limits) = (here.len(), self.limits);
        if here > limits.directives {
            return Err(self.too_complex("directives in one place", here, limits.directives, place).into());
        }
        self.directives += here;
        if self.directives > limits.document_directives {
            return Err(self.too_complex("directives", self.directives, limits.document_directives, place).into());
        }
        Ok(())
    }

    fn too_complex(&self, what: &str, found: usize, limit: usize, place: Option<SourceSpan>) -> Refusal {
        let message = format!("A document has at most {limit} {what}; this one has {found} or more.");
        self.refused(Code::QueryTooComplex, message, limit, place)
    }

    fn too_deep(&self, what: &str, limit: usize, place: Option<SourceSpan>) -> Refusal {
        self.refused(Code::QueryTooDeep, format!("{what} nested at most {limit} deep."), limit, place)
    }

    fn refused(&self, code: Code, message: String, limit: usize, place: Option<SourceSpan>) -> Refusal {
        let position = self.text.position(place.map_or(0, |place| place.offset()));
        Refusal::new(code, message).details(json!({ "limit": limit })).at(position)
    }
}
