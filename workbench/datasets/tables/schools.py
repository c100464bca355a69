"""Effects of coaching for a test in eight schools: Rubin 1981 (J. Educ. Stat. 6), table 1."""

import numpy as np
import pandas as pd

from workbench.datasets.tables.config import SchoolsConfig
from workbench.datasets.tables.frame import FrameTable

EFFECTS = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
ERRORS = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]


def build(config: SchoolsConfig) -> FrameTable:
    """A row for each school; its `precision` is the inverse square of its standard error."""
    errors = np.array(ERRORS)
    columns = {
        "school": list("ABCDEFGH"),
        "effect": EFFECTS,
        "error": errors,
        "precision": errors**-2,
    }
    return FrameTable(pd.DataFrame(columns), "eight_schools", "effect ~ 1 + (1 | school)")
