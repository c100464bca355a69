"""The command, from folders to terminal, tables, plots and page."""

import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image

from workbench.cli import main

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
RATES = (0.1, 0.2, 0.3)


@pytest.fixture
def runs(tmp_path, make_run):
    """Three groups of four runs; the second is best, the third has lost one."""
    for group, (rate, level) in enumerate(zip(RATES, (50.0, 98.0, 20.0), strict=True)):
        for seed in range(4):
            status = "failed" if (group, seed) == (2, 3) else "finished"
            make_run(
                tmp_path / "runs" / f"{group}{seed}",
                seed,
                level + seed,
                status=status,
                error="loss is not finite" if status == "failed" else None,
                algorithm__learning_rate=rate,
            )
    return tmp_path / "runs"


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def page_of(*arguments, out):
    assert main(["report", *map(str, arguments), "--out", str(out)]) == 0
    return (out / "report.html").read_text()


class Rendered(HTMLParser):
    """What a browser made of a page: rows of tables by id, headers' order, shapes in plots."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.sorted, self.shapes, self.addresses = {}, {}, 0, []
        self._table = self._row = self._cell = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[key] for key in ("src", "href", "xlink:href") if key in values]
        if tag == "table":
            self._table = values.get("id", "")
            self.tables[self._table] = []
        elif tag == "tr":
            self._row = []
        elif tag in ("td", "th"):
            self._cell = ""
            if values.get("aria-sort", "none") != "none":
                self.sorted[self._table] = values["data-column"], values["aria-sort"]
        elif tag == "path":
            self.shapes += 1

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._row.append(" ".join(self._cell.split()))
            self._cell = None
        elif tag == "tr":
            self.tables[self._table].append(self._row)

    def column(self, table, place):
        return [row[place] for row in self.tables[table][1:]]


def rendered(page, profile, fragment=""):
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={profile}",
        "--dump-dom",
        f"file://{page}{fragment}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout)


def test_the_terminal_says_what_came_out_in_a_hundred_columns(runs, capsys):
    assert main(["report", str(runs)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text
    words = " ".join(text.split())
    assert "12 runs of dqn/cartpole in 3 groups. learning_rate=0.2 is best" in words
    assert re.search(r"99\.5 \[98[^]]*\] over 4 runs; its mean matches CleanRL's 100 ± 5", words)
    assert "Not counted: 1 failed." in words
    assert "loss is not finite" in words
    assert words.index("learning_rate=0.2 4 ") < words.index("learning_rate=0.1 4 ")
    assert "learning_rate=0.3 3 of 4 21 " in words


def test_without_out_nothing_is_written(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["report", "runs"]) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_one_run_is_reported_without_intervals(tmp_path, make_run, capsys):
    make_run(tmp_path / "run", value=90.0)
    assert main(["report", str(tmp_path / "run")]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "is 90 over 1 run; the mean is worse than CleanRL's" in words
    assert "[" not in words


def test_groups_that_cannot_be_told_apart_are_said_to_be(tmp_path, make_run, capsys):
    for seed, value in enumerate((1.0, 2.0, 3.0, 4.0)):
        make_run(tmp_path / f"a{seed}", seed, value)
        make_run(tmp_path / f"b{seed}", seed, value + 0.1, algorithm__double=True)
    assert main(["report", str(tmp_path)]) == 0
    assert "cannot be told apart" in " ".join(capsys.readouterr().out.split())


def test_runs_csv_has_a_row_a_run(runs, tmp_path):
    page_of(runs, out=tmp_path / "out")
    table = rows(tmp_path / "out" / "runs.csv")
    assert len(table) == 12
    first, last = table[0], table[-1]
    assert first["path"] == str(runs / "00")
    assert (first["seed"], first["evaluate/return"], first["counted"]) == ("0", "50.0", "True")
    assert (first["set/algorithm.learning_rate"], first["seconds/total"]) == ("0.1", "2.0")
    assert (last["status"], last["counted"]) == ("failed", "False")
    assert last["left out because"] == "loss is not finite"


def test_groups_csv_has_a_row_a_group(runs, tmp_path):
    page_of(runs, out=tmp_path / "out")
    best, _, worst = rows(tmp_path / "out" / "groups.csv")
    assert (best["group"], best["runs"], best["counted"]) == ("learning_rate=0.2", "4", "4")
    assert float(best["iqm"]) == 99.5
    assert float(best["mean low"]) < 99.5 < float(best["mean high"])
    assert float(best["gap"]) == 0.75  # of 98, 99, 100 and 101 to 100
    assert best["verdict"] == "matches"
    assert (worst["runs"], worst["counted"]) == ("4", "3")
    pairs = rows(tmp_path / "out" / "pairs.csv")
    assert len(pairs) == 6
    assert float(pairs[0]["probability of improvement"]) == 1.0


def test_missing_cells_are_rows_with_what_to_do(tmp_path, make_sweep, capsys):
    sweep = make_sweep(tmp_path / "sweep", [1.0, 2.0, 3.0], missing=[1])
    page = page_of(sweep, out=tmp_path / "out")
    assert "has not begun, or its folder is gone" in capsys.readouterr().out
    assert [row["status"] for row in rows(tmp_path / "out" / "runs.csv")][1] == "missing"
    assert "<code>workbench -m experiment=dqn/cartpole</code>" in page


def test_plots_are_pictures_that_say_something(runs, tmp_path):
    page_of(runs, out=tmp_path / "out")
    for name in ("curves", "profile", "intervals", "improvement"):
        with Image.open(tmp_path / "out" / "plots" / f"{name}.png") as image:
            assert image.width >= 800
            assert len(image.getcolors(1 << 20)) > 10
        svg = (tmp_path / "out" / "plots" / f"{name}.svg").read_text()
        assert "learning_rate=0.2" in svg


def test_across_tasks_scores_are_normalised_by_what_was_published(tmp_path, make_run, capsys):
    for seed in range(3):
        make_run(tmp_path / "runs" / f"a{seed}", seed, 110.0 + seed)
        make_run(
            tmp_path / "runs" / f"b{seed}",
            seed,
            -90.0 - seed,
            name="dqn/acrobot",
            environment___component_="acrobot",
            baseline__value=-100.0,
        )
    page_of(tmp_path / "runs", out=tmp_path / "out")
    across = rows(tmp_path / "out" / "groups.csv")[-1]
    assert across["metric"] == "score"
    assert float(across["mean"]) == pytest.approx((1.11 + 1.09) / 2)
    assert float(across["gap"]) == 0
    assert "Across 2 tasks" in capsys.readouterr().out


def test_tasks_without_a_published_value_are_not_put_together(tmp_path, make_run, capsys):
    make_run(tmp_path / "a", baseline=None)
    make_run(tmp_path / "b", baseline=None, environment___component_="acrobot")
    assert main(["report", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Across" not in shown
    assert "gap" not in shown


def test_curves_fall_back_on_training_and_seconds_are_by_the_runs_own_speed(tmp_path, make_run):
    run = make_run(tmp_path / "run", points=1)
    records = [{"step": s, "train/return": 1.0, "time": -s} for s in (50, 100)]
    with (run / "metrics.jsonl").open("a") as stream:
        stream.writelines(json.dumps(record) + "\n" for record in records)
    page_of(run, "--x", "seconds", out=tmp_path / "out")
    svg = (tmp_path / "out" / "plots" / "curves.svg").read_text()
    assert "IQM of train/return" in svg
    assert "seconds of training" in svg
    assert ">2</text>" in svg.replace("2.0<", "2<")  # 100 steps at 50 a second


def test_a_damaged_line_is_told_of_in_one_line(runs, capsys):
    with (runs / "00" / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 3, "evalu')
    assert main(["report", str(runs)]) == 0
    (note,) = re.findall("note: .*", capsys.readouterr().out)
    assert note.endswith("00/metrics.jsonl: a damaged line was passed over")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "report takes runs"),
        (["runs", "--metrik", "a"], "did you mean --metric?"),
        (["rusn"], "did you mean runs?"),
        (["runs", "--metric", "evaluate/retrun"], "did you mean evaluate/return?"),
        (["runs", "--x", "hours"], "invalid choice: 'hours'"),
        (["runs", "--mode", "best"], "invalid choice: 'best'"),
        (["runs", "--target", "high"], "--target: high is no finite number"),
        (["runs", "--target", "nan"], "--target: nan is no finite number"),
        (["runs", "--resamples", "0"], "--resamples: 0 is out of range"),
        (["runs", "--seed", "one"], "--seed: one is no whole number"),
        (["runs", "--out"], "--out: expected one argument"),
        (["runs", "--out", "runs/00/summary.json"], "is a file; choose another folder"),
        (["runs", "--out", "runs/00/summary.json/deep"], "is a file; choose another folder"),
    ],
)
def test_bad_input_gets_one_line(arguments, said, runs, monkeypatch, capsys):
    monkeypatch.chdir(runs.parent)
    assert main(["report", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as end:
        main(["report", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for name in ("--metric", "--mode", "--target", "--x", "--out", "--resamples", "--seed"):
        assert name in shown


def test_paths_may_stand_before_and_after_options(tmp_path, make_run, capsys):
    first, second = make_run(tmp_path / "a", 0), make_run(tmp_path / "b", 1)
    assert main(["report", str(first), "--target", "-1000.0", str(second)]) == 0
    shown = capsys.readouterr().out
    assert "2 runs of" in shown
    assert "target: -1,000" in shown


def test_the_same_folders_give_the_same_numbers(runs, tmp_path):
    for name in ("one", "two"):
        page_of(runs, out=tmp_path / name)
    for name in ("groups.csv", "pairs.csv", "plots/curves.svg", "plots/profile.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_page_needs_nothing_else(runs, tmp_path):
    page = page_of(runs, out=tmp_path / "out")
    assert not re.search(r"https?://|//[a-z]+\.|@import|url\((?!#)", page)
    for address in Rendered(page).addresses:
        assert address.startswith(("#", "data:"))


def test_the_page_says_where_it_comes_from(runs, tmp_path):
    page = page_of(runs, "--seed", "3", out=tmp_path / "out")
    assert f"workbench report {runs} --seed 3 --out {tmp_path / 'out'}" in page
    assert "d631dab8" in page
    assert "tensorflow 2.14.1" in page
    assert "docs.cleanrl.dev" in page


def test_names_are_text_and_never_markup(tmp_path, make_run):
    evil = "<script>alert('a')</script>\"'&$^$"
    make_run(tmp_path / "runs" / "a", name=evil, algorithm__loss=evil)
    make_run(tmp_path / "runs" / "b", name=evil, algorithm__loss="huber")
    page = page_of(tmp_path / "runs", out=tmp_path / "out")
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert" in page


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_sorts_the_tables_and_shows_the_plots(runs, tmp_path):
    page_of(runs, out=tmp_path / "out")
    page = tmp_path / "out" / "report.html"
    plain = rendered(page, tmp_path / "one")
    assert plain.sorted == {"groups": ("iqm", "descending")}
    assert plain.column("groups", 0) == [f"learning_rate={rate}" for rate in (0.2, 0.1, 0.3)]
    assert plain.column("runs", 0)[:2] == ["00", "01"]
    assert plain.shapes > 50
    fragment = "#sort=runs:evaluate/return:desc&sort=groups:gap:asc"
    linked = rendered(page, tmp_path / "two", fragment)
    assert linked.sorted == {
        "groups": ("gap", "ascending"),
        "runs": ("evaluate/return", "descending"),
    }
    values = [float(text) for text in linked.column("runs", 4)]
    assert values == sorted(values, reverse=True)
    assert values[0] == 101.0
    unknown = rendered(page, tmp_path / "three", "#sort=runs:nonsense:desc&sort=x&left-out")
    assert unknown.column("runs", 0) == plain.column("runs", 0)


def test_a_report_imports_no_tensorflow_and_no_display(runs, tmp_path):
    script = (
        "import sys\nfrom workbench.cli import main\n"
        f"assert main(['report', {str(runs)!r}, '--out', {str(tmp_path / 'out')!r}]) == 0\n"
        "sys.exit(str({'tensorflow', 'matplotlib.pyplot', 'optuna', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


def test_a_thousand_runs_fit_in_a_gibibyte(tmp_path, make_run):
    for group in range(8):
        for seed in range(125):
            path = tmp_path / "runs" / f"{group}-{seed}"
            make_run(path, seed, group + seed / 125, points=20, network__layers=[group])
    report = ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")]
    script = f"from workbench.cli import main; main({report}); {PEAK}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) < 2**20
    assert len(rows(tmp_path / "out" / "runs.csv")) == 1000


# KiB. Not getrusage's, in which the process that started this one counts.
PEAK = "print(next(x.split()[1] for x in open('/proc/self/status') if x.startswith('VmHWM')))"
