//! Who may name whom: the layers of `src`, read from the sources' syntax.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, Item, Macro, UseTree,
    visit::{self, Visit},
};

/// The layers, from the ground up. A module names those of lower layers. Within a layer it names those before it, or, where
/// they are one room, each other.
const LAYERS: &[Layer] = &[
    Layer { name: "ground", is_one_room: false, modules: &["id", "clock", "error", "priority"] },
    Layer { name: "data", is_one_room: true, modules: &["config", "auth", "entity", "db", "ledger"] },
    Layer {
        name: "services",
        is_one_room: false,
        modules: &["metrics", "redis", "rate_limit", "connections", "outgoing", "mail", "metering", "live"],
    },
    Layer {
        name: "API",
        is_one_room: true,
        modules: &[
            "state",
            "graphql",
            "accounts",
            "api_keys",
            "comments",
            "document_sets",
            "events",
            "inbound_hooks",
            "items",
            "members",
            "organizations",
            "plans",
            "server",
            "sync",
            "tags",
            "teams",
            "usage",
            "webhooks",
        ],
    },
    Layer { name: "edge", is_one_room: false, modules: &["worker", "jobs", "maintenance", "http"] },
    Layer { name: "program", is_one_room: false, modules: &["app", "cli"] },
];

struct Layer {
    name: &'static str,
    is_one_room: bool,
    modules: &'static [&'static str],
}

/// A source file: its place below `src`, and the paths that its code names, `crate::db::page`, tests apart.
struct Source {
    file: String,
    paths: BTreeSet<String>,
}

impl Source {
    /// The module at the top of `src` that it is part of.
    fn module(&self) -> &str {
        let first = self.file.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The modules at the top of `src` that it names.
    fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.paths.iter().filter_map(|path| path.strip_prefix("crate::"));
        own.map(|path| path.split("::").next().unwrap_or_default()).filter(|module| *module != self.module())
    }

    fn mentions(&self, path: &str) -> bool {
        self.paths.iter().any(|named| named == path || named.starts_with(&format!("{path}::")))
    }
}

/// Collects the paths of a file.
#[derive(Default)]
struct Paths(BTreeSet<String>);

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_of_tests(&module.attrs) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, "");
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.0.insert(segments.join("::"));
        visit::visit_path(self, path);
    }

    /// What a macro is given is no syntax yet: its paths are looked for word by word.
    fn visit_macro(&mut self, found: &'ast Macro) {
        let words =
            found.tokens.to_string().replace(" :: ", "::").replace("$crate", "crate").replace("$ crate", "crate");
        for word in words.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            if word.contains("::") {
                self.0.insert(word.trim_matches(':').to_owned());
            }
        }
        visit::visit_macro(self, found);
    }
}

impl Paths {
    fn tree(&mut self, tree: &UseTree, before: &str) {
        let joined = |name: &str| if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &joined(&path.ident.to_string())),
            UseTree::Name(name) => drop(self.0.insert(joined(&name.ident.to_string()))),
            UseTree::Rename(rename) => drop(self.0.insert(joined(&rename.ident.to_string()))),
            UseTree::Glob(_) => drop(self.0.insert(before.to_owned())),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            read(&entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let file = entry.strip_prefix(root()).expect("below src").display().to_string();
            into.push((file, fs::read_to_string(&entry).expect("a source file")));
        }
    }
}

fn paths_of(text: &str) -> BTreeSet<String> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(text).expect("Rust"));
    paths.0
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    read(&root(), &mut files);
    assert!(files.len() > 80, "the sources were found");
    let roots = ["lib.rs", "main.rs"];
    let files = files.into_iter().filter(|(file, _)| !roots.contains(&file.as_str()));
    files.map(|(file, text)| Source { file, paths: paths_of(&text) }).collect()
}

/// Whether the layers let a module name another.
fn may_name(module: &str, other: &str) -> bool {
    let place = |module: &str| {
        let layers = LAYERS.iter().enumerate();
        let mut places =
            layers.filter_map(|(layer, it)| Some((layer, it.modules.iter().position(|name| *name == module)?)));
        places.next()
    };
    match (place(module), place(other)) {
        (Some((layer, number)), Some((lower, before))) => {
            lower < layer || (lower == layer && (LAYERS[layer].is_one_room || before < number))
        }
        _ => false,
    }
}

