//! What clients learn of prices from the schema alone. `Priced` computes them as a client would: after the draft of the cost
//! directives, from `schema.graphql` and a document, knowing nothing of this server.

use apollo_compiler::{
    ExecutableDocument, Node, Schema,
    ast::{Directive, DirectiveList, FieldDefinition, InputValueDefinition, Value as Literal},
    executable::{Field, Operation, Selection, SelectionSet},
    schema::ExtendedType,
    validation::Valid,
};
use async_graphql::{
    Request, Variables,
    registry::{MetaField, MetaType},
};
use serde_json::{Value, json};
use todo_platform::{
    api::{schema, validation::RequestValidator},
    base::config::LimitsConfig,
};

use crate::support::{
    app::TestApp,
    schema::{Documents, bare, sdl},
};
use todo_test_macros::databases;

/// Where the directives say more than is charged, by name; the draft has no words for these. For each a document, with
/// what it costs and what the directives make of it.
const DEARER_BY_THE_DIRECTIVES: &[(&str, &str, u64, f64)] = &[
    // A count that is kept with the item costs 1, and one without its page not the page's.
    ("Item.comments", "{ item(id: \"ACME-1\") { comments { totalCount } } }", 2, 12.0),
    ("Item.subtasks", "{ item(id: \"ACME-1\") { subtasks { totalCount } } }", 2, 12.0),
    ("totalCount alone", "{ items { totalCount } }", 10, 11.0),
    // As many objects as ids are given, which is no number in an argument.
    ("Query.nodes", "{ nodes(ids: [\"itm_00000000000000000000000000\"]) { __typename } }", 1, 100.0),
    // What became of the items of a bulk mutation is paid with the items, unless more is asked of them.
    ("ItemBulkPayload.results", BULK, 2, 1001.0),
    // What a copy refers to is next to free.
    ("SyncPage.nodes", "{ sync(first: 10) { nodes { ... on Item { team { id } } } } }", 11, 21.0),
];

const BULK: &str = "mutation { itemBulkUpdate(input: { select: { ids: [\"itm_00000000000000000000000000\"] }, patch: {} }) \
                    { results { id item { title } } } }";

/// Where they say less: what is priced by its number, beyond what an ordinary document has.
const CHEAPER_BY_THE_DIRECTIVES: &[(&str, &str, u64, f64)] = &[
    ("sync without nodes", "{ sync(first: 10) { cursor } }", 11, 1.0),
    ("introspection", "{ __schema { queryType { name } } }", 10, 2.0),
    (
        "ten conditions of a filter",
        "{ items(first: 1, filter: { or: [{ status: { eq: DONE } }, { status: { eq: DONE } }, { status: { eq: DONE } }, \
         { status: { eq: DONE } }, { status: { eq: DONE } }] }) { nodes { id } } }",
        3,
        2.0,
    ),
    (
        "two keys of an order",
        "{ items(first: 1, orderBy: [{ field: TITLE, direction: ASC }, { field: CREATED_AT, direction: ASC }]) \
         { nodes { id } } }",
        3,
        2.0,
    ),
    (
        "a text that is compared for the page and for the count",
        "{ items(first: 1, filter: { title: { contains: \"x\" } }) { nodes { id } totalCount } }",
        22,
        17.0,
    ),
    (
        "objects in a mutation's lists",
        "mutation { itemCreate(input: { title: \"x\", subtasks: [{ title: \"y\" }] }) { cursor } }",
        2,
        1.0,
    ),
];

/// The example of `docs/API.md`, and what is said of it there.
const EXAMPLE: &str = "query Board { items(first: 50) { nodes { title team { name } assignees { displayName } \
    tags { name color } } pageInfo { hasNextPage } totalCount } }";
const PRICE_OF_EXAMPLE: u64 = 411;

/// A document with its schema, to be priced by the directives.
struct Priced<'d> {
    schema: &'d Schema,
    variables: &'d Value,
}

/// How many objects the lists below a field hold, by the lists' names.
type Sizes<'d> = Vec<(&'d str, f64)>;

impl<'d> Priced<'d> {
    /// The type cost of an operation, and the cost of the fields that have a weight.
    fn operation(&self, operation: &'d Operation) -> f64 {
        self.weight_of_type(operation.object_type()) + self.selection(&operation.selection_set, &Vec::new())
    }

