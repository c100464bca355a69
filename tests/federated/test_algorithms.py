"""Every algorithm is the one of its paper: a plain reference takes the same rounds in float64."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from federated import references
from federated.small import ROUNDS, SIZES, client, flat, made, population, trained, visits
from learners import LEARNERS, SMALL_FED, assembled

from workbench.compose import compose_experiment, instantiate
from workbench.core.config import ConfigError
from workbench.core.random import Seed
from workbench.federated.algorithms import base
from workbench.federated.config import (
    FedAvgConfig,
    FedDynConfig,
    FedNovaConfig,
    FedPerConfig,
    FedProxConfig,
    FedSgdConfig,
    MimeConfig,
    MimeLiteConfig,
    OptimizerConfig,
    ScaffoldConfig,
    StragglersConfig,
)
from workbench.federated.learner import FederatedLearner

HALF = StragglersConfig(share=0.5, parts=2)


def expected(reference: Any, learner: FederatedLearner, **settings: Any) -> np.ndarray:
    people = population()
    config = learner.config
    known = SimpleNamespace(
        eta=lambda t: config.client.learning_rate,
        rho=config.client.momentum,
        weighting=config.weighting,
        counts={k: n for k, n in enumerate(SIZES) if n},
        clients=len(SIZES),
        server=references.sgd,
    )
    known.__dict__.update(settings)
    rounds = [visits(learner, people, index) for index in range(ROUNDS)]
    return reference(flat(learner.model.trainable_variables), rounds, known)


def assert_close(found: np.ndarray, truth: np.ndarray) -> None:
    assert np.linalg.norm(found - truth) < 1e-6 * np.linalg.norm(truth)


ADAM = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-3}


def adaptive(kind: str, **settings: Any) -> FedAvgConfig:
    return FedAvgConfig(client=client(), server=OptimizerConfig(kind, **settings))


def like_adam(**settings: Any) -> SimpleNamespace:
    return SimpleNamespace(**(ADAM | settings))


CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "fed-sgd": (FedSgdConfig(client=client()), references.fed_sgd, {}),
    "fed-avg": (FedAvgConfig(client=client()), references.fed_avg, {}),
    "fed-avg-uniform": (
        FedAvgConfig(client=client(), weighting="uniform"),
        references.fed_avg,
        {},
    ),
    "fed-avg-momentum": (FedAvgConfig(client=client(momentum=0.5)), references.fed_avg, {}),
    "fed-avg-decayed": (
        FedAvgConfig(client=client(schedule="exponential", decay=0.7)),
        references.fed_avg,
        {"eta": lambda t: 0.2 * 0.7**t},
    ),
    "fed-avgm": (
        adaptive("sgd", learning_rate=0.3, momentum=0.9),
        references.fed_avg,
        {"server": lambda: references.sgd(0.3, 0.9)},
    ),
    "fed-adagrad": (
        adaptive("adagrad", learning_rate=0.1, initial_accumulator=0.01, epsilon=1e-3),
        references.fed_avg,
        {"server": lambda: references.adagrad(0.1, 0.01, 1e-3)},
    ),
    "fed-adam": (
        adaptive("adam", learning_rate=0.03, **ADAM),
        references.fed_avg,
        {"server": lambda: references.adam(like_adam(eta_s=0.03))},
    ),
    "fed-yogi": (
        adaptive("yogi", learning_rate=0.03, initial_accumulator=1e-4, **ADAM),
        references.fed_avg,
        {"server": lambda: references.adam(like_adam(eta_s=0.03), yogi=True, start=1e-4)},
    ),
    "fed-prox": (FedProxConfig(client=client(), mu=0.5), references.fed_prox, {"mu": 0.5}),
    "scaffold": (
        ScaffoldConfig(client=client(), server=OptimizerConfig(learning_rate=0.8)),
        references.scaffold,
        {"control": "steps", "eta_g": 0.8},
    ),
    "scaffold-gradient": (
        ScaffoldConfig(client=client(), control="gradient"),
        references.scaffold,
        {"control": "gradient", "eta_g": 1.0},
    ),
    "scaffold-momentum": (
        ScaffoldConfig(client=client(momentum=0.8)),
        references.scaffold,
        {"control": "steps", "eta_g": 1.0, "rho": 0.8},
    ),
    "scaffold-decayed": (
        ScaffoldConfig(client=client(schedule="exponential", decay=0.7)),
        references.scaffold,
        {"control": "steps", "eta_g": 1.0, "eta": lambda t: 0.2 * 0.7**t},
    ),
    "scaffold-examples": (
        ScaffoldConfig(client=client(), weighting="examples"),
        references.scaffold,
        {"control": "steps", "eta_g": 1.0},
    ),
    "fed-nova": (FedNovaConfig(client=client()), references.fed_nova, {"mu": 0}),
    "fed-nova-momentum": (
        FedNovaConfig(client=client(momentum=0.9, learning_rate=0.05)),
        references.fed_nova,
        {"mu": 0},
    ),
    "fed-nova-proximal": (
        FedNovaConfig(client=client(), mu=0.5),
        references.fed_nova,
        {"mu": 0.5},
    ),
    "fed-nova-both": (
        FedNovaConfig(client=client(momentum=0.5), mu=0.5),
        references.fed_nova,
        {"mu": 0.5},
    ),
    "mime": (MimeConfig(client=client(momentum=0.6)), references.mime, {"lite": False}),
    "mime-few-steps": (  # of fewer batches than a client has, whose gradient is of all of them
        MimeConfig(client=client(epochs=None, steps=2)),
        references.mime,
        {"lite": False},
    ),
    "mime-lite": (MimeLiteConfig(client=client(momentum=0.6)), references.mime, {"lite": True}),
    "mime-lite-adam": (
        MimeLiteConfig(client=client(optimizer="adam", learning_rate=0.01, **ADAM)),
        references.mime_lite_adam,
        ADAM | {"eta_s": 0.01},
    ),
    "fed-dyn": (FedDynConfig(client=client(), alpha=0.3), references.fed_dyn, {"alpha": 0.3}),
    "fed-per": (FedPerConfig(client=client()), references.fed_per, {}),
}


def result(learner: FederatedLearner) -> np.ndarray:
    """What a reference returns: the server's model, or of FedPer its base and all heads."""
    weights = trained(learner)
    if not isinstance(learner.config, FedPerConfig):
        return weights
    heads = zip(*(variable.numpy() for variable in learner._algorithm.kept), strict=True)
    return flat([*learner._algorithm.x, *(w for head in heads for w in head)])


