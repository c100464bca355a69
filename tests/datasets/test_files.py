"""Your own files: what is in them comes out, and what is wrong with them is said in one line."""

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from workbench.core.config import ConfigError, build
from workbench.datasets.config import FilesConfig

TABLE = "age,income,label\n20,1000,no\n30,2000,yes\n40,3000,no\n50,4000,yes\n"


@pytest.fixture
def write(tmp_path):
    """Writes text or bytes into a file and gives its path."""

    def write(content, name="mine.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.fixture
def archive(tmp_path):
    """Writes arrays into an NPZ file and gives its path."""

    def archive(name="mine.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return str(tmp_path / name)

    return archive


def all_of(dataset):
    """Features and labels of training and test examples, in the order of the features' sums."""
    features = np.concatenate([dataset.train.features, dataset.test.features])
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    order = np.argsort(features.reshape(len(features), -1).sum(axis=1))
    return features[order], labels[order]


def refusal(config):
    """What is said of a configuration, always in one line."""
    with pytest.raises(ConfigError) as error:
        build(config)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_table_gives_its_columns_and_its_labels_in_order(write):
    table = build(FilesConfig(train=write(TABLE), test_fraction=0.5))
    assert (table.name, table.classes) == ("mine", 2)
    assert (len(table.train), len(table.test)) == (2, 2)
    features, labels = all_of(table)
    np.testing.assert_array_equal(features, [[20, 1000], [30, 2000], [40, 3000], [50, 4000]])
    np.testing.assert_array_equal(labels, [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gzipped.csv.gz", gzip.compress(TABLE.encode(), mtime=0)),
        ("windows.csv", b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode()),
        ("blank.csv", TABLE.replace("\n", "\n\n")),
        ("quoted.csv", TABLE.replace("yes", '"yes"').replace("20", '" 20"')),
    ],
)
def test_tables_are_read_as_programs_write_them(write, name, content):
    features, labels = all_of(build(FilesConfig(train=write(content, name), test_fraction=0.5)))
    np.testing.assert_array_equal(features[:, 0], [20, 30, 40, 50])
    np.testing.assert_array_equal(labels, [0, 1, 0, 1])


def test_stated_ranges_become_zero_to_one(write):
    path = write(TABLE)
    both = FilesConfig(train=path, ranges={"age": [0, 100], "income": [1000, 5000]})
    features, _ = all_of(build(both))
    np.testing.assert_allclose(features, [[0.2, 0], [0.3, 0.25], [0.4, 0.5], [0.5, 0.75]])
    rest = FilesConfig(train=path, ranges={"age": [0, 100]}, range=[0, 10_000])
    np.testing.assert_allclose(all_of(build(rest))[0][0], [0.2, 0.1])


def test_columns_can_be_chosen(write):
    chosen = build(FilesConfig(train=write(TABLE), features=["income"]))
    assert chosen.train.features.shape == (3, 1)
    config = FilesConfig(train=write(TABLE), label="age", features=["income"], classes=51)
    assert build(config).classes == 51
    np.testing.assert_array_equal(all_of(build(config))[1], [20, 30, 40, 50])


def test_a_test_file_has_its_columns_by_name_and_its_labels_by_those_of_training(write):
    test = write("label,comment,income,age\nyes,old,1,2\n", "test.csv")
    dataset = build(FilesConfig(train=write(TABLE), test=test))
    assert len(dataset.train) == 4
    np.testing.assert_array_equal(dataset.test.features, [[2, 1]])
    np.testing.assert_array_equal(dataset.test.labels, [1])


def test_whole_numbers_are_in_numeric_order_and_may_be_stated(write):
    rows = "".join(f"{i},{label}\n" for i, label in enumerate([10, 9, -1, 10, 9, -1]))
    path = write("x,label\n" + rows)
    np.testing.assert_array_equal(all_of(build(FilesConfig(train=path)))[1], [2, 1, 0, 2, 1, 0])
    rows = rows.replace("-1", "3")
    stated = build(FilesConfig(train=write("x,label\n" + rows), classes=11))
    assert stated.classes == 11
    np.testing.assert_array_equal(all_of(stated)[1], [10, 9, 3, 10, 9, 3])


def test_byte_images_come_with_a_channel_and_up_to_one(archive):
    images = np.random.default_rng(0).integers(0, 256, [10, 5, 4], dtype=np.uint8)
    path = archive(x=images, label=np.arange(10) % 2)
    dataset = build(FilesConfig(train=path, test=path))
    np.testing.assert_allclose(dataset.train.features, images[..., None] / 255, rtol=1e-6)


def test_other_arrays_stay_as_they_are(archive):
    tokens = np.random.default_rng(0).integers(0, 5000, [10, 7])
    path = archive(words=tokens, noise=np.zeros(3), topic=np.arange(10)[:, None] % 2)
    dataset = build(FilesConfig(train=path, test=path, label="topic", features=["words"]))
    np.testing.assert_array_equal(dataset.train.features, tokens)
    np.testing.assert_array_equal(dataset.train.labels, np.arange(10) % 2)
    bytewise = archive(words=tokens.astype(np.uint8), label=np.arange(10) % 2)
    dataset = build(FilesConfig(train=bytewise, test=bytewise, range=[0, 1]))
    np.testing.assert_array_equal(dataset.train.features, tokens.astype(np.uint8))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_images_have_their_labels_beside_them(write, idx, suffix):
    images = np.random.default_rng(0).integers(0, 256, [10, 6, 5])
    pack = gzip.compress if suffix else bytes
    path = write(pack(idx(images)), f"train-images-idx3-ubyte{suffix}")
    config = FilesConfig(train=path, test=path)
    assert "has no labels; put them into" in refusal(config)
    write(pack(idx(np.arange(10) % 3)), f"train-labels-idx1-ubyte{suffix}")
    config.check()
    dataset = build(config)
    assert (dataset.name, dataset.classes) == ("train-images-idx3-ubyte", 3)
    np.testing.assert_allclose(dataset.train.features[..., 0], images / 255, rtol=1e-6)
    np.testing.assert_array_equal(dataset.train.labels, np.arange(10) % 3)


@pytest.mark.parametrize(
    ("content", "settings", "said"),
    [
        ("", {}, "has no column dataset.label=label"),
        ("x,label\n", {}, "holds no examples"),
        (TABLE, {"label": "lable"}, "dataset.label=lable; did you mean label?"),
        (TABLE, {"features": ["ages"]}, "dataset.features=ages; did you mean age?"),
        (TABLE, {"features": ["label"]}, "needs a column of features besides its label"),
        ("label\n1\n2\n", {}, "needs a column of features besides its label"),
        (
            TABLE,
            {"ranges": {"agee": [0, 1]}},
            "dataset.ranges.agee is no feature; did you mean age",
        ),
        (TABLE, {"label": "income", "classes": 10}, "line 2: label is 'no' and no number"),
        (
            TABLE,
            {"label": "age", "features": ["income"], "classes": 50},
            "label 50 is out of range",
        ),
        (TABLE, {"limit": 4}, "dataset.limit=4 exceeds the 3 training examples"),
        (TABLE, {"test_fraction": 0.9}, "leaves none of the 4 examples for training"),
        (TABLE.replace("30", ""), {}, "line 3: age is '' and no number"),
        (TABLE.replace("3000", "nan"), {}, "1 of 4 examples hold NaN or infinity, the first is nu"),
        (TABLE.replace("4000,yes", "4000"), {}, "line 5: 2 values for 3 columns"),
        (TABLE.replace("yes", ""), {}, "line 3: no label"),
        (TABLE.replace("yes", "no"), {}, "has labels of one class only"),
        (
            TABLE.replace("yes", "0.5").replace("no", "1"),
            {},
            "label holds 0.5; labels are words or",
        ),
        (TABLE.replace("income", "age"), {}, "has several columns named 'age'"),
        ("," + TABLE.replace("\n", "\n1,")[:-2], {}, "write it by to_csv(index=False)"),
        (TABLE.encode("utf-16"), {}, "is damaged or not what its name says"),
        ('x,label\n"' + "1" * 200_000 + '",1\n', {}, "field larger than field limit"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(write, content, settings, said):
    path = write(content)
    message = refusal(FilesConfig(train=path, **settings))
    assert said in message
    assert path in message or "dataset." in message


X, Y = np.zeros([4, 2]), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arrays", "settings", "said"),
    [
        ({"x": X}, {}, "has no array dataset.label=label; choose from x"),
        ({"x": X, "labels": Y}, {"features": ["x"]}, "dataset.label=label; did you mean labels?"),
        ({"x": X, "z": X, "label": Y}, {}, "several arrays; name one by dataset.features=[NAME]"),
        ({"x": X, "label": Y}, {"features": ["y"]}, "has no array dataset.features=y"),
        ({"x": X, "label": Y}, {"features": ["x", "y"]}, "has to be one array"),
        ({"x": X, "label": Y}, {"ranges": {"x": [0, 1]}}, "use dataset.range"),
        ({"x": X, "label": Y[:3]}, {}, "holds 4 examples and 3 labels"),
        ({"x": X, "label": Y + 1}, {"classes": 2}, "label 2 is out of range"),
        ({"x": X, "label": Y - 1}, {"classes": 2}, "label -1 is out of range"),
        ({"x": X, "label": np.eye(4)}, {}, "labels are float64 of shape [4, 4]"),
        ({"x": X, "label": [0, 1, np.nan, 1]}, {}, "label holds nan; labels are words or whole"),
        ({"x": X[:, 0], "label": Y}, {}, "x is float64 of shape [4]"),
        ({"x": X.astype(complex), "label": Y}, {}, "x is complex128"),
        ({"x": X[:0], "label": Y[:0]}, {}, "holds no examples"),
        ({"x": X[:, :0], "label": Y}, {}, "holds no examples"),
    ],
)
def test_what_is_wrong_with_arrays_is_said(archive, arrays, settings, said):
    assert said in refusal(FilesConfig(train=archive(**arrays), **settings))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_file_can_run_code(archive, tmp_path):
    trace = tmp_path / "trace"
    path = archive(x=np.array([Bomb(trace), Bomb(trace)], object), label=Y[:2])
    assert "allow_pickle=False" in refusal(FilesConfig(train=path))
    Path(path).write_bytes(pickle.dumps(Bomb(trace)))
    assert "is damaged or not what its name says" in refusal(FilesConfig(train=path))
    assert not trace.exists()


def test_a_damaged_archive_is_refused_wherever_it_is_cut_or_changed(archive):
    path = Path(archive(x=np.random.default_rng(0).normal(size=[20, 5]), label=np.arange(20) % 2))
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "is damaged or not what its name says" in refusal(FilesConfig(train=str(path)))
    changed = bytearray(whole)
    changed[300] ^= 1
    path.write_bytes(changed)
    assert "Bad CRC-32" in refusal(FilesConfig(train=str(path)))


@pytest.mark.parametrize("length", [5, 20, -1])
def test_a_gzipped_file_that_is_cut_off_is_refused(write, idx, length):
    path = write(gzip.compress(TABLE.encode())[:length], "mine.csv.gz")
    assert "is damaged or not what its name says" in refusal(FilesConfig(train=path))
    write(gzip.compress(idx(np.zeros(4)))[:length], "labels-idx1.gz")
    path = write(gzip.compress(idx(np.zeros([4, 2, 2])))[:length], "images-idx3.gz")
    assert "is damaged or not what its name says" in refusal(FilesConfig(train=path))


def test_files_that_do_not_fit_each_other_are_refused(write, idx, archive):
    train = archive(x=X, label=Y)
    test = archive("test.npz", x=X[:, :1], label=Y)
    assert "shape [1]" in refusal(FilesConfig(train=train, test=test))
    test = archive("test.npz", x=X, label=Y + 1)
    message = refusal(FilesConfig(train=train, test=test))
    assert f"label 2 is in no example of {train}" in message
    path = write(idx(np.zeros([3, 2, 2])), "images-idx3-ubyte")
    write(idx(np.zeros(2)), "labels-idx1-ubyte")
    assert "one class" in refusal(FilesConfig(train=path))
    assert "3 examples and 2 labels" in refusal(FilesConfig(train=path, classes=2))
    write(idx(np.zeros([3, 2, 2])), "labels-idx1-ubyte")
    assert "are the two files swapped?" in refusal(FilesConfig(train=path))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("", "train is empty"),
        ("nowhere.csv", "train=nowhere.csv is not there"),
        ("table.xlsx", "train=table.xlsx is of no known kind"),
    ],
)
def test_files_are_looked_for_before_a_run(file, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=said):
        FilesConfig(train=file).check()


def test_the_file_that_was_meant_is_named(write, tmp_path):
    write(TABLE, "train.csv")
    with pytest.raises(ConfigError, match=r"is not there; did you mean train\.csv\?"):
        FilesConfig(train=str(tmp_path / "trian.csv")).check()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"range": [1, 0]}, r"range=\[1, 0\] is no range"),
        ({"range": [0, 1, 2]}, "is no range"),
        ({"range": [0, np.inf]}, "is no range"),
        ({"ranges": {"age": [3, 3]}}, r"ranges.age=\[3, 3\] is no range"),
        ({"ranges": {"age": "0 to 3"}}, r"ranges.age=0 to 3 is no range"),
        ({"ranges": [0, 1]}, r"give \{COLUMN: \[low, high\]\}"),
        ({"features": []}, "names none"),
        ({"classes": 1}, "classes=1 is out of range"),
        ({"test_fraction": 0}, "test_fraction=0 is out of range"),
        ({"limit": 0}, "limit=0 is out of range"),
    ],
)
def test_settings_are_checked_without_a_file(settings, said):
    with pytest.raises(ConfigError, match=said):
        FilesConfig(train="mine.csv", **settings)
