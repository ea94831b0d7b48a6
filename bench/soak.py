"""Helper of soak.sh, which says what this is."""

import collections
import http.client
import http.server
import json
import os
import random
import statistics
import sys
import threading
import time

folder = sys.argv[1]
settings = dict(line.split("=", 1) for line in open(f"{folder}/env").read().splitlines())
MINUTES = float(os.environ["MINUTES"])
READERS, WRITERS, SUBSCRIBERS = (int(os.environ.get(name, number)) for name, number in
                                 [("READERS", 4), ("WRITERS", 2), ("SUBSCRIBERS", 20)])
ADDRESS = settings["URL"].removeprefix("http://")
HEADERS = {"content-type": "application/json", "authorization": f"Bearer {settings['TOKEN']}"}
EVERY = 2.0

done = threading.Event()
counts, failures, lock = collections.Counter(), collections.Counter(), threading.Lock()


def note(what, failure=None):
    with lock:
        counts[what] += 1
        if failure:
            failures[f"{what}: {failure}"] += 1


class Client:
    def __init__(self):
        self.connection = http.client.HTTPConnection(ADDRESS, timeout=60)

    def ask(self, what, query, variables=None):
        try:
            self.connection.request("POST", "/graphql", json.dumps({"query": query, "variables": variables or {}}), HEADERS)
            answer = json.load(self.connection.getresponse())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.connection.close()
            note(what, type(error).__name__)
            return None
        problems = answer.get("errors") or [error for field in (answer.get("data") or {}).values()
                                            if isinstance(field, dict) for error in field.get("userErrors") or []]
        note(what, problems[0].get("code") or problems[0].get("extensions", {}).get("code") if problems else None)
        return answer.get("data")


BOARD = ("query($after: Cursor) { items(first: 50, after: $after) { nodes { id title status team { name } assignees "
         "{ displayName } tags { name } comments { totalCount } } pageInfo { endCursor } } }")
ITEM = ("query($id: ID!) { item(id: $id) { title description comments(first: 20) { nodes { body author "
        "{ displayName } } } } }")


def read():
    client, after, items = Client(), None, []
    while not done.is_set():
        page = client.ask("boards", BOARD, {"after": after})
        if page:
            items = [node["id"] for node in page["items"]["nodes"]] or items
            after = page["items"]["pageInfo"]["endCursor"] if random.random() < 0.9 else None
        for item in random.sample(items, min(3, len(items))):
            client.ask("items", ITEM, {"id": item})
        if random.random() < 0.2:
            word = random.choice(["login", "rel", "page", "certificate", "nothing of that"])
            client.ask("searches", "query($q: String!) { search(query: $q, first: 20) { snippet node { id } } }", {"q": word})
        # Somebody looks at what came.
        time.sleep(random.uniform(0, 0.02))


def write():
    client, mine = Client(), collections.deque()
    errors = "userErrors { code }"
    while not done.is_set():
        made = client.ask("creates", f"mutation {{ itemCreate(input: {{ title: \"soak\", description: \"{'x' * 500}\" }}) "
                          f"{{ item {{ id }} {errors} }} }}")
        if made and made["itemCreate"]["item"]:
            mine.append(made["itemCreate"]["item"]["id"])
        if mine:
            item = random.choice(mine)
            client.ask("updates", f"mutation($id: ID!) {{ itemUpdate(input: {{ id: $id, patch: {{ status: "
                       f"{random.choice(['TODO', 'DONE', 'IN_PROGRESS'])} }} }}) {{ {errors} }} }}", {"id": item})
            client.ask("comments", f"mutation($id: ID!) {{ commentCreate(input: {{ itemId: $id, body: \"soak\" }}) "
                       f"{{ {errors} }} }}", {"id": item})
        # What is there stays about as much.
        if len(mine) > 200:
            client.ask("deletions", f"mutation($id: ID!) {{ itemDelete(input: {{ id: $id, permanently: true }}) "
                       f"{{ {errors} }} }}", {"id": mine.popleft()})
        time.sleep(0.02)