EXECUTIONS = [(case, "batched") for case in CASES]
EXECUTIONS += [
    (case, "mapped") for case in ("fed-sgd", "fed-avgm", "fed-prox", "scaffold-gradient")
]
EXECUTIONS += [(case, "mapped") for case in ("fed-nova-both", "mime", "mime-lite-adam", "fed-dyn")]
EXECUTIONS += [("fed-per", "mapped"), ("scaffold", "sequential")]


@pytest.mark.parametrize(("case", "execution"), EXECUTIONS)
def test_algorithm_is_its_paper_s_however_a_cohort_is_gone_through(case, execution):
    config, reference, settings = CASES[case]
    learner = made(config, execution)
    truth = expected(reference, learner, **settings)
    assert_close(result(learner), truth)


# Operations that read variables; with one in it, no client starts before the one before has ended.
READS = {"ReadVariableOp", "ResourceGather"}
SIDE_BY_SIDE = ["mime", "scaffold", "fed-per", "fed-client-dp-adaptive", "fed-distributed-dp"]


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_mapped_clients_run_side_by_side(name):
    learner = assembled([*LEARNERS[name], "engine.execution=mapped"]).learner

    def work(index: tf.Tensor) -> Any:
        return learner.train_step(Seed(0, index)), learner.evaluate(Seed(0, index))

    traced = tf.function(work, autograph=False).get_concrete_function(tf.constant(0, tf.int64))
    functions = traced.graph.as_graph_def().library.function
    groups = [f for f in functions if "group" in f.signature.name]
    assert groups
    assert not any(READS & {node.op for node in f.node_def} for f in groups)
    assert not any(f.signature.is_stateful for f in groups)


@pytest.mark.parametrize("case", ["fed-avg", "scaffold", "fed-nova-momentum", "fed-per"])
def test_stragglers_take_a_part_of_their_steps(case):
    config, reference, settings = CASES[case]
    learner = made(config, stragglers=HALF)
    truth = expected(reference, learner, **settings)
    assert np.linalg.norm(truth - expected(reference, made(config), **settings)) > 1e-3
    assert_close(result(learner), truth)


@pytest.mark.parametrize(
    ("name", "optimizer", "momentum"),
    [
        ("fed_avgm", "sgd", 0.9),
        ("fed_adagrad", "adagrad", 0),
        ("fed_adam", "adam", 0),
        ("fed_yogi", "yogi", 0),
    ],
)
def test_server_s_optimizer_is_a_choice_of_algorithm(name, optimizer, momentum):
    algorithm = instantiate(compose_experiment([*SMALL_FED, f"algorithm={name}"])).algorithm
    assert (algorithm.server.optimizer, algorithm.server.momentum) == (optimizer, momentum)
    assert algorithm.client.optimizer == "sgd"


