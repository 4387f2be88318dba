"""A series of kills at random moments of audits that pay by the row."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from commands import MARK, left_after
from endpoints import Server
from hardlabel.oracles.ledger import LEDGER, read_counts
from hardlabel.targets.http.pace import MOST_AT_ONCE
from test_paid import AMPLE, TIGHT, killed_again_and_again

pytestmark = pytest.mark.long

KILLS = 20


@pytest.mark.parametrize("budget", [TIGHT, AMPLE])
@pytest.mark.parametrize("seed", range(3))
def test_twenty_kills_lose_nothing_paid_for_and_keep_every_budget(tmp_path, seed, budget):
    killed_again_and_again(tmp_path, KILLS, seed=seed, budget=budget)


class Slow(Server):
    """A server whose every answer takes a while, so that kills hit rows under way."""

    def fault(self):
        time.sleep(0.1)


@pytest.fixture
def server(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"age": rng.normal(size=80).round(3), "size": rng.normal(size=80).round(3)})
    frame["buys"] = np.where(rng.random(80) < 0.5, "yes", "no")
    frame[:40].to_csv(tmp_path / "m.csv", index=False)
    frame[40:].to_csv(tmp_path / "n.csv", index=False)
    model = DecisionTreeClassifier(random_state=0).fit(frame[:40][["age", "size"]], frame[:40]["buys"])
    server = Slow(model.predict, most=32)
    yield server
    server.close()


def begun(server, folder, out, *, budget):
    words = ["audit", "--target", f"{server.address}/invocations", "--members", "m.csv", "--nonmembers", "n.csv"]
    words += ["--label", "buys", "--trainer", "none", "--attacks", "gap,noise", "--budget", str(budget), "--out", out]
    environment = {**os.environ, "HARDLABEL_STORE": str(folder / f"store of {out}"), MARK: folder.name}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "hardlabel", *words, "--quiet"]
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ended(process):
    assert process.wait() == 0, process.stderr.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_an_interrupt_the_servers_log_is_the_ledgers(server, tmp_path, number):
    """Nobody waits for nothing: what was under way is answered before the process ends, and none of it is unknown."""
    process = begun(server, tmp_path, "interrupted", budget=300)
    while len(server.rows) < 40 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    assert process.wait() == 1, process.stderr.read().decode()
    counts = read_counts(tmp_path / "interrupted" / LEDGER)
    assert sum(count.sent for count in counts) == sum(server.rows)
    assert sum(count.unknown + count.under_way for count in counts) == 0
    ended(begun(server, tmp_path, "interrupted", budget=300))
    assert sum(count.sent for count in read_counts(tmp_path / "interrupted" / LEDGER)) == sum(server.rows)


def attacks(folder):
    return [
        (attack["name"], attack["auc"], attack["queries_per_sample"], attack["incomplete"])
        for attack in json.loads((folder / "results.json").read_text())["attacks"]
    ]


@pytest.mark.parametrize("budget", [40, 300])
def test_an_endpoint_audit_killed_at_twenty_random_moments_pays_for_nothing_twice(server, tmp_path, budget):
    """With a budget of 40 the attack itself needs all of it; of 300 it leaves 199 for rows of unknown fate.

    Rows of the samples are sent by turns, so that a kill costs each of them a few rows. When a request was about copies
    of one sample, two kills at the same place could use up its 199 rows, and the sample was then told as incomplete.
    """
    ended(begun(server, tmp_path, "whole", budget=budget))
    whole = {count.purpose: count for count in read_counts(tmp_path / "whole" / LEDGER)}
    assert sum(count.sent for count in whole.values()) == sum(server.rows)
    server.rows, requests, moments = [], len(server.rows), random.Random(budget)
    for _ in range(KILLS):
        process = begun(server, tmp_path, "killed", budget=budget)
        seen = len(server.rows) + moments.randint(1, max(2, 2 * requests // KILLS))
        while len(server.rows) < seen and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.wait()
        assert left_after(30, tmp_path.name) == []
    ended(begun(server, tmp_path, "killed", budget=budget))
    counts = read_counts(tmp_path / "killed" / LEDGER)
    answered, sent = (sum(getattr(count, name) for count in counts) for name in ("answered", "sent"))
    # Whatever the server saw is in the ledger; what it did not see is of unknown fate there.
    assert answered <= sum(server.rows) - sum(count.refused for count in counts) <= sent
    unknown = sum(count.unknown for count in counts)
    assert sent - sum(server.rows) <= unknown <= KILLS * MOST_AT_ONCE * 32
    for count in counts:
        if count.purpose != "check rows":  # These are asked anew by every process.
            assert count.spent <= whole[count.purpose].spent + count.unknown
    assert unknown > 0
    if budget == 300:
        assert attacks(tmp_path / "killed") == attacks(tmp_path / "whole")
    else:
        assert [attack[3] for attack in attacks(tmp_path / "killed")][1] > 0  # Incomplete, and told.
