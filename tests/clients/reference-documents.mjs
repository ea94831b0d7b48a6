// Random documents from a schema: valid ones, and ones that are broken in one place. Deterministic by their seed.

/** Texts that are values of the server's own scalars, and some that are none. */
export const scalarValues = {
  DateTime: { good: ['2026-01-31T09:30:00Z', '2026-02-28T23:59:59.123+02:00'], bad: ['tomorrow', '2026-02-30T00:00:00Z', 5] },
  DateTimeOrDuration: { good: ['2026-01-31T09:30:00Z', '-P7D', 'PT1H'], bad: ['next week', 'P', 7] },
  Date: { good: ['2026-01-31', '2024-02-29'], bad: ['2026-02-29', '31.1.2026', true] },
  Cursor: { good: ['x', 'AZytxpqAcZGD'], accepts: (value) => typeof value === 'string', bad: [5, true, ['x']] },
  Markdown: { good: ['*yes*', ''], accepts: (value) => typeof value === 'string', bad: [5, { a: 1 }] },
  Color: { good: ['#ff0000'], accepts: (value) => typeof value === 'string', bad: [16711680, false] },
  Url: { good: ['https://example.com/x'], accepts: (value) => typeof value === 'string', bad: [1, []] },
  BigInt: { good: ['5', '9007199254740993', 7], bad: ['5.5', 'many', 1.5, true] },
  JSON: { good: [{ a: [1, null, 'x'] }, 5, 'text'], any: true, bad: [] },
};

const TEXTS = ['x', 'two words', '', '😀', 'שלום', '👩‍👩‍👧', 'مرحبا', 'a"b\\c', 'line\nbreak', 'é́', '日本語', '\u0007'];

/** A small generator (mulberry32): the same numbers for the same seed. */
function random(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, chance: (p) => next() < p, pick: (list) => list[below(list.length)] };
}

