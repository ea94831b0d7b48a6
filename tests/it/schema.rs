//! What clients can learn from the schema.

use async_graphql::registry::{Deprecation, MetaType};
use todo_platform::graphql::schema;

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
    for (name, ty) in &schema::registry().types {
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
