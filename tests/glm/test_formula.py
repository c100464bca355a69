"""From a formula and a table to a regression: what comes out, and what is refused in one line."""

import numpy as np
import pandas as pd
import patsy
import pytest

from workbench.core.config import ConfigError
from workbench.datasets.tables.frame import FrameTable
from workbench.glm.config import ModelConfig
from workbench.glm.formula import columns_of, groups_of, regression_of

DATA = pd.DataFrame(
    {
        "y": [1.0, 2, 3, 4, 5, 6.5, 7, 7],
        "count": [0, 1, 2, 3, 0, 1, 2, 5],
        "rest": [4, 4, 1, 1, 2, 2, 3, 3],
        "x": [1.0, 2, 3, 1, 2, 3, 1.5, 2.5],
        "n": [1, 2, 3, 4, 5, 6, 7, 8],
        "group": list("aabbccab"),
        "year": [1, 2, 3, 1, 2, 2, 3, 3],
        "flag": [True, False] * 4,
        "gappy": [1.0, 2, None, 4, 5, None, 3, 2],
        "endless": [1, 2, 3, np.inf, 2, 1, 4, 4],
        "same": 3.0,
        "none": 0.0,
        "alone": "a",
        "dirty": ["1", "2", "x", "3", "4", "5", "6", "7"],
        "day": pd.date_range("2020-01-01", periods=8),
        "my column": [2.0, 3, 5, 7, 11, 13, 17, 19],
    }
)


def regression(formula, data=DATA, na="drop", clusters=None, **model):
    return regression_of(FrameTable(data), ModelConfig(formula=formula, **model), na, clusters)


def refusal(formula, **options):
    """What is said of a regression, always in one line."""
    with pytest.raises(ConfigError) as error:
        regression(formula, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + n",
        "y ~ x * C(group)",
        "y ~ C(group) + C(year) - 1",
        "y ~ 0 + x + group",
        "y ~ (x + n) ** 2",
        "y ~ I(x ** 2) + np.log(n)",
        "y ~ C(group, Treatment('b')) + x:group",
        "y ~ C(group, Sum) + flag",
        "np.log(y) ~ center(x) + standardize(n)",
        "y ~ bs(n, df=4)",
    ],
)
def test_the_design_is_that_of_another_reader_of_formulas(formula):
    """Of patsy, which statsmodels uses; names of columns and their order are each one's own."""
    found = regression(formula)
    y, design = patsy.dmatrices(formula, DATA)
    np.testing.assert_allclose(found.rows.response, np.ravel(y))
    places = [
        np.argmin(np.abs(design - column[:, None]).sum(axis=0)) for column in found.rows.design.T
    ]
    assert sorted(places) == list(range(design.shape[1]))
    np.testing.assert_allclose(found.rows.design, np.asarray(design)[:, places], atol=1e-12)


def test_terms_know_their_columns():
    found = regression("y ~ x * C(year) + `my column`")
    assert found.names == [
        *("Intercept", "x", "C(year)[T.2]", "C(year)[T.3]", "my column"),
        *("x:C(year)[T.2]", "x:C(year)[T.3]"),
    ]
    assert found.terms == {
        "Intercept": [0],
        "x": [1],
        "C(year)": [2, 3],
        "my column": [4],
        "x:C(year)": [5, 6],
    }


def test_a_dot_is_all_columns_that_have_no_other_part():
    data = DATA[["y", "x", "n", "group", "rest"]]
    found = regression("y ~ .", data, offset="rest", clusters="group")
    assert found.names == ["Intercept", "x", "n"]
    np.testing.assert_array_equal(found.clusters, [0, 0, 1, 1, 2, 2, 0, 1])
    assert regression("y ~ . + (1 | group)", data, offset="rest").names == ["Intercept", "x", "n"]


def test_whole_numbers_are_computed_with_as_fractions():
    found = regression("y ~ I(n ** 30)")
    np.testing.assert_allclose(found.rows.design[:, 1], DATA["n"].astype(float) ** 30)


def test_successes_and_failures_become_shares_of_trials():
    rows = regression("count + rest ~ x", family="binomial").rows
    np.testing.assert_array_equal(rows.weight, DATA["count"] + DATA["rest"])
    np.testing.assert_allclose(rows.response * rows.weight, DATA["count"])


def test_offsets_exposures_and_weights_find_their_places():
    model = {"frequency_weights": "rest", "variance_weights": "n", "exposure": "n", "offset": "x"}
    rows = regression("count ~ x", family="poisson", **model).rows
    np.testing.assert_allclose(rows.offset, DATA["x"] + np.log(DATA["n"]))
    np.testing.assert_array_equal(rows.frequency, DATA["rest"])
    np.testing.assert_array_equal(rows.weight, DATA["n"])


def test_rows_with_missing_values_are_counted_and_left_out():
    found = regression("y ~ gappy", clusters="year")
    assert found.dropped == 2
    np.testing.assert_array_equal(found.source, [0, 1, 3, 4, 6, 7])
    np.testing.assert_array_equal(found.rows.response, DATA["y"].iloc[found.source])
    assert len(found.clusters) == 6
    assert regression("y ~ x").dropped == 0  # a gap in a column that is not used is none