#[test]
fn a_module_names_what_is_below_it() {
    let sources = sources();
    let drawn: BTreeSet<&str> = LAYERS.iter().flat_map(|layer| layer.modules).copied().collect();
    let there: BTreeSet<&str> = sources.iter().map(Source::module).collect();
    assert_eq!(drawn, there, "every module has its place among the layers");
    let mut against: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for source in &sources {
        for named in source.names().filter(|named| there.contains(named) && !may_name(source.module(), named)) {
            against.entry((source.module(), named)).or_default().push(&source.file);
        }
    }
    assert!(against.is_empty(), "these name what is not below them: {against:#?}");
}

/// `docs/ARCHITECTURE.md` shows the layers as they are held to.
#[test]
fn the_picture_of_the_layers_is_current() {
    let layers = LAYERS.iter().rev().map(|layer| {
        let between = if layer.is_one_room { " · " } else { " → " };
        format!("{:9} {}", layer.name, layer.modules.join(between))
    });
    let picture = layers.collect::<Vec<String>>().join("\n");
    let page = include_str!("../../docs/ARCHITECTURE.md");
    assert!(page.contains(&picture), "docs/ARCHITECTURE.md lacks the picture of the layers:\n{picture}");
}

#[test]
fn services_know_no_graphql_and_no_http() {
    let rules = [
        "accounts/announce.rs",
        "accounts/credentials.rs",
        "accounts/departure.rs",
        "accounts/mailed.rs",
        "accounts/throttle.rs",
        "items/state.rs",
        "items/sweep.rs",
        "items/trees.rs",
        "members/invitations.rs",
        "plans/billing.rs",
        "webhooks/sending.rs",
    ];
    for source in
        sources().iter().filter(|source| source.file.ends_with("service.rs") || rules.contains(&&*source.file))
    {
        for banned in ["async_graphql", "axum", "crate::http"] {
            assert!(!source.mentions(banned), "{} names {banned}", source.file);
        }
    }
}

#[test]
fn axum_stays_at_the_edge() {
    let transports = ["graphql/http.rs", "graphql/media.rs", "graphql/sse.rs", "graphql/ws.rs", "app.rs"];
    let at_the_edge = |file: &str| file.starts_with("http/") || transports.contains(&file);
    for source in sources().iter().filter(|source| !at_the_edge(&source.file)) {
        assert!(!source.mentions("axum"), "{} names axum", source.file);
    }
}

/// Clippy bans unscoped ORM calls outside `data/db/`, `data/ledger/`; an `allow` elsewhere would be a way around.
#[test]
fn nobody_else_opens_the_unscoped_doors() {
    let mut files = Vec::new();
    read(&root(), &mut files);
    let own = |file: &str| {
        ["db/", "ledger/pending.rs", "ledger/deliveries.rs", "clock.rs"].iter().any(|home| file.starts_with(home))
    };
    for (file, text) in files.iter().filter(|(file, _)| !own(file)) {
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        for raw in
            ["disallowed_methods", "execute_unprepared", "from_sql_and_values", "find_by_statement", "from_string("]
        {
            assert!(!code.contains(raw), "{file} goes around the scope by {raw}");
        }
    }
}

/// The reader sees what it must: grouped and nested imports, paths in code, in types and in macros; not those of tests.
#[test]
fn paths_are_found_wherever_they_are() {
    let paths = paths_of(
        "use crate::{a::{self, x}, b as c};
         fn f(y: crate::d::Y) { crate::e::g(); println!(\"{}\", crate::h::I); }
         macro_rules! m { () => { $crate::j::k() } }
         #[cfg(test)] mod tests { use crate::t; }",
    );
    for path in
        ["crate::a::self", "crate::a::x", "crate::b", "crate::d::Y", "crate::e::g", "crate::h::I", "crate::j::k"]
    {
        assert!(paths.contains(path), "{path} is not among {paths:?}");
    }
    assert!(!paths.iter().any(|path| path.starts_with("crate::t")));
}
