// The GraphQL playground page. `scripts/refresh-playground.sh` bundles this file with GraphiQL
// into `assets/playground.js`; the server fills in `index.html` and serves both.
import { useEffect, useRef, useState } from 'react';
import { createPortal } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { GraphiQL } from 'graphiql';
import { useEditorContext, useSchemaStore } from '@graphiql/react';
import { setNonce } from 'get-nonce';
import 'graphiql/style.css';

function meta(name) {
  return document.querySelector(`meta[name="${name}"]`)?.getAttribute('content')?.trim() ?? '';
}

function parse(json) {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

const ENDPOINT = meta('graphql-endpoint') || '/graphql';
const DEMO_ACCOUNTS = (() => {
  const accounts = parse(meta('demo-accounts'));
  return Array.isArray(accounts) ? accounts.filter(a => a?.email && a?.password) : [];
})();

// Dialogs lock scrolling with a <style> element; it must carry the page's nonce.
const NONCE = document.querySelector('script[nonce]')?.nonce;
if (NONCE) {
  setNonce(NONCE);
}

const FIRST_QUERY = `# Welcome to the Enterprise Todo Platform.
# ${DEMO_ACCOUNTS.length ? 'Pick a demo account' : 'Sign in'} at the top of the page, then
# press Ctrl+Enter to run this query.
# Ctrl+Space completes field names; the first icon
# on the left opens the schema's documentation.

query Board {
  items(first: 10) {
    nodes {
      identifier
      title
      status
      priority
      assignees { displayName }
      tags { name color }
    }
    pageInfo { hasNextPage endCursor }
  }
}`;

const FIRST_MUTATION = `# What is wrong with the input comes back in
# userErrors; item is null then.

mutation NewItem {
  itemCreate(input: { title: "Try the API" }) {
    item { id identifier title }
    userErrors { code message path }
  }
}`;

const FIRST_SUBSCRIPTION = `# Runs until you stop it; each answer takes
# the place of the last. Create an item in a
# second window and watch it come. An answer
# without events says that all is well.

subscription Live {
  events {
    events {
      type
      subject { id ... on Item { title } }
    }
    cursor
    isLive
  }
}`;

const SIGN_IN = `mutation($email: String!, $password: String!) {
  sessionCreate(input: { email: $email, password: $password }) {
    accessToken
    userErrors { message }
  }
}`;

// ---------------------------------------------------------------- transport

const JSON_TYPES = 'application/graphql-response+json, application/json';
const EVENTS_TYPE = 'text/event-stream';

/** Told when the server turns the caller's token down. */
let onUnauthenticated = () => {};

/** Sends an operation; rejects where there is no answer at all. */
function send(payload, { accept = JSON_TYPES, headers = {}, signal } = {}) {
  return fetch(ENDPOINT, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept, ...headers },
    body: JSON.stringify(payload),
    signal,
  }).catch(() => {
    throw new Error('The server could not be reached.');
  });
}

/** The answer in a response's JSON. */
async function answerOf(response) {
  const text = await response.text();
  const result = parse(text);
  if (result === null || typeof result !== 'object') {
    const status = `HTTP ${response.status} ${response.statusText}`.trim();
    throw new Error(text ? `${status}: ${text.slice(0, 500)}` : status);
  }
  return result;
}

/** The answers in an event stream, as they come, until the signal. */
async function* answersOf(response, signal) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (signal.aborted) {
      return;
    }
    if (done) {
      throw new Error('The connection was lost.');
    }
    text += value;
    const blocks = text.split('\n\n');
    text = blocks.pop();
    for (const block of blocks) {
      if (/^event: complete$/m.test(block)) {
        return;
      }
      yield parse(block.match(/^data: (.*)$/m)?.[1]);
    }
  }
}

function isRefused(result) {
  const errors = Array.isArray(result?.errors) ? result.errors : [];
  return errors.some(error => error?.extensions?.code === 'UNAUTHENTICATED');
}

async function fetcher({ query, variables, operationName }, options = {}) {
  const headers = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    // A bare "Bearer " left in the Headers editor means "no token".
    if (!(isAuthorization(name) && bearerOf(value) === '')) {
      headers[name] = String(value);
    }
  }
  const control = new AbortController();
  const response = await send(
    { query, variables, operationName },
    { accept: `${JSON_TYPES}, ${EVENTS_TYPE}`, headers, signal: control.signal },
  );
  const check = result => {
    if ((response.status === 401 || isRefused(result)) && authorizationOf(headers)) {
      onUnauthenticated();
    }
    return result;
  };
  if (!response.headers.get('content-type')?.startsWith(EVENTS_TYPE)) {
    return check(await answerOf(response));
  }
  const answers = (async function* () {
    for await (const result of answersOf(response, control.signal)) {
      yield check(result);
    }
  })();
  // Called on stop. A generator's own would wait for the next answer.
  answers.return = async () => {
    control.abort();
    return { done: true, value: undefined };
  };
  return answers;
}

