"""Processes beside others: workers go with their parent, and threads that wait leave the processors alone."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import pytest

from commands import left_after, marked
from hardlabel import processes
from hardlabel.executors import Local


def test_a_worker_whose_parent_was_killed_while_it_started_goes_at_once():
    script = "import os; from hardlabel.processes import begin_worker; begin_worker({}, True); print('lives')"
    for parent, lives in (("os.getppid()", True), ("os.getppid() + 1", False)):
        done = subprocess.run(
            [sys.executable, "-c", script.format(parent)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == ((0, "lives\n") if lives else (1, "")), done.stderr


@pytest.mark.parametrize(
    ("main", "moments"),
    [
        pytest.param(True, (0.0, 6.0), id="started by the main thread"),
        pytest.param(False, (0.3, 1.0), id="started by another thread"),
    ],
)
def test_workers_go_with_their_parent_whatever_they_are_doing(tmp_path, main, moments):
    """Killed while its workers start, at moments from the first on; one worker's work holds Python's lock for good."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import threading
            from hardlabel.executors import Local

            def work(common, item):
                import ctypes, time
                if item and {main}:
                    ctypes.PyDLL(None).sleep(600)
                time.sleep(600)

            def run():
                list(Local(processes=2).run(work, None, [0, 1], long=True))

            if {main}:
                run()
            else:
                thread = threading.Thread(target=run)
                thread.start()
                thread.join()
            """
        )
    )
    for moment in moments:
        mark = f"{tmp_path.name}-{moment}"
        process = subprocess.Popen([sys.executable, script], env={**os.environ, "HARDLABEL_TEST_MARK": mark})
        while process.poll() is None and len(marked(mark)) < 2:  # Joblib's trackers and workers.
            time.sleep(0.02)
        time.sleep(moment)
        process.kill()
        process.wait()
        assert left_after(20, mark) == [], moment


def test_a_worker_outlives_a_thread_that_ends(tmp_path):
    """Joblib keeps workers for the next run. Linux tells them of the end of the thread that started them."""
    script = textwrap.dedent(
        """
        import os, threading
        from hardlabel.executors import Local

        def work(common, item):
            import os, time
            time.sleep(0.2)
            return os.getpid()

        found = []
        def run():
            found.append({process for _, process in Local(processes=2).run(work, None, range(8), long=True)})

        for _ in range(2):
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()
        print(found[0] == found[1] and len(found[0]) == 2)
        """
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


def test_idle_threads_of_workers_sleep_unless_the_user_chose(monkeypatch):
    def work(common, item):
        import os

        return os.environ.get("OMP_WAIT_POLICY"), os.environ.get("GOMP_SPINCOUNT")

    for variable in processes.TOLD:
        monkeypatch.delenv(variable, raising=False)
    assert {found for _, found in Local(processes=2).run(work, None, [0, 1], long=True)} == {("PASSIVE", None)}
    assert "OMP_WAIT_POLICY" not in os.environ  # A library call changes nothing here.
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    assert {found for _, found in Local(processes=2).run(work, None, [0, 1], long=True)} == {(None, "7")}


@pytest.mark.parametrize("of_sigterm", [signal.SIG_DFL, lambda number, frame: None], ids=["ours", "of somebody else"])
def test_an_interrupt_that_python_drops_is_raised_again(of_sigterm):
    class Deleted:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    # Whoever ran before may have left others: a shell's background ignores SIGINT, Ray handles SIGTERM.
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, of_sigterm)
    try:
        with processes.INTERRUPTS.caught():
            processes.INTERRUPTS.check()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pytest tells of what Python dropped.
                thing = Deleted()
                del thing
            with pytest.raises(KeyboardInterrupt):
                processes.INTERRUPTS.check()
        processes.INTERRUPTS.check()
    finally:
        after = signal.signal(signal.SIGINT, before[0]), signal.signal(signal.SIGTERM, before[1])
    assert after == (signal.default_int_handler, of_sigterm)


def test_an_interrupt_inside_of_steps_that_belong_together_comes_after_them():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = []
    try:
        with processes.INTERRUPTS.caught():
            with pytest.raises(KeyboardInterrupt), processes.INTERRUPTS.held():  # noqa: PT012 (The moment is the test.)
                with processes.INTERRUPTS.held():
                    signal.raise_signal(signal.SIGINT)
                    steps.append("written down")
                steps.append("sent")
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            with pytest.raises(ValueError, match="of the step"), processes.INTERRUPTS.held():
                raise ValueError("of the step")
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps == ["written down", "sent"]


def test_another_threads_steps_hold_no_interrupt_up():
    """Python runs handlers in the main thread: a block elsewhere must not make it miss one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    inside, go_on = threading.Event(), threading.Event()

    def work():
        with processes.INTERRUPTS.held():
            inside.set()
            go_on.wait(10)

    thread = threading.Thread(target=work)
    try:
        with processes.INTERRUPTS.caught():
            thread.start()
            assert inside.wait(10)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        go_on.set()
        thread.join()
        signal.signal(signal.SIGINT, before)
