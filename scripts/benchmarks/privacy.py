"""The privacy suite: DP-SGD beside Opacus and TensorFlow Privacy, and what privacy costs."""

from collections.abc import Sequence

from frame import Case, Side

SPEED = "examples/s"
NOTE = "ours draws Poisson lots of 256 on average, the peer takes lots of exactly 256"


def ours(*overrides: str, network: str = "mnist_cnn", private: bool = True) -> Side:
    name = "workbench" if private else "workbench, not private"
    settings = [
        "experiment=dp_sgd/mnist",
        f"network={network}",
        f"privacy.enabled={str(private).lower()}",
        *overrides,
    ]
    return Side(name, "private.py", {"overrides": settings, "seconds": 6})


def opacus(mode: str) -> Side:
    settings = {"mode": mode, "batch": 256, "clip": 1.5, "noise": 1.3, "seconds": 4}
    script = "peers/opacus_dpsgd.py"
    return Side(f"Opacus 1.6.0, {mode}", script, settings, peers="peers-privacy.txt")


def tf_privacy(mode: str, steps: int) -> Side:
    settings = {"mode": mode, "batch": 256, "clip": 1.5, "noise": 1.3, "steps": steps}
    return Side(f"TF Privacy 0.9.0, {mode}", "peers/tf_privacy_dpsgd.py", settings)


def beside(peer: Side) -> Case:
    title = "DP-SGD on the tutorial's MNIST CNN, lots of 256, flat clipping"
    return Case(title, sides=(ours(), peer), by=SPEED, note=NOTE)


def cost(title: str, *overrides: str, network: str, by: str = SPEED) -> Case:
    sides = [ours(*overrides, network=network, private=private) for private in (True, False)]
    return Case(title, sides=sides, by=by)


MLP: Sequence[str] = ["network.layers=[256,256]"]
CASES: dict[str, Case] = {
    **{f"opacus-{mode}": beside(opacus(mode)) for mode in ("hooks", "functorch", "ghost")},
    "tf-privacy-fast": beside(tf_privacy("fast", 100)),
    "tf-privacy-plain": beside(tf_privacy("plain", 100)),
    "tf-privacy-xla": beside(tf_privacy("xla", 60)),
    "tf-privacy-optimizer": beside(tf_privacy("optimizer", 6)),
    "cost-cnn": cost("what privacy costs: the tutorial's CNN", network="mnist_cnn"),
    "cost-mlp": cost("what privacy costs: 256-256", *MLP, network="mlp"),
    "cost-lstm": cost("what privacy costs: an LSTM over 28 rows", network="lstm"),
    "memory": cost(
        "memory of a step with a lot of 4096 on the tutorial's CNN",
        "algorithm.batch_size=4096",
        network="mnist_cnn",
        by="peak MiB",
    ),
}
