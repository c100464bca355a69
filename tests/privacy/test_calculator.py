"""`workbench epsilon`: what it prints for numbers and for an experiment, and what it refuses."""

import re
from dataclasses import replace

import pytest

from workbench.cli import main
from workbench.core.config import ConfigError
from workbench.datasets.config import DigitsConfig
from workbench.privacy.accounting import Accountant
from workbench.privacy.calculator import of_experiment, of_numbers, parse
from workbench.privacy.config import DpSgdConfig, PrivacyConfig
from workbench.privacy.mechanism import Mechanism, Poisson
from workbench.schema import ExperimentConfig

MNIST = ["examples=60000", "batch=256"]
SMALL = ["examples=1000", "batch=50", "delta=1e-4"]


def printed(arguments, capsys):
    assert main(["epsilon", *arguments]) == 0
    text = capsys.readouterr().out
    table, _, words = text.partition("\n\n")
    rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in table.splitlines())
    return rows, words


@pytest.mark.parametrize(
    ("noise", "epochs", "steps", "rdp", "pld"),
    [
        ("1.3", 15, 3516, "0.955", "0.869"),
        ("1.1", 60, 14063, "2.597", "2.391"),
        ("0.7", 45, 10547, "6.373", "5.643"),
    ],
)
def test_the_published_rows(noise, epochs, steps, rdp, pld, capsys):
    rows, words = printed([*MNIST, f"noise={noise}", f"epochs={epochs}"], capsys)
    assert (rows["ε by RDP"], rows["ε by PLD"]) == (rdp, pld)
    assert rows["noise multiplier"] == f"{float(noise):g}"
    assert rows["steps"] == f"{steps} ({epochs} epochs)"
    assert words.startswith(f"After {steps} steps, training is (ε = {pld[:-1]}")


def test_the_accountant_that_is_chosen_is_the_one_that_is_stated(capsys):
    rows, words = printed([*MNIST, "noise=1.3", "steps=3516", "accountant=rdp"], capsys)
    assert next(iter(rows)) == "ε by RDP"
    assert "(ε = 0.9546," in words


def test_noise_for_epsilon_steps_for_epsilon_and_back(capsys):
    rows, _ = printed([*SMALL, "epsilon=2", "steps=400"], capsys)
    noise = rows["noise multiplier"].removesuffix(" (found)")
    assert noise != rows["noise multiplier"]
    rows, _ = printed([*SMALL, f"noise={noise}", "steps=400"], capsys)
    assert 1.99 < float(rows["ε by PLD"]) <= 2
    rows, _ = printed([*SMALL, f"noise={noise}", "epsilon=2"], capsys)
    assert 400 <= int(rows["steps"].split()[0]) <= 404
    assert rows["steps"].endswith("(found)")


def test_with_noise_epsilon_and_a_length_training_ends_with_the_first_that_is_used_up():
    both = [*SMALL, "noise=1", "epsilon=2"]
    affordable = of_numbers(parse(both)).steps
    assert of_numbers(parse([*both, "steps=10"])).steps == 10
    assert of_numbers(parse([*both, "steps=100000"])).steps == affordable


def test_epochs_of_shuffled_batches_are_whole_batches():
    shuffled = ["examples=103", "batch=10", "noise=8", "sampling=shuffled", "adjacency=zero_out"]
    assert of_numbers(parse([*shuffled, "epochs=3"])).steps == 30
    assert of_numbers(parse(["examples=103", "batch=10", "noise=8", "epochs=3"])).steps == 31


def test_all_of_a_mechanism_can_be_said(capsys):
    said = (
        "noise=2 steps=100 sampling=truncated capacity=90 schedule=linear end=0.5 stages=4 "
        "count_noise=10 before=8,16 adjacency=replace_one"
    )
    rows, words = printed([*SMALL, *said.split()], capsys)
    assert rows["sampling"] == "Poisson, 50 of 1000 examples, at most 90"
    assert rows["ε by RDP"].startswith("not proven")
    assert float(rows["on the sum alone"].split()[0]) > 1
    assert "noise_multiplier=16.0" in words
    said = "noise=9 epochs=2 sampling=shuffled adjacency=zero_out mechanism=tree"
    _, words = printed([*SMALL, *said.split()], capsys)
    assert "DP-FTRL" in words


