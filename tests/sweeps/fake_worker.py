"""Stands in for `workbench.sweeps.worker`: a cell does at once what its experiment's name says."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

COMPLETE = {"steps": 10, "unit": "steps", "seconds": {"total": 1.5, "train": 1.0}}


def run(sweep, cell):
    config = yaml.safe_load((sweep / "configs" / f"{cell}.yaml").read_text())
    folder = sweep / cell
    folder.mkdir(exist_ok=True)
    with (folder / "starts.txt").open("a") as starts:  # a line for every time that it ran
        starts.write(f"{os.getpid()}\n")
    begun = folder / "config.yaml"
    again = begun.exists()
    begun.write_text(yaml.safe_dump(config))
    kind, value = config["name"], config["algorithm"]["gamma"]
    if kind == "dies" and not again:
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exits":
        sys.exit("no room left on the moon")
    if kind == "refuses":
        return end(folder, None, note="runtime.device=gpu is not on this machine")
    if kind == "fails":
        other = sweep / "name=waits" / "config.yaml"
        while (sweep / "configs" / "name=waits.yaml").exists() and not other.exists():
            time.sleep(0.01)  # until what is to be stopped runs
        return end(folder, "failed", error="loss is not finite")
    if kind == "waits" and not again:
        while not HEARD and os.getppid() == PARENT:
            time.sleep(0.01)
        return end(folder, "preempted", last=True, stopped_by=HEARD[0].name if HEARD else "")
    records = [{"step": 5, "evaluate/return": value}, {"step": 10, "evaluate/return": value - 1}]
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "metrics.jsonl").write_text(text + '{"step": 15, "evalua')  # cut off
    return end(folder, "finished", metrics={"evaluate/return": value - 1, "train/loss": value})


def end(folder, status, note="", last=False, **summary):
    if status is not None:
        (folder / "summary.json").write_text(json.dumps(COMPLETE | {"status": status} | summary))
    return {"note": note, "last": last}


if __name__ == "__main__":
    HEARD, PARENT = [], os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: HEARD.append(signal.Signals(number)))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    for line in sys.stdin:
        print(json.dumps(run(Path(sys.argv[1]), line.strip())), flush=True)
