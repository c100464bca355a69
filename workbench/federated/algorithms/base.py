"""What a federated algorithm is: what clients do at each step, and what the server makes of it."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from workbench.core.config import ConfigError
from workbench.federated.config import FederatedConfig
from workbench.federated.nests import Weights
from workbench.federated.optimizers import Optimizer, State, optimizer_of

# The most that is kept for clients, in GiB.
KEPT = 8


class Client(NamedTuple):
    """What a group of G clients has at hand in a round.

    Attributes:
      x: the server's model, `[1, ...]` each.
      sent: what the algorithm sends beside it.
      kept: what it keeps for each of them, `[G, ...]`.
      gradient: ∇F_k(x) over all that each of them has, `[G, ...]`, where the algorithm has them
        compute `gradients`; else empty.
    """

    x: Weights
    sent: Any
    kept: Any
    gradient: Weights


class Report(NamedTuple):
    """What a group of clients sends back.

    Attributes:
      delta: the direction that the server descends in, `[G, ...]`: x - y.
      beside: a nest of `[G, ...]` that is averaged as it is.
      kept: what is kept until they are asked again.
    """

    delta: Weights
    beside: Any = ()
    kept: Any = ()


class Round(NamedTuple):
    """What the server learns of a round.

    Attributes:
      delta: the aggregated direction.
      beside: the mean of what else was sent.
      survey: the mean gradient of the cohort at x, where the algorithm asks for it.
      share: |S|/K, of all clients those that took part, by how much they count; float32.
    """

    delta: Weights
    beside: Any
    survey: Weights
    share: tf.Tensor


class Algorithm(tf.Module):
    """A federated algorithm.

    Its methods are traced into the program of a round; what is local to clients has a first axis
    for the G of them that are gone through together.

    Args:
      config: of the algorithm.
      model: the server's.
      clients: K, how many there are.
      x: those of the model's variables that the server shares; all where it is not given.

    Attributes:
      x: what the server sends, and moves.
      surveys: whether clients first send the gradient of all their data at x.
      gradients: whether they compute it for what they do afterwards.
      trains: whether they take local steps.
      whole: whether the server has a whole model, which can be judged without a client.
      kept: variables `[K, ...]` of what is kept for each client.
    """

    surveys = False
    gradients = False
    trains = True
    whole = True
    kept: Any = ()

    def __init__(
        self,
        config: FederatedConfig,
        model: tf.keras.Model,
        clients: int,
        x: Sequence[tf.Variable] | None = None,
    ):
        super().__init__(name="algorithm")
        self.config = config
        self.x = list(model.trainable_variables if x is None else x)
        self.client_optimizer = optimizer_of(config.client)
        self.server_optimizer = Optimizer(optimizer_of(config.server), self.x)

    def shared(self) -> Weights:
        """x as it is now, `[1, ...]` each."""
        return [tf.convert_to_tensor(v)[None] for v in self.x]

    def kept_for(self, clients: tf.Tensor) -> Any:
        """What is kept for clients, int32 `[M]`: `[M, ...]` each."""
        return tf.nest.map_structure(lambda v: tf.gather(v, clients), self.kept)

    def sent(self, survey: Weights) -> Any:
        """What clients get beside the model.

        Args:
          survey: the cohort's mean gradient at x; empty where the algorithm does not ask for it.
        """
        return ()

    def begin(self, client: Client, clients: int) -> Weights:
        """The models that clients begin with, `[G, ...]` each.

        Args:
          client: what they have at hand.
          clients: G.
        """
        return [tf.repeat(u, clients, 0) for u in client.x]

    def start(self, y: Weights, rate: tf.Tensor, client: Client) -> State:
        """The state of the clients' optimizer before their first step.

        Args:
          y: their models, `[G, ...]` each.
          rate: η, the round's learning rate.
          client: what they have at hand.
        """
        specs = [tf.TensorSpec(u.shape, u.dtype) for u in y]
        state = self.client_optimizer.initialize(specs)
        return self.client_optimizer.set_hparams(state, {"learning_rate": rate})

    def weight(self, examples: tf.Tensor) -> tf.Tensor:
        """How much clients count in a mean, by how many examples they have; float32 `[G]`."""
        return examples if self.config.weighting == "examples" else tf.ones_like(examples)

    @abstractmethod
    def step(
        self,
        y: Weights,
        state: State,
        gradient: Callable[[Weights], Weights],
        client: Client,
    ) -> tuple[Weights, State]:
        """One local step.

        Args:
          y: the clients' models.
          state: of their optimizer.
          gradient: of the step's batch, at any weights.
          client: what they have at hand.
        """

    @abstractmethod
    def report(
        self, y: Weights, state: State, steps: tf.Tensor, rate: tf.Tensor, client: Client
    ) -> Report:
        """What clients send after their last step.

        Args:
          y: the clients' models.
          state: of their optimizer.
          steps: how many each of them took, float32 `[G]`.
          rate: η, the round's learning rate at clients.
          client: what they have at hand.
        """

    @abstractmethod
    def update(self, found: Round) -> None:
        """Moves the server's model; on every replica alike."""


def for_each_client(start: Sequence[tf.Tensor], clients: int) -> list[tf.Variable]:
    """Variables `[K, ...]` of what is kept for each of K clients, which begin with `start`.

    Raises:
      ConfigError: where they would not fit.
    """
    size = clients * sum(u.shape.num_elements() * u.dtype.size for u in start)
    if size > KEPT * 2**30:
        raise ConfigError(
            f"weights kept for each of {clients} clients are {size / 2**30:.0f} GiB, above {KEPT}; "
            "lower partition.clients, or take an algorithm that keeps none, such as fed_avg"
        )
    shapes = [[clients, *u.shape] for u in start]
    return [
        tf.Variable(tf.broadcast_to(u, shape), trainable=False)
        for u, shape in zip(start, shapes, strict=True)
    ]
