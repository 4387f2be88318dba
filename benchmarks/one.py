"""One measurement in a process of its own: python one.py TASK TARGET, both JSON or a path; prints JSON.

A process of its own, so that memory, caches and the allocator's state are the tool's alone.
"""

import json
import sys
from pathlib import Path

from settings import Task


def main() -> None:
    task, path = Task(**json.loads(sys.argv[1])), Path(sys.argv[2])

    import torch
    from targets import load as load_target
    from tools import run

    from hardlabel import keep_memory

    if task.allocator == "kept":
        keep_memory()
    torch.set_num_threads(task.threads)
    target = load_target(path, torch.device(task.device))
    print(json.dumps(run(task, target)))


if __name__ == "__main__":
    main()