def test_a_large_delta_is_warned_of(capsys):
    _, words = printed([*SMALL, "noise=2", "steps=10"], capsys)
    assert "warning" not in words
    _, words = printed([*SMALL[:2], "delta=0.001", "noise=2", "steps=10"], capsys)
    assert words.startswith("warning: delta=0.001 is not below 1/1000")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "epsilon needs examples=N"),
        (["exampels=3"], "did you mean examples?"),
        (MNIST, "two of noise=, epsilon= and steps="),
        ([*MNIST, "noise=1"], "two of noise=, epsilon= and steps="),
        ([*MNIST, "noise"], "noise has no value"),
        ([*MNIST, "noise=loud"], "noise=loud is not a number"),
        (["examples=many"], "examples=many is not a whole number"),
        ([*MNIST, "noise=nan", "steps=1"], "noise=nan is out of range"),
        ([*MNIST, "epsilon=inf", "steps=1"], "epsilon=inf is out of range"),
        ([*MNIST, "noise=1", "steps=1", "delta=0"], "delta=0.0 is out of range"),
        ([*MNIST, "noise=1", "steps=1", "epochs=1"], "steps and epochs are both given"),
        ([*MNIST, "noise=1", "steps=1", "sampling=shufled"], "did you mean shuffled?"),
        ([*MNIST, "noise=1", "steps=1", "sampling=shuffled"], "choose adjacency=zero_out"),
        ([*MNIST, "noise=1", "steps=1", "mechanism=tree"], "choose sampling.kind=shuffled"),
        (
            [*MNIST, "noise=1", "steps=1", "capacity=300"],
            "sampling=poisson has no capacity; choose truncated",
        ),
        ([*MNIST, "epsilon=0.3", "steps=9", "before=8"], "private preprocessing alone takes"),
        ([*MNIST, "epsilon=0.001", "noise=1"], "does not pay for one step"),
        ([*MNIST, "noise=1", "steps=9", "count_noise=0.1"], "count_noise=0.1 is too small"),
        ([*MNIST, "epsilon=1", "steps=9999", "count_noise=0.3"], "count_noise=0.3 is too small"),
        (["examples=100", "batch=256", "noise=1", "steps=1"], "exceeds the 100 examples"),
        (["experiment=dqn/cartpole"], "no privacy to account for"),
        (["experiment=dqn/cartpol"], "did you mean dqn/cartpole?"),
    ],
)
def test_bad_input_gets_one_line(arguments, said, capsys):
    assert main(["epsilon", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def experiment(privacy, steps=300):
    return ExperimentConfig(
        algorithm=DpSgdConfig(batch_size=64, steps=steps),
        dataset=DigitsConfig(),
        features=object(),
        network=object(),
        privacy=privacy,
    )


def test_an_experiment_is_accounted_to_the_end_of_its_budget():
    mechanism = Mechanism(Poisson(DigitsConfig().examples, 64), 1.5)
    truth = Accountant().epsilon(mechanism, 300, 1e-5)
    training = of_experiment(experiment(PrivacyConfig(noise_multiplier=1.5)))
    assert (training.mechanism, training.steps, training.epsilon) == (mechanism, 300, truth)


def test_an_experiments_noise_is_found_for_the_steps_it_names():
    config = PrivacyConfig(noise_multiplier=None, epsilon=2.0, steps=500)
    whole = of_experiment(experiment(config, steps=500))
    assert whole.found == "noise"
    assert 1.99 < whole.epsilon <= 2.0
    half = of_experiment(experiment(config, steps=250))
    assert (half.mechanism, half.steps) == (whole.mechanism, 250)
    longer = of_experiment(experiment(config, steps=1000))
    assert 500 <= longer.steps <= 504  # where the budget is spent
    assert longer.found == "steps"


def test_an_experiment_without_privacy_is_told_so():
    with pytest.raises(ConfigError, match=r"privacy\.enabled=false"):
        of_experiment(experiment(PrivacyConfig(enabled=False)))


def test_an_experiments_private_preprocessing_is_counted():
    class Features:
        noise_multipliers = (4.0,)

    config = experiment(PrivacyConfig(noise_multiplier=1.5))
    counted = of_experiment(replace(config, features=Features()))
    assert counted.epsilon > of_experiment(config).epsilon


def test_its_keys_are_completed(capsys):
    assert main(["_complete", "workbench", "epsilon", "no", "|no"]) == 0
    assert capsys.readouterr().out.split() == ["noise="]
