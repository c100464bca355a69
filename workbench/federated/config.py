"""What a user may say about federated learning; imports no TensorFlow."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from workbench.core.config import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    ConfigError,
    Limits,
    register,
    require,
)
from workbench.privacy.config import GuaranteeConfig, MechanismConfig

if TYPE_CHECKING:
    from workbench.privacy.mechanism import Mechanism

PARTS = ("dataset", "partition", "cohort", "network", "aggregator", "privacy", "engine")


@dataclass
class OptimizerConfig:
    """One of TensorFlow Federated's functional optimizers."""

    # "sgd", "adagrad", "adam", "adamw", "rmsprop" or "yogi".
    optimizer: str = "sgd"
    learning_rate: float = 1.0
    # Of "sgd"; the others have their own betas.
    momentum: float = 0.0
    beta_1: float = 0.9
    beta_2: float = 0.99
    epsilon: float = 1e-3
    # Where the sums of squares of "adagrad" and "yogi" start.
    initial_accumulator: float = 1e-6
    # Of "adamw".
    weight_decay: float = 0.004

    def __post_init__(self) -> None:
        require(
            self,
            optimizer=("sgd", "adagrad", "adam", "adamw", "rmsprop", "yogi"),
            learning_rate=NON_NEGATIVE,
            momentum=PROBABILITY,
            beta_1=PROBABILITY,
            beta_2=PROBABILITY,
            epsilon=POSITIVE,
            initial_accumulator=NON_NEGATIVE,
            weight_decay=NON_NEGATIVE,
        )


@dataclass
class ClientConfig(OptimizerConfig):
    """What a client does in a round."""

    learning_rate: float = 0.1
    # E, how often a client goes through its data; null where `steps` says how long it trains.
    epochs: int | None = 1
    steps: int | None = None
    # B, examples in a local step; null is all that a client has.
    batch_size: int | None = 10
    # The learning rate over the rounds: "constant", "exponential" (times `decay` each round),
    # or "linear" or "cosine" towards 0 at the last.
    schedule: str = "constant"
    decay: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            epochs=AT_LEAST_ONE,
            steps=AT_LEAST_ONE,
            batch_size=AT_LEAST_ONE,
            schedule=("constant", "exponential", "linear", "cosine"),
            decay=PROBABILITY,
        )
        if (self.epochs is None) == (self.steps is None):
            raise ConfigError(
                f"epochs={self.epochs} and steps={self.steps}: give one of them, the other null"
            )


@dataclass
class EvaluationConfig:
    """What the server's model is judged by, beside the central test set."""

    # Whose examples: "none", or of each client its "test" examples, where the partition gives it
    # any, or its "train" examples. Its price is that of looking at all of them.
    clients: str = "none"

    def __post_init__(self) -> None:
        require(self, clients=("none", "test", "train"))


@dataclass
class PersonalisationConfig:
    """How clients are judged one by one, each with a model of its own."""

    # How many at an evaluation, drawn anew each time, or all if there are fewer; 0 is none.
    clients: int = 0
    # Local steps by which each fine-tunes the model on what it holds before it is judged.
    steps: int = 0
    # Of those steps; null is the client's.
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        require(self, clients=NON_NEGATIVE, steps=NON_NEGATIVE, learning_rate=NON_NEGATIVE)


@dataclass
class FederatedConfig:
    """What all federated algorithms have."""

    family: ClassVar[str] = "fedavg"
    parts: ClassVar[tuple[str, ...]] = PARTS
    # The `Algorithm` that is configured, "module:class".
    algorithm: ClassVar[str]

    client: ClientConfig = field(default_factory=ClientConfig)
    server: OptimizerConfig = field(default_factory=OptimizerConfig)
    # How much clients count in a mean: by their "examples", or all alike ("uniform").
    weighting: str = "examples"
    personalisation: PersonalisationConfig = field(default_factory=PersonalisationConfig)
    # Rounds of the whole training, which schedules are stretched over.
    rounds: int = 100
    # Updates that are not finite are left out; a larger share of a cohort ends the run.
    rejected: float = 0.5
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        require(
            self,
            weighting=("examples", "uniform"),
            rounds=AT_LEAST_ONE,
            rejected=PROBABILITY,
        )

    def mechanism(self, experiment: Any) -> "Mechanism":
        """What a round releases of its clients, where the experiment has privacy for them."""
        from workbench.federated.guarantee import mechanism_of_experiment

        return mechanism_of_experiment(experiment)


