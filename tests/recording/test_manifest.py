import json
import subprocess

import pytest

from workbench.recording import manifest as module
from workbench.recording.manifest import code_diff, code_version, manifest, part


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    package = tmp_path / "workbench" / "recording"
    package.mkdir(parents=True)
    (package / "manifest.py").write_text("one\n")
    monkeypatch.setattr(module, "__file__", str(package / "manifest.py"))
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return package


def test_clean_checkout_has_a_commit_and_no_diff(checkout):
    assert len(code_version()["commit"]) == 40
    assert code_version()["modified"] is False
    assert code_diff() == ""


def test_changed_checkout_has_a_diff_that_git_applies(checkout):
    (checkout / "manifest.py").write_text("two\n")
    assert code_version()["modified"] is True
    (checkout / "manifest.py").write_text("one\n")
    (checkout / "manifest.py").write_text("two\n")
    diff = code_diff()
    (checkout / "manifest.py").write_text("one\n")
    subprocess.run(["git", "apply"], input=diff, text=True, cwd=checkout.parents[1], check=True)
    assert (checkout / "manifest.py").read_text() == "two\n"


def test_machine_without_git_is_fine(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert code_version() == {"commit": None, "modified": None}
    assert code_diff() == ""


def test_installed_package_is_not_taken_for_the_checkout_around_it(checkout, monkeypatch):
    inner = checkout / "site-packages" / "workbench" / "recording" / "manifest.py"
    monkeypatch.setattr(module, "__file__", str(inner))
    assert code_version()["commit"] is None


def test_manifest_is_json_with_the_surroundings(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    values = json.loads(json.dumps(manifest(["/device:CPU:0"])))
    assert values["packages"]["tensorflow"].startswith("2.14")
    assert values["devices"] == ["/device:CPU:0"]
    assert values["machine"]["cores"] >= 1
    assert values["environment"]["XLA_FLAGS"] == "--xla_a"
    assert values["environment"]["SLURM_JOB_ID"] == "7"


def test_secrets_of_the_environment_stay_out(monkeypatch):
    monkeypatch.setenv("SLURM_JWT", "x")
    monkeypatch.setenv("WORKBENCH_API_KEY", "x")
    assert not {"SLURM_JWT", "WORKBENCH_API_KEY"} & set(manifest([])["environment"])


def test_part_tells_where_it_began():
    values = part("workbench resume a", 40)
    assert (values["command"], values["first_step"]) == ("workbench resume a", 40)
    assert values["started"].endswith("+00:00")
