import subprocess
import sys

from PIL import Image

from workbench.core.options import BaselineConfig
from workbench.recording.plots import learning_curve

RECORDS = [
    {"step": 10, "train/return": 1.0},
    {"step": 20, "train/return": None},
    {"step": 20, "evaluate/return": 3.0},
]


def draw(tmp_path, records, baseline=None):
    path = tmp_path / "plots" / "curve.png"
    return learning_curve(
        path, records, judge="evaluate/return", unit="rounds", title="a", baseline=baseline
    )


def test_curve_is_a_png_of_a_readable_size(tmp_path):
    path = draw(tmp_path, RECORDS, BaselineConfig(name="paper", value=2.0, spread=0.5))
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width >= 800
        assert image.getcolors(1 << 20), "more than one colour"
        assert len(image.getcolors(1 << 20)) > 10
    assert path.stat().st_size < 500_000


def test_one_evaluation_is_enough(tmp_path):
    assert draw(tmp_path, RECORDS[2:]).exists()


def test_nothing_measured_draws_nothing(tmp_path):
    assert draw(tmp_path, [{"step": 1, "train/loss": 1.0}]) is None
    assert not (tmp_path / "plots").exists()


def test_plotting_imports_neither_pyplot_nor_tensorflow():
    code = (
        "import sys, workbench.recording.plots as _;"
        "assert not {'matplotlib.pyplot', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