async function createSession(email, password) {
  const result = await answerOf(await send({ query: SIGN_IN, variables: { email, password } }));
  const payload = result.data?.sessionCreate;
  const problem = payload?.userErrors?.[0]?.message ?? result.errors?.[0]?.message;
  if (!payload?.accessToken) {
    throw new Error(problem || 'Sign-in failed.');
  }
  return payload.accessToken;
}

// ---------------------------------------------------------------- headers

function isAuthorization(name) {
  return name.toLowerCase() === 'authorization';
}

function bearerOf(value) {
  return String(value).replace(/^\s*bearer\b/i, '').trim();
}

/** The Authorization header of an object of headers, or '' */
function authorizationOf(headers) {
  const found = Object.entries(headers ?? {}).find(([name]) => isAuthorization(name));
  return found ? String(found[1]) : '';
}

/** The headers editor's text as an object; undefined while it is not valid JSON. */
function parseHeaders(text) {
  if (!text?.trim()) {
    return {};
  }
  const headers = parse(text);
  return headers && typeof headers === 'object' && !Array.isArray(headers) ? headers : undefined;
}

/** The headers editor's text with its token replaced, or taken out when `token` is empty. */
function withToken(text, token) {
  const headers = parseHeaders(text);
  if (!headers && text) {
    return token ? formatHeaders({ Authorization: `Bearer ${token}` }) : text;
  }
  const kept = Object.entries(headers).filter(([name]) => !isAuthorization(name));
  return formatHeaders({
    ...(token ? { Authorization: `Bearer ${token}` } : {}),
    ...Object.fromEntries(kept),
  });
}

function formatHeaders(headers) {
  return Object.keys(headers).length ? JSON.stringify(headers, null, 2) : '';
}

// ---------------------------------------------------------------- storage

/** Browser storage kept apart per endpoint. The access token stays in the Headers editor of the
 *  tab in use: copies in the history and in other tabs are taken out before they are written. */
const storage = (() => {
  let local;
  try {
    local = window.localStorage;
  } catch {
    return null; // the browser blocks storage: nothing is remembered
  }
  const prefix = `playground:${ENDPOINT}:`;
  const ours = () => Object.keys(local).filter(key => key.startsWith(prefix));
  return {
    get length() {
      return ours().length;
    },
    getItem: key => local.getItem(prefix + key),
    setItem: (key, value) => local.setItem(prefix + key, withoutSpareTokens(key, value)),
    removeItem: key => local.removeItem(prefix + key),
    clear: () => ours().forEach(key => local.removeItem(key)),
  };
})();

function withoutSpareTokens(key, value) {
  const name = key.replace('graphiql:', '');
  if (name !== 'tabState' && name !== 'queries' && name !== 'favorites') {
    return value;
  }
  const stored = parse(value);
  const entries = name === 'tabState' ? stored?.tabs : stored?.[name];
  if (!Array.isArray(entries)) {
    return value;
  }
  entries.forEach((entry, index) => {
    if (entry.headers && !(name === 'tabState' && index === stored.activeTabIndex)) {
      entry.headers = parseHeaders(entry.headers) ? withToken(entry.headers, '') || null : null;
    }
  });
  return JSON.stringify(stored);
}

/** Remembers whose token it is (never the token itself). */
const names = {
  read(token) {
    const stored = parse(storage?.getItem('signed-in') ?? '');
    return stored?.mark === mark(token) ? stored.email : undefined;
  },
  write(token, email) {
    storage?.setItem('signed-in', JSON.stringify({ mark: mark(token), email }));
  },
  clear() {
    storage?.removeItem('signed-in');
  },
};

function mark(text) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

// ---------------------------------------------------------------- sign-in bar

