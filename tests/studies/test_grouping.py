import pytest

from workbench.studies.grouping import differing, label_of, tasks_of
from workbench.studies.reading import find


def grouped(path, **options):
    tasks, left_out = tasks_of(find([path]).runs, **options)
    return tasks, {run.path.name: reason for run, reason in left_out.items()}


def test_runs_that_differ_in_the_seed_are_one_group(tmp_path, make_run):
    for seed in range(3):
        make_run(tmp_path / str(seed), seed)
    ((task,), left_out) = grouped(tmp_path)
    assert [len(group.counted) for group in task.groups] == [3]
    assert (task.label, task.metric, task.mode) == ("dqn/cartpole", "evaluate/return", "max")
    assert task.groups[0].label == "dqn/cartpole"
    assert left_out == {}


@pytest.mark.parametrize(
    ("change", "groups"),
    [
        ({"recorder__plots": False}, 1),
        ({"description": "another"}, 1),
        ({"train__keep": 5}, 1),
        ({"runtime__port": 9000}, 1),
        ({"algorithm__n_step": None}, 1),  # null there, absent here
        ({"algorithm__learning_rate": 0.1}, 2),
        ({"network__layers": [64]}, 2),
        ({"train__budget": 200}, 2),
        ({"runtime__device": "gpu"}, 2),
        ({"name": "dqn/mine"}, 2),
    ],
)
def test_what_has_a_part_in_the_numbers_makes_a_group(change, groups, tmp_path, make_run):
    make_run(tmp_path / "a", 0)
    make_run(tmp_path / "b", 1, **change)
    ((task,), _) = grouped(tmp_path)
    assert len(task.groups) == groups


def test_a_label_is_what_differs_in_the_words_of_the_command_line(tmp_path, make_run):
    make_run(tmp_path / "a", algorithm__double=True, network__layers=[64, 64])
    make_run(tmp_path / "b")
    ((task,), _) = grouped(tmp_path)
    labels = [group.label for group in task.groups]
    assert labels == ["double=true layers=[64,64]", "double=false layers=[120,84]"]
    assert task.groups[0].settings == {"algorithm.double": True, "network.layers": [64, 64]}


def test_what_follows_from_experiment_or_component_is_not_in_the_label():
    configs = [
        {"name": "a", "algorithm._component_": "dqn", "algorithm.rate": 1, "seed": 0},
        {"name": "a", "algorithm._component_": "dqn", "algorithm.rate": 2, "seed": 0},
        {"name": "b", "algorithm._component_": "dqn", "algorithm.rate": 3, "seed": 5},
    ]
    assert differing(configs) == ["name", "algorithm.rate"]
    configs = [
        {"algorithm._component_": "dqn", "algorithm.epsilon": 1},
        {"algorithm._component_": "mine", "algorithm.temperature": 2},
    ]
    assert differing(configs) == ["algorithm._component_"]


def test_keys_are_as_short_as_they_may_be():
    settings = {"a.steps": 1, "b.steps": 2, "c.d.rate": 0.1 + 0.2, "algorithm._component_": "dqn"}
    assert label_of(settings, settings) == "a.steps=1 b.steps=2 rate=0.3 algorithm=dqn"


def test_environments_are_tasks_of_their_own(tmp_path, make_run):
    make_run(tmp_path / "a", name="dqn/a")
    make_run(tmp_path / "b", name="dqn/b", environment___component_="acrobot")
    make_run(tmp_path / "c", name="dqn/b", environment___component_="acrobot", environment__size=3)
    tasks, _ = grouped(tmp_path)
    assert [task.label for task in tasks] == ["dqn/a", "dqn/b size=null", "dqn/b size=3"]


def test_runs_that_are_judged_differently_are_tasks_of_their_own(tmp_path, make_run):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", train__judge="evaluate/loss", train__mode="min")
    tasks, _ = grouped(tmp_path)
    measures = {(task.metric, task.mode) for task in tasks}
    assert measures == {("evaluate/return", "max"), ("evaluate/loss", "min")}


def test_a_metric_by_choice_goes_for_all(tmp_path, make_run):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", 1, train__judge="evaluate/loss")
    ((task,), _) = grouped(tmp_path, metric="evaluate/length", mode="min")
    assert (task.metric, task.mode, len(task.groups)) == ("evaluate/length", "min", 1)


def test_the_baselines_direction_is_that_of_its_metric(tmp_path, make_run):
    make_run(tmp_path / "a", baseline__metric="evaluate/length", baseline__mode="min")
    ((task,), _) = grouped(tmp_path, metric="evaluate/length")
    assert task.mode == "min"
    assert task.reference.value == 100.0


def test_only_finished_runs_with_a_number_count_and_the_others_are_listed(tmp_path, make_run):
    make_run(tmp_path / "good", 0)
    make_run(tmp_path / "failed", 1, status="failed", error="loss is not finite")
    make_run(tmp_path / "preempted", 2, status="preempted")
    make_run(tmp_path / "nan", 3, None)
    make_run(tmp_path / "killed", 4, status=None)
    (make_run(tmp_path / "bare", 5) / "config.yaml").unlink()
    ((task,), left_out) = grouped(tmp_path)
    (group,) = task.groups
    assert [run.path.name for run in group.counted] == ["good"]
    assert len(group.runs) == 5
    assert left_out["failed"] == "loss is not finite"
    assert left_out["preempted"] == "budget"
    assert left_out["nan"] == "evaluate/return is not finite"
    assert "killed" in left_out["killed"]
    assert left_out["bare"] == "no config.yaml to group it by"


def test_a_finished_run_without_the_metric_is_listed(tmp_path, make_run):
    make_run(tmp_path / "a")
    _, left_out = grouped(tmp_path, metric="evaluate/accuracy")
    assert left_out == {"a": "no evaluate/accuracy in its summary"}


def test_a_seed_that_was_run_twice_counts_once(tmp_path, make_run):
    make_run(tmp_path / "again", 7)
    make_run(tmp_path / "first", 7)
    make_run(tmp_path / "other", 8)
    ((task,), left_out) = grouped(tmp_path)
    assert [run.path.name for run in task.groups[0].counted] == ["again", "other"]
    assert left_out == {"first": f"repeats seed 7 of {tmp_path / 'again'}"}


def test_published_values_that_disagree_are_no_reference(tmp_path, make_run):
    make_run(tmp_path / "a", name="dqn/a")
    make_run(tmp_path / "b", name="dqn/b", baseline__value=500.0)
    ((task,), _) = grouped(tmp_path)
    assert task.reference is None
    assert [group.baseline.value for group in task.groups] == [100.0, 500.0]