BUILD = "workbench.federated.build:build"
ALGORITHMS = "workbench.federated.algorithms"


@register("algorithm", "fed_avg", builder=BUILD)
@dataclass
class FedAvgConfig(FederatedConfig):
    """Federated averaging (McMahan et al. 2017), the server's optimizer included."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.fed_avg:FedAvg"


@register("algorithm", "fed_sgd", builder=BUILD)
@dataclass
class FedSgdConfig(FederatedConfig):
    """One gradient of all data a round (McMahan et al. 2017).

    Of the client, only the learning rate and its schedule have a part, and `batch_size` as the
    number of examples that are gone through together.
    """

    algorithm: ClassVar[str] = f"{ALGORITHMS}.fed_sgd:FedSgd"


@register("algorithm", "fed_prox", builder=BUILD)
@dataclass
class FedProxConfig(FederatedConfig):
    """Local steps that are held back (Li et al. 2020)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.fed_prox:FedProx"

    # μ of the proximal term μ/2 ‖y - x‖².
    mu: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, mu=NON_NEGATIVE)


@register("algorithm", "scaffold", builder=BUILD)
@dataclass
class ScaffoldConfig(FederatedConfig):
    """Local steps without client drift (Karimireddy et al. 2020)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.scaffold:Scaffold"

    weighting: str = "uniform"
    # What a client's control becomes: its "gradient" of all data at x (option I), or the mean of
    # its "steps" (option II), which costs nothing.
    control: str = "steps"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, control=("steps", "gradient"))
        _require_sgd(self.client, "controls are means of SGD's steps")


@register("algorithm", "fed_nova", builder=BUILD)
@dataclass
class FedNovaConfig(FederatedConfig):
    """Means of directions, however many steps clients take (Wang et al. 2020)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.fed_nova:FedNova"

    # μ of a proximal term, as in fed_prox.
    mu: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, mu=NON_NEGATIVE)
        _require_sgd(self.client, "updates are divided by what SGD makes of its steps")


@register("algorithm", "mime_lite", builder=BUILD)
@dataclass
class MimeLiteConfig(FederatedConfig):
    """Clients share their optimizer's state, which the server keeps (Karimireddy et al. 2021)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.mime_lite:MimeLite"


@register("algorithm", "mime", builder=BUILD)
@dataclass
class MimeConfig(FederatedConfig):
    """MimeLite whose steps are corrected by the cohort's gradient (Karimireddy et al. 2021)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.mime:Mime"


@register("algorithm", "fed_dyn", builder=BUILD)
@dataclass
class FedDynConfig(FederatedConfig):
    """Dynamic regularisation (Acar et al. 2021)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.fed_dyn:FedDyn"

    weighting: str = "uniform"
    # α of the regularisers.
    alpha: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, alpha=POSITIVE)


@register("algorithm", "fed_per", builder=BUILD)
@dataclass
class FedPerConfig(FederatedConfig):
    """Last layers of each client's own (Arivazhagan et al. 2019)."""

    algorithm: ClassVar[str] = f"{ALGORITHMS}.fed_per:FedPer"

    # How many layers with weights, from the end, are each client's own and never sent.
    personal: int = 1
    # Clients are what can be judged: no client's last layers are the server's.
    personalisation: PersonalisationConfig = field(
        default_factory=lambda: PersonalisationConfig(clients=100)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, personal=AT_LEAST_ONE)
        if not self.personalisation.clients:
            raise ConfigError(
                "personalisation.clients=0 leaves nothing to judge: the server has no whole model"
            )
        if self.evaluation.clients != "none":
            raise ConfigError(
                f"evaluation.clients={self.evaluation.clients} judges the server's model, which is "
                "not whole; take none: clients are judged by personalisation.clients"
            )


def _require_sgd(client: ClientConfig, why: str) -> None:
    if client.optimizer != "sgd":
        raise ConfigError(f"client.optimizer={client.optimizer} does not fit: {why}; take sgd")


