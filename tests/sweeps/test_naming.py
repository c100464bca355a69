"""The names of cells."""

from workbench.sweeps.naming import LONGEST, cell_name


def test_a_name_says_what_differs_whatever_the_order():
    assert cell_name(["seed=1", "algorithm.double=true"]) == "algorithm.double=true,seed=1"
    assert cell_name(["algorithm.double=true", "seed=1"]) == "algorithm.double=true,seed=1"


def test_a_name_is_one_folder_and_needs_no_quotes():
    assert cell_name(["experiment=dqn/cartpole"]) == "experiment=dqn-cartpole"
    assert cell_name(["network.layers=[64, 64]"]) == "network.layers=64,64"
    assert cell_name(["name='two words; rm *'"]) == "name=twowords-rm-"


def test_a_cell_that_differs_in_nothing_has_a_name():
    assert cell_name([]) == "cell"


def test_a_long_name_is_cut_and_stays_different_from_others():
    long = [f"network.layers={[64] * 60}", "seed=1"]
    other = [f"network.layers={[64] * 60}", "seed=2"]
    assert len(cell_name(long)) == len(cell_name(other)) == LONGEST
    assert cell_name(long) != cell_name(other)
    assert cell_name(long) == cell_name(long)


def test_names_that_would_be_the_same_are_told_apart():
    first = cell_name(["name=a/b"])
    second = cell_name(["name=a-b"], taken=[first])
    assert first != second
    assert second == cell_name(["name=a-b"], taken=[first])