    /// Of one object; of a type among several possible ones the dearest.
    fn selection(&self, set: &'d SelectionSet, sizes: &Sizes<'d>) -> f64 {
        let mut of_one: Vec<(&str, f64)> = Vec::new();
        let mut of_all = 0.0;
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => of_all += self.field(field, sizes),
                Selection::InlineFragment(inline) => {
                    let points = self.selection(&inline.selection_set, sizes);
                    let on = inline.type_condition.as_ref().map_or("", |on| on.as_str());
                    match of_one.iter_mut().find(|(known, _)| *known == on) {
                        Some((_, sum)) => *sum += points,
                        None => of_one.push((on, points)),
                    }
                }
                Selection::FragmentSpread(_) => panic!("the documents here have no named fragments"),
            }
        }
        of_all + of_one.into_iter().map(|(_, points)| points).fold(0.0, f64::max)
    }

    fn field(&self, field: &'d Field, sizes: &Sizes<'d>) -> f64 {
        let definition: &'d FieldDefinition = &field.definition;
        let list_size = definition.directives.get("listSize");
        let size = list_size.and_then(|directive| self.size(field, definition, directive));
        let sized = list_size.map(|directive| texts(directive, "sizedFields")).unwrap_or_default();
        // A list is as long as the field above says, or as it says itself.
        let own = if sized.is_empty() { size } else { None };
        let above = sizes.iter().find(|(name, _)| *name == field.name.as_str()).map(|(_, size)| *size);
        let is_of_objects = !matches!(
            self.schema.types.get(definition.ty.inner_named_type()),
            Some(ExtendedType::Scalar(_) | ExtendedType::Enum(_))
        );
        let times = if definition.ty.is_list() && is_of_objects {
            above.or(own).unwrap_or_else(|| panic!("{} has no size", field.name))
        } else {
            1.0
        };
        let below: Sizes<'d> = sized.into_iter().filter_map(|name| Some((name, size?))).collect();
        let arguments = field.arguments.iter().map(|argument| {
            let known = definition.argument_by_name(&argument.name).expect("it is valid");
            self.input(known, &argument.value)
        });
        let own = weight(&definition.directives).unwrap_or_default() + arguments.sum::<f64>();
        let of_type = self.weight_of_type(definition.ty.inner_named_type());
        own + times * (of_type + self.selection(&field.selection_set, &below))
    }

    /// The largest of the slicing arguments, with their defaults; else what is assumed.
    fn size(&self, field: &Field, definition: &FieldDefinition, directive: &Directive) -> Option<f64> {
        let slicing = texts(directive, "slicingArguments");
        let given = slicing.iter().filter_map(|name| {
            let argument = field.arguments.iter().find(|argument| argument.name.as_str() == *name);
            let default = definition.argument_by_name(name).and_then(|known| known.default_value.as_ref());
            self.number(argument.map(|argument| &argument.value).or(default)?)
        });
        let assumed = directive.specified_argument_by_name("assumedSize").and_then(|size| size.to_f64());
        given.reduce(f64::max).or(assumed)
    }

    fn number(&self, literal: &Node<Literal>) -> Option<f64> {
        match literal.as_variable() {
            Some(variable) => self.variables[variable.as_str()].as_f64(),
            None => literal.to_f64(),
        }
    }

    /// An object counts 1 unless its type says otherwise, and one of several possible types the most that any does.
    fn weight_of_type(&self, name: &str) -> f64 {
        match self.schema.types.get(name) {
            Some(ExtendedType::Object(object)) => {
                object.directives.get("cost").map_or(1.0, |directive| number(directive, "weight"))
            }
            Some(ExtendedType::Interface(_)) => {
                let members = self.schema.implementers_map();
                let members = members.get(name).expect("somebody implements it");
                members.objects.iter().map(|member| self.weight_of_type(member)).fold(0.0, f64::max)
            }
            _ => 0.0,
        }
    }

    /// What an argument or an input field weighs, with what is given in it.
    fn input(&self, known: &InputValueDefinition, given: &Literal) -> f64 {
        let own = weight(&known.directives).unwrap_or_default();
        own + self.inside(known.ty.inner_named_type(), given)
    }

    fn inside(&self, ty: &str, given: &Literal) -> f64 {
        match (self.schema.types.get(ty), given) {
            (_, Literal::List(items)) => items.iter().map(|item| self.inside(ty, item)).sum(),
            (Some(ExtendedType::InputObject(object)), Literal::Object(fields)) => {
                fields.iter().map(|(name, value)| self.input(&object.fields[name], value)).sum()
            }
            _ => 0.0,
        }
    }
}