def subscribe():
    headers = {**HEADERS, "accept": "text/event-stream"}
    query = "subscription { events { events { type sequence subject { ... on Item { id title } } } } }"
    while not done.is_set():
        try:
            connection = http.client.HTTPConnection(ADDRESS, timeout=60)
            connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
            for line in connection.getresponse():
                if done.is_set():
                    return
                if line.startswith(b"data:") and b"sequence" in line:
                    events = json.loads(line[5:])["data"]["events"]["events"]
                    with lock:
                        counts["events"] += len(events)
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            if not done.is_set():
                note("subscriptions begun again", type(error).__name__)


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        note("deliveries")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def memory(pid):
    """Of a process, in MiB: its share of what it holds (PSS)."""
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    hook = Client().ask("hook", "mutation($url: Url!) { webhookCreate(input: { url: $url, eventTypes: [ITEM_CREATED, "
                        "COMMENT_CREATED] }) { webhook { id } userErrors { code message } } }",
                        {"url": f"http://127.0.0.1:{receiver.server_port}/"})
    if not hook or hook["webhookCreate"]["userErrors"]:
        sys.exit(f"no webhook: {hook}")
    threads = [threading.Thread(target=work, daemon=True) for work, many in
               [(read, READERS), (write, WRITERS), (subscribe, SUBSCRIBERS)] for _ in range(many)]
    for thread in threads:
        thread.start()
    begun, samples, before = time.monotonic(), [], 0
    while time.monotonic() - begun < MINUTES * 60:
        time.sleep(EVERY)
        with lock:
            requests = sum(counts[what] for what in counts if what not in ("events", "deliveries"))
        at = (time.monotonic() - begun) / 60
        samples.append((at, memory(settings["SERVER_PID"]), (requests - before) / EVERY))
        before = requests
        print(f"\r{at:5.1f} min  {samples[-1][1]:6.1f} MiB  {samples[-1][2]:6.0f} requests/s", end="", file=sys.stderr)
    print(file=sys.stderr)
    done.set()
    print(", ".join(f"{number:,} {what}" for what, number in sorted(counts.items()) if what != "hook"))
    print("failed:", ", ".join(f"{number:,} {what}" for what, number in failures.items()) or "nothing")
    of = lambda start, end: statistics.median(size for at, size, _ in samples if start <= at <= end)
    early, late = of(1, 2), of(MINUTES - 1, MINUTES)
    print(f"memory (PSS): {early:.1f} MiB in the second minute, {late:.1f} MiB in the last ({late / early:.2f})")
    open(os.environ["FIGURE"], "w").write(draw(samples))


def draw(samples):
    """Memory and rate over time, as SVG without anything from outside. Readable on light and dark pages."""
    wide, high, left, top, gap = 760, 130, 64, 34, 56
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide + left + 20} {2 * high + gap + top + 40}" '
             'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Memory and requests over time">',
             '<rect width="100%" height="100%" fill="#ffffff"/>']
    end = max(at for at, _, _ in samples)
    smooth = [(at, memory, statistics.mean(rate for _, _, rate in samples[max(0, i - 4):i + 1]))
              for i, (at, memory, rate) in enumerate(samples)]
    for number, (name, index, color) in enumerate([("Memory of the server (PSS), MiB", 1, "#2563eb"),
                                                   ("Requests a second, mean of 10 s", 2, "#059669")]):
        below = top + number * (high + gap) + high
        most = max(row[index] for row in smooth) * 1.15
        parts.append(f'<text x="{left}" y="{below - high - 10}" font-weight="600" fill="#111827">{name}</text>')
        for part in range(5):
            y, value = below - high * part / 4, most * part / 4
            parts.append(f'<line x1="{left}" y1="{y}" x2="{left + wide}" y2="{y}" stroke="#e5e7eb"/>'
                         f'<text x="{left - 8}" y="{y + 4}" text-anchor="end" fill="#4b5563">{value:,.0f}</text>')
        points = " ".join(f"{left + wide * row[0] / end:.1f},{below - high * row[index] / most:.1f}" for row in smooth)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        for minute in range(int(end) + 1):
            x = left + wide * minute / end
            parts.append(f'<text x="{x}" y="{below + 18}" text-anchor="middle" fill="#4b5563">{minute}</text>')
    parts.append(f'<text x="{left + wide}" y="{2 * high + gap + top + 34}" text-anchor="end" fill="#4b5563">minutes</text>')
    return "\n".join([*parts, "</svg>\n"])


main()
