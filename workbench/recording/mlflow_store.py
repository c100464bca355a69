"""Opens MLflow's store: a server, or a database that many runs write to at once."""

import fcntl
import logging.config
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# Said before MLflow is imported, unless the user has said otherwise.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # its own would take minutes; the mirror tries again
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
DEFAULT_URI = "sqlite:///runs/mlflow.db"
SQLITE = "sqlite:///"


def import_mlflow() -> None:
    """Imports MLflow without its telemetry."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401


def resolve(uri: str | None) -> str:
    """An address with the path of a local database in full; the default for None."""
    uri = uri or DEFAULT_URI
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    return uri


def connect(uri: str) -> Any:
    """A client of the store; a local database is made when there is none.

    Args:
      uri: from `resolve`.
    """
    from mlflow import MlflowClient
    from mlflow.tracking._tracking_service import utils

    if not uri.startswith(SQLITE):
        return MlflowClient(uri)
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Files lie beside the database; only MLflow's server has an option that says so.
    utils.DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH = str(path.parent / "mlartifacts")
    # MLflow does not expect that two processes make the tables at once.
    with locked(path.with_name(f".{path.name}.lock")), _logging_left_alone():
        return MlflowClient(uri)


def experiment_id(client: Any, name: str) -> str:
    """The id of the experiment with this name, which is made when there is none."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)  # another run was quicker
    return experiment.experiment_id


def existing_run(client: Any, run_id: str | None) -> Any:
    """The run with this id; None when this store has none, or its user has deleted it."""
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run.info.lifecycle_stage == "active" else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for its turn among the processes that hold this lock."""
    with path.open("a") as stream:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


@contextmanager
def few_words(uri: str) -> Iterator[None]:
    """Says shortly what MLflow's HTTP client takes several hundred letters for.

    Raises:
      ConnectionError: when the server did not answer.
    """
    from requests import RequestException

    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, RequestException):
                raise ConnectionError(f"no answer from {uri.rpartition('@')[2]}") from error
            cause = cause.__context__
        raise


@contextmanager
def _logging_left_alone() -> Iterator[None]:
    """MLflow sets all of Python's logging up anew when it makes its tables; here it cannot."""
    configure = logging.config.fileConfig
    logging.config.fileConfig = lambda *args, **kwargs: None
    try:
        yield
    finally:
        logging.config.fileConfig = configure
