"""Helper of faults.sh, which says what this is."""

import base64
import datetime
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import crashes
from crashes import Client, Journal, Postgres, Server, free_port, run, sign_up, wait_until

RESTARTS = int(os.environ.get("RESTARTS", "5"))
AWAY = float(os.environ.get("AWAY", "120"))
REDIS_AWAY = float(os.environ.get("REDIS_AWAY", "60"))
MANY = int(os.environ.get("MANY", "200"))


class Row:
    def __init__(self, times, journal, lost, resets=None, remark=""):
        self.times, self.journal, self.lost, self.remark = times, journal, lost, remark
        self.resets = journal.unanswered if resets is None else resets

    def cells(self):
        ready = self.journal.recoveries
        again = f"{statistics.median(ready):.1f} / {max(ready):.1f}" if ready else "–"
        numbers = [self.journal.acknowledged, self.journal.refused, self.lost]
        return [str(self.times), *(f"{number:,}" for number in numbers), again, f"{self.resets:,}"]


def of(scenario):
    return lambda folder: Row(*scenario(folder))


# ── PostgreSQL ──

def with_postgres(folder, times, fault):
    postgres = Postgres(f"{folder}/postgres")
    try:
        server = Server(f"{folder}/server", postgres.url)
        return Row(times, *run(server, times, lambda journal: fault(postgres, server, journal)))
    finally:
        postgres.stop(signal.SIGQUIT)


def postgres_restart(folder):
    def fault(postgres, _server, _journal):
        # `pg_ctl restart -m immediate`
        postgres.stop(signal.SIGQUIT)
        postgres.start()
        return time.monotonic()
    return with_postgres(folder, RESTARTS, fault)


def postgres_away(folder):
    slowest = []

    def fault(postgres, server, journal):
        postgres.stop(signal.SIGINT)
        until = time.monotonic() + AWAY
        while time.monotonic() < until:
            begun = time.monotonic()
            status = Client(server.port).send("GET", "/health/ready")[0]
            slowest.append(time.monotonic() - begun)
            if status != 503:
                raise SystemExit(f"/health/ready is {status} without PostgreSQL")
            time.sleep(1)
        postgres.start()
        return time.monotonic()
    row = with_postgres(folder, 1, fault)
    row.remark = f"/health/ready was 503 all the time, its slowest answer took {max(slowest):.1f} s"
    return row


# ── Redis ──

class Redis:
    def __init__(self):
        self.port = free_port()
        self.start()

    def start(self):
        self.process = crashes.popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                                      "--appendonly", "no"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("Redis", self.is_there)

    def is_there(self):
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.kill()
        self.process.wait()


class Follower(threading.Thread):
    """Follows a ledger by server-sent events: the sequences that it sees, and how late each event came."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.sequences, self.late = client, [], []
        self.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.client.port, timeout=120)
        query = "subscription { events { events { sequence occurredAt } } }"
        headers = {"content-type": "application/json", "accept": "text/event-stream",
                   "authorization": f"Bearer {self.client.token}"}
        connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
        for line in connection.getresponse():
            if not line.startswith(b"data:") or b"sequence" not in line:
                continue
            now = time.time()
            for event in json.loads(line[5:])["data"]["events"]["events"]:
                at = datetime.datetime.fromisoformat(event["occurredAt"].replace("Z", "+00:00")).timestamp()
                self.sequences.append(int(event["sequence"]))
                self.late.append(now - at)


def redis_away(folder):
    """Two instances: what is written by the one is followed on the other."""
    postgres, redis = Postgres(f"{folder}/postgres"), Redis()
    settings = {"REDIS_URL": f"redis://127.0.0.1:{redis.port}/"}
    try:
        server = Server(f"{folder}/server", postgres.url, **settings)
        other = Server(f"{folder}/other", postgres.url, **settings)
        found = {}

        def fault(journal):
            follower = found["follower"] = Follower(Client(other.port, server.token))
            time.sleep(3)
            before = len(follower.late)
            redis.stop()
            until = time.monotonic() + REDIS_AWAY
            while time.monotonic() < until:
                if not Client(server.port).is_ready():
                    raise SystemExit("without Redis the server is not ready")
                time.sleep(1)
            found["late"] = max(follower.late[before:])
            redis.start()
            return time.monotonic()
        journal, lost = run(server, 1, fault)
        seen = found["follower"].sequences
        time.sleep(2)
        missed = 0 if seen == list(range(seen[0], seen[0] + len(seen))) else 1
        # It was ready all the time.
        journal.recoveries = []
        other.kill()
        return Row(1, journal, lost + missed, remark=f"{len(seen):,} events on the other instance, each once and in order; "
                   f"the latest came {found['late']:.1f} s after its write while Redis was away")
    finally:
        redis.stop()
        postgres.stop(signal.SIGQUIT)


# ── SIGTERM ──

def frame(opcode, payload=b""):
    """A frame of a client, masked with zeros."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


def read_exactly(stream, size):
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the connection ended")
    return data


def read_frame(stream):
    opcode, size = read_exactly(stream, 2)
    size &= 0x7f
    if size >= 126:
        size = int.from_bytes(read_exactly(stream, 2 if size == 126 else 8), "big")
    return opcode & 15, read_exactly(stream, size)


def connect(port):
    stream = socket.create_connection(("127.0.0.1", port), timeout=60)
    return stream, stream.makefile("rb")


def read_head(reader):
    lines = iter(reader.readline, b"\r\n")
    return b"".join(lines)


