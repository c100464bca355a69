"""Wall time of the whole `workbench` command, from the shell to the summary.

Takes settings as one JSON argument and prints seconds as JSON: the shell's, and where the run's
own summary says that they went.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKBENCH = Path(__file__).parents[1] / "workbench"


def main(settings: dict[str, Any]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        command = [str(WORKBENCH), *settings["overrides"], f"run.dir={folder}"]
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"workbench exited with status {done.returncode}")
        summary = json.loads((folder / "summary.json").read_text())
    spent = {f"s {phase}": seconds for phase, seconds in summary["seconds"].items()}
    return {"s from shell to prompt": wall, **spent}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
