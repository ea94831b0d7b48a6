import { createClient } from 'graphql-sse';
import { credentials, run, say } from './client.mjs';

const { authorization, organization } = credentials;

await run(
  createClient({
    url: `http://${process.env.ADDRESS}/graphql`,
    headers: { authorization, 'x-organization': organization },
    retryAttempts: Infinity,
    retry: () => new Promise(resolve => setTimeout(resolve, 20)),
    on: { connected: () => say({ connected: true }) },
  }),
);
