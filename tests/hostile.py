"""Damages and hostile files, for tests of what reads a run folder or a store."""

import contextlib
import os
import random
import signal
import socket
from pathlib import Path

SECONDS = 30.0  # A shared machine is slow; a reader that blocks needs forever.


@contextlib.contextmanager
def in_time():
    """Fails if the block does not end within SECONDS."""

    def late(number, frame):
        raise AssertionError(f"it took more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def damages(sound: bytes, count: int, seed: int = 0):
    """Damaged versions of a file: of each three, one has a bit flipped, one is cut, one has two bytes swapped."""
    draw = random.Random(seed)
    for number in range(count):
        while True:
            damaged = bytearray(sound)
            first, second = draw.randrange(len(sound)), draw.randrange(len(sound))
            if number % 3 == 0:
                damaged[first] ^= 1 << draw.randrange(8)
            elif number % 3 == 1:
                del damaged[first:]
            else:
                damaged[first], damaged[second] = damaged[second], damaged[first]
            if damaged != sound:
                break
        yield bytes(damaged)


def replaced(path: Path, content: bytes) -> None:
    """A new file in place of the old one: what is mapped must not change below a reader."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # Names of sockets are short.
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def _bomb(path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path.write_text("\n".join(lines))


# What may stand in place of a file.
SORTS = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "socket": _socket,
    "loop": lambda path: path.symlink_to(path.name),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "huge sparse file": _sparse,
    "deep JSON": lambda path: path.write_text('{"a":' * 200_000),
    "deep YAML": lambda path: path.write_text("- " * 40_000),
    "alias bomb": _bomb,
    "merged aliases": lambda path: path.write_text(
        "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 40))
    ),
    "loop of aliases": lambda path: path.write_text("a: &a [*a]"),
    "large number": lambda path: path.write_text("a: 0x" + "f" * 9000),
    "nothing": lambda path: path.write_bytes(b""),
    "no text": lambda path: path.write_bytes(bytes(range(256)) * 10),
    "list": lambda path: path.write_text("[]"),
}
