"""The federated suite: rounds of averaging beside TFF, FedJAX, Flower and pfl-research."""

from frame import Case, Side

SPEED = "rounds/s"
PEERS = "peers-federated.txt"
WORKLOADS = {"2nn": "mnist_2nn", "cnn": "mnist_cnn", "lstm": "shakespeare"}
TITLES = {
    "2nn": "a round of MNIST's 2NN: 10 of 100 clients, 600 examples each, B=10, E=1",
    "cnn": "the same round of McMahan's CNN (1.66 million parameters)",
    "lstm": "a round of the next-character LSTM: 10 clients, 100 sequences of 80, B=10, E=1",
}


def ours(workload: str) -> Side:
    overrides = [f"experiment=fedavg/{WORKLOADS[workload]}", "algorithm.client.epochs=1"]
    settings = {"workload": workload, "overrides": overrides, "seconds": 6}
    return Side("workbench", "rounds.py", settings)


def tff(workload: str) -> Side:
    settings = {"workload": workload, "seconds": 8}
    return Side("TFF 0.87.0", "peers/tff_round.py", settings)


def fedjax(workload: str) -> Side:
    settings = {"workload": workload, "seconds": 4}
    return Side("FedJAX 0.0.17", "peers/fedjax_round.py", settings, peers=PEERS)


def flower() -> Side:
    return Side("Flower 1.41.0", "peers/flower_round.py", {"rounds": 15}, peers=PEERS)


def pfl() -> Side:
    return Side("pfl-research 0.6.0", "peers/pfl_round.py", {"rounds": 20}, peers=PEERS)


def beside(workload: str, peer: Side, note: str = "") -> Case:
    return Case(TITLES[workload], sides=(ours(workload), peer), by=SPEED, note=note)


def crowd(clients: int) -> Side:
    """Rounds of 100 clients with five examples on average, who all take five local steps.

    With epochs, the largest client of a round decides; of a million, some are larger.
    """
    overrides = [
        "experiment=fedavg/synthetic",
        f"dataset.clients={clients}",
        "dataset.mean_size=5",
        "dataset.dimension=20",
        "cohort.size=100",
    ]
    overrides += ["algorithm.client.epochs=null", "algorithm.client.steps=5"]
    overrides += ["train.log_every=200"]
    settings = {"overrides": overrides, "counters": {}, "warm_up": 50, "timed": 2000}
    return Side(f"{clients:,} clients", "program.py", settings)


CASES: dict[str, Case] = {
    "tff-2nn": beside("2nn", tff("2nn")),
    "fedjax-2nn": beside("2nn", fedjax("2nn")),
    "flower-2nn": beside("2nn", flower()),
    "pfl-2nn": beside("2nn", pfl(), note="the peer does not shuffle its clients' examples"),
    **{f"tff-{workload}": beside(workload, tff(workload)) for workload in ("cnn", "lstm")},
    **{f"fedjax-{workload}": beside(workload, fedjax(workload)) for workload in ("cnn", "lstm")},
    "ceiling-cnn": Case(
        "McMahan's CNN against a product of two 2048 x 2048 matrices",
        sides=(ours("cnn"), Side("TensorFlow's product", "products.py", {})),
        by="GFLOP/s",
    ),
    "crowd": Case(
        "a round of 100 clients among a million, and among a thousand",
        sides=(crowd(1_000_000), crowd(1_000)),
        by="rounds/s",
    ),
}