fn weight(directives: &DirectiveList) -> Option<f64> {
    directives.get("cost").map(|directive| number(directive, "weight"))
}

/// A number that is written as a string.
fn number(directive: &Directive, argument: &str) -> f64 {
    let text = directive.specified_argument_by_name(argument).and_then(|value| value.as_str());
    text.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{directive}: {argument} is no number"))
}

fn texts<'d>(directive: &'d Directive, argument: &str) -> Vec<&'d str> {
    let list = directive.specified_argument_by_name(argument).and_then(|value| value.as_list());
    list.into_iter().flatten().filter_map(|value| value.as_str()).collect()
}

/// What a document costs by the directives.
fn by_directives(schema: &Valid<Schema>, document: &str, variables: &Value) -> f64 {
    let document = ExecutableDocument::parse_and_validate(schema, document, "document.graphql")
        .unwrap_or_else(|fault| panic!("{document}\n{fault}"));
    let operation = document.operations.iter().next().expect("an operation");
    Priced { schema, variables }.operation(operation)
}

/// A validator that lets through whatever the documents here cost.
fn validator() -> RequestValidator {
    let limits = LimitsConfig { cost: u64::MAX, tokens: 1_000_000, aliases: 10_000, ..LimitsConfig::default() };
    crate::support::schema::validator(limits)
}

fn by_validator(validator: &RequestValidator, document: &str, variables: &Value) -> u64 {
    let mut request = Request::new(document).variables(Variables::from_json(variables.clone()));
    validator.check(&mut request).unwrap_or_else(|error| panic!("{document}\n{error:?}")).cost
}

#[expect(clippy::cast_precision_loss, reason = "prices are far below 2^53")]
fn points(cost: u64) -> f64 {
    cost as f64
}

/// Selections made from the schema: whatever is below a field, some levels deep.
struct Selections {
    documents: Documents,
}

impl Selections {
    /// All that a type has below it. What is exempt is selected without what exempts it.
    fn of(&self, ty: &str, levels: usize) -> String {
        let Some(meta) = self.documents.registry.types.get(bare(ty)) else { return String::new() };
        match meta {
            MetaType::Interface { possible_types, .. } => {
                let parts = possible_types.iter().map(|ty| format!("... on {ty} {}", self.of(ty, levels)));
                format!("{{ __typename {} }}", parts.collect::<Vec<_>>().join(" "))
            }
            MetaType::Object { name, fields, .. } => {
                let below = fields.values().map(|field| self.field(name, field, levels));
                format!("{{ __typename {} }}", below.collect::<Vec<_>>().join(" "))
            }
            _ => String::new(),
        }
    }

    fn field(&self, parent: &str, field: &MetaField, levels: usize) -> String {
        let (name, ty) = (&field.name, bare(&field.ty));
        let is_composite = self.documents.registry.types.get(ty).is_some_and(MetaType::is_composite);
        // Types that exclude each other may have fields of one name that can't be merged.
        let alias = format!("{parent}_{name}");
        let needs_arguments = field.args.values().any(|arg| arg.ty.ends_with('!') && arg.default_value.is_none());
        match () {
            () if needs_arguments => String::new(),
            () if !is_composite => String::new(),
            () if ty.ends_with("Connection") => {
                let count = if matches!((parent, name.as_str()), ("Item", "comments" | "subtasks")) {
                    ""
                } else {
                    "totalCount"
                };
                let nodes = bare(&self.documents.registry.types[ty].field_by_name("nodes").expect("nodes").ty);
                let below = match levels.checked_sub(1) {
                    Some(levels) => self.of(nodes, levels),
                    None => "{ __typename }".to_owned(),
                };
                format!(
                    "{alias}: {name}(first: 3) {{ nodes {below} edges {{ cursor node {below} }} pageInfo {{ hasNextPage }} {count} }}"
                )
            }
            () if levels == 0 => format!("{alias}: {name} {{ __typename }}"),
            () => format!("{alias}: {name} {}", self.of(ty, levels - 1)),
        }
    }

    /// A document for a root field, with the least arguments.
    fn document(&self, keyword: &str, field: &MetaField, levels: usize) -> (String, Value) {
        let variables = self.documents.least(field, &|_| json!("itm_00000000000000000000000000"));
        let ty = bare(&field.ty);
        let selection = match ty {
            // Plain nodes alone: see the exemptions.
            "SyncPage" => "{ nodes { id } cursor }".to_owned(),
            _ if ty.ends_with("Connection") => {
                let nodes = bare(&self.documents.registry.types[ty].field_by_name("nodes").expect("nodes").ty);
                format!("{{ nodes {} totalCount pageInfo {{ endCursor }} }}", self.of(nodes, levels))
            }
            _ => self.of(&field.ty, levels),
        };
        (self.documents.document_with(keyword, field, &variables, &selection), variables)
    }
}

