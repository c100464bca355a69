"""Your own tables: every kind gives the same rows, whole or in batches, and says what is wrong."""

import gzip

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from workbench.core.config import ConfigError, build
from workbench.datasets.tables.config import FileConfig

TEXT = "x,n,group\n0.5,1,a\n1.5,2,\n,3,b\n2.5,4,a\n"
FRAME = pd.DataFrame(
    {"x": [0.5, 1.5, None, 2.5], "n": [1, 2, 3, 4], "group": ["a", None, "b", "a"]}
)
NUMBERS = np.arange(12.0).reshape(6, 2)


@pytest.fixture
def written(tmp_path):
    """The path of a small table of a kind."""

    def written(kind):
        path = tmp_path / f"mine{kind}"
        match kind:
            case ".csv":
                path.write_text(TEXT)
            case ".csv.gz":
                path.write_bytes(gzip.compress(TEXT.encode()))
            case ".parquet":
                FRAME.to_parquet(path, row_group_size=3)
            case "folder":
                path.mkdir()
                FRAME[:1].to_parquet(path / "1.parquet")
                FRAME[1:].to_parquet(path / "2.parquet")
        return str(path)

    return written


def refusal(**config):
    """What is said of a table, always in one line."""
    with pytest.raises(ConfigError) as error:
        build(FileConfig(**config)).frame()
    assert "\n" not in str(error.value)
    return str(error.value)


def same(frame, other):
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), other, check_dtype=False)


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet", "folder"])
def test_a_table_is_the_same_whatever_its_file_is(written, kind):
    table = build(FileConfig(path=written(kind)))
    assert table.columns == ["x", "n", "group"]
    same(table.frame(), FRAME)
    same(table.frame(["group", "x"]), FRAME[["group", "x"]])


@pytest.mark.parametrize("kind", [".csv", ".csv.gz", ".parquet", "folder"])
def test_batches_are_all_rows_in_order_and_no_larger_than_asked_for(written, kind):
    table = build(FileConfig(path=written(kind)))
    batches = list(table.batches(2, ["group", "n"]))
    assert max(map(len, batches)) <= 2
    same(pd.concat(batches), FRAME[["group", "n"]])


def test_the_folders_of_a_partitioned_table_are_a_column(tmp_path):
    data = pd.DataFrame({"x": [1.0, 2.0, 3.0], "year": [2020, 2021, 2021]})
    table = pyarrow.Table.from_pandas(data)
    pyarrow.parquet.write_to_dataset(table, tmp_path / "years", partition_cols=["year"])
    read = build(FileConfig(path=str(tmp_path / "years")))
    same(read.frame(["x", "year"]), data)
    same(pd.concat(read.batches(1, ["year", "x"])), data[["year", "x"]])


def test_other_separators_are_said(tmp_path):
    (tmp_path / "mine.csv").write_text("x;y\n1,5;2\n")
    assert build(FileConfig(path=str(tmp_path / "mine.csv"), separator=";")).columns == ["x", "y"]


def test_an_array_has_columns_by_number_or_by_the_names_it_is_given(tmp_path):
    path = str(tmp_path / "mine.npy")
    np.save(path, NUMBERS)
    same(build(FileConfig(path=path)).frame(["x2"]), pd.DataFrame({"x2": NUMBERS[:, 1]}))
    named = build(FileConfig(path=path, columns=["a", "b"]))
    same(pd.concat(named.batches(4)), pd.DataFrame(NUMBERS, columns=["a", "b"]))


def test_an_array_of_records_has_their_names(tmp_path):
    records = np.array([(1, 2.5), (3, 4.5)], [("k", int), ("v", float)])
    np.save(tmp_path / "mine.npy", records)
    table = build(FileConfig(path=str(tmp_path / "mine.npy")))
    same(table.frame(), pd.DataFrame({"k": [1, 3], "v": [2.5, 4.5]}))


def test_an_archive_has_a_column_for_each_array_and_each_column_of_one(tmp_path):
    path = str(tmp_path / "mine.npz")
    np.savez(path, y=np.arange(6), X=NUMBERS)
    assert build(FileConfig(path=path)).columns == ["y", "X1", "X2"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x,y\n1,2\n1,2,3\n", "mine.csv, row 2: Expected 2 columns, got 3"),
        ("", "Empty CSV file"),
    ],
)
def test_text_that_is_no_table_is_refused_with_the_row(tmp_path, content, said):
    (tmp_path / "mine.csv").write_text(content)
    assert said in refusal(path=str(tmp_path / "mine.csv"))


def test_a_late_row_of_another_kind_is_refused_with_its_number_in_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.datasets.tables.files.CHUNK", 64)
    rows = "".join(f"{i},1\n" for i in range(100))
    (tmp_path / "mine.csv").write_text(f"x,y\n{rows}1.5,1\nabc,1\n")
    table = build(FileConfig(path=str(tmp_path / "mine.csv"), stream=True))
    with pytest.raises(ConfigError, match=r"row 102: x: CSV conversion error .* 'abc'"):
        list(table.batches(10))


def test_numbers_after_whole_ones_and_gaps_pass_in_a_stream(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.datasets.tables.files.CHUNK", 64)
    rows = "".join(f"{i},\n" for i in range(100))
    (tmp_path / "mine.csv").write_text(f"x,y\n{rows}1.5,2.5\n")
    table = build(FileConfig(path=str(tmp_path / "mine.csv"), stream=True))
    assert pd.concat(table.batches(10)).iloc[-1].tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "path is empty"),
        ({"path": "mien.csv"}, "did you mean mine.csv?"),
        ({"path": "mine.txt"}, "of no known kind"),
        ({"path": "none"}, "a folder without .parquet files"),
        ({"path": "bad.parquet"}, "damaged or no Parquet file"),
        ({"path": "mine.npy", "columns": ["a"]}, "dataset.columns names 1 of the 2 columns"),
        ({"path": "mine.npz"}, "arrays that are no columns of one table: a [2], b [3]"),
        ({"path": "mine.csv", "separator": "::"}, "has to be one character"),
        ({"path": "mine.csv", "na": "keep"}, "na=keep is not a choice"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, monkeypatch, config, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text(TEXT)
    (tmp_path / "mine.txt").write_text(TEXT)
    (tmp_path / "none").mkdir()
    (tmp_path / "bad.parquet").write_text(TEXT)
    np.save("mine.npy", NUMBERS)
    np.savez("mine.npz", a=np.zeros(2), b=np.zeros(3))
    assert said in refusal(**config)


def test_a_table_is_streamed_when_it_would_fill_the_memory_or_as_the_user_says(
    written, monkeypatch
):
    path = written(".parquet")
    assert not build(FileConfig(path=path)).streamed
    assert build(FileConfig(path=path, stream=True)).streamed
    monkeypatch.setattr("workbench.datasets.tables.files.SHARE", 0)
    assert build(FileConfig(path=path)).streamed
    assert not build(FileConfig(path=path, stream=False)).streamed
