"""How many rows an audit asks of an endpoint in a second, against a plain load generator of the same requests.

    python benchmarks/endpoints.py [--quick]

A stand-in for a model server on loopback, in a process of its own, answers in MLflow's protocol about a table of ten
columns. It reads and writes JSON as a server must. Its model is trivial; in the second part each batch keeps one of
four workers busy for as long as a model would. Both sides send to the same server, by turns:

- the audit: `hardlabel audit` with the noise attack, from its first request about a row to its last answer, as the
  server's clock has it. The audit makes its rows, charges its budget, writes each row into the ledger before it is sent
  and each answer after, and reads and checks the labels;
- a plain load generator: threads that post with httpx, one client, keep-alive, and read the answers. Its requests have
  as many rows as the audit's had in the middle, and as many are under way at once. It sends rows of its own, which it
  writes as JSON one request after the other, as a script in ten lines does; and, in a column of its own, bodies made in
  advance, of which it reads nothing: what the server and httpx can do at all.

Medians of the rounds. Only the ratio means anything on a machine that does other things too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd

COLUMNS, SAMPLES, BUDGET, SECONDS, ROUNDS = 10, 500, 260, 6.0, 3
QUICK = {"samples": 40, "budget": 60, "seconds": 1.0, "rounds": 1}
PARTS = {  # Seconds for a batch and for each of its rows, with WORKERS at once; 0 for a trivial model.
    "a trivial model": (0.0, 0.0),
    "20 ms and 0.1 ms for each row, 4 workers": (0.020, 0.0001),
}
WORKERS = 4


def main() -> None:
    """Measures all parts and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Whether it runs, in a few seconds.")
    parser.add_argument("--serve", nargs=2, type=float, metavar=("BATCH", "ROW"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        serve(*given.serve)
        return
    sizes = {"samples": SAMPLES, "budget": BUDGET, "seconds": SECONDS, "rounds": ROUNDS} | (
        QUICK if given.quick else {}
    )
    heads = ["server", "rows of a request", "at once", "audit, rows/s", "load generator, rows/s", "ratio"]
    heads += ["of the rounds", "bodies made in advance, rows/s", "ratio"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for title, (batch, row) in PARTS.items():
        rounds = []
        for number in range(int(sizes["rounds"])):
            audit_first = number % 2 == 0
            rounds.append(measured(batch, row, sizes, audit_first=audit_first))
        middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        ratios = [[each["audit"] / each[name] for each in rounds] for name in ("load", "made")]
        cells = [title, *(f"{middle[name]:,.0f}" for name in ("rows", "at once", "audit", "load"))]
        cells += [f"**{statistics.median(ratios[0]):.2f}**", ", ".join(f"{ratio:.2f}" for ratio in ratios[0])]
        cells += [f"{middle['made']:,.0f}", f"{statistics.median(ratios[1]):.2f}"]
        print(f"| {' | '.join(cells)} |")
        sys.stdout.flush()


def measured(batch: float, row: float, sizes: dict[str, float], *, audit_first: bool) -> dict[str, float]:
    """One round: rows/s of the audit ("audit") and of the load generator ("load", "made"), and the requests' sizes.

    The load generator needs the audit's sizes. Where it goes first, an audit before tells them, and is not counted.
    """
    with tempfile.TemporaryDirectory() as place:
        server = Server(batch, row)
        try:
            folder = Path(place)
            made(folder, int(sizes["samples"]))
            speed, rows, at_once = audited(server, folder, int(sizes["budget"]))
            same = {"rows": round(rows), "at_once": round(at_once), "seconds": sizes["seconds"]}
            load, ready = (loaded(server, **same, in_advance=in_advance) for in_advance in (False, True))
            if not audit_first:
                speed, rows, at_once = audited(server, folder, int(sizes["budget"]))
        finally:
            server.close()
    return {"audit": speed, "load": load, "made": ready, "rows": rows, "at once": at_once}


def made(folder: Path, samples: int) -> None:
    """Writes members and non-members: numbers with all their digits."""
    rng = np.random.default_rng(0)
    for name in ("members", "nonmembers"):
        frame = pd.DataFrame(rng.normal(size=(samples, COLUMNS)), columns=[f"column {n}" for n in range(COLUMNS)])
        frame["label"] = (frame["column 0"] > 0).astype(int)
        frame.to_csv(folder / f"{name}.csv", index=False)


def audited(server: "Server", folder: Path, budget: int) -> tuple[float, float, float]:
    """Rows/s of an audit, and rows of a request and requests at once as they were in the middle of it."""
    out = tempfile.mkdtemp(dir=folder)
    words = ["audit", "--target", server.address, "--members", folder / "members.csv", "--label", "label"]
    words += ["--nonmembers", folder / "nonmembers.csv", "--trainer", "none", "--attacks", "noise"]
    words += ["--budget", budget, "--samples", 10**6, "--out", f"{out}/run", "--quiet"]
    environment = {**os.environ, "HARDLABEL_STORE": f"{out}/store", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    server.log()
    subprocess.run(
        [sys.executable, "-m", "hardlabel", *map(str, words)], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    log = server.log()
    middle = log[len(log) // 4 : 3 * len(log) // 4]
    at_once = len({connection for *_, connection in middle})  # It opens no more than are under way at once.
    return rate(log), statistics.median(rows for _, _, rows, _ in middle), at_once


def rate(log: list[tuple[float, float, int, int]]) -> float:
    """Rows in a second, from the first request to the last answer."""
    began, ended, rows, _ = (np.array(column) for column in zip(*log, strict=True))
    return float(rows.sum() / (ended.max() - began.min()))


def loaded(server: "Server", *, rows: int, at_once: int, seconds: float, in_advance: bool) -> float:
    """Rows/s of a load generator."""
    rng = np.random.default_rng(1)
    names = [f"column {n}" for n in range(COLUMNS)]
    tables = [rng.normal(size=(rows, COLUMNS)).tolist() for _ in range(8)]
    bodies = [json.dumps({"dataframe_split": {"columns": names, "data": table}}).encode() for table in tables]
    client = httpx.Client(limits=httpx.Limits(max_connections=64), trust_env=False)
    end = time.monotonic() + seconds

    def ask(number: int) -> None:
        while time.monotonic() < end:
            number += 1
            if in_advance:
                kind = {"Content-Type": "application/json"}
                client.post(server.address, content=bodies[number % len(bodies)], headers=kind).raise_for_status()
            else:
                given = {"dataframe_split": {"columns": names, "data": tables[number % len(tables)]}}
                labels = client.post(server.address, json=given).raise_for_status().json()["predictions"]
                assert len(labels) == rows, "each row has a label"

    server.log()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rate(server.log())


class Server:
    """The stand-in in a process of its own."""

    def __init__(self, batch: float, row: float) -> None:
        command = [sys.executable, __file__, "--serve", str(batch), str(row)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._origin = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.address = f"{self._origin}/invocations"

    def log(self) -> list[tuple[float, float, int, int]]:
        """Of each request about rows since the last call: when it began and ended, its rows, and its connection."""
        log: list[tuple[float, float, int, int]] = httpx.get(f"{self._origin}/log", trust_env=False).json()
        return log

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def serve(batch: float, row: float) -> None:
    """Answers until it is killed; prints the port first. A label is whether the first number of a row is above 0."""
    import asyncio

    from pydantic_core import from_json, to_json

    log: list[tuple[float, float, int, int]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.lower().split(b"\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
                body = await reader.readexactly(length)
                began = time.monotonic()
                if length:
                    rows = from_json(body)["dataframe_split"]["data"]
                    if batch:
                        async with workers:
                            await asyncio.sleep(batch + row * len(rows))
                    said = to_json({"predictions": [int(values[0] > 0) for values in rows]})
                    log.append((began, time.monotonic(), len(rows), id(writer)))
                else:
                    said = to_json(log)
                    log.clear()
                kind = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: "
                writer.write(kind + str(len(said)).encode() + b"\r\n\r\n" + said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        nonlocal workers
        workers = asyncio.Semaphore(WORKERS)
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**26)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    workers: asyncio.Semaphore
    asyncio.run(run())


if __name__ == "__main__":
    main()
