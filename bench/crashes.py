"""Helper of crashes.sh, which says what this is."""

import atexit
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

WRITERS = 8
KILLS = int(os.environ.get("KILLS", "50"))
FAULTS = int(os.environ.get("FAULTS", "10"))
BIN = os.path.abspath(os.environ.get("BIN", "target/release/todo-platform"))
# How long a start or a recovery may take.
PATIENCE = 120
PASSWORD = "correct horse battery"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until(what, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit(f"{what} did not come within {PATIENCE} s")
        time.sleep(0.05)


def popen(*arguments, **options):
    """A process that does not outlive this one."""
    process = subprocess.Popen(*arguments, **options)
    atexit.register(process.kill)
    return process


class Client:
    """One connection to the server; a request that finds nobody raises."""

    def __init__(self, port, token=None):
        self.port, self.token, self.connection = port, token, None

    def send(self, method, path, body=None):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise

    def ask(self, query, **variables):
        return json.loads(self.send("POST", "/graphql", json.dumps({"query": query, "variables": variables}))[1])

    def is_ready(self):
        try:
            return self.send("GET", "/health/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


class Postgres:
    """A cluster of its own, as durable as PostgreSQL is by default."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        os.makedirs(folder)
        self.user = []
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        self.log = open(f"{folder}.log", "w")
        subprocess.run([*self.user, "initdb", "-D", f"{folder}/data", "-U", "bench", "-A", "trust"],
                       check=True, stdout=self.log, stderr=self.log)
        self.start()

    def start(self):
        # A postmaster that was killed leaves processes for a moment, and no other starts beside them.
        wait_until("PostgreSQL", self.try_start)

    def try_start(self):
        command = [*self.user, "postgres", "-D", f"{self.folder}/data", "-p", str(self.port),
                   "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        self.process = popen(command, stdout=self.log, stderr=self.log)
        while self.process.poll() is None:
            if subprocess.run(["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0:
                return True
            time.sleep(0.1)
        return False

    def stop(self, how):
        # `setpriv` becomes the postmaster, so the process is the one to signal.
        self.process.send_signal(how)
        self.process.wait()

    @property
    def url(self):
        return f"postgres://bench@127.0.0.1:{self.port}/postgres?sslmode=disable"


class Server:
    def __init__(self, folder, url, wrap=(), **settings):
        self.folder, self.url, self.wrap, self.port = folder, url, list(wrap), free_port()
        self.settings = settings
        os.makedirs(folder, exist_ok=True)
        self.log = open(f"{folder}/server.log", "w")
        self.start()

    def start(self):
        environment = {
            "PATH": os.environ["PATH"], "PORT": str(self.port), "DATA_DIR": f"{self.folder}/data", "DATABASE_URL": self.url,
            "SECRET_KEY": "benchmark-secret-of-thirty-two-bytes-or-more", "TODO_MODE": "embedded", "LOG_LEVEL": "warn",
            "TODO_LIMITS_COST_PER_MINUTE": "0", "TODO_LIMITS_ANONYMOUS_COST_PER_MINUTE": "0", **self.settings,
        }
        self.process = popen([*self.wrap, BIN], cwd=self.folder, env=environment, stdout=self.log, stderr=self.log)
        wait_until("the server", Client(self.port).is_ready)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Journal:
    """What was acknowledged: for each item the newest title."""

    def __init__(self):
        self.titles, self.acknowledged, self.refused, self.unanswered = {}, 0, 0, 0
        # Seconds from when what failed was there again until the server was ready.
        self.recoveries = []
        self.lock = threading.Lock()

    def write(self, client, stop):
        item, title = None, 0
        while not stop.is_set():
            # Each item is changed twice.
            title += 1
            item = None if title % 3 == 1 else item
            try:
                if item is None:
                    name, query = "itemCreate", "mutation($title: String!) { itemCreate(input: {title: $title, " \
                        "description: \"%s\"}) { item { id } userErrors { code } } }" % ("text " * 200)
                    answer = client.ask(query, title=str(title))
                else:
                    name, query = "itemUpdate", "mutation($id: ID!, $title: String!) { itemUpdate(input: {id: $id, " \
                        "patch: {title: $title}}) { item { id } userErrors { code } } }"
                    answer = client.ask(query, id=item, title=str(title))
            except (OSError, ValueError, http.client.HTTPException):
                with self.lock:
                    self.unanswered += 1
                time.sleep(0.05)
                continue
            payload = ((answer.get("data") or {}).get(name) or {}).get("item")
            with self.lock:
                if payload:
                    item = payload["id"]
                    self.titles[item] = title
                    self.acknowledged += 1
                else:
                    self.refused += 1
            if not payload:
                time.sleep(0.02)

    def lost(self, client):
        """Acknowledged writes that are not there. A title may be newer than the last answer: that one was on its way."""
        lost, items = 0, list(self.titles)
        for at in range(0, len(items), 100):
            ids = items[at:at + 100]
            found = client.ask("query($ids: [ID!]!) { nodes(ids: $ids) { ... on Item { id title } } }", ids=ids)
            there = {node["id"]: int(node["title"]) for node in found["data"]["nodes"] if node}
            lost += sum(there.get(one, -1) < self.titles[one] for one in ids)
        return lost


def sign_up(server):
    """Somebody with an organization."""
    ann = Client(server.port)
    answer = ann.ask("mutation($password: String!) { userRegister(input: {email: \"ann@example.com\", username: \"ann\", "
                     "password: $password}) { accessToken userErrors { message } } }", password=PASSWORD)
    ann.token = answer["data"]["userRegister"]["accessToken"]
    ann.ask("mutation { organizationCreate(input: {name: \"Acme\", slug: \"acme\"}) { userErrors { code } } }")
    server.token = ann.token
    return ann


def run(server, faults, fault):
    """Writers beside so many faults; then a kill, a start, and the comparison. A fault gives the moment when what failed
    was there again."""
    ann = sign_up(server)
    journal, stop = Journal(), threading.Event()
    writers = [threading.Thread(target=journal.write, args=(Client(server.port, ann.token), stop), daemon=True)
               for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(faults):
            time.sleep(random.uniform(0.2, 1.2))
            healed = fault(journal)
            wait_until("readiness", Client(server.port).is_ready)
            journal.recoveries.append(time.monotonic() - healed)
        before = journal.acknowledged
        wait_until("an acknowledged write after the last fault", lambda: journal.acknowledged > before + 100)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    if not server.wrap or server.wrap[0] != "unshare":
        server.kill()
        server.start()
    lost = journal.lost(Client(server.port, ann.token))
    server.kill()
    return journal, lost


def kill(server):
    def fault(_):
        server.kill()
        started = time.monotonic()
        server.start()
        return started
    return fault


def sqlite_kill(folder):
    server = Server(folder, f"sqlite://{folder}/todo.sqlite")
    return KILLS, *run(server, KILLS, kill(server))


def postgres_kill(folder):
    postgres = Postgres(f"{folder}/postgres")
    try:
        server = Server(f"{folder}/server", postgres.url)
        return KILLS, *run(server, KILLS, kill(server))
    finally:
        postgres.stop(signal.SIGQUIT)


def postgres_crash(folder):
    postgres = Postgres(f"{folder}/postgres")
    # Killed, stopped at once, stopped in order.
    ways = [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT]

    def fault(_):
        postgres.stop(ways[0])
        ways.append(ways.pop(0))
        time.sleep(random.uniform(0, 1))
        postgres.start()
        return time.monotonic()
    try:
        server = Server(f"{folder}/server", postgres.url)
        return FAULTS, *run(server, FAULTS, fault)
    finally:
        postgres.stop(signal.SIGQUIT)


def failing(server, fail, heal):
    def fault(journal):
        before = journal.refused
        fail()
        wait_until("a failing write", lambda: journal.refused > before)
        time.sleep(1)
        heal()
        return time.monotonic()
    return fault


def sqlite_full(folder):
    os.makedirs(f"{folder}/disk")
    script = "mount -t tmpfs -o size=64m tmpfs disk && exec \"$@\""
    server = Server(folder, "sqlite://disk/todo.sqlite", ["unshare", "-rm", "sh", "-c", script, "sh"])
    filler = f"/proc/{server.process.pid}/root{os.path.abspath(folder)}/disk/filler"
    fill = lambda: subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=64k"], stderr=subprocess.DEVNULL)
    return FAULTS, *run(server, FAULTS, failing(server, fill, lambda: os.remove(filler)))


def sqlite_io_error(folder):
    server = Server(folder, f"sqlite://{folder}/todo.sqlite", ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"])

    def limit(size):
        subprocess.run(["prlimit", f"--pid={server.process.pid}", f"--fsize={size}:"], check=True)
    return FAULTS, *run(server, FAULTS, failing(server, lambda: limit(4096), lambda: limit("unlimited")))


def main():
    folder = os.path.abspath(sys.argv[1])
    os.makedirs(folder, exist_ok=True)
    # PostgreSQL's user must get there.
    os.chmod(folder, 0o755)
    scenarios = {
        "sqlite-kill": sqlite_kill, "postgres-kill": postgres_kill, "postgres-crash": postgres_crash,
        "sqlite-full": sqlite_full, "sqlite-io-error": sqlite_io_error,
    }
    print(f"{'scenario':18} {'faults':>6} {'acknowledged':>13} {'refused':>8} {'unanswered':>11} {'lost':>5}")
    lost_in_all = 0
    for name in os.environ.get("ONLY", " ".join(scenarios)).split():
        try:
            faults, journal, lost = scenarios[name](f"{folder}/{name}")
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{name:18} can't run here: {error}")
            continue
        lost_in_all += lost
        print(f"{name:18} {faults:6} {journal.acknowledged:13} {journal.refused:8} {journal.unanswered:11} {lost:5}", flush=True)
    sys.exit(1 if lost_in_all else 0)


if __name__ == "__main__":
    main()
