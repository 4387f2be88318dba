"""The viewer: what it shows, whom it answers, and that nothing a browser sends becomes a path or markup."""

import http.client
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hardlabel.runs.folder import SUMS
from hardlabel.store import Store
from hardlabel.viewer.runs import Runs
from hardlabel.viewer.server import viewing
from hostile import SORTS, in_time
from records import changed, make_canary_record, make_defend_record, make_recipe_record, make_record

MAKERS = {
    "model": make_record,
    "recipe": make_recipe_record,
    "defenses": make_defend_record,
    "canaries": make_canary_record,
}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run of each kind, as text files: three of them, and a later version of the first."""
    folder = tmp_path_factory.mktemp("place") / "runs"
    for name, maker in MAKERS.items():
        maker().save(folder / name)
    make_record(seed=1).save(folder / "model-v2")
    return folder


@pytest.fixture
def viewer(place, tmp_path):
    with viewing(Runs(place, Store(tmp_path / "store"))) as running:
        yield running


def asked(viewer, path="", *, method="GET", host=None, token=None, headers=None):
    """The status, the headers and the text of an answer; `path` follows the token."""
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    words = {"Host": host or f"127.0.0.1:{viewer.server_port}", **(headers or {})}
    connection.putrequest(method, f"/{viewer.token if token is None else token}/{path}", skip_host=True)
    for name, value in words.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def keys(page):
    """The number of each run in the list, by name."""
    return {name: key for key, name in re.findall(r'<a href="run/([0-9a-f]+)">([^<]*)</a>', page)}


def test_it_listens_on_this_machine_only_at_a_random_address(viewer, place, tmp_path):
    assert viewer.server_address[0] == "127.0.0.1"
    assert len(viewer.token) >= 40
    with viewing(Runs(place, Store(tmp_path / "store"))) as other:
        assert other.token != viewer.token
        assert other.server_port != viewer.server_port


def test_the_list_has_every_run_with_its_verdict_and_opens_its_report(viewer, place):
    status, headers, page = asked(viewer)
    assert status == 200
    assert set(keys(page)) == {*MAKERS, "model-v2"}
    assert page.count(make_record().title) >= 2
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    for name in MAKERS:
        status, headers, report = asked(viewer, f"run/{keys(page)[name]}")
        assert status == 200
        assert 'http-equiv="Content-Security-Policy"' in report
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_report_is_drawn_from_the_record_not_from_a_file_beside_it(viewer, place):
    (place / "model" / "report.html").write_text("an old report")
    _, _, page = asked(viewer)
    _, _, report = asked(viewer, f"run/{keys(page)['model']}")
    assert "an old report" not in report
    assert make_record().results.data in report


def test_the_filter_keeps_rows_with_all_its_words(viewer):
    _, _, page = asked(viewer, "?q=MODEL+finished")
    assert set(keys(page)) == {"model", "model-v2"}
    _, _, page = asked(viewer, "?q=no-such-run")
    assert keys(page) == {}
    assert "No run has these words" in page


def test_two_runs_are_compared_by_their_numbers(viewer):
    _, _, page = asked(viewer)
    known = keys(page)
    status, _, compared = asked(viewer, f"compare?first={known['model']}&second={known['model-v2']}")
    assert status == 200
    assert "model-v2" in compared
    status, _, refused = asked(viewer, f"compare?first={known['model']}&second={known['canaries']}")
    assert status == 422
    assert "must be of one kind" in refused
    assert asked(viewer, f"compare?first={known['model']}")[0] == 404


@pytest.mark.parametrize("token", ["", "x", "A" * 43, "%00", "..", "%ff%fe"])
def test_without_the_token_nothing_is_shown(viewer, token):
    status, _, page = asked(viewer, token=token)
    assert status == 404
    assert "model" not in page
    assert viewer.token not in page


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "evil.example:{port}", "127.0.0.1:{port}.evil.example"])
def test_a_request_to_another_host_is_refused(viewer, host):
    status, _, page = asked(viewer, host=host.format(port=viewer.server_port))
    assert status == 403
    assert "model" not in page


def test_two_hosts_and_none_are_refused(viewer):
    for lines in ("", f"Host: 127.0.0.1:{viewer.server_port}\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", viewer.server_port), timeout=20) as connection:
            connection.sendall(f"GET /{viewer.token}/ HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
            assert b" 403 " in connection.recv(4096).splitlines()[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "WHATEVER"])
def test_only_get_and_head_are_answered(viewer, method):
    assert asked(viewer, method=method)[0] == 405


def test_head_has_no_body(viewer):
    status, headers, text = asked(viewer, method="HEAD")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize(
    "path",
    [
        "run/../../etc/passwd",
        "run/%2e%2e%2f",
        "run//etc/passwd",
        "run/model",
        "run/",
        "etc/passwd",
        "../",
        "run/\\..\\x",
    ],
)
def test_no_address_becomes_a_path(viewer, path, monkeypatch):
    opened = []
    monkeypatch.setattr("hardlabel.viewer.runs.load", lambda folder: opened.append(folder))
    status, _, page = asked(viewer, path)
    assert status == 404
    assert opened == []
    assert "root:" not in page


def test_hostile_names_are_data(tmp_path):
    name = 'x"><script>alert(1)<'  # No slash, so that it can be the name of a folder.
    record = changed(make_record(), data=HOSTILE)
    record.save(tmp_path / "runs" / name)
    record.save(tmp_path / "runs" / "other\x1b[2J\nline")
    with viewing(Runs(tmp_path / "runs", Store(tmp_path / "store"))) as viewer:
        _, _, page = asked(viewer)
        _, _, filtered = asked(viewer, "?q=%22%3E%3Cscript%3Ealert(1)")
        numbers = re.findall(r'href="run/([0-9a-f]+)"', page)
        _, _, compared = asked(viewer, f"compare?first={numbers[0]}&second={numbers[1]}")
    for text in (page, filtered, compared):
        assert "<script>" not in text
        assert "<img" not in text
        assert "\x1b" not in text
    assert "&lt;script&gt;alert(1)" in page


def test_damaged_and_hostile_folders_are_one_row_each(place, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(place / "model", runs / "sound")
    for number, (sort, name) in enumerate(itertools.product(SORTS, ("config.yaml", "results.json", "scores.parquet"))):
        broken = runs / f"broken-{number}"
        shutil.copytree(place / "model", broken)
        (broken / SUMS).unlink()
        (broken / name).unlink()
        SORTS[sort](broken / name)
    with in_time(), viewing(Runs(runs, Store(tmp_path / "store"))) as viewer:
        status, _, page = asked(viewer)
        assert status == 200
        assert page.count('<th scope="row">') == 3 * len(SORTS)  # Settings that are a link to itself are no run.
        known = keys(page)
        assert "sound" in known
        for name, key in known.items():  # What has damaged scores has a verdict, and no report.
            status, _, report = asked(viewer, f"run/{key}")
            assert status == (200 if name == "sound" else 422), (name, report[-400:])


def test_a_fault_of_ours_shows_no_trace(viewer, monkeypatch, capsys):
    def faulty(*_):
        raise RuntimeError("a\nsecret")

    _, _, page = asked(viewer)
    monkeypatch.setattr("hardlabel.viewer.runs.render", faulty)
    status, _, shown = asked(viewer, f"run/{keys(page)['model']}")
    assert status == 500
    assert "secret" not in shown
    assert viewer.token not in capsys.readouterr().err


def test_one_run_is_the_only_one_listed(place, tmp_path):
    with viewing(Runs(place / "canaries", Store(tmp_path / "store"))) as viewer:
        assert set(keys(asked(viewer)[2])) == {"canaries"}


def test_the_command_ends_cleanly_with_ctrl_c(place, tmp_path):
    environment = {**os.environ, "HARDLABEL_STORE": str(tmp_path / "store"), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hardlabel", "view", str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{40,}/", url)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "ended"


def test_a_folder_that_is_none_is_refused(tmp_path, monkeypatch, capsys):
    from commands import called

    code, _, stderr = called("view", tmp_path / "nothing", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 2
    assert len(stderr.strip().splitlines()) == 1
    assert not Path(tmp_path / "nothing").exists()
