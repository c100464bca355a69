"""What a user may say about data sets; imports no TensorFlow, and no data."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from workbench.core.config import AT_LEAST_ONE, PROBABILITY, ConfigError, Limits, register, require

# Importing them registers data sets with owners, how one may be spread over clients, and tables.
from workbench.datasets import owned_config as _owned  # noqa: F401
from workbench.datasets import partition_config as _partitions  # noqa: F401
from workbench.datasets.tables import config as _tables  # noqa: F401


def held_out(examples: int, fraction: float) -> int:
    """How many of a data set's examples are kept apart for testing."""
    return math.ceil(examples * fraction)


@dataclass
class EmbeddedConfig:
    """A data set that comes with scikit-learn, split here: the same way in every run, by class."""

    total: ClassVar[int]

    # Share of the examples that is kept for testing.
    test_fraction: float = 0.2
    # How many training examples are used, from the first; null is all.
    limit: int | None = None

    def __post_init__(self) -> None:
        require(self, test_fraction=PROBABILITY)
        tests = held_out(self.total, self.test_fraction)
        if tests in (0, self.total):
            raise ConfigError(
                f"test_fraction={self.test_fraction} leaves {self.total - tests} training and "
                f"{tests} test examples; each needs some"
            )
        require(self, limit=Limits(low=1, high=self.total - tests))

    @property
    def examples(self) -> int:
        """How many training examples there are."""
        return self.limit or self.total - held_out(self.total, self.test_fraction)


@register("dataset", "digits", builder="workbench.datasets.embedded:digits")
@dataclass
class DigitsConfig(EmbeddedConfig):
    """Handwritten digits, 8x8 (UCI; Alpaydin & Kaynak 1998): grey values in [0, 1]."""

    total: ClassVar[int] = 1797


@register("dataset", "breast_cancer", builder="workbench.datasets.embedded:breast_cancer")
@dataclass
class BreastCancerConfig(EmbeddedConfig):
    """Malignant or benign from 30 numbers (UCI Wisconsin diagnostic), each in [0, 1]."""

    total: ClassVar[int] = 569


@dataclass
class PublishedConfig:
    """60,000 training and 10,000 test images of 28x28, grey values in [0, 1], in 10 classes."""

    name: ClassVar[str]
    # How many training examples are published; None when only the files know.
    total: ClassVar[int | None] = 60_000

    # The folder with the published files. Null: $WORKBENCH_DATA/NAME, then the user's cache,
    # where they are downloaded to.
    path: str | None = None
    # How many training examples are used, from the first; null is all.
    limit: int | None = None

    def __post_init__(self) -> None:
        require(self, limit=Limits(low=1, high=self.total or math.inf))

    @property
    def examples(self) -> int | None:
        """How many training examples there are; None when only the files know."""
        return self.limit or self.total

    def check(self) -> None:
        """Whether the files are where `path` says.

        Raises:
          ConfigError: naming the one that is missing.
        """
        from workbench.datasets.published import check

        check(self)


@register("dataset", "mnist", builder="workbench.datasets.published:build")
@dataclass
class MnistConfig(PublishedConfig):
    """MNIST (LeCun, Cortes & Burges): handwritten digits."""

    name: ClassVar[str] = "mnist"


@register("dataset", "fashion_mnist", builder="workbench.datasets.published:build")
@dataclass
class FashionMnistConfig(PublishedConfig):
    """Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): articles of clothing."""

    name: ClassVar[str] = "fashion_mnist"


# EMNIST's splits and how many classes each has.
EMNIST_CLASSES = {
    "byclass": 62,
    "bymerge": 47,
    "balanced": 47,
    "letters": 26,
    "digits": 10,
    "mnist": 10,
}


@dataclass
class ArchivedConfig(PublishedConfig):
    """Images, values in [0, 1], from a published archive or the files that were in it."""

    @property
    def files(self) -> list[str]:
        """The files that are read, as the archive names them."""
        raise NotImplementedError

    def check(self) -> None:
        from workbench.datasets.archives import check

        check(self)


