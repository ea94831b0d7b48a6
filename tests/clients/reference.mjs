// What graphql-js says of documents made from a schema: cases for tests/it/reference.rs, one a line.
//
//   node reference.mjs SCHEMA SEED COUNT          cases to stdout
//   node reference.mjs SCHEMA SEED COUNT --table  what they are, as a table
//
// Half of the documents are made to be valid and half are broken in one place (reference-documents.mjs). Either way the
// verdict is graphql-js's alone. A case:
//
//   { document, operationName, variables, made,            what is sent; which breaker, or "valid"
//     phase,                                               where it is refused: parse, validate, variables, collect; or null
//     rules, messages, lines,                              by which rules, with what words, on which lines
//     coerced, shape }                                     the variables' values, and what would run
import { readFileSync } from 'node:fs';
// By their files: CollectFields, as graphql-js's executor has it, is not exported, and all must be of one build.
import * as graphql from './node_modules/graphql-reference/index.mjs';
import { collectFields, collectSubfields } from './node_modules/graphql-reference/execution/collectFields.mjs';
import { getArgumentValues } from './node_modules/graphql-reference/execution/values.mjs';
import { broken, generator, scalarValues } from './reference-documents.mjs';

const [path, seed, count, form] = process.argv.slice(2);
const schema = graphql.buildSchema(readFileSync(path, 'utf8'));
for (const type of Object.values(schema.getTypeMap())) {
  const values = scalarValues[type.name];
  if (!values) continue;
  // Custom scalars are the server's own: a pool of texts that are values, and all others are none.
  const coerce = (value) => {
    if (values.any || values.accepts?.(value) || values.good.includes(value)) return value;
    throw new graphql.GraphQLError(`${type.name} does not take ${JSON.stringify(value)}`);
  };
  type.coerceInputValue = coerce;
  type.coerceInputLiteral = (node) => {
    // A name without quotes is no text.
    if (node.kind === 'EnumValue' && !values.any) throw new graphql.GraphQLError(`${type.name} does not take a name`);
    return coerce(graphql.valueFromASTUntyped(node));
  };
  type.parseValue = coerce;
  type.parseLiteral = type.coerceInputLiteral;
}

// The depth of an introspection is no matter of the specification; the server has its own bound.
const rules = graphql.specifiedRules.filter((rule) => rule !== graphql.MaxIntrospectionDepthRule);
const SHAPE_LIMIT = 2000;

/** An argument as it is written, with its variables' values: unset ones left out. */
function written(node, variables) {
  switch (node.kind) {
    case 'Variable':
      return variables[node.name.value];
    case 'NullValue':
      return null;
    case 'ListValue':
      return node.values.map((value) => written(value, variables) ?? null);
    case 'ObjectValue':
      return Object.fromEntries(
        node.fields
          .map((field) => [field.name.value, written(field.value, variables)])
          .filter(([, value]) => value !== undefined),
      );
    case 'IntValue':
    case 'FloatValue':
      return Number(node.value);
    default:
      return node.value;
  }
}

/** What would run: keys in order, with the fields of each possible type. */
function shapeOf(document, operation, variableValues) {
  const fragments = Object.create(null);
  for (const definition of document.definitions) {
    if (definition.kind === 'FragmentDefinition') fragments[definition.name.value] = { definition };
  }
  let left = SHAPE_LIMIT;
  const entries = (type, grouped) =>
    [...grouped].map(([key, details]) => {
      left -= 1;
      if (left < 0) throw new RangeError('too large a shape');
      const node = details[0].node;
      const definition = schema.getField(type, node.name.value);
      // Throws where an argument can't have its value.
      getArgumentValues(definition, node, variableValues);
      const args = Object.fromEntries(
        (node.arguments ?? [])
          .map((argument) => [argument.name.value, written(argument.value, variableValues.coerced)])
          .filter(([, value]) => value !== undefined),
      );
      const entry = { key, name: node.name.value, arguments: args };
      const named = graphql.getNamedType(definition.type);
      if (!graphql.isCompositeType(named)) return entry;
      const possible = graphql.isAbstractType(named) ? schema.getPossibleTypes(named) : [named];
      entry.types = Object.fromEntries(
        possible.map((object) => {
          const below = collectSubfields(schema, fragments, variableValues, object, details, false);
          return [object.name, entries(object, below.groupedFieldSet)];
        }),
      );
      return entry;
    });
  const root = schema.getRootType(operation.operation);
  const { groupedFieldSet } = collectFields(schema, fragments, variableValues, root, operation.selectionSet, false);
  return entries(root, groupedFieldSet);
}

/** The rules by themselves, so that it is known which one speaks. */
function verdict({ document: text, operationName, variables }) {
  const refused = (phase, errors, rules = []) => ({
    phase,
    rules,
    messages: errors.slice(0, 5).map((error) => error.message),
    lines: errors.flatMap((error) => error.locations ?? []).map((at) => [at.line, at.column]),
  });
  let document;
  try {
    // Two spellings of one text are one value; graphql-js compares the spelling.
    document = graphql.visit(graphql.parse(text), { StringValue: (node) => ({ ...node, block: false }) });
  } catch (error) {
    return refused('parse', [error]);
  }
  // graphql-js lets an empty selection pass, which the grammar has not.
  let isEmpty = false;
  graphql.visit(document, { SelectionSet: (node) => void (isEmpty ||= node.selections.length === 0) });
  if (isEmpty) return refused('parse', [new graphql.GraphQLError('an empty selection')]);
  const errors = graphql.validate(schema, document, rules, { maxErrors: 20 });
  if (errors.length > 0) {
    const speaks = (rule) => graphql.validate(schema, document, [rule]).length > 0;
    return refused('validate', errors, rules.filter(speaks).map((rule) => rule.name));
  }
  const operations = document.definitions.filter((definition) => definition.kind === 'OperationDefinition');
  const operation = operations.find((one) => !operationName || one.name?.value === operationName);
  const values = graphql.getVariableValues(schema, operation.variableDefinitions ?? [], variables);
  if (values.errors) return refused('variables', values.errors);
  try {
    const shape = shapeOf(document, operation, values.variableValues);
    return { phase: null, rules: [], coerced: values.variableValues.coerced, shape };
  } catch (error) {
    if (error instanceof RangeError) return { phase: null, rules: [], coerced: values.variableValues.coerced, shape: null };
    return refused('collect', [error]);
  }
}

const cases = [];
for (let number = 0; number < Number(count); number += 1) {
  const made = generator(graphql, schema, Number(seed) * 1_000_003 + number);
  const request = number % 2 === 0 ? made.valid() : broken(graphql, schema, made);
  const found = { id: number, ...request, ...verdict(request) };
  if (form === '--table') cases.push(found);
  else process.stdout.write(`${JSON.stringify(found)}\n`);
}

if (form === '--table') {
  const tally = (key) => {
    const counts = new Map();
    for (const one of cases) for (const value of key(one)) counts.set(value, (counts.get(value) ?? 0) + 1);
    for (const [value, times] of [...counts].sort((a, b) => b[1] - a[1])) console.log(String(times).padStart(7), value);
  };
  console.log('by phase');
  tally((one) => [one.phase ?? 'runs']);
  console.log('by rule');
  tally((one) => one.rules);
  console.log('made');
  tally((one) => [one.made]);
  const merged = cases.filter((one) => one.shape && one.made === 'valid');
  console.log(`${merged.length} shapes, ${cases.filter((one) => one.shape === null).length} too large`);
}
