"""A run in MLflow, with the names that it has in its folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.recording.folder import RunFolder, write_json
from workbench.recording.metrics import parse_metrics
from workbench.recording.mlflow_store import (
    SQLITE,
    connect,
    existing_run,
    experiment_id,
    few_words,
    import_mlflow,
    locked,
    resolve,
)
from workbench.recording.settings import flat_scalars

KEPT = "mlflow.json"  # what this module must remember, in a run's folder and in a sweep's
SWEEP_INDEX = "sweep.json"  # marks the folder that a sweep's cells lie in
PARENT = "mlflow.parentRunId"
ENDS = {"finished": "FINISHED", "failed": "FAILED"}  # what was stopped or preempted is KILLED
MOST_PARAMETERS, MOST_METRICS = 100, 1000  # that MLflow takes at once


class MlflowRun:
    """Copies what a run's folder has into a run of MLflow, which the first update makes.

    A resumed run goes on in the same MLflow run. MLflow cannot take records back, so of each metric
    only those beyond its last step there are sent: what a lost part of the run had sent, which has
    the same values, is not sent twice, and what a server that was away has missed follows. A
    parameter keeps its first value.

    The run of a sweep's cell is nested in a run for the sweep, one for each experiment in it.

    Args:
      folder: with manifest and metrics.
      settings: nested; they become parameters by dotted name.
      family: of the algorithm.
      tracking_uri: of a server or a database; None leaves it to MLFLOW_TRACKING_URI, and without
        that to a database in runs/.
    """

    def __init__(
        self, folder: RunFolder, settings: Mapping[str, Any], family: str, tracking_uri: str | None
    ):
        import_mlflow()  # not in the mirror's thread: imports in two threads trip each other up
        self._folder = folder
        self._settings = settings
        self._family = family
        self._kept = folder.path / KEPT
        kept = _read(self._kept).get("tracking_uri")
        self._uri = resolve(tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or kept)
        self._client: Any = None
        self._id = self._experiment = ""
        self._parent: str | None = None
        self._steps: dict[str, int] = {}  # the last that MLflow has, by metric
        self._copied = 0  # bytes of metrics.jsonl

    def update(self) -> None:
        """Brings MLflow up to date with the folder.

        Raises:
          ConnectionError: when the server does not answer.
          Exception: what else MLflow, or the library of its database, finds wrong.
        """
        with few_words(self._uri):
            if self._client is None:
                self._client = self._opened()
            self._copy_metrics()

    def end(self, status: str) -> None:
        """Sends what the run leaves, and how it ended, in the words of `summary.json`."""
        with few_words(self._uri):
            self._client.set_tag(self._id, "status", status)
            self._client.set_terminated(self._id, ENDS.get(status, "KILLED"))
            if self._parent:
                self._end_parent()
            self._send_files()

    def _opened(self) -> Any:
        client = connect(self._uri)
        self._experiment = experiment_id(client, self._settings["name"])
        self._parent = self._sweep_run(client)
        run = existing_run(client, _read(self._kept).get("run_id"))
        if run is None:
            run = client.create_run(self._experiment, run_name=self._folder.path.name)
            # For a part that is resumed elsewhere; other addresses may hold a password.
            local = {"tracking_uri": self._uri} if self._uri.startswith(SQLITE) else {}
            write_json(self._kept, {"run_id": run.info.run_id, **local})
        self._id = run.info.run_id
        self._steps = {metric.key: metric.step for metric in run.data.to_proto().metrics}
        self._log_parameters(client, run.data.params)
        client.log_batch(self._id, tags=self._tags())
        client.update_run(self._id, status="RUNNING")
        return client

    def _tags(self) -> list[Any]:
        from mlflow.entities import RunTag

        part = json.loads(self._folder.manifest.read_text())["parts"][-1]
        commit = part["code"]["commit"]
        tags = {
            "command": part["command"],
            "commit": commit,
            "family": self._family,
            "folder": str(self._folder.path.absolute()),
            "status": "running",
            PARENT: self._parent,
            # MLflow's own pages show these:
            "mlflow.source.name": "workbench",
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": commit,
            "mlflow.user": os.environ.get("USER"),
        }
        return [RunTag(name, value) for name, value in tags.items() if value]

    def _log_parameters(self, client: Any, known: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        flat = flat_scalars(self._settings)
        new = [Param(name, str(value)) for name, value in flat.items() if name not in known]
        for start in range(0, len(new), MOST_PARAMETERS):
            client.log_batch(self._id, params=new[start : start + MOST_PARAMETERS])

    def _copy_metrics(self) -> None:
        from mlflow.entities import Metric

        with self._folder.metrics.open("rb") as stream:
            stream.seek(self._copied)
            written = stream.read()
        whole = written[: written.rfind(b"\n") + 1]
        new = [
            Metric(
                name,
                float("nan") if value is None else value,
                timestamp=round(record["time"] * 1000),
                step=record["step"],
            )
            for record in parse_metrics(whole.decode())
            for name, value in record.items()
            if "/" in name and record["step"] > self._steps.get(name, -1)
        ]
        for start in range(0, len(new), MOST_METRICS):
            batch = new[start : start + MOST_METRICS]
            self._client.log_batch(self._id, metrics=batch)
            self._steps |= {metric.key: metric.step for metric in batch}
        self._copied += len(whole)

    def _send_files(self) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        # MLflow's client would look for its server at the address that is set for all of Python.
        address = self._client.get_run(self._id).info.artifact_uri
        files = get_artifact_repository(address, tracking_uri=self._uri)
        for path in (self._folder.config, self._folder.summary):
            if path.exists():
                files.log_artifact(str(path))
        if self._folder.plots.exists():
            files.log_artifacts(str(self._folder.plots), "plots")

    def _sweep_run(self, client: Any) -> str | None:
        """The id of the run that this one is nested in, made by whichever cell comes first."""
        sweep = self._folder.path.absolute().parent
        if not (sweep / SWEEP_INDEX).exists():
            return None
        name = self._settings["name"]
        with locked(sweep / ".mlflow.lock"):
            kept = _read(sweep / KEPT)
            run = existing_run(client, kept.get(name))
            if run is None:
                tags = {"folder": str(sweep), "mlflow.source.name": "workbench"}
                run = client.create_run(self._experiment, run_name=sweep.name, tags=tags)
                write_json(sweep / KEPT, {**kept, name: run.info.run_id})
        client.update_run(run.info.run_id, status="RUNNING")
        return run.info.run_id

    def _end_parent(self) -> None:
        """Once no cell is running, the sweep's run ends as the worst of them did."""
        for status in ("RUNNING", "FAILED", "KILLED"):
            cells = f"tags.`{PARENT}` = '{self._parent}' and attributes.status = '{status}'"
            if self._client.search_runs([self._experiment], cells, max_results=1):
                break
        else:
            status = "FINISHED"
        if status != "RUNNING":
            self._client.set_terminated(self._parent, status)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
