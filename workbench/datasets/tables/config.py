"""What a user may say about tables; imports neither TensorFlow nor pandas."""

from dataclasses import dataclass

from workbench.core.config import ConfigError, register, require

# The data sets of statsmodels that a generalised linear model is usually made of.
STATSMODELS = (
    "anes96",
    "cancer",
    "ccard",
    "committee",
    "copper",
    "cpunish",
    "engel",
    "fair",
    "grunfeld",
    "longley",
    "randhie",
    "scotland",
    "spector",
    "stackloss",
    "star98",
    "statecrime",
    "strikes",
)


@dataclass
class TableConfig:
    """Rows with named columns."""

    # What becomes of rows with missing values: "drop", or "fail".
    na: str = "drop"

    def __post_init__(self) -> None:
        require(self, na=("drop", "fail"))


@register("dataset", "table", builder="workbench.datasets.tables.files:build")
@dataclass
class FileConfig(TableConfig):
    """Your own table: CSV, also gzipped, Parquet or a folder of it, or NumPy's arrays."""

    # .csv, .csv.gz, .parquet, a folder with .parquet files, .npz with an array for each column, or
    # .npy with one array of them all.
    path: str = ""
    # The columns of a .npy file; null is x1, x2, ….
    columns: list[str] | None = None
    # Between the values of a CSV row.
    separator: str = ","
    # Whether rows stay in the file, and are read each time they are needed; null: when they would
    # take more than a quarter of the free memory.
    stream: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.separator) != 1:
            raise ConfigError(f"separator={self.separator!r} has to be one character")

    def check(self) -> None:
        """Whether the file that `path` names is there and of a known kind.

        Raises:
          ConfigError: when it is not.
        """
        from workbench.datasets.tables.files import check

        if self.path:
            check(self)


@register("dataset", "statsmodels", builder="workbench.datasets.tables.statsmodels:build")
@dataclass
class StatsmodelsConfig(TableConfig):
    """A table that comes with statsmodels, and the model it is known for."""

    name: str = "star98"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, name=STATSMODELS)


@register("dataset", "nist", builder="workbench.datasets.tables.nist:build")
@dataclass
class NistConfig(TableConfig):
    """A linear regression with certified results: NIST's Statistical Reference Datasets."""

    # Of its file without suffix, as "longley", "norris" or "filip".
    name: str = "longley"
    # The folder with the .dat files; null is $WORKBENCH_DATA/nist_strd.
    path: str | None = None

    def check(self) -> None:
        """Whether the file is in the folder that `path` names.

        Raises:
          ConfigError: when it is not.
        """
        from workbench.datasets.tables.shared import file_of

        if self.path is not None:
            file_of("nist_strd", self.path, self.name, ".dat")


@register("dataset", "posteriordb", builder="workbench.datasets.tables.posteriordb:build")
@dataclass
class PosteriordbConfig(TableConfig):
    """Data of a model whose posterior is known (posteriordb), with a summary of its draws."""

    # Of its file without suffix.
    name: str = "kidiq-kidscore_momiq"
    # The folder with the .json files; null is $WORKBENCH_DATA/posteriordb.
    path: str | None = None

    def check(self) -> None:
        """Whether the file is in the folder that `path` names.

        Raises:
          ConfigError: when it is not.
        """
        from workbench.datasets.tables.shared import file_of

        if self.path is not None:
            file_of("posteriordb", self.path, self.name, ".json")


@register("dataset", "eight_schools", builder="workbench.datasets.tables.schools:build")
@dataclass
class SchoolsConfig(TableConfig):
    """Effects of coaching in eight schools, with their standard errors (Rubin 1981)."""
