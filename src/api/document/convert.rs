//! From apollo-compiler's types to the executor's.

use apollo_compiler::{
    Name as ApolloName, Node, Schema,
    ast::{self, Definition},
    parser::SourceSpan,
};
use async_graphql::{
    Name, Pos, Positioned, Value as ConstValue,
    parser::types::{
        BaseType, Directive, Field, FragmentDefinition, FragmentSpread, InlineFragment, OperationDefinition,
        OperationType, Selection, SelectionSet, Type, TypeCondition, VariableDefinition,
    },
};
use async_graphql_value::{Number, Value};

use super::{Document, Operation, Variable, collect::Memo, text::Text, values};

/// A document that was validated.
pub fn document(document: &ast::Document, schema: &Schema, text: &Text<'_>) -> Document {
    let convert = Convert { schema, text };
    let definitions = &document.definitions;
    let operations = definitions.iter().filter_map(Definition::as_operation_definition);
    let fragments = definitions.iter().filter_map(Definition::as_fragment_definition);
    Document {
        operations: operations.map(|operation| convert.operation(operation)).collect(),
        fragments: fragments.map(|fragment| (name(&fragment.name), convert.fragment(fragment))).collect(),
        tokens: text.len(),
    }
}

struct Convert<'d> {
    schema: &'d Schema,
    text: &'d Text<'d>,
}

impl Convert<'_> {
    fn at(&self, place: Option<SourceSpan>) -> Pos {
        self.text.position(place.map_or(0, |place| place.offset()))
    }

    fn positioned_name(&self, found: &ApolloName) -> Positioned<Name> {
        Positioned::new(name(found), self.at(found.location()))
    }

    fn operation(&self, operation: &Node<ast::OperationDefinition>) -> Operation {
        let position = self.at(operation.location());
        let definition = OperationDefinition {
            ty: match operation.operation_type {
                ast::OperationType::Query => OperationType::Query,
                ast::OperationType::Mutation => OperationType::Mutation,
                ast::OperationType::Subscription => OperationType::Subscription,
            },
            variable_definitions: operation
                .variables
                .iter()
                .map(|variable| self.variable_definition(variable))
                .collect(),
            // The schema has none for operations.
            directives: Vec::new(),
            selection_set: self.selection_set(&operation.selection_set, position),
        };
        Operation {
            name: operation.name.as_ref().map(name),
            definition: Positioned::new(definition, position),
            variables: operation.variables.iter().map(|variable| self.variable(variable)).collect(),
            collected: Memo::default(),
        }
    }

    fn variable(&self, variable: &Node<ast::VariableDefinition>) -> Variable {
        let default = variable.default_value.as_ref().and_then(|value| constant(value));
        Variable {
            name: name(&variable.name),
            ty: (*variable.ty).clone(),
            // It was validated as a literal; a single value is a list of one here as well.
            default: default.map(|value| values::coerce_literal(self.schema, value, &variable.ty)),
            position: self.at(variable.location()),
        }
    }

    fn variable_definition(&self, variable: &Node<ast::VariableDefinition>) -> Positioned<VariableDefinition> {
        let position = self.at(variable.location());
        let definition = VariableDefinition {
            name: self.positioned_name(&variable.name),
            var_type: Positioned::new(type_of(&variable.ty), self.at(variable.ty.location())),
            directives: Vec::new(),
            // What runs has its variables' values, defaults included.
            default_value: None,
        };
        Positioned::new(definition, position)
    }

    fn fragment(&self, fragment: &Node<ast::FragmentDefinition>) -> FragmentDefinition {
        FragmentDefinition {
            type_condition: self.condition(&fragment.type_condition),
            directives: Vec::new(),
            selection_set: self.selection_set(&fragment.selection_set, self.at(fragment.location())),
        }
    }

    fn condition(&self, on: &ApolloName) -> Positioned<TypeCondition> {
        let on = self.positioned_name(on);
        let position = on.pos;
        Positioned::new(TypeCondition { on }, position)
    }

    fn selection_set(&self, selections: &[ast::Selection], position: Pos) -> Positioned<SelectionSet> {
        let items = selections.iter().map(|selection| {
            let position = self.at(selection.location());
            let selection = match selection {
                ast::Selection::Field(field) => {
                    Selection::Field(Positioned::new(self.field(field, position), position))
                }
                ast::Selection::FragmentSpread(spread) => Selection::FragmentSpread(Positioned::new(
                    FragmentSpread {
                        fragment_name: self.positioned_name(&spread.fragment_name),
                        directives: self.directives(&spread.directives),
                    },
                    position,
                )),
                ast::Selection::InlineFragment(inline) => Selection::InlineFragment(Positioned::new(
                    InlineFragment {
                        type_condition: inline.type_condition.as_ref().map(|on| self.condition(on)),
                        directives: self.directives(&inline.directives),
                        selection_set: self.selection_set(&inline.selection_set, position),
                    },
                    position,
                )),
            };
            Positioned::new(selection, position)
        });
        Positioned::new(SelectionSet { items: items.collect() }, position)
    }

    fn field(&self, field: &ast::Field, position: Pos) -> Field {
        Field {
            alias: field.alias.as_ref().map(|alias| self.positioned_name(alias)),
            name: self.positioned_name(&field.name),
            arguments: self.arguments(&field.arguments),
            directives: self.directives(&field.directives),
            selection_set: self.selection_set(&field.selection_set, position),
        }
    }

    fn directives(&self, directives: &ast::DirectiveList) -> Vec<Positioned<Directive>> {
        let converted = directives.iter().map(|directive| {
            let converted = Directive {
                name: self.positioned_name(&directive.name),
                arguments: self.arguments(&directive.arguments),
            };
            Positioned::new(converted, self.at(directive.location()))
        });
        converted.collect()
    }

    fn arguments(&self, arguments: &[Node<ast::Argument>]) -> Vec<(Positioned<Name>, Positioned<Value>)> {
        let converted = arguments.iter().map(|argument| {
            let value = Positioned::new(value(&argument.value), self.at(argument.value.location()));
            (self.positioned_name(&argument.name), value)
        });
        converted.collect()
    }
}

fn name(name: &ApolloName) -> Name {
    Name::new(name.as_str())
}

fn type_of(ty: &ast::Type) -> Type {
    let base = match ty {
        ast::Type::Named(named) | ast::Type::NonNullNamed(named) => BaseType::Named(name(named)),
        ast::Type::List(item) | ast::Type::NonNullList(item) => BaseType::List(Box::new(type_of(item))),
    };
    Type { base, nullable: !ty.is_non_null() }
}

/// A literal without variables; `None` for one with variables in it.
pub fn constant(literal: &ast::Value) -> Option<ConstValue> {
    value(literal).into_const()
}

/// A number that is too large for any type is null here; the rules refuse it.
fn value(literal: &ast::Value) -> Value {
    match literal {
        ast::Value::Null => Value::Null,
        ast::Value::Enum(found) => Value::Enum(name(found)),
        ast::Value::Variable(found) => Value::Variable(name(found)),
        ast::Value::String(text) => Value::String(text.clone()),
        ast::Value::Boolean(flag) => Value::Boolean(*flag),
        ast::Value::Int(number) => number.as_str().parse::<i64>().map(Number::from).map_or_else(
            |_| number.try_to_f64().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number),
            Value::Number,
        ),
        ast::Value::Float(number) => {
            number.try_to_f64().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
        }
        ast::Value::List(items) => Value::List(items.iter().map(|item| value(item)).collect()),
        ast::Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, field)| (name(key), value(field))).collect())
        }
    }
}