@register("engine", "compiled", builder="workbench.federated.build:compiled")
@dataclass
class CompiledConfig:
    """Rounds as one compiled program."""

    # How a cohort is gone through: "batched", all its clients in each operation; "mapped", as many
    # side by side as the machine has cores; or "sequential". "auto", as was measured: on CPUs,
    # models of 100,000 parameters and more are mapped, and convolutions everywhere; others batched.
    execution: str = "auto"

    def __post_init__(self) -> None:
        require(self, execution=("auto", "batched", "mapped", "sequential"))


@register("engine", "tff", builder="workbench.federated.tff.build:build")
@dataclass
class TffConfig:
    """Rounds by TensorFlow Federated's algorithms and its C++ workers."""

    # "host:port" of workers that run, which share each round; without any, one of our own is
    # started, which ends with the run.
    workers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, address in enumerate(self.workers):
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise ConfigError(f"workers[{number}]={address} is no host:port, as localhost:7000")
            if address in self.workers[:number]:
                raise ConfigError(f"workers[{number}]={address} is there twice; name each once")


@dataclass
class StragglersConfig:
    """Clients with time for a random part of their work (Li et al. 2020, FedProx, section 5.2)."""

    # Of the clients that are asked, the same in each round.
    share: float = 0.0
    # Whether the server takes what they have done ("keep") or does without them ("drop").
    work: str = "keep"
    # They do 1, 2, … or all of so many parts of it; the paper's are the epochs. Null: any part.
    parts: int | None = None

    def __post_init__(self) -> None:
        require(self, share=PROBABILITY, work=("keep", "drop"), parts=AT_LEAST_ONE)


@dataclass
class CohortConfig:
    """What all cohorts have."""

    # M; clients that hold no example are never asked.
    size: int = 10
    # The probability that a client which was asked does not report.
    dropout: float = 0.0
    stragglers: StragglersConfig = field(default_factory=StragglersConfig)

    def __post_init__(self) -> None:
        require(self, size=AT_LEAST_ONE, dropout=PROBABILITY)


@register("cohort", "uniform", builder="workbench.federated.cohorts:uniform")
@dataclass
class UniformConfig(CohortConfig):
    """A fixed number of clients a round, each set of them being as probable."""

    # Whether one client may be drawn twice.
    replacement: bool = False
    # f: (1 + f) M clients are asked, and the first M that report are taken (Bonawitz et al. 2019).
    over_selection: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, over_selection=NON_NEGATIVE)


@register("cohort", "poisson", builder="workbench.federated.cohorts:poisson")
@dataclass
class PoissonConfig(CohortConfig):
    """Every client by itself, with the probability that makes `size` the expected number."""

    # The most that there is room for; in rounds that draw more, which are counted as "overflows",
    # the rest is left out. Null is a number that is never exceeded.
    capacity: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, capacity=AT_LEAST_ONE)


@register("cohort", "shuffled", builder="workbench.federated.cohorts:shuffled")
@dataclass
class ShuffledConfig(CohortConfig):
    """Every client once an epoch, as DP-FTRL needs it."""


@register("cohort", "available", builder="workbench.federated.cohorts:available")
@dataclass
class AvailableConfig(CohortConfig):
    """A fixed number of clients among those that are available, which they are by the hour."""

    # How probable it is at a client's best hour: each client's own, uniform between the two.
    probability: list[float] = field(default_factory=lambda: [0.2, 0.8])
    # By what share it is lower half a day later: 0 is the same at all hours.
    amplitude: float = 1.0
    # Rounds in a day.
    period: int = 24
    # The share of a day over which the clients' best hours are spread evenly: 0 is the same hour
    # for all, 1 any hour.
    zones: float = 0.5
    # f: (1 + f) M clients are asked, and the first M that report are taken (Bonawitz et al. 2019).
    over_selection: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            probability=PROBABILITY,
            amplitude=PROBABILITY,
            period=AT_LEAST_ONE,
            zones=PROBABILITY,
            over_selection=NON_NEGATIVE,
        )
        if len(self.probability) != 2 or self.probability[0] > self.probability[1]:
            raise ConfigError(
                f"probability={self.probability} is not the lowest and the highest one; "
                "give two numbers, as in [0.2, 0.8]"
            )


AGGREGATOR = "workbench.federated.aggregation.build"


