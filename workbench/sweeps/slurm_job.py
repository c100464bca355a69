"""What a cell's job asks of Slurm: the launcher's settings, in sbatch's words and submitit's."""

from dataclasses import dataclass, field
from typing import Any

from workbench.core.config import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, ConfigError, require

# What sbatch is told already, so that `sbatch` must not say it again.
OURS = frozenset({"array", "error", "no-requeue", "open-mode", "output", "requeue", "signal"})

# The end of the batch script, after the cell. 75: it has a checkpoint and wants to go on. 140 and
# 143: SIGUSR2 or SIGTERM came before it listened. A job that Slurm itself is ending is not RUNNING.
REQUEUE = """\
status=$?
job=$SLURM_JOB_ID
[[ -z ${SLURM_ARRAY_TASK_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
if [[ $status =~ ^(75|140|143)$ && ${SLURM_RESTART_COUNT:-0} -lt REQUEUES ]]; then
  scontrol --oneliner show job "$job" | grep -q JobState=RUNNING && scontrol requeue "$job"
fi
exit $status"""


@dataclass
class SlurmSettings:
    """What a user may say about jobs; see conf/hydra/launcher/slurm.yaml."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus: int = 1
    gpus: int = 0
    memory_gib: float | None = None
    time: int | None = None
    jobs: int = 256
    requeues: int = 10
    signal_delay: int = 120
    setup: list[str] = field(default_factory=list)
    sbatch: list[str] = field(default_factory=list)
    wait: bool = True
    poll: float = 5.0

    def __post_init__(self) -> None:
        require(
            self,
            cpus=AT_LEAST_ONE,
            gpus=NON_NEGATIVE,
            memory_gib=POSITIVE,
            time=AT_LEAST_ONE,
            jobs=AT_LEAST_ONE,
            requeues=NON_NEGATIVE,
            signal_delay=AT_LEAST_ONE,
            poll=POSITIVE,
        )
        if self.time is not None and self.signal_delay >= self.time * 60:
            raise ConfigError(
                f"signal_delay={self.signal_delay} seconds is all of time={self.time} minutes; "
                "lower it"
            )
        if taken := OURS & {*self._further()}:
            raise ConfigError(f"sbatch: {min(taken)} is the launcher's own; leave it out")

    def parameters(self) -> dict[str, Any]:
        """The parameters of submitit's `SlurmExecutor`."""
        values = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "cpus_per_task": self.cpus,
            "gpus_per_node": self.gpus or None,
            "mem": None if self.memory_gib is None else f"{self.memory_gib * 1024:.0f}M",
            "array_parallelism": self.jobs,
            "signal_delay_s": self.signal_delay,
            "setup": list(self.setup) or None,
            "teardown": REQUEUE.replace("REQUEUES", str(self.requeues)).splitlines(),
            # Since Slurm 22.05, srun does not take this from sbatch.
            "srun_args": [f"--cpus-per-task={self.cpus}"],
            "additional_parameters": {
                "requeue" if self.requeues else "no-requeue": True,
                **self._further(),
            },
        }
        given = {name: value for name, value in values.items() if value is not None}
        # Where these two are not said, submitit would say 5 minutes and a key of its own.
        return {**given, "time": self.time, "wckey": None}

    def _further(self) -> dict[str, str | bool]:
        """The options of `sbatch` by name; True is one without a value."""
        parted = (option.lstrip("-").partition("=") for option in self.sbatch)
        return {name: value if equals else True for name, equals, value in parted}
