// graphql-js's own validation cases, as data: tests/clients/reference-upstream.json. They are on schemas of their own.
//
//   node reference-upstream.mjs GRAPHQL_JS ESBUILD > reference-upstream.json
//
// GRAPHQL_JS is a scratch copy of github.com/graphql/graphql-js at a7db60beb (16.11.0 and later,
// branch 16.x.x; its test harness is overwritten there), and
// ESBUILD the file lib/main.js of esbuild, for the tests are TypeScript. The tests run with a harness that only records
// their documents; which rules refuse each is then asked of graphql-reference, so the data is that version's verdict.
// Left out, and counted on stderr: rules outside specifiedRules, and what that version can't parse.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as graphql from 'graphql-reference';

const [upstream, esbuild] = process.argv.slice(2).map((path) => resolve(path));
const { buildSync } = await import(esbuild);
const tests = join(upstream, 'src/validation/__tests__');
const scratch = join(upstream, 'recorded');
mkdirSync(scratch, { recursive: true });

const harness = readFileSync(join(tests, 'harness.ts'), 'utf8').split('export function expectValidationErrors')[0];
if (!harness.includes('printSchema')) {
  writeFileSync(
    join(tests, 'harness.ts'),
    `${harness}
import { printSchema } from '../../utilities/printSchema';
const ignored: any = { to: { deep: { equal() {} } }, toDeepEqual() {} };
export function expectValidationErrorsWithSchema(schema: any, rule: any, document: string): any {
  (globalThis as any).record(printSchema(schema), rule.name, document);
  return ignored;
}
export function expectValidationErrors(rule: any, document: string): any {
  return expectValidationErrorsWithSchema(testSchema, rule, document);
}
export function expectSDLValidationErrors(): any {
  return ignored;
}
`,
  );
}
writeFileSync(join(scratch, 'mocha.js'), 'export const { describe, it } = globalThis;');
// Whatever is expected besides, of schemas and of errors, is fulfilled.
writeFileSync(
  join(scratch, 'chai.js'),
  'const any = new Proxy(() => any, { get: () => any, apply: () => any }); export const expect = () => any;',
);

const [schemas, cases, left] = [[], [], { rule: 0, parse: 0, schema: 0, test: 0 }];
const specified = new Set(graphql.specifiedRules.map((rule) => rule.name));
const names = [];
const within = (name, run) => {
  names.push(name);
  run();
  names.pop();
};
globalThis.describe = within;
globalThis.it = (name, run) => {
  try {
    within(name, run);
  } catch {
    names.pop();
    left.test += 1;
  }
};
globalThis.record = (sdl, rule, text) => {
  if (!specified.has(rule)) return void (left.rule += 1);
  let schema;
  try {
    schema = graphql.buildSchema(sdl);
  } catch {
    return void (left.schema += 1);
  }
  let document;
  try {
    document = graphql.parse(text);
  } catch {
    return void (left.parse += 1);
  }
  if (!schemas.includes(sdl)) schemas.push(sdl);
  const rules = graphql.specifiedRules.filter((one) => graphql.validate(schema, document, [one]).length > 0);
  cases.push({
    rule,
    name: names.slice(1).join(': '),
    schema: schemas.indexOf(sdl),
    document: text,
    rules: rules.map((one) => one.name),
  });
};

for (const file of readdirSync(tests).filter((name) => name.endsWith('Rule-test.ts'))) {
  const outfile = join(scratch, `${file}.mjs`);
  const alias = { mocha: join(scratch, 'mocha.js'), chai: join(scratch, 'chai.js') };
  buildSync({ entryPoints: [join(tests, file)], bundle: true, format: 'esm', outfile, alias });
  await import(outfile);
}
const source = 'Cases of github.com/graphql/graphql-js at a7db60beb; verdicts of graphql-js 17.1.0';
const licence = readFileSync(join(upstream, 'LICENSE'), 'utf8');
const lines = cases.map((one) => JSON.stringify(one)).join(',\n');
const head = `"source": ${JSON.stringify(source)},\n"licence": ${JSON.stringify(licence)}`;
process.stdout.write(`{${head},\n"schemas": ${JSON.stringify(schemas)},\n"cases": [\n${lines}\n]}\n`);
console.error({ cases: cases.length, valid: cases.filter((one) => one.rules.length === 0).length, left });
