"""What the overrides of a sweep span."""

import pytest

from workbench.core.config import ConfigError
from workbench.sweeps.space import Space


def test_every_combination_is_a_cell_and_fixed_keys_are_in_all():
    space = Space(["train.budget=9", "seed=range(0,2)", "algorithm.double=choice(true,false)"])
    assert list(space.combinations()) == [
        ["train.budget=9", "seed=0", "algorithm.double=True"],
        ["train.budget=9", "seed=0", "algorithm.double=False"],
        ["train.budget=9", "seed=1", "algorithm.double=True"],
        ["train.budget=9", "seed=1", "algorithm.double=False"],
    ]
    assert space.fixed == {"train.budget"}


def test_a_glob_finds_experiments_below_the_folders_of_families():
    cells = list(Space(["experiment=glob(dqn/cart*)"]).combinations())
    assert cells == [["experiment=dqn/cartpole"], ["experiment=dqn/cartpole_zoo"]]


def test_the_last_value_of_a_key_counts():
    assert Space(["seed=1,2", "train.budget=5", "seed=3"]).lines == ["train.budget=5", "seed=3"]
    # A dictionary is merged, and takes nothing away.
    both = ["algorithm.gamma=0.5", "algorithm={batch_size: 8}", "algorithm={gamma: 0.6}"]
    assert Space(both).lines == both


def test_every_value_is_tried_and_the_ends_of_intervals():
    tried = []
    space = Space(["seed=1,2,3", "algorithm.gamma=interval(0.5,1)", "hydra.job.name=x"])
    space.tried(lambda lines: tried.append(tuple(lines)))
    assert {line for lines in tried for line in lines} == {
        *("seed=1", "seed=2", "seed=3", "algorithm.gamma=0.5", "algorithm.gamma=1")
    }


def test_a_value_that_goes_with_some_of_the_others_is_no_error():
    def compose(lines):
        if lines in (["seed=1", "network=a"], ["seed=2", "network=b"]) or "seed=3" in lines:
            raise ConfigError(f"{lines} is wrong")

    Space(["seed=1,2", "network=a,b"]).tried(compose)
    with pytest.raises(ConfigError, match="seed=3"):
        Space(["seed=1,2,3", "network=a,b"]).tried(compose)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seed=interval(1,2)", "add hydra/sweeper=optuna"),
        ("seed=range(3,3)", "has no values"),
        ("experiment=glob(dqm/*)", "matches nothing in conf/experiment"),
        ("run.dir=here", "the folder of a sweep is sweep.dir"),
        ("hydra.sweep.subdir=x", "named by what differs"),
        ("sweep.fail_fast=true,false", "has one value"),
        ("hydra.launcher.jobs=1,2", "has one value"),
    ],
)
def test_what_is_no_list_of_cells_is_refused(line, said):
    with pytest.raises(ConfigError, match=said):
        list(Space([line]).combinations())


@pytest.mark.parametrize("ends", ["interval(2,2)", "interval(2,1)", "tag(log,interval(0,1))"])
def test_an_interval_without_values_is_refused(ends):
    with pytest.raises(ConfigError, match="interval"):
        Space([f"algorithm.gamma={ends}"]).first()
