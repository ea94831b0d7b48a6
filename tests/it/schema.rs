//! What clients can learn from the schema.

use std::collections::HashSet;

use async_graphql::registry::{Deprecation, MetaInputValue, MetaType, Registry};
use todo_platform::api::schema;

/// Why a reason is none: what to use instead, and when the old goes.
fn fault(deprecation: &Deprecation) -> Option<&'static str> {
    if !deprecation.is_deprecated() {
        return None;
    }
    let Some(reason) = deprecation.reason() else { return Some("no reason") };
    let Some((instead, date)) = reason.split_once("Removal after ") else { return Some("no date of removal") };
    let is_date = date.strip_suffix('.').is_some_and(|date| date.parse::<chrono::NaiveDate>().is_ok());
    match () {
        () if !is_date => Some("no date of removal"),
        () if !instead.trim_end().ends_with('.') => Some("nothing to use instead"),
        () => None,
    }
}

#[test]
fn whatever_is_deprecated_says_until_when() {
    let table = [
        (Some("Use `items`. Removal after 2027-06-30."), None),
        (Some("Use `items`. Removal after 2027-06-31."), Some("no date of removal")),
        (Some("Use `items`. Removal after June."), Some("no date of removal")),
        (Some("Use `items`."), Some("no date of removal")),
        (Some("Removal after 2027-06-30."), Some("nothing to use instead")),
        (None, Some("no reason")),
    ];
    for (reason, expected) in table {
        let deprecation = Deprecation::Deprecated { reason: reason.map(str::to_owned) };
        assert_eq!(fault(&deprecation), expected, "{reason:?}");
    }
    let check = |coordinate: String, deprecation: &Deprecation| {
        assert_eq!(fault(deprecation), None, "{coordinate}: {deprecation:?}");
    };
    for (name, ty) in &schema::registry(true).types {
        for field in ty.fields().into_iter().flat_map(|fields| fields.values()) {
            check(format!("{name}.{}", field.name), &field.deprecation);
            for argument in field.args.values() {
                check(format!("{name}.{}({}:)", field.name, argument.name), &argument.deprecation);
            }
        }
        match ty {
            MetaType::InputObject { input_fields, .. } => {
                input_fields.values().for_each(|input| check(format!("{name}.{}", input.name), &input.deprecation));
            }
            MetaType::Enum { enum_values, .. } => {
                enum_values.values().for_each(|value| check(format!("{name}.{}", value.name), &value.deprecation));
            }
            _ => {}
        }
    }
}

/// Characters of one paragraph of a description at most.
const PARAGRAPH: usize = 300;

/// Names of what the specification defines.
const BUILT_IN: [&str; 5] = ["Boolean", "Float", "ID", "Int", "String"];

/// `itemPrefix`, `ITEM_PREFIX` and `The item's prefix.` have the same words.
fn words(text: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if c.is_uppercase() && !before.is_uppercase() {
            spaced.push(' ');
        }
        spaced.push(c);
        before = c;
    }
    spaced.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// What is wrong with the description of `name`, which belongs to `owner`.
fn flaw(owner: &str, name: &str, description: Option<&str>) -> Option<&'static str> {
    let Some(text) = description else { return Some("none") };
    let says_nothing: HashSet<String> = words(owner).into_iter().chain(words("the a an of its this s")).collect();
    let rest = |text: &str| words(text).into_iter().filter(|word| !says_nothing.contains(word)).collect::<Vec<_>>();
    match () {
        () if !text.starts_with(|c: char| c.is_uppercase() || c == '`') => Some("does not begin as a sentence does"),
        () if !text.ends_with('.') => Some("does not end with a full stop"),
        () if rest(text) == rest(name) => Some("repeats the name"),
        () if text.split("\n\n").any(|paragraph| paragraph.chars().count() > PARAGRAPH) => {
            Some("a paragraph is too long")
        }
        () => None,
    }
}

/// Everything that may have a description: its coordinate, whom it belongs to, its name, and its description.
type Described<'r> = (String, &'r str, &'r str, Option<&'r str>);

