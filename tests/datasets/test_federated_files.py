"""Your own files with a client column: what is in them comes out, and what is wrong is said."""

import gzip
import json

import numpy as np
import pytest

from workbench.core.config import ConfigError, build
from workbench.datasets.owned_config import FederatedFilesConfig
from workbench.datasets.partition_config import NaturalConfig

TABLE = """user,age,income,label
bob,20,1000,no
ann,30,2000,yes
bob,40,3000,no
bob,50,4000,yes
ann,60,5000,no
"""
POSTS = """user,tag,post
7,python,How to sort a list? A list of lists!
3,java,How to sort
7,python,list of
3,java,Why
"""


@pytest.fixture
def write(tmp_path):
    """Writes text or bytes into a file and gives its path."""

    def write(content, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def as_lines(table):
    """A CSV table as JSON lines, numbers as numbers."""
    header, *rows = [line.split(",") for line in table.splitlines()]
    return "\n".join(
        json.dumps({k: int(v) if v.isdigit() else v for k, v in zip(header, row, strict=True)})
        for row in rows
    )


def mine(path, **settings):
    return FederatedFilesConfig(path=path, **{"client": "user", "test_fraction": 0.4, **settings})


def refusal(config):
    """What is said of a configuration, always in one line."""
    with pytest.raises(ConfigError) as error:
        build(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mine.csv", TABLE),
        ("mine.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
        ("mine.jsonl", as_lines(TABLE)),
        ("mine.jsonl.gz", gzip.compress(as_lines(TABLE).encode(), mtime=0)),
        ("mine.csv", b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n\r\n").encode()),
    ],
)
def test_examples_come_with_their_clients_and_the_last_are_for_testing(write, name, content):
    dataset = build(mine(write(content, name)))
    assert (dataset.name, dataset.classes, dataset.keys) == ("mine", 2, ["ann", "bob"])
    np.testing.assert_array_equal(
        dataset.train.features, [[20, 1000], [30, 2000], [40, 3000], [60, 5000]]
    )
    np.testing.assert_array_equal(dataset.train.labels, [0, 1, 0, 0])
    np.testing.assert_array_equal(dataset.train.owners, [1, 0, 1, 0])
    np.testing.assert_array_equal(dataset.test.features, [[50, 4000]])
    np.testing.assert_array_equal(dataset.test.owners, [1])
    population = build(NaturalConfig(), dataset, 0)
    np.testing.assert_array_equal(population.train.features[:, 0], [30, 60, 20, 40])
    np.testing.assert_array_equal(population.offsets, [0, 2, 4])
    np.testing.assert_array_equal(population.test_offsets, [0, 0, 1])


def test_nobody_is_left_without_an_example_to_train_on(write):
    dataset = build(mine(write(TABLE), test_fraction=1.0))
    np.testing.assert_array_equal(np.bincount(dataset.train.owners), [1, 1])
    np.testing.assert_array_equal(dataset.train.features[:, 0], [20, 30])


def test_a_test_file_may_have_other_clients_and_another_order_of_columns(write):
    test = write("label,age,user,income\nyes,1,zoe,2\nno,3,ann,4\n", "test.csv")
    dataset = build(mine(write(TABLE), test=test))
    assert len(dataset.train) == 5
    assert dataset.keys == ["ann", "bob", "zoe"]
    np.testing.assert_array_equal(dataset.test.features, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(dataset.test.owners, [2, 0])
    population = build(NaturalConfig(), dataset, 0)
    assert list(population.keys) == ["ann", "bob"]
    assert "1 test examples of clients left out are not used" in population.notes


def test_texts_become_shares_of_the_most_frequent_words(write):
    config = mine(write(POSTS), label="tag", text="post", vocabulary=3, test_fraction=0.5)
    dataset = build(config)
    # Of the training texts five words are there twice: a, how and list are the first of them.
    np.testing.assert_allclose(dataset.train.features, [[2 / 9, 1 / 9, 2 / 9], [0, 1 / 3, 0]])
    np.testing.assert_allclose(dataset.test.features, [[0, 0, 1 / 2], [0, 0, 0]])
    np.testing.assert_array_equal(dataset.train.labels, [1, 0])
    assert dataset.keys == ["3", "7"]


def test_classes_may_be_stated(write):
    table = TABLE.replace("yes", "7").replace("no", "3")
    dataset = build(mine(write(table), classes=10))
    assert dataset.classes == 10
    np.testing.assert_array_equal(dataset.train.labels, [3, 7, 3, 3])


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("", {}, "holds no examples"),
        ("user,age,label\n", {}, "holds no examples"),
        (TABLE, {"client": "usr"}, "has no column dataset.client=usr; did you mean user?"),
        (TABLE, {"label": "lable"}, "has no column dataset.label=lable; did you mean label?"),
        (TABLE, {"features": ["ages"]}, "has no column dataset.features=ages; did you mean age?"),
        (TABLE, {"text": "post"}, "has no column dataset.text=post"),
        (TABLE, {"features": ["label"]}, "needs a column of features besides"),
        (TABLE.replace("40", "forty"), {}, "mine.csv, line 4: age is 'forty' and no finite number"),
        (TABLE.replace("40", "nan"), {}, "mine.csv, line 4: age is 'nan' and no finite number"),
        (TABLE.replace("bob,50", ",50"), {}, "mine.csv, line 5: no user"),
        (TABLE.replace("2000,yes", "2000,"), {}, "mine.csv, line 3: no label"),
        (TABLE.replace("4000,yes", "4000"), {}, "mine.csv, line 5: 3 values for 4 columns"),
        (TABLE.replace("yes", "no"), {}, "has labels of one class only"),
        (
            TABLE,
            {"label": "income", "features": ["age"], "classes": 5},
            "label 1000 is out of range",
        ),
        (TABLE, {"test_fraction": 0.1}, "test_fraction=0.1 leaves no client a test example"),
        (TABLE.encode("utf-16"), {}, "is damaged or not what its name says"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_line_and_column(write, content, settings, said):
    assert said in refusal(mine(write(content), **settings))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"user": "bob", "age": 1', "mine.jsonl, line 6: no JSON ("),
        ("[1, 2]", "mine.jsonl, line 6: no object with a value for each column"),
        ('{"user": "bob", "age": 1, "label": "no"}', "line 6: income is None and no finite number"),
        (
            '{"user": "bob", "age": [1], "income": 2, "label": "no"}',
            "line 6: age is [1] and no fin",
        ),
        ('{"user": null, "age": 1, "income": 2, "label": "no"}', "mine.jsonl, line 6: no user"),
        ('{"user": "bob", "age": 1, "income": 2, "label": ["no"]}', "line 6: no label"),
    ],
)
def test_what_is_wrong_with_a_line_is_said(write, line, said):
    assert said in refusal(mine(write(f"{as_lines(TABLE)}\n{line}\n", "mine.jsonl")))


def test_files_that_are_not_there_are_said_before_anything_is_read(write, tmp_path):
    assert "path is empty: name a CSV or JSON-lines file" in refusal(FederatedFilesConfig())
    assert "dataset.path=mine.txt is of no known kind" in refusal(mine("mine.txt"))
    gone = str(tmp_path / "gone.csv")
    assert f"dataset.test={gone} is not there" in refusal(mine(write(TABLE), test=gone))
    with pytest.raises(ConfigError, match="features and text are both given"):
        FederatedFilesConfig(features=["a"], text="b")
