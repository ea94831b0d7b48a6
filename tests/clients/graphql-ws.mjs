import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { credentials, run, say } from './client.mjs';

await run(
  createClient({
    url: `ws://${process.env.ADDRESS}/graphql`,
    webSocketImpl: WebSocket,
    connectionParams: credentials,
    retryAttempts: Infinity,
    retryWait: () => new Promise(resolve => setTimeout(resolve, 20)),
    // By default it gives up when no connection can be made.
    shouldRetry: () => true,
    on: {
      connected: () => say({ connected: true }),
      closed: ({ code, reason }) => say({ closed: code, reason }),
    },
  }),
);