function SignInBar() {
  const { headerEditor, responseEditor } = useEditorContext({ nonNull: true });
  const { fetchError, introspect } = useSchemaStore();
  const [token, setTokenState] = useState('');
  const [ended, setEnded] = useState(false);
  const [busy, setBusy] = useState('');
  const [problem, setProblem] = useState('');
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const current = useRef(''); // the token, for the editor's event handler
  const introspectedAs = useRef('');

  const setToken = value => {
    current.current = value;
    setTokenState(value);
    setEnded(false);
  };

  // One token for the whole page: what the person types in the Headers editor is taken over,
  // what GraphiQL puts there (another tab, an entry of the history) gets the token in use.
  useEffect(() => {
    if (!headerEditor) {
      return undefined;
    }
    setToken(tokenIn(headerEditor) ?? '');
    const onChange = (editor, change) => {
      const shown = tokenIn(editor);
      if (change.origin === 'setValue') {
        const wanted = current.current;
        if (shown !== undefined && shown !== wanted) {
          editor.setValue(withToken(editor.getValue(), wanted));
        }
      } else if (shown !== undefined && shown !== current.current) {
        setToken(shown);
      }
    };
    headerEditor.on('change', onChange);
    return () => headerEditor.off('change', onChange);
  }, [headerEditor]);

  useEffect(() => {
    onUnauthenticated = () => setEnded(true);
  }, []);

  // A schema that could not be read without a token is read again with one.
  useEffect(() => {
    if (fetchError && token && introspectedAs.current !== token) {
      introspectedAs.current = token;
      responseEditor?.setValue(''); // it shows the failure
      introspect();
    }
  }, [fetchError, token, introspect, responseEditor]);

  const show = value => {
    setToken(value);
    headerEditor.setValue(withToken(headerEditor.getValue(), value));
  };

  const signIn = async (asEmail, asPassword) => {
    setBusy(asEmail);
    setProblem('');
    try {
      const fresh = await createSession(asEmail, asPassword);
      names.write(fresh, asEmail);
      show(fresh);
      setPassword('');
    } catch (error) {
      setProblem(error.message);
    } finally {
      setBusy('');
    }
  };

  const signOut = () => {
    names.clear();
    setProblem('');
    show('');
  };

  const who = token ? names.read(token) : undefined;
  const locked = Boolean(busy) || !headerEditor;

  return (
    <>
      {DEMO_ACCOUNTS.length > 0 && (
        <div className="demo" role="group" aria-label="Demo accounts">
          <span className="hint">Try as</span>
          <span className="roles">
            {DEMO_ACCOUNTS.map(account => (
              <button
                key={account.email}
                type="button"
                className="role"
                title={account.email}
                aria-pressed={!ended && who === account.email}
                disabled={locked}
                onClick={() => signIn(account.email, account.password)}
              >
                {roleName(account)}
              </button>
            ))}
          </span>
        </div>
      )}
      {token && (
        <div className="who">
          <span className={ended ? 'dot ended' : 'dot'} aria-hidden="true" />
          <span role="status" className="name">
            {ended ? (
              'Session ended, sign in again'
            ) : who ? (
              <>
                Signed in as <b>{who}</b>
              </>
            ) : (
              'Using the token in Headers'
            )}
          </span>
          <button type="button" onClick={signOut}>
            Sign out
          </button>
        </div>
      )}
      {(!token || (ended && !DEMO_ACCOUNTS.length)) && (
        <form
          onSubmit={event => {
            event.preventDefault();
            signIn(email.trim(), password);
          }}
        >
          <input
            type="email"
            required
            autoComplete="username"
            placeholder="Email"
            aria-label="Email"
            value={email}
            onChange={event => setEmail(event.target.value)}
          />
          <input
            type="password"
            required
            autoComplete="current-password"
            placeholder="Password"
            aria-label="Password"
            value={password}
            onChange={event => setPassword(event.target.value)}
          />
          <button type="submit" className="primary" disabled={locked}>
            {busy && busy === email.trim() ? 'Signing in…' : 'Sign in'}
          </button>
        </form>
      )}
      {problem &&
        createPortal(
          <p className="problem" role="alert">
            {problem}
          </p>,
          document.getElementById('bar'),
        )}
    </>
  );
}

/** The token in the Headers editor, '' for none, undefined while its text is not valid JSON. */
function tokenIn(editor) {
  const headers = parseHeaders(editor.getValue());
  return headers && bearerOf(authorizationOf(headers));
}

function roleName({ role, email }) {
  const words = String(role || email).replaceAll('_', ' ');
  return role ? words.charAt(0).toUpperCase() + words.slice(1).toLowerCase() : words;
}

// ---------------------------------------------------------------- page

// On unless the person has turned it off in the settings.
const PERSIST_HEADERS = storage?.getItem('graphiql:shouldPersistHeaders') !== 'false';
const DEFAULT_TABS = [{ query: FIRST_QUERY }, { query: FIRST_MUTATION }, { query: FIRST_SUBSCRIPTION }];

function Playground() {
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      defaultTabs={DEFAULT_TABS}
      defaultQuery=""
      defaultEditorToolsVisibility="headers"
      isHeadersEditorEnabled
      shouldPersistHeaders={PERSIST_HEADERS}
      showPersistHeadersSettings
    >
      <GraphiQL.Logo>
        <code className="endpoint">POST {ENDPOINT}</code>
      </GraphiQL.Logo>
      {createPortal(<SignInBar />, document.getElementById('session'))}
    </GraphiQL>
  );
}

createRoot(document.getElementById('playground')).render(<Playground />);
