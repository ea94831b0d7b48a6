//! Who may name whom: the rooms of `src`, read from the sources' syntax.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, Item, Macro, UseTree,
    visit::{self, Visit},
};

/// The rooms, from the ground up: a room names those before it. Within one, a module names those before it, or, where they
/// are one matter (in one list), each other.
const ROOMS: &[Room] = &[
    Room {
        name: "base",
        modules: &[
            &["id"],
            &["enums"],
            &["clock"],
            &["error"],
            &["priority"],
            &["cache_use"],
            &["secret"],
            &["signature"],
            &["trace"],
            &["plan"],
            &["rank"],
            &["policy"],
            &["config"],
        ],
    },
    Room { name: "data", modules: &[&["entity"], &["actor", "db", "ledger"]] },
    Room {
        name: "platform",
        modules: &[
            &["metrics"],
            &["redis"],
            &["connections"],
            &["auth"],
            &["rate_limit"],
            &["outgoing"],
            &["mail"],
            &["metering"],
            &["live"],
            &["refused_callbacks"],
            &["trace_export"],
            &["state"],
        ],
    },
    Room {
        name: "graphql",
        modules: &[
            &["type_name"],
            &["rule"],
            &["field_tags"],
            &["patch"],
            &["objects"],
            &["loads"],
            &["loaders"],
            &["scalars"],
            &["error"],
            &["response"],
            &["budget"],
            &["context"],
            &["guard"],
            &["node"],
            &["payload"],
            &["connection"],
            &["filter"],
            &["range"],
        ],
    },
    // One matter: the types of a graph refer to each other by nature, and services call each other.
    Room { name: "domains", modules: &[] },
    Room {
        name: "api",
        modules: &[
            &["document"],
            &["cost"],
            &["validation"],
            &["processor"],
            &["response_sharing"],
            &["answer_cache"],
            &["federation"],
            &["schema"],
            &["endpoint"],
            &["http"],
        ],
    },
    Room { name: "jobs", modules: &[&["kinds"], &["runner"], &["deliveries"], &["maintenance"]] },
    Room { name: "app", modules: &[] },
    Room { name: "cli", modules: &[] },
];

struct Room {
    name: &'static str,
    modules: &'static [&'static [&'static str]],
}

/// A source file: its place below `src`, and the paths that its code names, `crate::data::db::page`, tests apart.
struct Source {
    file: String,
    paths: BTreeSet<String>,
}

impl Source {
    /// Its own path as a module: `data/db/mod.rs` is `data`, `db`.
    fn path(&self) -> Vec<&str> {
        let path = self.file.strip_suffix(".rs").unwrap_or(&self.file);
        path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
    }

    /// The module that it is part of: a room's, `data::db`, or a room that has none.
    fn module(&self) -> String {
        module_of(&self.path())
    }

    /// The modules that it names.
    fn names(&self) -> BTreeSet<String> {
        let named = self.paths.iter().filter_map(|path| self.absolute(path));
        let named = named.map(|path| module_of(&path)).filter(|module| !module.is_empty() && *module != self.module());
        // A room alone, or the crate, is in `pub(super)` and `pub(crate)`, and nothing of it.
        named.filter(|module| !ROOMS.iter().any(|room| room.name == module && !room.modules.is_empty())).collect()
    }

    /// A path from the crate's root; `None` for what is in another crate.
    fn absolute<'a>(&'a self, path: &'a str) -> Option<Vec<&'a str>> {
        let mut segments: Vec<&str> = path.split("::").filter(|segment| *segment != "self").collect();
        let mut own = self.path();
        match *segments.first()? {
            "crate" => return Some(segments.split_off(1)),
            "super" => {}
            _ => return None,
        }
        while segments.first() == Some(&"super") {
            segments.remove(0);
            own.pop();
        }
        own.extend(segments);
        Some(own)
    }

    fn mentions(&self, path: &str) -> bool {
        self.paths.iter().any(|named| named == path || named.starts_with(&format!("{path}::")))
    }
}

fn module_of(path: &[&str]) -> String {
    let has_modules = ROOMS.iter().any(|room| Some(&room.name) == path.first() && !room.modules.is_empty());
    path[..path.len().min(if has_modules { 2 } else { 1 })].join("::")
}

/// Collects the paths of a file.
#[derive(Default)]
struct Paths {
    found: BTreeSet<String>,
    /// How many modules within the file are around.
    depth: usize,
}

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
            Item::Mod(_) => {
                self.depth += 1;
                visit::visit_item(self, item);
                self.depth -= 1;
            }
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, "");
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments.join("::"));
        visit::visit_path(self, path);
    }

    /// What a macro is given is no syntax yet: its paths are looked for word by word.
    fn visit_macro(&mut self, found: &'ast Macro) {
        let words =
            found.tokens.to_string().replace(" :: ", "::").replace("$crate", "crate").replace("$ crate", "crate");
        for word in words.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
            // Where a macro's `super` leads to is not seen here; ours say `$crate`.
            if word.contains("::") && !word.starts_with("super::") {
                self.add(word.trim_matches(':'));
            }
        }
        visit::visit_macro(self, found);
    }
}

