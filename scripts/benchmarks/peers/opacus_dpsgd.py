"""DP-SGD of Opacus on the tutorial's MNIST CNN, alone: run by the peers' own Python.

Takes settings as one JSON argument and prints what it measured as JSON. It gets what makes it
fastest: examples in memory, lots of one size (no Poisson sampling), and the better of one thread
and all cores. Timed are whole steps: gather, forward, backward, clip, noise, descend.
"""

import json
import os
import sys
import time

import torch
from opacus import GradSampleModule
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

EXAMPLES = 60_000


def network() -> nn.Module:
    # "Same" padding of a stride of 2 is (3, 3) for 28 pixels and a window of 8.
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2),
        nn.ReLU(),
        nn.MaxPool2d(2, 1),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def stepper(mode: str, batch: int, clip: float, noise: float):
    """A function that takes one step."""
    torch.manual_seed(0)
    images, labels = torch.rand(EXAMPLES, 1, 28, 28), torch.randint(0, 10, (EXAMPLES,))
    common = {"noise_multiplier": noise, "max_grad_norm": clip, "expected_batch_size": batch}
    if mode == "ghost":
        model = GradSampleModuleFastGradientClipping(
            network(), max_grad_norm=clip, use_ghost_clipping=True
        )
        sgd = torch.optim.SGD(model.parameters(), lr=0.25)
        optimizer = DPOptimizerFastGradientClipping(sgd, **common)
        cross_entropy = nn.CrossEntropyLoss(reduction="mean")
        criterion = DPLossFastGradientClipping(model, optimizer, cross_entropy, "mean")
    else:
        model = GradSampleModule(network(), force_functorch=mode == "functorch")
        optimizer = DPOptimizer(torch.optim.SGD(model.parameters(), lr=0.25), **common)
        criterion = nn.CrossEntropyLoss()

    def step() -> None:
        rows = torch.randint(0, EXAMPLES, (batch,))
        optimizer.zero_grad()
        criterion(model(images[rows]), labels[rows]).backward()
        optimizer.step()

    return step


def main(mode: str, batch: int, clip: float, noise: float, seconds: float) -> dict[str, float]:
    speeds = {}
    for threads in (1, len(os.sched_getaffinity(0))):
        torch.set_num_threads(threads)
        step = stepper(mode, batch, clip, noise)
        for _ in range(5):
            step()
        steps, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            step()
            steps += 1
        speeds[threads] = steps * batch / (time.perf_counter() - started)
    threads = max(speeds, key=speeds.__getitem__)
    return {"examples/s": speeds[threads], "torch threads": threads}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
