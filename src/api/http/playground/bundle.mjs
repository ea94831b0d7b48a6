// Bundles app.jsx with its packages, and writes their licences; see scripts/refresh-playground.sh.
import * as esbuild from 'esbuild';
import fs from 'node:fs';
import path from 'node:path';

const manifest = dir => JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));

// GraphiQL's stylesheet carries 350 kB of web fonts; the page uses the system's.
const dropFonts = {
  name: 'drop-fonts',
  setup(build) {
    build.onLoad({ filter: /\.css$/ }, ({ path: file }) => ({
      contents: fs.readFileSync(file, 'utf8').replace(/@font-face\s*\{[^}]*\}/g, ''),
      loader: 'css',
    }));
  },
};

const { metafile } = await esbuild.build({
  entryPoints: { playground: 'app.jsx' },
  outdir: 'out',
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  charset: 'utf8',
  jsx: 'automatic',
  legalComments: 'none', // NOTICE.txt has them all
  define: { 'process.env.NODE_ENV': '"production"' },
  external: ['graphql-ws'], // optional in the toolkit, unused
  plugins: [dropFonts],
  metafile: true,
  logLevel: 'warning',
});

// What must not be in the files: code from strings, a module the page lacks, a font, a path.
for (const [file, unwanted] of [
  ['out/playground.js', /\beval\(|new Function\b|\bFunction\("|graphql-ws|importScripts/],
  ['out/playground.css', /@font-face|@import|url\((?!"?data:)/],
]) {
  const text = fs.readFileSync(file, 'utf8');
  const found = text.match(unwanted)?.[0] ?? (text.includes(process.cwd()) ? 'the build path' : null);
  if (found) {
    throw new Error(`${file} contains ${found}`);
  }
}

// The packages of which anything at all ended up in a file.
const used = new Set();
for (const output of Object.values(metafile.outputs)) {
  for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
    const dir = input.match(/^.*node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
    if (dir && bytesInOutput > 0) {
      used.add(dir);
    }
  }
}
const bundled = [...used]
  .map(dir => ({ dir, ...manifest(dir) }))
  .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
bundled.forEach(({ name }, i) => {
  if (i > 0 && name === bundled[i - 1].name) {
    throw new Error(`two versions of ${name} are bundled`);
  }
});

const allowed = new Set(['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', '0BSD', 'Apache-2.0']);
// Some packages name the MIT licence but carry no copy of it: they get this one.
const holders = {
  '@graphiql/plugin-doc-explorer': 'GraphQL Contributors',
  '@graphiql/plugin-history': 'GraphQL Contributors',
  'react-compiler-runtime': 'Meta Platforms, Inc. and affiliates.',
  'react-remove-scroll-bar': 'Anton Korzunov',
  'toggle-selection': 'sudodoki and Aleksej Shvajka',
};
const mit = fs
  .readFileSync('node_modules/react/LICENSE', 'utf8')
  .replace(/^MIT License\s+Copyright[^\n]*\n/, '');
const byText = new Map();
for (const { dir, name, version, license } of bundled) {
  if (!allowed.has(license)) {
    throw new Error(`${name} ${version} has the licence ${license}: decide whether to ship it`);
  }
  const file = fs.readdirSync(dir).find(entry => /^licen[cs]e/i.test(entry));
  if (!file && !(license === 'MIT' && holders[name])) {
    throw new Error(`${name} ${version} carries no licence text`);
  }
  const text = file
    ? fs.readFileSync(path.join(dir, file), 'utf8').replace(/\r/g, '').trim()
    : `MIT License\n\nCopyright (c) ${holders[name]}\n${mit.trimEnd()}`;
  if (!byText.has(text)) {
    byText.set(text, { text, license, packages: [] });
  }
  byText.get(text).packages.push(`${name} ${version}`);
}

const rule = '-'.repeat(72);
const notice = [
  'playground.js and playground.css contain the packages below, each under its licence.',
];
for (const { text, license, packages } of byText.values()) {
  notice.push(`${rule}\n${packages.join('\n')}\n\nLicence: ${license}`);
  notice.push(text);
}
fs.writeFileSync('out/NOTICE.txt', `${notice.join('\n\n')}\n`);

const direct = Object.entries(manifest('.').dependencies);
const list = rows => rows.map(([name, version]) => `${name} ${version}`).join('\n');
const indirect = bundled
  .filter(({ name }) => !direct.some(([other]) => other === name))
  .map(({ name, version }) => [name, version]);
fs.writeFileSync(
  'out/VERSIONS.txt',
  `# Chosen in src/api/http/playground/package.json\n${list(direct)}\n\n` +
    `# Bundled with\nesbuild ${esbuild.version}\n\n` +
    `# Bundled because those need them\n${list(indirect)}\n`,
);