#[test]
fn what_the_directives_say_of_a_document_is_its_price() {
    let (schema, validator, selections) = (sdl(), validator(), Selections { documents: Documents::new() });
    let mut compared = 0;
    for (keyword, field) in selections.documents.root_fields() {
        if field.name == "nodes" || field.name.starts_with("itemBulk") {
            continue;
        }
        for levels in 0..3 {
            let (document, variables) = selections.document(keyword, field, levels);
            let (found, expected) =
                (by_directives(&schema, &document, &variables), by_validator(&validator, &document, &variables));
            assert!((found - points(expected)).abs() < 0.01, "{expected}, by the directives {found}: {document}");
            compared += 1;
        }
    }
    assert!(compared > 150, "{compared}");
    // Sizes by `last`, by a variable and by its default; text comparisons; types that exclude each other.
    for (document, variables) in [
        ("{ items(last: 7) { edges { node { id } } } }", json!({})),
        ("query($n: Int) { items(first: $n) { nodes { tags { id } } } }", json!({ "n": 60 })),
        ("query($n: Int) { items(first: $n) { nodes { tags { id } } } }", json!({})),
        ("{ items(filter: { title: { contains: \"x\", startsWith: \"y\" } }) { nodes { id } } }", json!({})),
        (
            "{ node(id: \"itm_00000000000000000000000000\") { id ... on Item { tags { id } } ... on Team { id } } }",
            json!({}),
        ),
        ("{ sync(first: 40) { nodes { ... on Item { id } } } }", json!({})),
        (EXAMPLE, json!({})),
    ] {
        let (found, expected) =
            (by_directives(&schema, document, &variables), by_validator(&validator, document, &variables));
        assert!((found - points(expected)).abs() < 0.01, "{expected}, by the directives {found}: {document}");
    }
    assert_eq!(by_validator(&validator, EXAMPLE, &json!({})), PRICE_OF_EXAMPLE);
}

#[test]
fn where_the_directives_say_something_else_is_known_by_name() {
    let (schema, validator) = (sdl(), validator());
    for (what, document, charged, said) in DEARER_BY_THE_DIRECTIVES.iter().chain(CHEAPER_BY_THE_DIRECTIVES) {
        assert_eq!(by_validator(&validator, document, &json!({})), *charged, "{what}");
        let found = by_directives(&schema, document, &json!({}));
        assert!((found - said).abs() < 0.01, "{what}: {found}");
    }
}

#[test]
fn the_guide_shows_the_example_that_is_checked() {
    let guide = include_str!("../../docs/API.md");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let guide = words(guide);
    assert!(guide.contains(&words(EXAMPLE)), "{EXAMPLE}");
    assert!(guide.contains(&format!("**{PRICE_OF_EXAMPLE}**")));
}