fn described(registry: &Registry) -> Vec<Described<'_>> {
    fn inputs<'r>(owner: &str, of: &'r str, values: impl Iterator<Item = &'r MetaInputValue>) -> Vec<Described<'r>> {
        let one = |value: &'r MetaInputValue| {
            (format!("{owner}{}", value.name), of, value.name.as_str(), value.description.as_deref())
        };
        values.map(one).collect()
    }
    let mut all: Vec<Described<'_>> = Vec::new();
    for (name, directive) in
        registry.directives.iter().filter(|(name, _)| ["access", "inPlan", "requires"].contains(&name.as_str()))
    {
        all.push((format!("@{name}"), "", name, directive.description.as_deref()));
        all.extend(inputs(&format!("@{name}."), name, directive.args.values()));
    }
    for (name, ty) in
        registry.types.iter().filter(|(name, _)| !name.starts_with("__") && !BUILT_IN.contains(&name.as_str()))
    {
        let description = match ty {
            MetaType::Scalar { description, .. }
            | MetaType::Object { description, .. }
            | MetaType::Interface { description, .. }
            | MetaType::Union { description, .. }
            | MetaType::Enum { description, .. }
            | MetaType::InputObject { description, .. } => description,
        };
        all.push((name.clone(), "", name, description.as_deref()));
        for field in ty.fields().into_iter().flat_map(|fields| fields.values()) {
            let coordinate = format!("{name}.{}", field.name);
            all.extend(inputs(&format!("{coordinate}."), &field.name, field.args.values()));
            all.push((coordinate, name, &field.name, field.description.as_deref()));
        }
        match ty {
            MetaType::InputObject { input_fields, .. } => {
                all.extend(inputs(&format!("{name}."), name, input_fields.values()));
            }
            MetaType::Enum { enum_values, .. } => {
                for value in enum_values.values() {
                    all.push((format!("{name}.{}", value.name), name, &value.name, value.description.as_deref()));
                }
            }
            _ => {}
        }
    }
    all
}

#[test]
fn everything_in_the_schema_has_a_description() {
    let table = [
        ("Tag", "name", Some("What it is called, 1 to 50 characters."), None),
        ("Tag", "name", Some("`#RRGGBB` is no name."), None),
        ("Tag", "name", None, Some("none")),
        ("Tag", "name", Some("what it is called."), Some("does not begin as a sentence does")),
        ("Tag", "name", Some("What it is called"), Some("does not end with a full stop")),
        ("Tag", "name", Some("The name of the tag."), Some("repeats the name")),
        ("Organization", "itemPrefix", Some("The organization's item prefix."), Some("repeats the name")),
        ("Organization", "itemPrefix", Some("Prefix of items."), None),
    ];
    for (owner, name, description, expected) in table {
        assert_eq!(flaw(owner, name, description), expected, "{owner}.{name}: {description:?}");
    }
    let paragraph = format!("{}.", "W".repeat(PARAGRAPH - 1));
    assert_eq!(flaw("", "x", Some(&format!("{paragraph}\n\n{paragraph}"))), None);
    assert_eq!(flaw("", "x", Some(&format!("{paragraph}\n{paragraph}"))), Some("a paragraph is too long"));

    let registry = schema::registry(true);
    let flaws = described(&registry).into_iter().filter_map(|(coordinate, owner, name, description)| {
        flaw(owner, name, description).map(|flaw| format!("{coordinate}: {flaw}"))
    });
    let flaws: Vec<String> = flaws.collect();
    assert!(flaws.is_empty(), "{} descriptions are missing or flawed:\n{}", flaws.len(), flaws.join("\n"));
}

#[test]
fn every_scalar_of_ours_says_where_it_is_specified() {
    for (name, ty) in &schema::registry(true).types {
        let MetaType::Scalar { specified_by_url, .. } = ty else { continue };
        if BUILT_IN.contains(&name.as_str()) {
            continue;
        }
        let url = specified_by_url.as_deref().unwrap_or_default();
        assert!(url.starts_with("https://"), "{name} has no specifiedBy");
    }
}
