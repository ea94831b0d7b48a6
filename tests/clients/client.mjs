// What both clients' scripts share. They print a JSON object a line, which `tests/it/clients.rs` reads.

const { TOKEN, ORGANIZATION } = process.env;

export const credentials = { authorization: `Bearer ${TOKEN}`, organization: ORGANIZATION };

export function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** The one answer of an operation; whatever the client takes for an error is `{ errors }`. */
function ask(client, query, variables) {
  return new Promise((resolve, reject) => {
    let answer;
    client.subscribe(
      { query, variables },
      {
        next: value => (answer = value),
        error: errors => (Array.isArray(errors) ? resolve({ errors }) : reject(errors)),
        complete: () => resolve(answer),
      },
    );
  });
}

const EVENTS = `subscription($after: Cursor) {
  events(after: $after) { events { type subjectId cursor } cursor isLive }
}`;

const stories = {
  /** A query, a mutation whose event a subscription hears, and what no server could run. */
  async operations(client) {
    say({ query: await ask(client, '{ organization { slug } }') });
    const batches = client.iterate({ query: EVENTS });
    say({ begun: (await batches.next()).value });
    const create = `mutation($title: String!) {
      itemCreate(input: { title: $title }) { item { id } cursor userErrors { code } }
    }`;
    for (const title of ['first', 'second', 'third']) {
      say({ mutation: await ask(client, create, { title }), batch: (await batches.next()).value });
    }
    await batches.return();
    say({ invalid: await ask(client, '{ nonsense }') });
    say({ invalid: await ask(client, 'subscription { nonsense }') });
    say({ invalid: await ask(client, EVENTS, { after: 'nonsense' }) });
    await client.dispose();
    say({ disposed: true });
  },

  /** Every event, over broken connections: both clients send the operation again as it is then. */
  follow(client) {
    const variables = {};
    client.subscribe(
      { query: EVENTS, variables },
      {
        next(answer) {
          variables.after = answer.data?.events.cursor ?? variables.after;
          say({ batch: answer });
        },
        error: error => say({ error: Array.isArray(error) ? error : String(error) }),
        complete: () => say({ complete: true }),
      },
    );
  },
};

/** Tells the story that the command line names. */
export async function run(client) {
  // The test holds the other end: when it is gone, so is this.
  process.stdin.on('end', () => process.exit()).resume();
  await stories[process.argv[2]](client);
}
