"""The replicas suite: two logical CPUs beside one device, the same global batch."""

from dqn import CLEANRL_EPSILON, workbench
from frame import Case, Side

NOTE = "logical CPUs share the cores that the one device has to itself"


def supervised(kind: str, title: str) -> Case:
    sides = [
        Side(f"{count} replicas", "supervised.py", {"kind": kind, "replicas": count})
        for count in (2, 1)
    ]
    return Case(title, sides=sides, by="steps/s", note=NOTE)


def smallest_step(*overrides: str, name: str) -> Side:
    return workbench(
        "experiment=dqn/cartpole",
        *overrides,
        epsilon=CLEANRL_EPSILON,
        warm_up=11_000,
        timed=100_000,
        name=name,
    )


CASES: dict[str, Case] = {
    "cnn": supervised("cnn", "an MNIST-sized convolutional network, batch 512"),
    "mlp": supervised("mlp", "an MNIST-sized dense network, batch 512"),
    "rows": supervised("rows", "logistic regression's sums over 200,000 rows by 50"),
    "dqn": Case(
        "CleanRL's DQN on CartPole, whose step takes a tenth of a millisecond",
        sides=(
            smallest_step(
                "runtime=mirrored",
                "runtime.device=cpu",
                "runtime.replicas=2",
                name="2 replicas",
            ),
            smallest_step(name="1 replica"),
        ),
        by="environment steps/s",
        note=NOTE,
    ),
    "sum": Case(
        "one sum over two replicas of a vector of 10,000 numbers, and nothing else",
        sides=[Side("2 replicas", "supervised.py", {"kind": "sum", "replicas": 2})],
        by="steps/s",
    ),
}