def test_categories_of_rows_that_are_left_out_are_no_columns():
    data = DATA.assign(group=pd.Categorical(DATA["group"], categories=list("abcd")))
    data.loc[data["group"] == "c", "x"] = np.nan
    assert regression("y ~ x + group", data).names == ["Intercept", "x", "group[T.b]"]


def test_a_gap_does_not_change_the_names_of_categories():
    data = DATA.assign(year=[1, 2, 3, 1, 2, 2, 3, None])
    assert regression("y ~ C(year)", data).names[1:] == ["C(year)[T.2]", "C(year)[T.3]"]


def test_what_the_user_leaves_empty_is_what_the_table_is_known_for():
    table = FrameTable(DATA, formula="count ~ x", family="poisson")
    assert regression_of(table, ModelConfig()).model == ModelConfig("count ~ x", "poisson")
    said = regression_of(table, ModelConfig(formula="y ~ x", family="gamma")).model
    assert (said.formula, said.family) == ("y ~ x", "gamma")
    unknown = FrameTable(DATA)
    assert regression_of(unknown, ModelConfig(formula="y ~ x")).family.key == "gaussian"
    with pytest.raises(ConfigError, match="known for no model"):
        regression_of(unknown, ModelConfig())


# Hierarchical terms.


def test_what_varies_by_group_is_cut_out_of_the_formula():
    found = regression("y ~ x + (1 + x | group) + n")
    assert found.names == ["Intercept", "x", "n"]
    (grouping,) = found.groupings
    assert (grouping.factor, grouping.levels) == ("group", ["a", "b", "c"])
    assert grouping.names == ["Intercept", "x"]
    np.testing.assert_array_equal(grouping.codes, [0, 0, 1, 1, 2, 2, 0, 1])
    np.testing.assert_array_equal(grouping.design[:, 1], DATA["x"])


@pytest.mark.parametrize(
    ("formula", "names", "varying"),
    [
        ("y ~ (1 | group)", ["Intercept"], [("group", ["Intercept"])]),
        ("y ~ (1 | group) + x", ["Intercept", "x"], [("group", ["Intercept"])]),
        ("y ~ 0 + x + (x | group)", ["x"], [("group", ["Intercept", "x"])]),
        ("y ~ 0 + (0 + x | group)", [], [("group", ["x"])]),
        (
            "y ~ (1 | group) + (0 + x | group)",
            ["Intercept"],
            [("group", ["Intercept"]), ("group", ["x"])],
        ),
        (
            "y ~ (1 | group/year)",
            ["Intercept"],
            [("group", ["Intercept"]), ("group:year", ["Intercept"])],
        ),
    ],
)
def test_terms_by_group_are_lme4s(formula, names, varying):
    found = regression(formula)
    assert found.names == names
    assert [(term.factor, term.names) for term in found.groupings] == varying


def test_groups_within_groups_are_told_apart():
    nested = regression("y ~ (1 | group/year)").groupings[1]
    assert nested.levels[:2] == ["a:1", "a:2"]
    pairs = DATA["group"] + ":" + DATA["year"].astype(str)
    assert [nested.levels[code] for code in nested.codes] == pairs.tolist()


# New data.


def test_new_data_become_the_same_columns():
    found = regression("y ~ bs(n, df=4) + C(group) * x + scale(x)", exposure="rest")
    some = DATA.iloc[[5, 2]].drop(columns=["y", "group"]).assign(group=["c", "b"])
    design, offset = columns_of(found, some)
    np.testing.assert_allclose(design, found.rows.design[[5, 2]])
    np.testing.assert_allclose(offset, found.rows.offset[[5, 2]])
    np.testing.assert_array_equal(columns_of(found, some.to_dict("list"))[0], design)


def test_new_data_have_their_groups():
    found = regression("y ~ x + (1 + x | group) + (1 | group:year)")
    by_group, nested = groups_of(found, DATA.iloc[[4, 0]])
    np.testing.assert_array_equal(by_group.codes, [2, 0])
    np.testing.assert_array_equal(by_group.design[:, 1], DATA["x"].iloc[[4, 0]])
    np.testing.assert_array_equal(nested.codes, found.groupings[1].codes[[4, 0]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"group": "z"}, r"group has categories that the estimation has not seen \(z\)"),
        ({"year": 9}, r"year has categories that the estimation has not seen \(9\)"),
        ({"x": np.nan}, "the new data has missing values in each of its rows"),
        ({"x": np.inf}, "x is inf in 2 rows"),
        ({"x": -1.0}, r"np.log\(x\) is nan in 2 rows"),
    ],
)
def test_new_data_that_do_not_fit_are_refused(change, said):
    found = regression("y ~ group + np.log(x) + C(year)")
    with pytest.raises(ConfigError, match=said):
        columns_of(found, DATA.iloc[:2].assign(**change))


