"""Work shared by replicas: what each takes of it, and what they sum.

A step under several replicas stands above them. What they compute goes through `each`, which
runs it on every one over its own copy of the state; a `Share` inside gives each its part of the
batch; `total` adds up what they found, and from there on all go the same way again, so that the
result does not depend on how many there are:

    gradients = total(each(self._gradients)(seed.step))
    each(self._apply)(gradients)

On one replica, all of this is the identity and costs nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import tensorflow as tf

from workbench.core.config import ConfigError

# How a strategy compiles what its replicas compute; see `compile_each`.
_compilers: WeakKeyDictionary[Any, Callable[[Callable[..., Any]], Callable[..., Any]]]
_compilers = WeakKeyDictionary()


def count() -> int:
    """R, the number of replicas."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def index() -> tf.Tensor:
    """Inside `each`: which replica is at work, int32 from 0."""
    context = tf.distribute.get_replica_context()
    return tf.convert_to_tensor(context.replica_id_in_sync_group)


def each(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on every replica, compiled as one; what it returns is a value for each.

    Inside there are no sums. Arguments are what `each` or `total` returned, or tensors, which are
    the same for all.
    """
    if not _above():
        return function
    strategy = tf.distribute.get_strategy()
    compiler = _compilers.get(strategy, lambda function: function)
    return lambda *arguments: strategy.run(compiler(function), args=arguments)


def total(nest: Any) -> Any:
    """The sum over replicas of every tensor of a nest that `each` returned, in all of them.

    Tensors of one dtype travel as one vector: the price of a sum is mostly that of its being one.
    """
    if count() == 1:
        return nest
    return tf.distribute.get_strategy().run(_all_reduce, args=(nest,))


def first(nest: Any) -> Any:
    """Plain tensors of what is the same on all replicas: the first one's."""
    if not _above():
        return nest
    local = tf.distribute.get_strategy().experimental_local_results
    return tf.nest.map_structure(lambda value: local(value)[0], nest)


def value(variable: tf.Variable) -> tf.Tensor:
    """What a variable holds, above the replicas, which all have the same."""
    return first(each(lambda: tf.identity(variable))())


def compile_each(
    strategy: tf.distribute.Strategy,
    compiler: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> None:
    """Lets `each` compile by `compiler` under a strategy."""
    _compilers[strategy] = compiler


class Share:
    """A replica's part of N things that stand in a row: examples, clients, environments, chains.

    Args:
      total: N.
      name: of the setting that is N, for the error.
      whole: keep N together on every replica when it cannot be divided, instead of refusing.

    Attributes:
      divided: whether a replica has only a part.
      size: how many it has.

    Raises:
      ConfigError: when N does not divide into the replicas.
    """

    def __init__(self, total: int, name: str = "", whole: bool = False):
        replicas = count()
        even = total % replicas == 0
        if not even and not whole:
            below = total // replicas * replicas
            choices = f"{below} or {below + replicas}" if below else f"{replicas}"
            raise ConfigError(
                f"{name}={total} does not divide into {replicas} replicas; "
                f"take {choices}, or another number of replicas"
            )
        self.total = total
        self.divided = even and replicas > 1
        self.size = total // replicas if self.divided else total

    @property
    def first(self) -> tf.Tensor:
        """The place of the first one that this replica has, int32."""
        return index() * self.size if self.divided else tf.constant(0)

    def of(self, nest: Any, axis: int = 0) -> Any:
        """This replica's part of tensors that are N long on an axis."""
        if not self.divided:
            return nest
        return tf.nest.map_structure(lambda tensor: self._part(tensor, axis), nest)

    def _part(self, tensor: tf.Tensor, axis: int) -> tf.Tensor:
        # Not `tf.slice`: XLA takes where it begins for a constant.
        shape = tensor.shape.as_list()
        parts = tf.reshape(tensor, [*shape[:axis], -1, self.size, *shape[axis + 1 :]])
        return tf.gather(parts, index(), axis=axis)

    def sum(self, nest: Any) -> Any:
        """What `each` found in its part, summed over the parts: plain tensors."""
        return first(total(nest) if self.divided else nest)

    def gathered(self, nest: Any) -> Any:
        """All N of what `each` returned in parts: plain tensors `[N, ...]`."""
        if not self.divided:
            return first(nest)
        return self.sum(each(lambda parts: tf.nest.map_structure(self._placed, parts))(nest))

    def _placed(self, part: tf.Tensor) -> tf.Tensor:
        """The part in its place among zeros."""
        places = tf.range(self.total // self.size) == index()
        mask = tf.reshape(places, [-1, *[1] * part.shape.rank])
        spread = tf.where(mask, part[None], tf.zeros([], part.dtype))
        return tf.reshape(spread, [self.total, *part.shape[1:]])


class Parts:
    """State of which every replica has its own, as a `tf.Module`'s attribute.

    It is no module itself, so that a learner's variables are those that replicas share;
    checkpoints keep the parts beside them.

    Args:
      variable: inside `each`, it is the replica's own.
    """

    def __init__(self, variable: tf.Variable):
        self.variable = variable

    @property
    def here(self) -> Sequence[tf.Variable]:
        """The variables of this process' replicas."""
        return tf.distribute.get_strategy().experimental_local_results(self.variable)

    def assign(self, whole: tf.Tensor, share: Share) -> None:
        """Gives every replica its part of `[N, ...]`; eagerly, while a learner is made."""
        strategy = tf.distribute.get_strategy()
        numbers = strategy.experimental_local_results(strategy.run(index))
        for variable, number in zip(self.here, numbers, strict=True):
            begin = int(number) * share.size if share.divided else 0
            variable.assign(whole[begin : begin + share.size])


class Given:
    """Data that every replica has at hand and no step changes.

    Like `Parts` it is no module itself; checkpoints leave it out, which are neither to be as large
    as the data nor to give them away.

    Args:
      arrays: of any number and shape.

    Attributes:
      variables: that hold them.
    """

    def __init__(self, *arrays: Any):
        self.variables = tuple(tf.Variable(array, trainable=False) for array in arrays)
        self._read: tuple[tf.Tensor, ...] = ()

    @property
    def values(self) -> tuple[tf.Tensor, ...]:
        """What the variables hold, without a copy of it.

        Of a variable that was once gathered from itself, TensorFlow copies all at each reading.
        """
        return self._read or tuple(tf.convert_to_tensor(variable) for variable in self.variables)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Reads them once: turns of a loop that read variables wait for each other."""
        self._read = self.values
        try:
            yield
        finally:
            self._read = ()


def given_to(module: tf.Module) -> list[Given]:
    """All data that a module and the modules in it were given, in a fixed order."""
    return list(module._flatten(predicate=lambda value: isinstance(value, Given)))


@contextmanager
def read_data(module: tf.Module) -> Iterator[None]:
    """Reads all data that a module and the modules in it were given; see `Given.read`."""
    with ExitStack() as stack:
        for given in given_to(module):
            stack.enter_context(given.read())
        yield


def parts_of(module: tf.Module) -> list[Parts]:
    """All parts that a module and the modules in it keep, in a fixed order."""
    return list(module._flatten(predicate=lambda value: isinstance(value, Parts)))


def _above() -> bool:
    """Whether we stand above the replicas, and not inside of one."""
    return tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context()


def _all_reduce(nest: Any) -> Any:
    tensors = [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(nest)]
    groups: dict[tf.DType, list[int]] = {}
    for place, tensor in enumerate(tensors):
        groups.setdefault(_travelling(tensor.dtype), []).append(place)
    context = tf.distribute.get_replica_context()
    for dtype, places in groups.items():
        flat = [tf.cast(tf.reshape(tensors[place], [-1]), dtype) for place in places]
        summed = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.concat(flat, axis=0))
        parts = tf.split(summed, [tensors[place].shape.num_elements() for place in places])
        for place, part in zip(places, parts, strict=True):
            tensor = tensors[place]
            tensors[place] = tf.cast(tf.reshape(part, tensor.shape), tensor.dtype)
    return tf.nest.pack_sequence_as(nest, tensors)


def _travelling(dtype: tf.DType) -> tf.DType:
    """What sums know how to add."""
    return tf.int32 if dtype.size < 4 and not dtype.is_floating else dtype
