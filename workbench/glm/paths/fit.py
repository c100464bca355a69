"""A path for readers: its coefficients, what cross-validation says, and the λ that is chosen."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from workbench.core.config import ConfigError
from workbench.glm.config import PathConfig
from workbench.glm.paths import plots
from workbench.glm.regression import Regression

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 92
# Rows of the path that a summary shows at the most.
SHOWN = 24
PENALTIES = {0.0: "ridge", 1.0: "lasso"}


@dataclass(frozen=True, eq=False)
class PathFit:
    """Estimates at all λ of a path.

    Attributes:
      regression: model and data.
      options: of the method.
      lambdas: `[L]`, from the largest on, as they were gone through.
      coefficients: β of the columns as they were, `[L, p]`.
      free: whether a column is not penalised, bool `[p]`.
      explained: the share of the null deviance that is explained, `[L]`.
      held_mean: mean deviance of an observation that is held out, `[L]`; None without folds.
      held_error: its standard error, `[L]`.
      chosen: the place of the λ that was chosen.
    """

    regression: Regression
    options: PathConfig
    lambdas: np.ndarray
    coefficients: np.ndarray
    free: np.ndarray
    explained: np.ndarray
    held_mean: np.ndarray | None
    held_error: np.ndarray | None
    chosen: int

    def __repr__(self) -> str:
        return f"<PathFit of {len(self.lambdas)} λ, λ={self.lambda_:.4g} chosen>"

    def __str__(self) -> str:
        return self.summary()

    @property
    def names(self) -> list[str]:
        """The columns'."""
        return self.regression.names

    @property
    def lambda_(self) -> float:
        """The λ that is chosen."""
        return float(self.lambdas[self.chosen])

    @property
    def sizes(self) -> np.ndarray:
        """How many penalised columns have a coefficient other than 0, `[L]`."""
        return np.count_nonzero(self.coefficients[:, ~self.free], axis=1)

    @property
    def inside(self) -> list[str]:
        """Penalised columns that have one at the λ that is chosen."""
        beta = self.coefficients[self.chosen]
        return [self.names[j] for j in np.flatnonzero((beta != 0) & ~self.free)]

    def at(self, strength: float | None = None) -> np.ndarray:
        """β `[p]` at a λ; between two of the path, on the line from one to the other.

        Args:
          strength: λ; None is the one that is chosen.

        Raises:
          ConfigError: for a λ beyond the path.
        """
        if strength is None:
            return self.coefficients[self.chosen]
        low, high = self.lambdas.min(), self.lambdas.max()
        if not low <= strength <= high:
            raise ConfigError(
                f"lambda={strength:g} is beyond the path, which goes from {high:g} to {low:g}"
            )
        order = np.argsort(self.lambdas)
        known = self.lambdas[order]
        return np.array([np.interp(strength, known, path[order]) for path in self.coefficients.T])

    def predict(
        self,
        new: "pd.DataFrame | np.ndarray | None" = None,
        strength: float | None = None,
        offset: np.ndarray | float | None = None,
    ) -> np.ndarray:
        """Means of rows, `[n]`; NaN where the family has none.

        Args:
          new: a table with the formula's columns, or a design matrix; None is the rows themselves.
          strength: λ; None is the one that is chosen.
          offset: of a design matrix.
        """
        family = self.regression.family
        design, known = self._columns(new, offset)
        eta = design @ self.at(strength) + known
        mean: np.ndarray = family.link.mean(eta).numpy()
        return np.where(family.possible(eta).numpy(), mean, np.nan)

    def _columns(
        self, new: "pd.DataFrame | np.ndarray | None", offset: np.ndarray | float | None
    ) -> tuple[np.ndarray, np.ndarray | float]:
        if new is None:
            return self.regression.rows.design, self.regression.rows.offset
        if not isinstance(new, np.ndarray):
            from workbench.glm.formula import columns_of

            return columns_of(self.regression, new)
        if new.ndim != 2 or new.shape[1] != len(self.names):
            raise ConfigError(
                f"new rows of shape {new.shape} do not have the model's {len(self.names)} columns"
            )
        return new, 0.0 if offset is None else offset

    def to_frame(self) -> "pd.DataFrame":
        """The path: lambda, columns, explained, and of held-out rows, deviance and std_err."""
        import pandas as pd

        table = pd.DataFrame(
            {"lambda": self.lambdas, "columns": self.sizes, "explained": self.explained}
        )
        if self.held_mean is not None:
            table["deviance"], table["std_err"] = self.held_mean, self.held_error
        table["chosen"] = np.arange(len(self.lambdas)) == self.chosen
        return table

    def summary(self) -> str:
        """The path as a table in plain text, and the coefficients at the λ that is chosen."""
        text = io.StringIO()
        console = Console(file=text, width=WIDTH, color_system=None, legacy_windows=False)
        console.print(self._path_table())
        console.print(self._coefficient_table())
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Tables in full precision, the summary and plots into a run folder; their paths."""
        import pandas as pd

        folder.mkdir(parents=True, exist_ok=True)
        index = pd.Index(self.lambdas, name="lambda")
        tables = {
            "path.csv": self.to_frame().set_index("lambda"),
            "coefficients.csv": pd.DataFrame(self.coefficients, index=index, columns=self.names),
        }
        for name, table in tables.items():
            table.to_csv(folder / name)
        (folder / "summary.txt").write_text(self.summary(), encoding="utf-8")
        files = [*(folder / name for name in tables), folder / "summary.txt"]
        return files + plots.write(self, folder / "plots")

    def verdict(self) -> str:
        """Which λ, and what is in."""
        inside, all_of_them = self.inside, int(np.count_nonzero(~self.free))
        what = f"{len(inside)} of {all_of_them} columns are in"
        if 0 < len(inside) <= 8 and len(inside) < all_of_them:
            what += f" ({', '.join(inside)})"
        explained = f"{self.explained[self.chosen]:.1%} of the deviance is explained"
        if self.held_mean is None or self.held_error is None:
            return f"λ = {self.lambda_:.4g}, the last: {what}, {explained}"
        mean, error = self.held_mean[self.chosen], self.held_error[self.chosen]
        line = (
            f"λ = {self.lambda_:.4g} by {self.options.folds}-fold cross-validation "
            f"({self.options.choose}): deviance {mean:.5g} ± {error:.2g}, {what}, {explained}"
        )
        if self.chosen == len(self.lambdas) - 1 and len(self.lambdas) > 1:
            line += "; it is the last of the path, and a smaller method.ratio may find a better one"
        return line

    def _path_table(self) -> Table:
        options = self.options
        kind = PENALTIES.get(options.mix, f"elastic net (mix {options.mix:g})")
        if options.penalty == "group_lasso":
            kind = "group lasso" if options.mix == 1 else f"group {kind}"
        family = f"{self.regression.model.family}, {self.regression.family.link.name}"
        title = f"Path of {self.regression.response}: {kind} ({family.replace('_', ' ')})"
        table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=True)
        held = self.held_mean is not None
        for name in ("", "λ", "columns", "explained", *(("held out", "std err") if held else ())):
            table.add_column(name, justify="right")
        count = len(self.lambdas)
        shown = set(np.linspace(0, count - 1, min(SHOWN, count)).astype(int)) | {self.chosen}
        for place in sorted(shown):
            cells = [
                "chosen" if place == self.chosen else "",
                f"{self.lambdas[place]:.5g}",
                f"{self.sizes[place]}",
                f"{self.explained[place]:.2%}",
            ]
            if self.held_mean is not None and self.held_error is not None:
                cells += [f"{self.held_mean[place]:.5g}", f"{self.held_error[place]:.2g}"]
            table.add_row(*cells)
        return table

    def _coefficient_table(self) -> Table:
        table = Table(title=f"At λ = {self.lambda_:.5g}", box=box.SIMPLE_HEAD, show_edge=True)
        table.add_column("term")
        table.add_column("coefficient", justify="right")
        beta = self.coefficients[self.chosen]
        for place in np.flatnonzero((beta != 0) | self.free):
            note = "" if not self.free[place] else " (free)"
            table.add_row(f"{self.names[place]}{note}", f"{beta[place]:.6g}")
        return table