/// What the draft demands of a schema beyond what any schema must be.
#[test]
fn the_directives_are_where_the_draft_allows_them() {
    let schema = sdl();
    let places = |name: &str| {
        let definition = &schema.directive_definitions[name];
        definition.locations.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(places("cost"), "ARGUMENT_DEFINITION ENUM FIELD_DEFINITION INPUT_FIELD_DEFINITION OBJECT SCALAR");
    assert_eq!(places("listSize"), "FIELD_DEFINITION");
    for (name, ty) in &schema.types {
        let fields = match ty {
            ExtendedType::Object(object) => &object.fields,
            ExtendedType::Interface(interface) => &interface.fields,
            _ => continue,
        };
        let is_interface = matches!(ty, ExtendedType::Interface(_));
        for field in fields.values().filter(|_| !ty.is_built_in()) {
            let coordinate = format!("{name}.{}", field.name);
            assert!(!(is_interface && field.directives.has("cost")), "{coordinate}");
            let returned = schema.types.get(field.ty.inner_named_type());
            let Some(list_size) = field.directives.get("listSize") else {
                let is_list = field.ty.is_list() && returned.is_some_and(|ty| ty.is_object() || ty.is_interface());
                let is_of_page = ["nodes", "edges"].contains(&field.name.as_str());
                assert!(!is_list || is_of_page, "{coordinate} is a list without a size");
                continue;
            };
            let sized = texts(list_size, "sizedFields");
            assert!(field.ty.is_list() == sized.is_empty(), "{coordinate}");
            for list in sized {
                let lists = returned.and_then(|ty| ty.as_object()).map(|object| &object.fields);
                // `sync` has no edges.
                assert!(
                    lists.is_some_and(|lists| lists.get(list).is_some_and(|list| list.ty.is_list())),
                    "{coordinate}: {list}"
                );
            }
            let slicing = texts(list_size, "slicingArguments");
            for argument in &slicing {
                let argument = field.argument_by_name(argument).unwrap_or_else(|| panic!("{coordinate}: {argument}"));
                assert_eq!(argument.ty.inner_named_type().as_str(), "Int", "{coordinate}");
                let is_assumed = list_size.specified_argument_by_name("assumedSize").is_some();
                assert!(!(is_assumed && argument.default_value.is_some()), "{coordinate}");
            }
            if !slicing.is_empty() {
                let required = list_size.specified_argument_by_name("requireOneSlicingArgument");
                assert_eq!(required.and_then(|value| value.to_bool()), Some(false), "{coordinate}");
            }
        }
    }
    // Introspection knows them too.
    assert!(schema::registry(false).directives.contains_key("listSize"));
}

/// What a client computes from `/schema.graphql` is what the server says it took.
#[databases]
async fn a_client_knows_the_price_before_it_asks(app: TestApp) {
    let acme = app.company("acme").await;
    app.item(&acme, "an item").await;
    let app = app
        .another_instance(|config| {
            config.limits =
                LimitsConfig { cost: u64::MAX, cost_per_minute: Some(0), aliases: 10_000, ..LimitsConfig::default() };
        })
        .await;
    let text = String::from_utf8(app.get("/schema.graphql").await.body).expect("text");
    let schema = Schema::parse_and_validate(text, "schema.graphql").expect("a valid schema");
    let selections = Selections { documents: Documents::new() };
    let mut documents = vec![(EXAMPLE.to_owned(), json!({}))];
    for (keyword, field) in selections.documents.root_fields() {
        if keyword == "query" && field.name != "nodes" {
            documents.extend((0..2).map(|levels| selections.document(keyword, field, levels)));
        }
    }
    for (document, variables) in documents {
        let expected = by_directives(&schema, &document, &variables).max(1.0);
        let call = app.call(&acme, &acme.owner, &document).vars(variables).header("x-include-cost", "true");
        let answer = call.answer().await;
        let cost = &answer["extensions"]["cost"];
        assert!(
            (cost["requested"].as_f64().unwrap_or_default() - expected).abs() < 0.01,
            "{expected}: {document}: {cost}"
        );
    }
}

#[databases]
async fn the_answer_explains_its_price(app: TestApp) {
    let acme = app.company("acme").await;
    let query = "{ board: items(first: 5) { nodes { id tags { name } people: assignees { id } } totalCount } \
        viewer { user { id } } }";
    let answer = app.call(&acme, &acme.member, query).header("x-include-cost", "true").answer().await;
    let part =
        |path: &str, coordinate: &str, points: u32| json!({ "path": path, "coordinate": coordinate, "points": points });
    assert_eq!(answer["extensions"]["cost"]["requested"], json!(48), "{answer:#}");
    assert_eq!(
        answer["extensions"]["cost"]["breakdown"],
        json!([
            part("board", "Query.items", 46),
            part("board.nodes", "ItemConnection.nodes", 35),
            part("board.nodes.tags", "Item.tags", 15),
            part("board.nodes.people", "Item.assignees", 15),
            part("viewer", "Query.viewer", 2),
            part("viewer.user", "Viewer.user", 1),
        ]),
        "{answer:#}"
    );
    // Ten at most, and none of what costs nothing.
    let query = format!(
        "{{ {} }}",
        (0..20).fold(String::new(), |all, number| format!("{all} i{number}: viewer {{ user {{ id }} }}"))
    );
    let answer = app.call(&acme, &acme.member, &query).header("x-include-cost", "true").answer().await;
    assert_eq!(answer["extensions"]["cost"]["breakdown"].as_array().map(Vec::len), Some(10));
    let answer = app.call(&acme, &acme.member, "{ __typename }").header("x-include-cost", "true").answer().await;
    assert_eq!(answer["extensions"]["cost"]["breakdown"], json!([]));
}