@register("dataset", "emnist", builder="workbench.datasets.emnist:build")
@dataclass
class EmnistConfig(ArchivedConfig):
    """EMNIST (Cohen et al. 2017): NIST's handwritten digits and letters, 28x28, upright.

    They come without their writers; dataset=tff dataset.id=emnist has these.
    """

    name: ClassVar[str] = "emnist"
    total: ClassVar[None] = None

    split: str = "balanced"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, split=EMNIST_CLASSES)

    @property
    def files(self) -> list[str]:
        return [
            f"gzip/emnist-{self.split}-{part}-{kind}-ubyte.gz"
            for part in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ]


@register("dataset", "cifar10", builder="workbench.datasets.cifar:build")
@dataclass
class Cifar10Config(ArchivedConfig):
    """CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 colour images of 32x32, in 10 classes."""

    name: ClassVar[str] = "cifar10"
    total: ClassVar[int] = 50_000

    @property
    def files(self) -> list[str]:
        batches = [f"data_batch_{number}" for number in range(1, 6)]
        return [f"cifar-10-batches-bin/{batch}.bin" for batch in (*batches, "test_batch")]


@register("dataset", "cifar100", builder="workbench.datasets.cifar:build")
@dataclass
class Cifar100Config(ArchivedConfig):
    """CIFAR-100 (Krizhevsky 2009): 50,000 and 10,000 colour images of 32x32, in 100 classes."""

    name: ClassVar[str] = "cifar100"
    total: ClassVar[int] = 50_000

    @property
    def files(self) -> list[str]:
        return ["cifar-100-binary/train.bin", "cifar-100-binary/test.bin"]


@register("dataset", "files", builder="workbench.datasets.files:build")
@dataclass
class FilesConfig:
    """Your own files: tables as CSV, arrays as NPZ, or images as IDX; CSV and IDX also gzipped.

    The labels of IDX images are beside them: train-images-idx3-ubyte has train-labels-idx1-ubyte.
    """

    # The files of training and test examples.
    train: str = ""
    test: str | None = None
    # Share of the training examples that is kept for testing where there is no test file: always
    # the same, by class.
    test_fraction: float = 0.2
    # The column (CSV) or array (NPZ) of the labels, which are words or whole numbers.
    label: str = "label"
    # The columns of the features or the one array; null is all that are not the label.
    features: list[str] | None = None
    # How many classes there are, for labels 0 to classes - 1. Null: one for each label of the
    # training file, in their order.
    classes: int | None = None
    # What the features lie between, which becomes [0, 1]; say what is known without the data, for
    # what the data tell is private. Null: 0 and 255 for bytes, and other numbers stay as they are.
    range: list[float] | None = None
    # The same for single columns, as in {age: [0, 100]}.
    ranges: Any = None
    # How many training examples are used, from the first; null is all.
    limit: int | None = None

    # Known only when the file is read.
    examples: ClassVar[None] = None

    def __post_init__(self) -> None:
        require(
            self,
            test_fraction=Limits(low=0, high=1, open_low=True),
            classes=Limits(low=2),
            limit=AT_LEAST_ONE,
        )
        if self.range is not None:
            _require_range("range", self.range)
        if not isinstance(self.ranges or {}, dict):
            raise ConfigError(f"ranges={self.ranges}: give {{COLUMN: [low, high]}}")
        for column, bounds in (self.ranges or {}).items():
            _require_range(f"ranges.{column}", bounds)
        if self.features == []:
            raise ConfigError("features=[] names none; null is all that are not the label")

    @property
    def name(self) -> str:
        """What the data set is called: its file, without folder and suffixes."""
        return Path(self.train).name.split(".")[0]

    def check(self) -> None:
        """Whether the files are there and of a known kind.

        Raises:
          ConfigError: naming the first that is not.
        """
        from workbench.datasets.files import check

        check(self)


def _require_range(name: str, bounds: Any) -> None:
    numbers = isinstance(bounds, list) and all(isinstance(bound, int | float) for bound in bounds)
    if not numbers or len(bounds) != 2 or not -math.inf < bounds[0] < bounds[1] < math.inf:
        raise ConfigError(f"{name}={bounds} is no range: give [low, high], low below high")
