//! The environment as a source of settings: plain names as they are, `TODO_SECTION_NAME` as `section.name`.

use figment::{
    Error, Figment, Metadata, Profile, Provider, Source,
    error::Kind,
    value::{Dict, Map, Value},
};

const PREFIX: &str = "TODO_";
const SOURCE: &str = "environment";

pub struct Environment {
    values: Vec<(Vec<String>, String)>,
}

/// Whether a variable is a setting of ours.
pub fn is_ours(plain: &[&str], name: &str) -> bool {
    name.starts_with(PREFIX) || plain.contains(&name)
}

impl Environment {
    pub fn new(plain: &[&str], environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let values = environment
            .into_iter()
            .filter_map(|(name, value)| {
                if let Some(rest) = name.strip_prefix(PREFIX) {
                    // The first `_` ends the section; the rest is one name.
                    let path = rest.to_lowercase();
                    Some((path.splitn(2, '_').map(str::to_owned).collect(), value))
                } else {
                    plain.contains(&name.as_str()).then(|| (vec![name.to_lowercase()], value))
                }
            })
            // `PORT=` in a compose file means: not set.
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self { values }
    }

    /// The settings' paths, for [`explain`].
    pub fn names(&self) -> Vec<Vec<String>> {
        self.values.iter().map(|(path, _)| path.clone()).collect()
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named(SOURCE)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let mut root = Dict::new();
        for (path, value) in &self.values {
            match path.as_slice() {
                [name] => {
                    root.insert(name.clone(), Value::from(value.as_str()));
                }
                [section, name] => {
                    let section = root.entry(section.clone()).or_insert_with(|| Value::from(Dict::new()));
                    if let Value::Dict(_, fields) = section {
                        fields.insert(name.clone(), Value::from(value.as_str()));
                    }
                }
                _ => {}
            }
        }
        Ok(Map::from([(Profile::Default, root)]))
    }
}

/// The variable of the setting at a path.
pub fn variable(path: &[&str]) -> String {
    match path {
        [plain] if super::PLAIN.contains(&plain.to_uppercase().as_str()) => plain.to_uppercase(),
        path => format!("{PREFIX}{}", path.join("_").to_uppercase()),
    }
}

/// What a setting, `server.batch_limit`, is called where its value comes from: the file, or else the environment.
pub fn name_in(settings: &Figment, path: &str) -> String {
    match settings.find_metadata(path).and_then(|metadata| metadata.source.as_ref()) {
        Some(file @ Source::File(_)) => format!("{path} (in {file})"),
        _ => variable(&path.split('.').collect::<Vec<_>>()),
    }
}

/// What is wrong, by the name that an operator wrote.
pub fn explain(error: Error, names: &[Vec<String>]) -> String {
    let lines: Vec<String> = error.into_iter().map(|error| explain_one(&error, names)).collect();
    lines.join("; ")
}

fn explain_one(error: &Error, names: &[Vec<String>]) -> String {
    let mut path = error.path.clone();
    let what = match &error.kind {
        Kind::UnknownField(name, known) => {
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            format!("unknown; known here: {}", known.join(", "))
        }
        other => other.to_string(),
    };
    let from_environment = error.metadata.as_ref().is_some_and(|source| source.name == SOURCE);
    if from_environment
        && let [section] = path.as_slice()
        && let Some(whole) = names.iter().find(|name| name.len() > 1 && name[0] == *section)
    {
        // Of an unknown section, the whole name that the operator wrote.
        path.clone_from(whole);
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let name = if from_environment { variable(&path) } else { path.join(".") };
    match &error.metadata {
        Some(metadata) if !from_environment => match &metadata.source {
            Some(source) => format!("{name} (in {source}): {what}"),
            None => format!("{name}: {what}"),
        },
        _ if name.is_empty() => what,
        _ => format!("{name}: {what}"),
    }
}
