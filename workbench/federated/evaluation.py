"""How the server's model serves its clients, one by one."""

import math

import numpy as np
import tensorflow as tf

from workbench.core import replicas
from workbench.core.config import ConfigError
from workbench.datasets.population import Population
from workbench.federated.config import EvaluationConfig
from workbench.models.judge import PADDING, Judge, Model

PERCENTILES = (5, 25, 50, 75, 95)
# The share of clients that the model serves worst, whose mean is told.
WORST = 0.1


class ClientsJudge(tf.Module):
    """Accuracy and loss of each client, and how they are spread over clients.

    Examples stand one after the other, by client, and are looked at as those of one test set are:
    the price follows their number, whoever holds them.

    Args:
      judge: of all clients' examples.
      offsets: of each client's, int64 `[K + 1]`.
    """

    def __init__(self, judge: Judge, offsets: np.ndarray):
        super().__init__(name="clients_judge")
        self._judge = judge
        labels = judge.data.variables[1].numpy()
        counted = (labels != PADDING).any(1) if labels.ndim > 1 else np.ones(len(labels), bool)
        clients = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        # Clients are numbered anew, without those that hold nothing to be judged by.
        holders = np.unique(clients[counted])
        self._holders = len(holders)
        places = np.searchsorted(holders, clients)
        self._clients = replicas.Given(np.minimum(places, self._holders - 1).astype(np.int32))

    def __call__(self, model: Model) -> dict[str, tf.Tensor]:
        """Judges a model, from features to logits."""
        (clients,) = self._clients.values
        right, loss, labels = (
            tf.math.unsorted_segment_sum(values, clients, self._holders)
            for values in self._judge.each(model)
        )
        total = tf.reduce_sum(labels)
        return {
            "clients_accuracy": tf.reduce_sum(right) / total,
            **spread("clients_accuracy", right / labels, worst_first=True),
            "clients_loss": tf.reduce_sum(loss) / total,
            **spread("clients_loss", loss / labels, worst_first=False),
        }


def clients_judge(
    config: EvaluationConfig, population: Population, central: Judge
) -> ClientsJudge | None:
    """What judges a model by clients; None where nobody asks for it.

    Args:
      central: of the population's test set, whose examples may be those of clients.

    Raises:
      ConfigError: when clients have no test examples and should be judged by them.
    """
    if config.clients == "none":
        return None
    if config.clients == "train":
        return ClientsJudge(Judge(population.train), population.offsets)
    if population.test_offsets is None:
        raise ConfigError(
            "algorithm.evaluation.clients=test, but this partition gives clients no test "
            "examples; train judges by those that they train with"
        )
    return ClientsJudge(central, population.test_offsets)


def spread(name: str, values: tf.Tensor, worst_first: bool) -> dict[str, tf.Tensor]:
    """Mean, percentiles (linear between values, as numpy's) and the worst clients' mean."""
    ordered = tf.sort(values)
    count = values.shape[0]
    worst = math.ceil(round(WORST * count, 6))
    found = {f"{name}_mean": tf.reduce_mean(values)}
    for percent in PERCENTILES:
        place = percent / 100 * (count - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        found[f"{name}_p{percent}"] = low + (place % 1) * (high - low)
    badly_served = ordered[:worst] if worst_first else ordered[count - worst :]
    return found | {f"{name}_worst_10": tf.reduce_mean(badly_served)}