impl Paths {
    /// As it reads from the file's own module.
    fn add(&mut self, mut path: &str) {
        for _ in 0..self.depth {
            let Some(rest) = path.strip_prefix("super::") else { break };
            path = rest;
        }
        self.found.insert(path.to_owned());
    }

    fn tree(&mut self, tree: &UseTree, before: &str) {
        let joined = |name: &str| if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
        match tree {
            UseTree::Path(path) => self.tree(&path.tree, &joined(&path.ident.to_string())),
            UseTree::Name(name) => self.add(&joined(&name.ident.to_string())),
            UseTree::Rename(rename) => self.add(&joined(&rename.ident.to_string())),
            UseTree::Glob(_) => self.add(before),
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
    paths.found
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    read(&root(), &mut files);
    assert!(files.len() > 80, "the sources were found");
    let is_room =
        |file: &str| file.split_once('/').is_some_and(|(_, rest)| rest == "mod.rs") && !file.starts_with("cli/");
    let is_root = |file: &str| ["lib.rs", "main.rs"].contains(&file) || is_room(file);
    let files = files.into_iter().filter(|(file, _)| !is_root(file));
    files.map(|(file, text)| Source { file, paths: paths_of(&text) }).collect()
}

/// A module's place: its room, and within it the list that it is in.
fn place(module: &str) -> Option<(usize, usize)> {
    let (room, name) = module.split_once("::").unwrap_or((module, ""));
    let number = ROOMS.iter().position(|it| it.name == room)?;
    let lists = ROOMS[number].modules;
    if lists.is_empty() {
        return name.is_empty().then_some((number, 0));
    }
    Some((number, lists.iter().position(|list| list.contains(&name))?))
}

/// Whether a module may name another: one that is below it, or one matter with it.
fn may_name(module: &str, other: &str) -> bool {
    place(module).zip(place(other)).is_some_and(|(own, other)| other <= own)
}

#[test]
fn a_module_names_what_is_below_it() {
    let sources = sources();
    let without_place: BTreeSet<String> =
        sources.iter().map(Source::module).filter(|module| place(module).is_none()).collect();
    assert!(without_place.is_empty(), "give these a place in ROOMS of this file: {without_place:?}");
    let mut against: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for source in &sources {
        for named in source.names().into_iter().filter(|named| !may_name(&source.module(), named)) {
            against.entry((source.module(), named)).or_default().push(&source.file);
        }
    }
    assert!(against.is_empty(), "these name what is not below them: {against:#?}");
    let there: BTreeSet<String> = sources.iter().map(Source::module).collect();
    let drawn =
        ROOMS.iter().flat_map(|room| room.modules.iter().copied().flatten().map(|it| format!("{}::{it}", room.name)));
    for module in drawn {
        assert!(there.contains(&module), "{module} has a place and no file");
    }
}

/// `docs/ARCHITECTURE.md` shows the rooms as they are held to.
#[test]
fn the_picture_of_the_rooms_is_current() {
    let rooms = ROOMS.iter().rev().map(|room| {
        let lists: Vec<String> = room.modules.iter().map(|list| list.join(" · ")).collect();
        format!("{:9} {}", room.name, lists.join(" → ")).trim_end().to_owned()
    });
    let picture = rooms.collect::<Vec<String>>().join("\n");
    let page = include_str!("../../docs/ARCHITECTURE.md");
    assert!(page.contains(&picture), "docs/ARCHITECTURE.md lacks the picture of the rooms:\n{picture}");
}

#[test]
fn services_know_no_graphql_and_no_http() {
    let rules = [
        "domains/accounts/announce.rs",
        "domains/accounts/credentials.rs",
        "domains/accounts/departure.rs",
        "domains/accounts/email_tokens.rs",
        "domains/accounts/throttle.rs",
        "domains/items/state.rs",
        "domains/items/sweep.rs",
        "domains/items/trees.rs",
        "domains/members/invitations.rs",
        "domains/plans/billing.rs",
        "domains/webhooks/sending.rs",
    ];
    for source in
        sources().iter().filter(|source| source.file.ends_with("service.rs") || rules.contains(&&*source.file))
    {
        for banned in ["async_graphql", "axum", "crate::api"] {
            assert!(!source.mentions(banned), "{} names {banned}", source.file);
        }
    }
}

#[test]
fn axum_stays_at_the_edge() {
    let edge = ["api/http/", "api/endpoint/http/", "api/endpoint/ws/handshake.rs", "api/endpoint/sse.rs", "app.rs"];
    let at_the_edge = |file: &str| edge.iter().any(|place| file.starts_with(place));
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
        ["data/db/", "data/ledger/pending.rs", "data/ledger/deliveries.rs", "base/clock.rs"]
            .iter()
            .any(|home| file.starts_with(home))
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