def test_new_data_without_a_column_are_refused():
    found = regression("y ~ x + (1 | group)")
    with pytest.raises(ConfigError, match="there is no column x; did you mean xx"):
        columns_of(found, DATA.rename(columns={"x": "xx"}))
    with pytest.raises(ConfigError, match="groups that the estimation has not seen"):
        groups_of(found, DATA.assign(group="z"))


# What is refused.


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("y", "does not say what is explained by what"),
        ("y ~ ", "does not say what is explained by what"),
        ("y ~ 0", "has nothing to explain by"),
        ("y ~ x +", "cannot be read: Operator `+` has insuffient arguments"),
        ("y ~ (x", "cannot be read: Could not find matching context marker"),
        ("y ~ x | group", "| stands in brackets"),
        ("y ~ x * (1 | group)", "has to be added by +"),
        ("y ~ (1 || group)", "more than one bar"),
        ("y ~ (x + (1 | group))", "cannot stand inside of other brackets"),
        ("y ~ (1 | gruop)", "there is no column gruop; did you mean group?"),
        ("y ~ grup", "there is no column grup; did you mean group?"),
        ("y ~ I(grup)", "there is no column grup; did you mean group?"),
        ("z ~ x", "there is no column z"),
        ("y ~ lag(x)", "lag is no function; did you mean log?"),
        ("y ~ I(x[0])", "in I(x[0]), x[0] is not allowed in formulas"),
        ("y ~ gappy + same", "same is 3 in all rows, as the intercept is"),
        ("y ~ 0 + none", "none is 0 in all rows"),
        ("y ~ alone", "alone is the same in all rows"),
        ("same ~ x", "same is 3 in all rows: nothing is to be explained"),
        ("y ~ gappy + endless", "endless is inf in row 4"),
        ("y ~ log(x - 1)", "log(x - 1) is -inf in 2 rows, first 1, 4"),
        ("log(x - 1) ~ x", "log(x - 1) is -inf in 2 rows, first 1, 4"),
        ("y ~ dirty", "dirty is 'x' in row 3, and numbers elsewhere"),
        ("y ~ day", "day holds dates"),
        ("group ~ x", "group holds words (a, b, …)"),
        ("C(year) ~ x", "no single number in each row"),
        ("y + n ~ x", "y + n is 2 columns"),
        ("y ~ C(group, levels=['a', 'b'])", "none of the levels: {'c'}"),
    ],
)
def test_formulas_that_do_not_fit_are_refused(formula, said):
    assert said in refusal(formula)


@pytest.mark.parametrize(
    ("formula", "options", "said"),
    [
        ("y ~ x", {"family": "poisson"}, "y is 6.5 in row 6"),
        ("gappy ~ x", {"family": "binomial"}, "gappy is 2 in row 2"),
        ("count ~ x", {"family": "gamma"}, "count is 0 in row 1"),
        ("I(gappy - 3) ~ x", {"family": "poisson"}, "I(gappy - 3) is -2 in row 1"),
        ("y + n ~ x", {"family": "binomial"}, "y is 6.5 in row 6: successes and failures"),
        ("none + I(0 * x) ~ x", {"family": "binomial"}, "row 1 has neither successes nor"),
        ("y ~ x", {"offset": "rset"}, "offset=rset is no column; did you mean rest?"),
        ("y ~ x", {"clusters": "yaer"}, "clusters=yaer is no column; did you mean year?"),
        ("y ~ x", {"exposure": "count"}, "exposure=count has to be above 0, and is 0 in 2 rows"),
        ("y ~ x", {"frequency_weights": "none"}, "frequency_weights=none has to be above 0"),
        ("y ~ x", {"variance_weights": "group"}, "group holds words"),
        ("y ~ gappy", {"na": "fail"}, "missing values in 2 rows, first 3, 6 (gappy: 2)"),
        ("y ~ x", {"data": DATA[:0]}, "data has no rows"),
        ("y ~ x", {"data": DATA.assign(x=np.nan)}, "missing values in each of its rows (x: 8)"),
        ("y ~ x", {"data": DATA[["y", "x", "x"]]}, "several columns named 'x'"),
    ],
)
def test_data_that_do_not_fit_are_refused(formula, options, said):
    assert said in refusal(formula, **options)


RUN = '__import__("os").system("touch {}").real()'


@pytest.mark.parametrize(
    "formula",
    [
        f"{RUN} ~ x",
        f"I({RUN}) ~ x",
        f"{{{{{RUN}}}}} ~ x",
        f"y ~ I({RUN})",
        f"y ~ {{{{{RUN}}}}}",
        f"y ~ (1 + I({RUN}) | group)",
        "I(open('{}', 'w').name()) ~ x",
        "I(np).save('{}', x).real() ~ x",
        "I(f\"{{open('{}', 'w').name()}}\".real()) ~ x",
        "y ~ I(f\"{{open('{}', 'w')}}\")",
        "y ~ np.save('{}', x)",
        "y ~ I([a for a in ().__class__.__base__.__subclasses__()])",
    ],
)
def test_a_formula_runs_nothing_but_functions_of_columns(formula, tmp_path):
    refusal(formula.format(tmp_path / "made"))
    assert not list(tmp_path.iterdir())
