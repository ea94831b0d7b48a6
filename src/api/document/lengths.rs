//! apollo-compiler (1.33) compares the lists in two fields' arguments entry by entry, up to the end of the shorter one:
//! `nodes(ids: ["a"])` and `nodes(ids: ["a", "b"])` would merge. What it validates therefore has each list's length as its
//! first entry; what it says of the values in lists is not told, see `FOUND_BY_RULES`.

use apollo_compiler::{
    Node,
    ast::{Definition, Document, IntValue, Selection, Value},
};

/// The document to be validated; the lists of the other stay as they are.
pub fn with_lengths(document: &Document) -> Document {
    let mut document = document.clone();
    for definition in &mut document.definitions {
        match definition {
            Definition::OperationDefinition(operation) => selections(&mut operation.make_mut().selection_set),
            Definition::FragmentDefinition(fragment) => selections(&mut fragment.make_mut().selection_set),
            _ => {}
        }
    }
    document
}

fn selections(set: &mut [Selection]) {
    for selection in set {
        match selection {
            Selection::Field(field) => {
                let field = field.make_mut();
                for argument in &mut field.arguments {
                    if has_list(&argument.value) {
                        value(argument.make_mut().value.make_mut());
                    }
                }
                selections(&mut field.selection_set);
            }
            Selection::InlineFragment(inline) => selections(&mut inline.make_mut().selection_set),
            Selection::FragmentSpread(_) => {}
        }
    }
}

fn has_list(value: &Value) -> bool {
    match value {
        Value::List(_) => true,
        Value::Object(fields) => fields.iter().any(|(_, value)| has_list(value)),
        _ => false,
    }
}

fn value(within: &mut Value) {
    match within {
        Value::List(items) => {
            items.iter_mut().for_each(|item| value(item.make_mut()));
            let length = i32::try_from(items.len()).unwrap_or(i32::MAX);
            items.insert(0, Node::new(Value::Int(IntValue::from(length))));
        }
        Value::Object(fields) => fields.iter_mut().for_each(|(_, field)| value(field.make_mut())),
        _ => {}
    }
}