def test_fed_prox_without_its_term_is_fed_avg():
    found = trained(made(FedProxConfig(client=client(), mu=0.0)))
    np.testing.assert_array_equal(found, trained(made(FedAvgConfig(client=client()))))


def test_fed_avg_of_one_step_on_all_data_is_fed_sgd():
    whole = client(epochs=1, batch_size=None)
    everyone = sum(size > 0 for size in SIZES)
    found = trained(made(FedAvgConfig(client=whole), cohort=everyone))
    assert_close(found, trained(made(FedSgdConfig(client=client()), cohort=everyone)))


def test_fed_sgd_with_everyone_is_gradient_descent_on_all_data():
    learner = made(FedSgdConfig(client=client()), cohort=5)
    w, people = flat(learner.model.trainable_variables), population()
    for _ in range(ROUNDS):
        w = w - 0.2 * references.grad(w, (people.train.features, people.train.labels))
    assert_close(trained(learner), w)


def test_scaffold_begins_as_fed_avg():
    plain = trained(made(FedAvgConfig(client=client(), weighting="uniform")), rounds=1)
    assert_close(trained(made(ScaffoldConfig(client=client())), rounds=1), plain)
    later = trained(made(FedAvgConfig(client=client(), weighting="uniform")))
    assert np.linalg.norm(trained(made(ScaffoldConfig(client=client()))) - later) > 1e-3


def test_fed_nova_is_fed_avg_where_all_take_as_many_steps():
    alike = client(epochs=None, steps=5, momentum=0.5)
    found = trained(made(FedNovaConfig(client=alike)))
    assert_close(found, trained(made(FedAvgConfig(client=alike))))


def test_mime_of_one_client_and_whole_batches_is_mime_lite_of_it():
    whole = client(epochs=3, batch_size=None, momentum=0.5)
    found = trained(made(MimeConfig(client=whole), cohort=1))
    assert_close(found, trained(made(MimeLiteConfig(client=whole), cohort=1)))


def test_heads_are_never_sent():
    learner = made(FedPerConfig(client=client()))
    before = [v.numpy() for v in learner.model.trainable_variables]
    trained(learner)
    after = [v.numpy() for v in learner.model.trainable_variables]
    assert not np.array_equal(before[0], after[0])
    for head in (2, 3):
        np.testing.assert_array_equal(before[head], after[head])
    absent = SIZES.index(0)
    np.testing.assert_array_equal(learner._algorithm.kept[0][absent], before[2])


@pytest.mark.parametrize("config", [ScaffoldConfig(client=client()), FedDynConfig(client=client())])
def test_what_is_kept_for_a_client_stays_where_its_update_is_not_finite(config):
    people = population()
    people.train.features[: SIZES[0]] = np.nan
    learner = made(config, people=people, cohort=5)
    weights = trained(learner, rounds=2)
    kept = learner._algorithm.kept[0].numpy()
    assert np.isfinite(weights).all()
    assert np.isfinite(kept).all()
    assert not kept[0].any()
    assert kept[1].any()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm=fed_prox", "algorithm.mu=-1"], "algorithm.mu=-1"),
        (["algorithm=fed_nova", "algorithm.mu=-1"], "algorithm.mu=-1"),
        (["algorithm=fed_dyn", "algorithm.alpha=0"], "algorithm.alpha=0"),
        (["algorithm=fed_per", "algorithm.personal=0"], "algorithm.personal=0"),
        (
            ["algorithm=fed_per", "algorithm.personal=2"],
            "algorithm.personal=2 leaves none of the model's 2 layers to share; lower it",
        ),
        (["algorithm=scaffold", "algorithm.control=step"], "did you mean steps?"),
        (["algorithm=scaffold", "algorithm.client.optimizer=adam"], "take sgd"),
        (["algorithm=fed_nova", "algorithm.client.optimizer=adam"], "client.optimizer=adam"),
        (["algorithm=scaffold", "cohort.replacement=true"], "cohort.replacement=true"),
        (["algorithm=fed_per", "cohort.replacement=true"], "cohort.replacement=true"),
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides, message):
    with pytest.raises(ConfigError) as error:
        assembled([*SMALL_FED, *overrides])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_more_clients_than_can_be_kept_are_refused_before_memory_is_taken():
    with pytest.raises(ConfigError) as error:
        base.for_each_client([tf.zeros([200, 1000]), tf.zeros([10])], clients=1_000_000)
    assert str(error.value) == (
        "weights kept for each of 1000000 clients are 745 GiB, above 8; lower partition.clients, "
        "or take an algorithm that keeps none, such as fed_avg"
    )
