"""The command line: what it refuses, and what it needs not import to do so."""

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.compose import experiments

CARTPOLE = "experiment=dqn/cartpole"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["experiment=dqn/cartpol"], "did you mean dqn/cartpole?"),
        (["algorithm=dqnn"], "did you mean dqn?"),
        ([], "nothing to run"),
        ([CARTPOLE, "algorithm.learning_rte=1"], "did you mean algorithm.learning_rate?"),
        ([CARTPOLE, "+algorithm.learning_rte=1"], "did you mean algorithm.learning_rate?"),
        ([CARTPOLE, "algorithm.exploration.sart=1"], "did you mean algorithm.exploration.start?"),
        ([CARTPOLE, "sed=1"], "did you mean seed?"),
        ([CARTPOLE, "~sed"], "did you mean seed?"),
        ([CARTPOLE, "hydra.rn.dir=x"], "did you mean hydra.run?"),
        ([CARTPOLE, "+hydra.job.nam=x"], "did you mean hydra.job.name?"),
        ([CARTPOLE, "hydra/launcher=basik"], "hydra/launcher=basik does not exist"),
        ([CARTPOLE, "algorithm.learning_rate=fast"], "algorithm.learning_rate: Value 'fast'"),
        ([CARTPOLE, "algorithm.learning_rate=-1"], "algorithm.learning_rate=-1.0 is out of range"),
        ([CARTPOLE, "algorithm.learning_rate=nan"], "algorithm.learning_rate=nan is out of range"),
        (
            [CARTPOLE, "algorithm.exploration.end=2"],
            "algorithm.exploration.end=2.0 is out of range",
        ),
        ([CARTPOLE, "algorithm.loss=hubber"], "did you mean huber?"),
        ([CARTPOLE, "algorithm.batch_size=20000"], "exceeds replay_capacity=10000"),
        ([CARTPOLE, "network.layers=[a]"], "network.layers[0]: Value 'a'"),
        ([CARTPOLE, "seed=1,2"], "add -m to sweep over it"),
        (["-m", CARTPOLE, "algorithm.gamma=0.9,1.9"], "algorithm.gamma=1.9 is out of range"),
        ([CARTPOLE, "seed=[1"], "no viable alternative"),
        ([CARTPOLE, "~environment"], "environment is not chosen"),
        ([CARTPOLE, "environment=null"], "write ~GROUP"),
        (["cartpole"], "there is no command cartpole"),
        (["lst"], "did you mean list?"),
        ([CARTPOLE, "--fast"], "there is no option --fast"),
        ([CARTPOLE, "environment=gymnasium", "environment.id=CartPol-v1"], "did you mean CartPole"),
        ([CARTPOLE, "environment=gymnasium", "environment.id=Pendulum-v1"], "only Discrete"),
        (["epsilon"], "epsilon needs examples=N"),
        (["report", "runs"], "runs is not there"),
        (["list", "dqm"], "did you mean dqn?"),
        (["resume", "runs/none"], "runs/none is not there"),
        (["resume"], "resume takes a run folder"),
        (["completion", "fish"], "no completion for fish"),
    ],
)
def test_bad_input_gets_one_line_and_nothing_is_written(
    arguments, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    if not arguments:
        arguments = ["seed=1"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.startswith("workbench: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_refused(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    assert main([CARTPOLE, f"run.dir={tmp_path}"]) == 2
    assert "choose another run.dir" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", list(experiments()))
def test_every_shipped_experiment_composes_under_its_own_name(name, capsys):
    assert main(["show", f"experiment={name}"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"name: {name}\ndescription: ")


def test_list_names_every_experiment(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(experiments())
    assert all(len(line.split()) > 2 for line in lines)  # each is described


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert "workbench experiment=" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("workbench ")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["re", "|re"], "resume"),
        (["experiment=dqn/ca", "|experiment=dqn/ca"], "experiment=dqn/cartpole"),
        (["environment=", "|environment="], "environment=cartpole"),
        ([CARTPOLE, "algorithm.le", "|algorithm.le"], "algorithm.learning_rate="),
        (
            [CARTPOLE, "algorithm.exploration.", "|algorithm.exploration."],
            "algorithm.exploration.end=",
        ),
        ([CARTPOLE, "|"], "train."),
        (["list", "|"], "dqn"),
    ],
)
def test_completion_offers_what_composes(line, expected, capsys):
    assert main(["_complete", "workbench", *line]) == 0
    assert expected in capsys.readouterr().out.splitlines()


def test_bash_completes_a_line():
    asked = "; ".join(
        [
            'eval "$(workbench completion bash)"',
            "COMP_LINE='workbench experiment=dqn/cartp'",
            "COMP_POINT=${#COMP_LINE}",
            "_workbench_complete",
            'echo "${COMPREPLY[@]}"',
        ]
    )
    path = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", asked], capture_output=True, text=True, env={"PATH": f"{path}:/usr/bin:/bin"}
    )
    assert "experiment=dqn/cartpole" in done.stdout.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list"],
        ["show", CARTPOLE],
        ["_complete", "workbench", CARTPOLE, "|"],
        ["epsilon", "examples=1000", "batch=50", "noise=2", "steps=10"],
        ["sed=1"],
    ],
)
def test_what_is_no_run_imports_no_tensorflow(arguments):
    script = (
        "import sys\nfrom workbench.cli import main\n"
        f"main({arguments!r})\nsys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
