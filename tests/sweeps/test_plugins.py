"""Sweepers of other distributions reach Workbench's launchers through Hydra."""

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper

from workbench.cli import main

TARGET = "hydra_plugins.theirs.TwoSeeds"


class TwoSeeds(Sweeper):
    """Knows of Hydra only."""

    returned = ()

    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments):
        jobs = [[*arguments, f"seed={seed}"] for seed in (1, 2)]
        TwoSeeds.returned = self.launcher.launch(jobs, initial_job_idx=0)


@pytest.fixture
def theirs(monkeypatch):
    ConfigStore.instance().store(group="hydra/sweeper", name="theirs", node={"_target_": TARGET})
    monkeypatch.setitem(Plugins.instance().class_name_to_class, TARGET, TwoSeeds)
    yield
    ConfigStore.instance().repo["hydra"]["sweeper"].pop("theirs.yaml")


def test_another_sweeper_gets_what_the_folders_say(sweep, theirs):
    status, _ = sweep("hydra/sweeper=theirs", "algorithm.gamma=0.5")
    assert status == 0
    assert [r.status for r in TwoSeeds.returned] == [JobStatus.COMPLETED] * 2
    assert [r.return_value for r in TwoSeeds.returned] == [0.5, 0.5]
    assert [r.working_dir for r in TwoSeeds.returned] == ["sweep/seed=1", "sweep/seed=2"]


def test_a_failed_cell_raises_when_its_value_is_asked_for(sweep, theirs, capsys):
    assert sweep("hydra/sweeper=theirs", "name=fails")[0] == 1
    assert [r.status for r in TwoSeeds.returned] == [JobStatus.FAILED] * 2
    with pytest.raises(RuntimeError, match="seed=1 is failed: loss is not finite"):
        _ = TwoSeeds.returned[0].return_value


def test_a_sweeper_that_is_not_there_gets_one_line(capsys):
    assert main(["-m", "experiment=dqn/cartpole", "seed=1", "hydra/sweeper=ax"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
