// A federated graph: what the server's `_service` says, composed with two subgraphs that live here, and a gateway before
// all three. Each line of the input is an operation, with the headers of its caller; a line of the output is its answer.

import readline from 'node:readline';
import { composeServices } from '@theguild/federation-composition';
import { getStitchedSchemaFromSupergraphSdl } from '@graphql-tools/federation';
import { buildSchema, execute, parse } from 'graphql';
import { say } from './client.mjs';

const server = `http://${process.env.ADDRESS}/graphql`;
const link = 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key", "@shareable"])';

/** Names items, and knows nothing else of them. */
const billing = {
  typeDefs: `
    type Query { invoices: [Invoice!]! }
    type Invoice @key(fields: "id") { id: ID! item: Item }
    type Item @key(fields: "id", resolvable: false) { id: ID! }`,
  answers: invoices => ({ invoices }),
};

/** Adds a field to items. */
const stars = {
  typeDefs: `
    type Item @key(fields: "id") { id: ID! stars: Int! }
    type PageInfo @shareable { hasNextPage: Boolean! }
    type Rating { page: PageInfo }`,
  executable: `
    type Query { _entities(representations: [_Any!]!): [_Entity]! }
    scalar _Any union _Entity = Item type Item { id: ID! stars: Int! }`,
  answers: () => ({
    _entities: ({ representations }) => representations.map(({ __typename, id }) => ({ __typename, id, stars: id.length })),
  }),
};

async function sdlOfServer() {
  const body = JSON.stringify({ query: '{ _service { sdl } }' });
  const answer = await fetch(server, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  return (await answer.json()).data._service.sdl;
}

/** Runs what the gateway asks of a subgraph that lives here. */
function executor({ typeDefs, executable, answers }) {
  const schema = buildSchema(executable ?? typeDefs.replaceAll(/@\w+(\([^)]*\))?/g, ''));
  return ({ document, variables, context }) =>
    execute({ schema, document, variableValues: variables, rootValue: answers(context.invoices) });
}

const sdl = await sdlOfServer();
const composed = composeServices([
  { name: 'todo', url: server, typeDefs: parse(sdl) },
  { name: 'billing', typeDefs: parse(link + billing.typeDefs) },
  { name: 'stars', typeDefs: parse(link + stars.typeDefs) },
]);
const errors = composed.errors?.map(error => error.message) ?? [];
say({ composed: { errors, sdl } });

if (composed.supergraphSdl) {
  const local = { BILLING: executor(billing), STARS: executor(stars) };
  const schema = getStitchedSchemaFromSupergraphSdl({
    supergraphSdl: composed.supergraphSdl,
    httpExecutorOpts: { headers: request => request?.context?.headers ?? {} },
    onSubschemaConfig: subschema => (subschema.executor = local[subschema.name] ?? subschema.executor),
  });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { query, headers, invoices } = JSON.parse(line);
    say({ result: await execute({ schema, document: parse(query), contextValue: { headers, invoices } }) });
  }
}
