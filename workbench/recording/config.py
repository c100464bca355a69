"""What a user may say about records; imports no TensorFlow."""

import importlib.metadata
import importlib.util
import os
import re
from dataclasses import dataclass

from workbench.core.config import ConfigError, nearest, register

# What MLflow's address may begin with; its plugins add to them.
SCHEMES = ("databricks", "file", "http", "https", "mssql", "mysql", "postgresql", "sqlite")


@register("recorder", "standard", builder="workbench.recording.recorder:build")
@dataclass
class RecorderConfig:
    """Which records a run keeps besides its numbers."""

    # Scalars and hyper-parameters for TensorBoard.
    tensorboard: bool = True
    # Learning curves as PNG.
    plots: bool = True
    # A progress bar on a terminal, lines elsewhere.
    progress: bool = True
    # A run in MLflow. What a server that was away has missed, `workbench resume RUN` sends.
    mlflow: bool = False
    # MLflow's server or database, e.g. http://HOST:5000; null takes MLFLOW_TRACKING_URI, and
    # without that sqlite:///runs/mlflow.db, which is for one machine: the jobs of a cluster need a
    # server. Passwords belong in the environment only.
    tracking_uri: str | None = None

    def __post_init__(self) -> None:
        if self.tracking_uri and not self.mlflow:
            raise ConfigError("tracking_uri is MLflow's: choose recorder=mlflow with it")
        if re.match(r"[^/]*://[^/@]*:[^/]*@", self.tracking_uri or ""):
            raise ConfigError(
                "tracking_uri holds a password, which the run's folder would show; "
                "set MLFLOW_TRACKING_URI in the environment instead"
            )

    def check(self) -> None:
        """Whether MLflow can be used, where it is asked for.

        Raises:
          ConfigError: when it is not installed, or its address is none.
        """
        if not self.mlflow:
            return
        if importlib.util.find_spec("mlflow") is None:
            raise ConfigError("MLflow is not installed: pip install 'workbench[mlflow]'")
        uri = self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or ""
        scheme = uri.partition(":")[0].partition("+")[0] if ":" in uri else "file"
        plugins = importlib.metadata.entry_points(group="mlflow.tracking_store").names
        if scheme not in {*SCHEMES, *plugins}:
            raise ConfigError(
                f"MLflow's address {uri} begins with no known scheme{nearest(scheme, SCHEMES)}"
            )
