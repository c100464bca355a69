import importlib.util

import pytest

from workbench.cli import main
from workbench.core.config import ConfigError
from workbench.recording.config import RecorderConfig


def test_mlflow_that_is_not_installed_is_one_line_and_nothing_is_written(
    tmp_path, monkeypatch, capsys
):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *rest: None if n == "mlflow" else find(n, *rest)
    )
    folder = tmp_path / "run"
    assert main(["experiment=dqn/cartpole", "recorder=mlflow", f"run.dir={folder}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "recorder: MLflow is not installed: pip install 'workbench[mlflow]'" in line
    assert not folder.exists()


def test_recorder_without_mlflow_does_not_ask_for_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    RecorderConfig().check()


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///runs/a.db",
        "postgresql+psycopg2://user@host/runs",
        "http://host:5000",
        "databricks",
        "./mlruns",
    ],
)
def test_addresses_of_mlflow_are_accepted(uri):
    RecorderConfig(mlflow=True, tracking_uri=uri).check()


def test_unknown_address_names_the_nearest_scheme(monkeypatch):
    with pytest.raises(ConfigError, match=r"sqllite:///a\.db .*did you mean sqlite\?"):
        RecorderConfig(mlflow=True, tracking_uri="sqllite:///a.db").check()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "localhost:5000")
    with pytest.raises(ConfigError, match=r"localhost:5000 .*choose from .* http"):
        RecorderConfig(mlflow=True).check()


def test_address_without_mlflow_is_refused():
    with pytest.raises(ConfigError, match="choose recorder=mlflow"):
        RecorderConfig(tracking_uri="http://host:5000")


@pytest.mark.parametrize("uri", ["http://me:secret@host:5000", "mysql+pymysql://me:secret@host/a"])
def test_password_does_not_get_into_the_folder(uri):
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI") as error:
        RecorderConfig(mlflow=True, tracking_uri=uri)
    assert "secret" not in str(error.value)
