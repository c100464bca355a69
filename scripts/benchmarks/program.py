"""Training speed of the workbench, alone: composes an experiment and drives its program.

Takes settings as one JSON argument and prints what it measured as JSON. Timed are blocks of the
length that a run would log at, after a warm-up; compiling, evaluating and recording are not in it.
What else the learner counts is named by `counters`, quantities to paths of its variables.
"""

import json
import math
import sys
import time
from operator import attrgetter
from typing import Any

from workbench.compose import compose_experiment, instantiate
from workbench.core.config import build


def main(settings: dict[str, Any]) -> dict[str, float]:
    experiment = instantiate(compose_experiment(settings["overrides"]))
    runtime = build(experiment.runtime, experiment.seed)
    with runtime.scope():
        assembly = build(experiment.algorithm, **experiment.parts, seed=experiment.seed)

    from workbench.core.program import Program

    program = Program(assembly.learner, runtime, experiment.seed, assembly.feed)
    counters = {
        quantity: attrgetter(path)(assembly.learner)
        for quantity, path in settings["counters"].items()
    }
    units = assembly.learner.units_per_step
    block = max(1, experiment.train.log_every // units)
    warm_up = math.ceil(settings["warm_up"] / units)
    blocks = math.ceil(settings["timed"] / units / block)

    program.run(0, warm_up)
    before = {quantity: int(counter.numpy()) for quantity, counter in counters.items()}
    started = time.perf_counter()
    for index in range(blocks):
        program.run(warm_up + index * block, block)
    seconds = time.perf_counter() - started
    if assembly.feed is not None:
        assembly.feed.close()
    counted = {assembly.learner.unit: blocks * block * units}
    counted |= {
        quantity: int(counter.numpy()) - before[quantity] for quantity, counter in counters.items()
    }
    return {f"{quantity}/s": count / seconds for quantity, count in counted.items()}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
