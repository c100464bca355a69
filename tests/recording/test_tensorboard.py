import pytest
from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

from workbench.recording.tensorboard import TensorBoard

SETTINGS = {"seed": 3, "algorithm": {"rate": 0.5, "double": True, "layers": [8, 8]}, "none": None}


def load(folder):
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    return multiplexer.Reload()


def scalars(folder, tag):
    (run,) = load(folder).Runs()
    events = load(folder).GetAccumulator(run).Tensors(tag)
    return [(event.step, make_ndarray(event.tensor_proto).item()) for event in events]


def hparams_tab(folder):
    provider = MultiplexerDataProvider(load(folder), str(folder))
    plugin = Context(TBContext(data_provider=provider, logdir=str(folder)))
    request = context.RequestContext()
    return plugin.experiment_from_metadata(request, "", plugin.hparams_metadata(request, ""), [])


def test_scalars_read_back_at_their_steps(tmp_path):
    board = TensorBoard(tmp_path, SETTINGS, "a")
    board.write(10, 1.0, {"train/loss": 0.25})
    board.write(20, 2.0, {"train/loss": 0.125})
    assert scalars(tmp_path, "train/loss") == [(10, 0.25), (20, 0.125)]


def test_settings_read_back_as_hyperparameters(tmp_path):
    TensorBoard(tmp_path, SETTINGS, "a").close()
    (run,) = load(tmp_path).Runs()
    metadata = load(tmp_path).SummaryMetadata(run, SESSION_START_INFO_TAG)
    start = HParamsPluginData.FromString(metadata.plugin_data.content).session_start_info
    assert start.group_name == "a"
    assert start.hparams["seed"].number_value == 3
    assert start.hparams["algorithm.double"].bool_value is True
    assert start.hparams["algorithm.layers"].string_value == "[8, 8]"


def test_hparams_tab_has_columns_for_all_runs_of_a_sweep(tmp_path):
    for name, settings in {"0": SETTINGS, "1": {"noise": 1.5}}.items():
        TensorBoard(tmp_path / name, settings, name).write(1, 1.0, {f"evaluate/{name}": 1.0})
    experiment = hparams_tab(tmp_path)
    assert {"seed", "algorithm.rate", "noise"} <= {info.name for info in experiment.hparam_infos}
    tags = {info.name.tag for info in experiment.metric_infos}
    assert tags == {"evaluate/0", "evaluate/1"}


def test_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path):
    lost = TensorBoard(tmp_path, SETTINGS, "a")
    for step in (10, 20, 30):
        lost.write(step, 1.0, {"train/loss": 1.0})
    lost.close()
    TensorBoard(tmp_path, SETTINGS, "a", resumed_at=20).write(30, 2.0, {"train/loss": 2.0})
    assert scalars(tmp_path, "train/loss") == [(10, 1.0), (20, 1.0), (30, 2.0)]
    assert len(hparams_tab(tmp_path).hparam_infos) == 4


def test_full_disk_is_an_os_error(tmp_path):
    board = TensorBoard(tmp_path, SETTINGS, "a")
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        board._records._writer = full
        with pytest.raises(OSError, match="No space left"):
            board.write(1, 0.0, {"a": 1.0})
        board._records._writer = board._stream
        with pytest.raises(OSError, match="No space left"):
            full.close()
