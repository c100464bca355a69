"""The Slurm launcher without a Slurm: small scripts answer in the place of its commands."""

import json
import os
import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from workbench.cli import main
from workbench.core.config import ConfigError
from workbench.sweeps.folder import SweepFolder
from workbench.sweeps.slurm import SlurmLauncher, _outside_of_jobs
from workbench.sweeps.slurm_job import REQUEUE, SlurmSettings
from workbench.sweeps.slurm_queue import Job, squeue

SWEEP = ["-m", "experiment=dqn/cartpole", "seed=0,1", "hydra/launcher=slurm"]
NOTHING = "exit 0"


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Puts shell scripts in the place of commands; `commands.calls` are those of sbatch."""

    class Commands:
        calls = tmp_path / "calls"

        def __call__(self, **scripts):
            folder = tmp_path / "bin"
            folder.mkdir(exist_ok=True)
            for name, script in scripts.items():
                (folder / name).write_text(f"#!/bin/bash\n{script}\n")
                (folder / name).chmod(0o755)
            monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return Commands()


def launcher(**settings):
    made = SlurmLauncher()
    made.settings = SlurmSettings(poll=0.01, **settings)
    made.sweep = SimpleNamespace(console=SimpleNamespace(say=print))
    return made


def script(commands, **settings):
    commands(srun=NOTHING)
    executor = launcher(**settings)._executor(Path("/somewhere/slurm"))
    return executor._make_submission_file_text("the cell", "").splitlines()


def test_settings_become_what_sbatch_knows(commands):
    lines = script(
        commands,
        partition="gpu",
        account="lab",
        cpus=4,
        gpus=2,
        memory_gib=1.5,
        time=30,
        signal_delay=60,
        setup=["module load cuda"],
        sbatch=["mail-type=END", "--exclusive"],
    )
    for flag in (
        "partition=gpu",
        "account=lab",
        "cpus-per-task=4",
        "gpus-per-node=2",
        "mem=1536M",
        "time=30",
        "signal=USR2@60",
        "mail-type=END",
        "exclusive",
        "requeue",
    ):
        assert f"#SBATCH --{flag}" in lines
    cell = next(place for place, line in enumerate(lines) if line.startswith("srun "))
    assert "--cpus-per-task=4 the cell" in lines[cell]
    assert lines.index("module load cuda") < cell < lines.index("status=$?")


def test_what_is_not_said_is_left_to_the_cluster(commands):
    lines = script(commands, requeues=0)
    flags = {line.split("=")[0] for line in lines if line.startswith("#SBATCH")}
    unsaid = ("partition", "account", "qos", "constraint", "gpus-per-node", "mem", "time", "wckey")
    assert not flags & {f"#SBATCH --{name}" for name in unsaid}
    assert "#SBATCH --no-requeue" in flags


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"jobs": 0}, "jobs=0 is out of range"),
        ({"memory_gib": 0.0}, "memory_gib=0.0 is out of range"),
        ({"time": 2, "signal_delay": 120}, "all of time=2 minutes"),
        ({"sbatch": ["--array=0-7"]}, "array is the launcher's own"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        SlurmSettings(**settings)


@pytest.mark.parametrize(
    ("status", "restarts", "state", "requeued"),
    [
        (75, 0, "RUNNING", True),  # a checkpoint is made
        (140, 0, "RUNNING", True),  # SIGUSR2 before the cell listened
        (143, 1, "RUNNING", True),  # SIGTERM likewise
        (75, 2, "RUNNING", False),  # too often
        (75, 0, "CANCELLED", False),  # by scancel
        (75, 0, "TIMEOUT", False),
        (137, 0, "RUNNING", False),  # killed
        (1, 0, "RUNNING", False),
        (0, 0, "RUNNING", False),
    ],
)
def test_a_job_requeues_itself_when_its_cell_can_go_on(
    commands, tmp_path, status, restarts, state, requeued
):
    asked = tmp_path / "asked"
    show = f'[[ $1 == --oneliner ]] && echo "JobId=9 JobState={state}" || echo "$@" >>{asked}'
    commands(scontrol=show)
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    done = subprocess.run(
        ["bash", "-c", f"(exit {status})\n{REQUEUE.replace('REQUEUES', '2')}"],
        env={**os.environ, **job, "SLURM_RESTART_COUNT": str(restarts)},
    )
    assert done.returncode == status
    assert (asked.read_text() if asked.exists() else "") == ("requeue 7_3\n" if requeued else "")


@pytest.mark.parametrize(
    ("job", "said", "cause"),
    [
        (Job("COMPLETED"), "finished", ""),
        (Job("CANCELLED", status=143), "finished", ""),  # as it was about to end
        (Job("FAILED", "NonZeroExitCode", 1), "failed", ""),
        (Job("FAILED", "NonZeroExitCode", 75), "preempted", "it may not requeue itself again"),
        (Job("FAILED", "NonZeroExitCode", 137), "unfinished", "killed by signal 9"),
        (Job("FAILED", "NonZeroExitCode", 137), "preempted", "killed by signal 9"),
        (Job("FAILED", "NonZeroExitCode", 2), "missing", "exit status 2"),
        (Job("FAILED", "JobLaunchFailure"), "missing", "its job failed (JobLaunchFailure)"),
        (Job("CANCELLED", status=143), "preempted", "cancelled in Slurm"),
        (Job("TIMEOUT"), "unfinished", "it did not end within its time limit"),
        (Job("NODE_FAIL"), "unfinished", "its node was lost"),
        (Job("OUT_OF_MEMORY"), "unfinished", "it ran out of memory"),
        (Job("COMPLETED"), "unfinished", "it ended without a summary"),
    ],
)
def test_a_jobs_end_has_a_cause_where_the_run_folder_tells_none(job, said, cause):
    assert job.ended
    assert job.cause(said) == cause


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "SUSPENDED", "REQUEUED"])
def test_a_job_that_slurm_may_go_on_with_has_not_ended(state):
    assert not Job(state).ended


@pytest.mark.parametrize(
    ("killed", "cancelled"), [(f"{137 << 8}", "15"), ("137:0", "0:15")], ids=["22.05", "24.11"]
)
def test_squeue_tells_of_the_jobs_whose_logs_are_the_sweeps(commands, tmp_path, killed, cancelled):
    lines = [
        f"7_0|RUNNING|None|0|{tmp_path}/%A_%a_0_log.out|",
        f"7_1|FAILED|NonZeroExitCode|{killed}|{tmp_path}/%A_%a_0_log.out|",
        f"7_2|CANCELLED|None|{cancelled}|{tmp_path}/%A_%a_0_log.out|",
        "8|RUNNING|None|0|/of/another/sweep/%j_0_log.out|",
    ]
    commands(squeue="cat <<'END'\n" + "\n".join(lines) + "\nEND")
    assert squeue(["7_0", "8"], tmp_path) == {
        "7_0": Job("RUNNING"),
        "7_1": Job("FAILED", "NonZeroExitCode", 137),
        "7_2": Job("CANCELLED", "None", 143),
    }


def test_a_mute_squeue_is_told_from_one_that_has_forgotten(commands, tmp_path):
    commands(squeue='echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    assert squeue(["7"], tmp_path) == {}
    commands(squeue='echo "Unable to contact slurm controller (connect failure)" >&2; exit 1')
    assert squeue(["7"], tmp_path) is None


def test_without_sbatch_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "sweep"
    assert main([*SWEEP, f"sweep.dir={folder}"]) == 2
    error = capsys.readouterr().err
    assert "needs Slurm's sbatch on the PATH" in error
    assert error.count("\n") == 1
    assert not folder.exists()


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("error: invalid partition specified: x\nsbatch: error: Batch job failed", "invalid par"),
        ("error: res_nsearch: Unknown host\nsbatch: fatal: Could not establish", "Could not est"),
    ],
)
def test_what_sbatch_would_refuse_is_not_begun(commands, tmp_path, capsys, said, cause):
    commands(srun=NOTHING, sbatch=f"echo 'sbatch: {said}' >&2; exit 1")
    folder = tmp_path / "sweep"
    options = ["hydra.launcher.partition=x", "hydra.launcher.sbatch=['mail-type=END']"]
    assert main([*SWEEP, *options, f"sweep.dir={folder}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"workbench: sbatch would refuse the sweep: {cause}")
    assert error.count("\n") == 1
    assert not folder.exists()


@pytest.fixture
def queued(commands, tmp_path):
    """A sweep of three cells, of which an earlier start has left two in jobs 7_0 and 7_1."""
    sweep = SweepFolder(tmp_path / "sweep")
    slurm = sweep.path / "slurm"
    slurm.mkdir(parents=True)
    (slurm / "jobs.json").write_text(json.dumps({"a": "7_0", "b": "7_1"}))

    def answer(*lines):
        log = f"{slurm.resolve()}/%A_%a_0_log.out"
        commands(
            srun=NOTHING,
            scontrol="echo 'MaxArraySize            = 2'",
            scancel=f'echo "$@" >>{tmp_path}/cancelled',
            squeue="\n".join(f"echo '{line}|None|0|{log}|'" for line in lines) or NOTHING,
            sbatch=f'echo "$@" >>{commands.calls}; echo Submitted batch job 8',
        )

    return sweep, answer


def test_a_cell_in_the_queue_is_not_submitted_again(queued, commands):
    sweep, answer = queued
    answer("7_0|PENDING", "7_1|FAILED", "8|PENDING")
    events = list(launcher(wait=False)._run_cells(sweep, ["a", "b"]))
    assert json.loads((sweep.path / "slurm/jobs.json").read_text()) == {"a": "7_0", "b": "8"}
    assert len(commands.calls.read_text().splitlines()) == 1
    assert [(e.name, e.state) for e in events] == [
        ("a", "queued"),
        ("b", "queued"),
        ("a", "left"),
        ("b", "left"),
    ]


def test_a_job_that_is_about_to_end_is_not_taken_for_a_queued_one(queued):
    sweep, answer = queued
    answer("7_0|COMPLETING", "7_1|PENDING")
    events = launcher(wait=False)._run_cells(sweep, ["a", "b"])
    assert next(events) is None
    answer("7_0|CANCELLED", "7_1|PENDING", "8|PENDING")
    assert {event.state for event in events if event} == {"queued", "left"}
    assert json.loads((sweep.path / "slurm/jobs.json").read_text()) == {"a": "8", "b": "7_1"}


def test_a_summary_may_come_later_than_the_end_of_its_job(queued):
    sweep, answer = queued
    answer("7_0|PENDING")
    events = launcher()._run_cells(sweep, ["a"])
    next(events)
    answer("7_0|COMPLETED")
    assert [next(events), next(events)] == [None, None]
    run = sweep.run("a")
    run.path.mkdir()
    run.summary.write_text('{"status": "finished"}')
    (last,) = (event for event in events if event)
    assert (last.state, last.note) == ("ended", "")


def test_no_array_is_larger_than_the_cluster_allows(queued, commands):
    sweep, answer = queued
    answer()
    list(launcher(wait=False)._run_cells(sweep, ["c", "d", "e"]))
    assert len(commands.calls.read_text().splitlines()) == 2
    jobs = json.loads((sweep.path / "slurm/jobs.json").read_text())
    assert jobs == {"a": "7_0", "b": "7_1", "c": "8_0", "d": "8_1", "e": "8"}


def test_each_cell_ends_by_itself_whatever_befalls_the_others(queued):
    sweep, answer = queued
    answer("7_0|RUNNING", "7_1|RUNNING", "8|RUNNING")
    made = launcher()
    events = made._run_cells(sweep, ["a", "b", "c"])
    assert {(event.name, event.state) for event in (next(events) for _ in range(3))} == {
        ("a", "running"),
        ("b", "running"),
        ("c", "running"),
    }
    answer("7_0|RUNNING", "8|NODE_FAIL")
    told = [event for event in (next(events) for _ in range(3)) if event]
    assert [(event.name, event.state) for event in told] == [("b", "ended"), ("c", "ended")]
    assert "cancelled in Slurm" in told[0].note
    assert "its node was lost" in told[1].note
    answer()
    (last,) = (event for event in events if event)
    assert (last.name, last.state) == ("a", "ended")
    assert "Slurm knows its job no more" in last.note


def test_to_stop_is_to_cancel(queued, tmp_path):
    sweep, answer = queued
    answer("7_0|RUNNING", "7_1|PENDING")
    made = launcher()
    events = made._run_cells(sweep, ["a", "b"])
    next(events)
    made._stop(signal.SIGINT)
    assert (tmp_path / "cancelled").read_text() == "7_0 7_1\n"
    answer("7_0|CANCELLED", "7_1|CANCELLED")
    assert [event.name for event in events if event and event.state == "ended"] == ["a", "b"]


def test_what_is_stopped_before_it_is_submitted_stays_so(queued, commands):
    sweep, answer = queued
    answer("7_0|COMPLETING", "7_1|PENDING")
    made = launcher()
    events = made._run_cells(sweep, ["a", "b", "c"])
    next(events)
    made._stop(signal.SIGINT)
    answer("7_0|CANCELLED", "7_1|CANCELLED")
    ended = [event.name for event in events if event and event.state == "ended"]
    assert sorted(ended) == ["a", "b", "c"]
    assert not commands.calls.exists()


def test_the_job_that_a_sweep_is_started_in_is_none_of_its_cells_business(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "5")
    monkeypatch.setenv("SLURM_CONF", "/etc/here.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "lab")
    with _outside_of_jobs():
        assert "SLURM_JOB_ID" not in os.environ
        assert "SLURM_MEM_PER_NODE" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/here.conf"
        assert os.environ["SBATCH_ACCOUNT"] == "lab"
    assert os.environ["SLURM_JOB_ID"] == "5"