def open_socket(port, token):
    stream, reader = connect(port)
    key = base64.b64encode(os.urandom(16)).decode()
    stream.sendall(f"GET /graphql HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                   f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n"
                   f"sec-websocket-protocol: graphql-transport-ws\r\n\r\n".encode())
    assert read_head(reader).startswith(b"HTTP/1.1 101")
    init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
    stream.sendall(frame(1, json.dumps(init).encode()))
    assert b"connection_ack" in read_frame(reader)[1]
    query = {"query": "subscription { events { events { type } } }"}
    stream.sendall(frame(1, json.dumps({"type": "subscribe", "id": "1", "payload": query}).encode()))
    return stream, reader


def close_code(reader):
    """`None` for a reset, or an end without a close frame."""
    try:
        while True:
            opcode, payload = read_frame(reader)
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")
    except OSError:
        return None


def begin_request(port, token, query):
    """A request whose head and half of whose body have been sent."""
    body = json.dumps({"query": query}).encode()
    stream, reader = connect(port)
    stream.sendall(f"POST /graphql HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n"
                   f"content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n".encode())
    assert read_head(reader).startswith(b"HTTP/1.1 100")
    stream.sendall(body[:9])
    return stream, reader, body[9:]


def knocking(port, resets, stop):
    """Asks over new connections until nobody listens; counts those that were taken and not answered."""
    while not stop.is_set():
        try:
            stream, reader = connect(port)
        except ConnectionRefusedError:
            return
        except OSError:
            continue
        try:
            stream.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            if not reader.read().startswith(b"HTTP/1.1 "):
                resets.append(1)
        except OSError:
            resets.append(1)
        finally:
            reader.close()
            stream.close()


def sigterm(server):
    ann, journal = sign_up(server), Journal()
    create = "mutation { itemCreate(input: {title: \"1\"}) { item { id } userErrors { code } } }"
    read = "{ items(first: 3) { nodes { title } } }"
    requests = [begin_request(server.port, ann.token, create if number % 2 else read) for number in range(MANY)]
    sockets = [open_socket(server.port, ann.token) for _ in range(MANY)]
    resets, stop = [], threading.Event()
    knockers = [threading.Thread(target=knocking, args=(server.port, resets, stop), daemon=True) for _ in range(4)]
    for knocker in knockers:
        knocker.start()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    for knocker in knockers:
        knocker.join(60)
    closed = time.monotonic() - begun
    for stream, _, rest in requests:
        stream.sendall(rest)
    for _, reader, _ in requests:
        try:
            answer = reader.read()
        except OSError:
            answer = b""
        if not answer.startswith(b"HTTP/1.1 200"):
            resets.append(1)
            continue
        item = ((json.loads(answer.partition(b"\r\n\r\n")[2]).get("data") or {}).get("itemCreate") or {}).get("item")
        if item:
            journal.titles[item["id"]] = 1
            journal.acknowledged += 1
    codes = [close_code(reader) for _, reader in sockets]
    resets.extend(1 for code in codes if code is None)
    status = server.process.wait(60)
    ended = time.monotonic() - begun
    started = time.monotonic()
    server.start()
    journal.recoveries.append(time.monotonic() - started)
    lost = journal.lost(Client(server.port, ann.token))
    server.kill()
    kinds = ", ".join(f"{codes.count(code)} × {code}" for code in sorted(set(codes), key=str))
    return Row(1, journal, lost, len(resets), f"{MANY} requests under way and {MANY} sockets (closed with {kinds}); it took "
               f"connections for {closed:.1f} s more, ended after {ended:.1f} s with status {status}")


SIGTERM = {"TODO_SERVER_DRAIN_DELAY": "2s", "TODO_SERVER_MAX_CONNECTIONS_PER_ADDRESS": "5000"}


def sqlite_sigterm(folder):
    return sigterm(Server(folder, f"sqlite://{folder}/todo.sqlite", **SIGTERM))


def postgres_sigterm(folder):
    postgres = Postgres(f"{folder}/postgres")
    try:
        return sigterm(Server(f"{folder}/server", postgres.url, **SIGTERM))
    finally:
        postgres.stop(signal.SIGQUIT)


SCENARIOS = {
    "sqlite-kill": ("SQLite: the server is killed (`kill -9`)", of(crashes.sqlite_kill)),
    "postgres-kill": ("PostgreSQL: the server is killed", of(crashes.postgres_kill)),
    "postgres-restart": ("PostgreSQL itself: `restart -m immediate`", postgres_restart),
    "postgres-away": (f"PostgreSQL itself: stopped for {AWAY:.0f} s", postgres_away),
    "redis-away": (f"Redis is away for {REDIS_AWAY:.0f} s, two instances", redis_away),
    "sqlite-full": ("SQLite: the disk is full", of(crashes.sqlite_full)),
    "sqlite-io-error": ("SQLite: an I/O error", of(crashes.sqlite_io_error)),
    "sqlite-sigterm": ("SQLite: SIGTERM", sqlite_sigterm),
    "postgres-sigterm": ("PostgreSQL: SIGTERM", postgres_sigterm),
}


def main():
    folder = os.path.abspath(sys.argv[1])
    os.makedirs(folder, exist_ok=True)
    # PostgreSQL's user must get there.
    os.chmod(folder, 0o755)
    print("| what fails | times | acknowledged | refused | lost | ready again after, s (p50 / max) | without an answer |")
    print("|---|---|---|---|---|---|---|", flush=True)
    remarks, lost = [], 0
    for name in os.environ.get("ONLY", " ".join(SCENARIOS)).split():
        what, scenario = SCENARIOS[name]
        try:
            row = scenario(f"{folder}/{name}")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"| {what} | can't run here: {error} |")
            continue
        lost += row.lost
        print(f"| {what} | " + " | ".join(row.cells()) + " |", flush=True)
        if row.remark:
            remarks.append(f"{what}: {row.remark}.")
    print("\n" + "\n".join(remarks))
    sys.exit(1 if lost else 0)


main()
