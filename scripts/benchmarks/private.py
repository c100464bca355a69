"""Training speed and memory of DP-SGD, alone: composes an experiment and drives its program.

Takes settings as one JSON argument and prints what it measured as JSON. Timed are blocks of steps
after a warm-up: drawing lots, gradients, noise and descent.
"""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np

from workbench.compose import compose_experiment, instantiate
from workbench.core.config import build
from workbench.core.program import Program
from workbench.datasets.base import Dataset, Examples
from workbench.models.classifier import classifier
from workbench.privacy.build import learner_on

EXAMPLES = 60_000


def main(overrides: list[str], seconds: float) -> dict[str, float]:
    experiment = instantiate(compose_experiment(overrides))
    runtime = build(experiment.runtime, experiment.seed)
    config = experiment.algorithm
    with runtime.scope():
        data = random_images()
        model = classifier(experiment.network, data.train.features.shape[1:], data.classes, 0)
        learner, _ = learner_on(config, model, data, experiment.privacy)
    learner.account = lambda step: {}
    program = Program(learner, runtime, experiment.seed)
    program.run(0, 5)
    started = time.perf_counter()
    program.run(5, 10)
    block = max(1, round(seconds / 3 * 10 / (time.perf_counter() - started)))
    examples, started = 0.0, time.perf_counter()
    for turn in range(3):
        metrics = program.run(15 + turn * block, block)
        examples += metrics["lot"] * block
    speed = examples / (time.perf_counter() - started)
    return {"examples/s": speed, "peak MiB": peak_memory()}


def random_images() -> Dataset:
    """As many as MNIST has, for no step looks at what is on them."""
    rng = np.random.default_rng(0)
    images = rng.random([EXAMPLES, 28, 28, 1], np.float32)
    labels = rng.integers(0, 10, EXAMPLES, np.int32)
    train = Examples(images, labels)
    return Dataset("random", train, Examples(images[:1000], labels[:1000]), 10)


def peak_memory() -> float:
    """The most that this process has had in memory, in MiB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