@register("aggregator", "mean", builder=f"{AGGREGATOR}:mean")
@dataclass
class MeanConfig:
    """The weighted mean."""


@register("aggregator", "median", builder=f"{AGGREGATOR}:median")
@dataclass
class MedianConfig:
    """The median of each coordinate; every client counts once."""


@register("aggregator", "trimmed_mean", builder=f"{AGGREGATOR}:trimmed_mean")
@dataclass
class TrimmedMeanConfig:
    """The mean of each coordinate without its outermost values; every client counts once."""

    # β, the share of the clients that report which is left out at either end.
    trimmed: float = 0.1

    def __post_init__(self) -> None:
        require(self, trimmed=Limits(low=0, high=0.5 - 1e-9))


@register("aggregator", "krum", builder=f"{AGGREGATOR}:krum")
@dataclass
class KrumConfig:
    """The updates that have the nearest neighbours; every client counts once."""

    # f, how many of a cohort may be wrong.
    wrong: int = 1
    # m, of how many updates the mean is taken: 1 is Krum, more are multi-Krum.
    chosen: int = 1

    def __post_init__(self) -> None:
        require(self, wrong=NON_NEGATIVE, chosen=AT_LEAST_ONE)


@register("aggregator", "quantised", builder=f"{AGGREGATOR}:quantised")
@dataclass
class QuantisedConfig:
    """The weighted mean of updates whose numbers are rounded, up or down by chance."""

    # b of each number that is sent.
    bits: int = 8

    def __post_init__(self) -> None:
        require(self, bits=Limits(low=1, high=16))


@register("aggregator", "top_k", builder=f"{AGGREGATOR}:top_k")
@dataclass
class TopKConfig:
    """The weighted mean of the largest numbers of updates."""

    # Of an update's numbers, those that are sent.
    share: float = 0.1

    def __post_init__(self) -> None:
        require(self, share=Limits(low=0, high=1, open_low=True))


@register("aggregator", "secure", builder=f"{AGGREGATOR}:secure")
@dataclass
class SecureConfig:
    """The mean by a sum of integers modulo 2^b, as secure aggregation computes it.

    It needs `weighting=uniform`.
    """

    # C, which updates are clipped to.
    norm: float = 1.0
    # b of each number; the sum has to fit in.
    bits: int = 16
    # Whether updates are rotated at random, so that all their numbers are alike.
    rotation: bool = True
    # β of conditional rounding: 0 is without bias, exp(-1/2) takes the least noise.
    bias: float = 0.0
    # How probable it is that a number of the sum is wrapped around.
    wrapping: float = 1e-4

    def __post_init__(self) -> None:
        require(
            self,
            norm=POSITIVE,
            bits=Limits(low=1, high=22),
            bias=Limits(low=0, high=0.99),
            wrapping=Limits(low=1e-12, high=0.5),
        )


@register("privacy", "none")
@dataclass
class NoPrivacyConfig:
    """No guarantee."""


@register("privacy", "client_dp")
@dataclass
class ClientPrivacyConfig(MechanismConfig):
    """A guarantee of (ε, δ)-differential privacy for every client, with all that it holds.

    It needs `weighting=uniform` and `aggregator=mean`; steps are rounds.
    """

    # Who adds the noise: the server, once a round ("central"), or each client ("local").
    where: str = "central"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, where=("central", "local"))
        if self.where == "local":
            if self.clipping.kind == "quantile":
                raise ConfigError(
                    "clipping.kind=quantile needs a server that counts; choose clipping.kind=flat"
                )
            if self.noise.kind != "gaussian" or self.noise.schedule != "constant":
                raise ConfigError(
                    "where=local has the same noise in all rounds; choose noise.kind=gaussian and "
                    "noise.schedule=constant"
                )


@register("privacy", "distributed_dp")
@dataclass
class DistributedPrivacyConfig(GuaranteeConfig):
    """A guarantee for every client by noise that they all add a share of.

    It needs `aggregator=secure`, and a cohort of fixed size all of which reports; steps are rounds.
    """

    accountant: str = "rdp"
    adjacency: str = "replace_one"
    # "skellam" or "discrete_gaussian".
    noise: str = "skellam"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, noise=("skellam", "discrete_gaussian"))
