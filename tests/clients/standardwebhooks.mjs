import readline from 'node:readline';
import { Webhook } from 'standardwebhooks';
import { say } from './client.mjs';

// Each line of the input is a request that came and a secret; a line of the output says what the library makes of it.
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { secret, headers, body } = JSON.parse(line);
  try {
    say({ result: { verified: new Webhook(secret).verify(body, headers) } });
  } catch (error) {
    say({ result: { refused: error.message } });
  }
}