/** A string literal, in one of the ways in which it can be written. */
function literalOf(text, rng) {
  if (rng.chance(0.2) && !/[\u0000-\u0008\u000b-\u001f]/.test(text) && !/^\s|\s$|\n/.test(text) && !/["\\]$/.test(text)) {
    return `"""${text.replaceAll('"""', '\\"""')}"""`;
  }
  const escaped = [...text].map((character) => {
    const code = character.codePointAt(0);
    if (character === '"' || character === '\\') return `\\${character}`;
    if (code < 0x20) return `\\u${code.toString(16).padStart(4, '0')}`;
    if (code > 0x7f && rng.chance(0.5)) {
      if (rng.chance(0.5)) return `\\u{${code.toString(16).toUpperCase()}}`;
      return [...character.split('')].map((unit) => `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`).join('');
    }
    return character;
  });
  return `"${escaped.join('')}"`;
}

export function generator(graphql, schema, seed) {
  const rng = random(seed);
  const types = schema.getTypeMap();
  const objects = Object.values(types).filter((type) => graphql.isCompositeType(type) && !type.name.startsWith('__'));
  const isFilter = (type) => graphql.getNamedType(type).name.endsWith('Filter');

  /** A value of an input type as JSON; `undefined`: left out. */
  function jsonOf(type, depth = 0) {
    if (graphql.isNonNullType(type)) {
      const value = jsonOf(type.ofType, depth);
      return value === null || value === undefined ? jsonOf(type, depth + 1) : value;
    }
    if (rng.chance(0.06) && !isFilter(type) && depth < 6) return null;
    if (graphql.isListType(type)) {
      if (rng.chance(0.2)) return jsonOf(type.ofType, depth + 1);
      return Array.from({ length: rng.below(3) }, () => jsonOf(type.ofType, depth + 1));
    }
    return namedJson(type, depth);
  }

  function namedJson(type, depth) {
    if (graphql.isEnumType(type)) return rng.pick(type.getValues()).name;
    if (graphql.isInputObjectType(type)) {
      const fields = Object.values(type.getFields());
      if (type.isOneOf) {
        const field = rng.pick(fields);
        return { [field.name]: jsonOf(new graphql.GraphQLNonNull(graphql.getNullableType(field.type)), depth + 1) };
      }
      const value = {};
      for (const field of fields) {
        if (!graphql.isRequiredInputField(field) && !rng.chance(depth > 2 ? 0.05 : 0.3)) continue;
        const inside = jsonOf(field.type, depth + 1);
        if (inside !== undefined && !(inside === null && type.name.endsWith('Filter'))) value[field.name] = inside;
      }
      return value;
    }
    switch (type.name) {
      case 'Int':
        return rng.pick([0, 1, 5, 50, -1, 2147483647]);
      case 'Float':
        return rng.pick([0, 1.5, 1e10, -3]);
      case 'Boolean':
        return rng.chance(0.5);
      case 'ID':
        return rng.pick(['x', 'itm_01', 7]);
      case 'String':
        return rng.pick(TEXTS);
      default:
        return rng.pick(scalarValues[type.name].good);
    }
  }

  /** JSON as a literal of a type. */
  function literal(value, type) {
    if (graphql.isNonNullType(type)) return literal(value, type.ofType);
    if (value === null) return 'null';
    if (graphql.isListType(type)) {
      if (!Array.isArray(value)) return literal(value, type.ofType);
      return `[${value.map((item) => literal(item, type.ofType)).join(rng.pick([', ', ' ']))}]`;
    }
    if (graphql.isEnumType(type)) return value;
    if (graphql.isInputObjectType(type)) {
      const fields = type.getFields();
      return `{${Object.entries(value).map(([name, inside]) => `${name}: ${literal(inside, fields[name].type)}`).join(', ')}}`;
    }
    if (type.name === 'JSON') return untyped(value);
    return typeof value === 'string' ? literalOf(value, rng) : String(value);
  }

  function untyped(value) {
    if (Array.isArray(value)) return `[${value.map(untyped).join(' ')}]`;
    if (value && typeof value === 'object') return `{${Object.entries(value).map(([name, inside]) => `${name}: ${untyped(inside)}`).join(' ')}}`;
    return typeof value === 'string' ? literalOf(value, rng) : String(value);
  }

  function document() {
    const variables = new Map();
    const fragments = [];
    let budget = 12 + rng.below(20);
    let aliases = 0;

    /** A variable of a type that fits a place, as a literal. */
    function variable(place, hasDefault) {
      let type = place;
      let fallback;
      if (graphql.isNonNullType(place) && rng.chance(0.25)) {
        // A default makes up for null; so does the place's own.
        type = place.ofType;
        if (!hasDefault || rng.chance(0.5)) fallback = jsonOf(place);
      } else if (!graphql.isNonNullType(place) && rng.chance(0.4)) {
        type = new graphql.GraphQLNonNull(place);
        if (rng.chance(0.3)) fallback = jsonOf(type);
      } else if (rng.chance(0.3)) {
        fallback = jsonOf(place);
      }
      const same = [...variables.values()].filter((one) => String(one.type) === String(type) && one.fallback === fallback);
      if (same.length > 0 && rng.chance(0.5)) return `$${rng.pick(same).name}`;
      const name = `v${variables.size}`;
      const isRequired = graphql.isNonNullType(type) && fallback === undefined;
      const mayBeUnset = !isRequired && !isFilter(place);
      let value;
      if (!mayBeUnset || rng.chance(0.6)) value = jsonOf(type);
      if (value === null && graphql.isNonNullType(place) && rng.chance(0.8)) value = jsonOf(place);
      variables.set(name, { name, type, fallback, value });
      return `$${name}`;
    }

    /** A value for a place, as a literal that may have variables in it. */
    function given(type, hasDefault, inFilter) {
      if (rng.chance(0.25) && !inFilter) return variable(type, hasDefault);
      const bare = graphql.getNullableType(type);
      if (graphql.isInputObjectType(bare) && !bare.isOneOf && rng.chance(0.7)) {
        const filter = inFilter || isFilter(bare);
        const fields = Object.values(bare.getFields()).filter((field) => graphql.isRequiredInputField(field) || rng.chance(0.25));
        return `{${fields
          .map((field) => {
            const nested = graphql.isInputObjectType(graphql.getNamedType(field.type));
            const text = nested ? literal(jsonOf(new graphql.GraphQLNonNull(graphql.getNullableType(field.type)), 2), field.type) : given(filter ? new graphql.GraphQLNonNull(graphql.getNullableType(field.type)) : field.type, field.defaultValue !== undefined || field.default !== undefined, filter);
            return `${field.name}: ${text}`;
          })
          .join(', ')}}`;
      }
      if (graphql.isListType(bare) && rng.chance(0.3) && !inFilter) {
        return `[${Array.from({ length: 1 + rng.below(2) }, () => given(bare.ofType, false, inFilter)).join(', ')}]`;
      }
      return literal(jsonOf(type), type);
    }

    function argumentsOf(field) {
      return field.args
        .filter((argument) => graphql.isRequiredArgument(argument) || rng.chance(0.3))
        .map((argument) => [argument.name, given(argument.type, argument.defaultValue !== undefined || argument.default !== undefined, false)]);
    }

    function directives() {
      if (!rng.chance(0.08)) return '';
      const bool = new graphql.GraphQLNonNull(schema.getType('Boolean'));
      return ` @${rng.pick(['skip', 'include'])}(if: ${rng.chance(0.5) ? variable(bool, false) : rng.chance(0.5)})`;
    }

    function printed(field) {
      const args = field.args.length > 0 ? `(${field.args.map(([name, value]) => `${name}: ${value}`).join(rng.pick([', ', ' ', ',']))})` : '';
      return `${field.alias ? `${field.alias}: ` : ''}${field.name}${args}${field.directives}${field.below === null ? '' : ` ${field.below}`}`;
    }

    function selection(type, depth) {
      const parts = [];
      const chosen = [];
      const fields = graphql.isUnionType(type) ? [] : Object.values(type.getFields());
      const leaves = fields.filter((field) => !graphql.isCompositeType(graphql.getNamedType(field.type)));
      for (let number = 1 + rng.below(4); number > 0; number -= 1) {
        budget -= 1;
        if (fields.length === 0 || rng.chance(0.1)) {
          parts.push('__typename');
          continue;
        }
        const composite = fields.filter((field) => !leaves.includes(field));
        const wantsLeaf = depth > 5 || budget < 0 || composite.length === 0 || (leaves.length > 0 && rng.chance(0.5));
        if (wantsLeaf && leaves.length === 0) {
          parts.push('__typename');
          continue;
        }
        const definition = rng.pick(wantsLeaf ? leaves : composite);
        const named = graphql.getNamedType(definition.type);
        const field = {
          alias: rng.chance(0.25) ? `a${(aliases += 1)}` : null,
          name: definition.name,
          args: argumentsOf(definition),
          directives: directives(),
          below: graphql.isCompositeType(named) ? selection(named, depth + 1) : null,
        };
        chosen.push([field, named]);
        parts.push(printed(field));
      }
      if (rng.chance(0.25) && chosen.length > 0) {
        // The same again, with more below it: the two are one.
        const [field, named] = rng.pick(chosen);
        const args = [...field.args].reverse();
        const below = field.below === null ? null : selection(named, depth + 2);
        const again = printed({ ...field, args, below, directives: directives() });
        parts.push(rng.chance(0.5) ? again : `...${directives()} { ${again} }`);
      }
      const possible = graphql.isAbstractType(type) ? schema.getPossibleTypes(type) : [];
      if (possible.length > 0 && depth < 6) {
        for (let number = rng.below(3); number > 0; number -= 1) {
          const on = rng.pick(possible);
          parts.push(`... on ${on.name}${directives()} ${selection(on, depth + 1)}`);
        }
      }
      if (rng.chance(0.15) && depth < 6) {
        const interfaces = graphql.isObjectType(type) ? type.getInterfaces() : [];
        const on = rng.pick([type, type, ...interfaces, ...possible]);
        const known = fragments.filter((fragment) => fragment.on === on.name);
        if (known.length > 0 && rng.chance(0.5)) {
          parts.push(`...${rng.pick(known).name}${directives()}`);
        } else {
          const body = selection(on, depth + 1);
          const name = `F${fragments.length}`;
          fragments.push({ name, on: on.name, body });
          parts.push(`...${name}${directives()}`);
        }
      }
      return `{ ${parts.join(rng.pick([' ', ', ', '\n  ']))} }`;
    }

    const kind = rng.pick(['query', 'query', 'query', 'query', 'query', 'query', 'mutation', 'mutation', 'subscription']);
    const root = schema.getRootType(kind);
    let body;
    if (kind === 'subscription') {
      const definition = rng.pick(Object.values(root.getFields()));
      const field = { alias: null, name: definition.name, args: argumentsOf(definition), directives: '' };
      const once = () => printed({ ...field, below: selection(graphql.getNamedType(definition.type), 1) });
      body = rng.pick([() => `{ ${once()} }`, () => `{ ${once()} ${once()} }`, () => `{ ... on ${root.name} { ${once()} } }`])();
    } else {
      body = selection(root, 0);
    }
    if (kind === 'query' && rng.chance(0.1)) {
      body = `{ __schema { queryType { name } types { kind name } } ${body.slice(1)}`;
    }
    const name = rng.chance(0.5) ? 'Q' : '';
    const described = () => (name && rng.chance(0.15) ? `${literalOf('what it is', rng)} ` : '');
    const declared = [...variables.values()].map(
      (one) => `${rng.chance(0.05) ? '"a variable" ' : ''}$${one.name}: ${one.type}${one.fallback === undefined ? '' : ` = ${literal(one.fallback, one.type)}`}`,
    );
    const head = kind === 'query' && !name && declared.length === 0 && rng.chance(0.7) ? '' : `${kind} ${name}${declared.length > 0 ? `(${declared.join(', ')})` : ''} `;
    const parts = [`${head ? described() : ''}${head}${body}`];
    for (const fragment of fragments) {
      parts.push(`${rng.chance(0.05) ? '"""a fragment""" ' : ''}fragment ${fragment.name} on ${fragment.on} ${fragment.body}`);
    }
    if (name && rng.chance(0.1)) parts.push('query Other { __typename }');
    if (rng.chance(0.3)) parts.reverse();
    let text = parts.join(rng.pick(['\n', '\r\n', ' # a comment {\n']));
    if (rng.chance(0.05)) text = `\ufeff${text}`;
    const values = Object.fromEntries([...variables.values()].filter((one) => one.value !== undefined).map((one) => [one.name, one.value]));
    if (rng.chance(0.1)) values.undeclared = 1;
    return { document: text, operationName: name || null, variables: values, made: 'valid' };
  }

  return { rng, objects, types, valid: document, jsonOf, literal };
}

/** A document that is broken in one place, or in none that matters: graphql-js decides. */
export function broken(graphql, schema, made) {
  const { rng } = made;
  const request = made.valid();
  const kinds = ['text', 'variables', 'tree', 'tree', 'tree', 'tree', 'tree'];
  const kind = rng.pick(kinds);
  if (kind === 'text') return { ...request, document: brokenText(request.document, rng), made: 'text' };
  if (kind === 'variables' && Object.keys(request.variables).length > 0) {
    const variables = structuredClone(request.variables);
    const name = rng.pick(Object.keys(variables));
    variables[name] = brokenJson(variables[name], rng);
    if (variables[name] === undefined) delete variables[name];
    return { ...request, variables, made: 'variables' };
  }
  const tree = structuredClone(graphql.parse(request.document, { noLocation: true }));
  // Some speak for rules that little else breaks.
  const rare = ['otherType', 'otherVariableType', 'directive', 'directive', 'directive', 'secondSubscription', 'twoInputFields', 'twoFragments', 'twoVariables', 'enumAsString', 'unknownType', 'scalarFragment', 'deepIntrospection'];
  const names = rng.chance(0.3) ? rare : Object.keys(treeBreakers);
  for (let tries = 0; tries < 30; tries += 1) {
    const name = rng.pick(names);
    if (treeBreakers[name](tree, { ...made, graphql, schema })) {
      return { ...request, document: graphql.print(tree), made: name };
    }
  }
  return request;
}

function brokenText(text, rng) {
  const at = rng.below(text.length);
  return rng.pick([
    () => text.slice(0, at) + text.slice(at + 1),
    () => text.slice(0, at),
    () => text.slice(0, at) + rng.pick(['{', '}', '(', ')', '"', '"""', '$', '@', '!', '...', '..', '&', '\\', '%', '\u0000', '1a', '.5', '01', '# x\n', 'é', '[', ']', ':', '=', '|', ' on ']) + text.slice(at),
    () => text.replace('"', '"\\q'),
    () => text.replace('"', '"\\uD83D'),
    () => text.replace('"', '"\\u{110000}'),
    () => text.replace('"', '"\\u{}'),
    () => text.replace('"', '"\\uDE00\\uD83D'),
    () => text.replace('{', '{}'),
    () => text.replace('(', '( )('),
    () => `${text} }`,
    () => `${text} query`,
    () => '',
    () => '# nothing',
    () => text.replace(': ', ': $x: '),
    () => text.replace(/= \S+/, '= $other'),
  ])();
}

function brokenJson(value, rng, depth = 0) {
  const others = [null, 5, -1.5, 1e20, 3000000000, 'nonsense', '', true, [], {}, [null], [[1]], { nonsense: 1 }, undefined];
  if (value && typeof value === 'object' && depth < 4 && rng.chance(0.7)) {
    const keys = Object.keys(value);
    if (keys.length > 0) {
      const key = rng.pick(keys);
      const inside = brokenJson(value[key], rng, depth + 1);
      if (Array.isArray(value)) value[key] = inside ?? null;
      else if (inside === undefined) delete value[key];
      else value[key] = inside;
      if (!Array.isArray(value) && rng.chance(0.1)) value.nonsense = 1;
      return value;
    }
  }
  return rng.pick(others);
}

/** All nodes of some kinds, with where they hang. */
function nodes(tree, ...kinds) {
  const found = [];
  const walk = (node, parent, key, list) => {
    if (Array.isArray(node)) node.forEach((one) => walk(one, parent, key, node));
    else if (node && typeof node === 'object') {
      if (kinds.includes(node.kind)) found.push({ node, parent, key, list });
      for (const [name, inside] of Object.entries(node)) walk(inside, node, name, null);
    }
  };
  walk(tree, null, null, null);
  return found;
}

const remove = ({ node, parent, key, list }) => {
  if (list) list.splice(list.indexOf(node), 1);
  else delete parent[key];
};

/** Breaks something at one of the nodes; false where there is none. */
const at = (kinds, change) => (tree, tools) => {
  const found = nodes(tree, ...kinds);
  if (found.length === 0) return false;
  return change(tools.rng.pick(found), tools, tree) !== false;
};

const named = (value) => ({ kind: 'Name', value });
const VALUES = ['IntValue', 'FloatValue', 'StringValue', 'BooleanValue', 'NullValue', 'EnumValue', 'ListValue', 'ObjectValue'];
const value = (graphql, rng) => graphql.parseValue(rng.pick(['5', '5.5', '3000000000', '"text"', 'true', 'null', 'NONSENSE', '[]', '[1]', '{}', '{a: 1}', '"DONE"', 'DONE', '1e400']), { noLocation: true });

const treeBreakers = {
  renameField: at(['Field'], ({ node }, { rng }) => void (node.name = named(rng.pick(['nonsense', 'id', 'title', 'name', `${node.name.value}s`])))),
  fieldOfAnother: at(['Field'], ({ node }, { rng, objects }) => {
    const type = rng.pick(objects);
    const names = type.getFields ? Object.keys(type.getFields()) : ['x'];
    node.name = named(rng.pick(names));
  }),
  noSelection: at(['Field'], ({ node }) => (node.selectionSet?.selections.length ? void delete node.selectionSet : false)),
  selectionOnLeaf: at(['Field'], ({ node }) => (node.selectionSet ? false : void (node.selectionSet = { kind: 'SelectionSet', selections: [{ kind: 'Field', name: named('id') }] }))),
  renameArgument: at(['Argument'], ({ node }, { rng }) => void (node.name = named(rng.pick(['nonsense', `${node.name.value}s`])))),
  dropArgument: at(['Argument'], (found) => (found.list ? remove(found) : false)),
  twoArguments: at(['Argument'], ({ node, list }) => (list ? void list.push(structuredClone(node)) : false)),
  changeValue: at(VALUES, ({ node, parent, key, list }, { graphql, rng }) => {
    const other = value(graphql, rng);
    if (list) list[list.indexOf(node)] = other;
    else parent[key] = other;
  }),
  enumAsString: at(['EnumValue'], ({ node }) => void (node.kind = 'StringValue')),
  stringAsEnum: at(['StringValue'], ({ node, key }) => (key === 'description' || !/^[A-Za-z]+$/.test(node.value) ? false : void (node.kind = 'EnumValue'))),
  twoInputFields: at(['ObjectField'], ({ node, list }, { graphql, rng }) => void list.push(rng.chance(0.5) ? structuredClone(node) : { ...node, value: value(graphql, rng) })),
  renameInputField: at(['ObjectField'], ({ node }) => void (node.name = named(`${node.name.value}x`))),
  dropInputField: at(['ObjectField'], remove),
  moreInputFields: at(['ObjectValue'], ({ node }, { graphql, rng }) => void node.fields.push({ kind: 'ObjectField', name: named(rng.pick(['title', 'token', 'invitationId', 'x'])), value: value(graphql, rng) })),
  otherType: at(['InlineFragment', 'FragmentDefinition'], ({ node }, { rng, objects, types }) => void (node.typeCondition = { kind: 'NamedType', name: named(rng.chance(0.7) ? rng.pick(objects).name : rng.pick([...Object.keys(types), 'Nothing'])) })),
  unknownType: at(['InlineFragment', 'FragmentDefinition'], ({ node }) => void (node.typeCondition = { kind: 'NamedType', name: named('Nothing') })),
  scalarFragment: at(['InlineFragment', 'FragmentDefinition'], ({ node }, { rng }) => void (node.typeCondition = { kind: 'NamedType', name: named(rng.pick(['ID', 'ItemStatus', 'ItemFilter', 'JSON'])) })),
  deepIntrospection: (tree, { graphql, rng }) => {
    const operation = nodes(tree, 'OperationDefinition').find(({ node }) => node.operation === 'query');
    if (!operation) return false;
    const levels = 1 + rng.below(5);
    const text = `{ __schema { types { ${'fields { type { '.repeat(levels)} name ${'} }'.repeat(levels)} } } }`;
    operation.node.selectionSet.selections.push(...graphql.parse(text, { noLocation: true }).definitions[0].selectionSet.selections);
    return true;
  },
  unknownFragment: at(['FragmentSpread'], ({ node }) => void (node.name = named('Nothing'))),
  dropFragment: at(['FragmentDefinition'], remove),
  twoFragments: at(['FragmentDefinition'], ({ node, list }) => void list.push(structuredClone(node))),
  unusedFragment: (tree, { rng, objects }) => void tree.definitions.push({ kind: 'FragmentDefinition', name: named('Unused'), typeCondition: { kind: 'NamedType', name: named(rng.pick(objects).name) }, selectionSet: { kind: 'SelectionSet', selections: [{ kind: 'Field', name: named('__typename') }] } }) ?? true,
  cycle: (tree, { rng }) => {
    const fragments = nodes(tree, 'FragmentDefinition');
    if (fragments.length === 0) return false;
    const [one, other] = [rng.pick(fragments).node, rng.pick(fragments).node];
    one.selectionSet.selections.push({ kind: 'FragmentSpread', name: named(other.name.value) });
    return true;
  },
  otherVariable: at(['Variable'], ({ node }, { rng }) => void (node.name = named(rng.pick(['v0', 'v1', 'v2', 'nonsense'])))),
  dropVariable: at(['VariableDefinition'], remove),
  twoVariables: at(['VariableDefinition'], ({ node, list }) => void list.push(structuredClone(node))),
  unusedVariable: at(['OperationDefinition'], ({ node }) => void (node.variableDefinitions = [...(node.variableDefinitions ?? []), { kind: 'VariableDefinition', variable: { kind: 'Variable', name: named('unused') }, type: { kind: 'NamedType', name: named('Int') } }])),
  otherVariableType: at(['VariableDefinition'], ({ node }, { graphql, rng, types }) => {
    const text = graphql.print(node.type);
    const bare = text.replaceAll(/[[\]!]/g, '');
    const changed = rng.pick([bare, `${bare}!`, `[${bare}]`, `[${bare}!]!`, 'Int', 'String!', 'ID', 'Item', 'Nothing', rng.pick(Object.keys(types))]);
    node.type = graphql.parseType(changed, { noLocation: true });
  }),
  otherDefault: at(['VariableDefinition'], ({ node }, { graphql, rng }) => void (node.defaultValue = value(graphql, rng))),
  variableForValue: at(VALUES, ({ node, parent, key, list }) => {
    const variable = { kind: 'Variable', name: named('v0') };
    if (list) list[list.indexOf(node)] = variable;
    else parent[key] = variable;
  }),
  directive: at(['Field', 'InlineFragment', 'FragmentSpread', 'OperationDefinition', 'FragmentDefinition', 'VariableDefinition'], ({ node }, { graphql, rng }) => {
    const text = rng.pick(['@skip(if: true)', '@include(if: false)', '@skip', '@skip(if: "x")', '@skip(iff: true)', '@nonsense', '@deprecated', '@defer', '@stream', '@skip(if: true, if: false)', '@include(if: null)']);
    const directive = graphql.parse(`{ x ${text} }`, { noLocation: true }).definitions[0].selectionSet.selections[0].directives[0];
    node.directives = [...(node.directives ?? []), directive];
  }),
  twoOperations: at(['OperationDefinition'], ({ node, list }) => void list.push(structuredClone(node))),
  anonymousBeside: (tree, { graphql }) => void tree.definitions.push(graphql.parse('{ __typename }', { noLocation: true }).definitions[0]) ?? true,
  typeDefinition: (tree, { graphql }) => void tree.definitions.push(graphql.parse('type Nothing { x: Int }', { noLocation: true }).definitions[0]) ?? true,
  otherOperation: at(['OperationDefinition'], ({ node }, { rng }) => void (node.operation = rng.pick(['query', 'mutation', 'subscription']))),
  conflictingArguments: at(['Field'], ({ node, list }, { graphql, rng }) => {
    const other = structuredClone(node);
    if (other.arguments?.length) rng.pick(other.arguments).value = value(graphql, rng);
    else other.arguments = [{ kind: 'Argument', name: named('first'), value: { kind: 'IntValue', value: '1' } }];
    list.push(other);
  }),
  conflictingAlias: at(['Field'], ({ node, list }, { rng }) => {
    const others = list.filter((one) => one.kind === 'Field' && one !== node);
    if (others.length === 0) return false;
    const other = structuredClone(rng.pick(others));
    other.alias = named((node.alias ?? node.name).value);
    list.push(other);
  }),
  conflictInFragment: at(['Field'], ({ node, list }, { rng, objects }) => {
    const other = structuredClone(node);
    other.name = named(rng.pick(['id', 'name', 'title', 'createdAt', 'version', 'status']));
    other.alias = named((node.alias ?? node.name).value);
    delete other.selectionSet;
    delete other.arguments;
    list.push({ kind: 'InlineFragment', typeCondition: { kind: 'NamedType', name: named(rng.pick(objects).name) }, selectionSet: { kind: 'SelectionSet', selections: [other] } });
  }),
  secondSubscription: (tree, { rng }) => {
    const operation = nodes(tree, 'OperationDefinition').find(({ node }) => node.operation === 'subscription');
    if (!operation) return false;
    const first = operation.node.selectionSet.selections[0];
    const more = rng.pick([
      { kind: 'Field', name: named('__typename') },
      { ...structuredClone(first), alias: named('other') },
      { kind: 'InlineFragment', selectionSet: { kind: 'SelectionSet', selections: [structuredClone(first)] } },
    ]);
    operation.node.selectionSet.selections.push(more);
    return true;
  },
};
