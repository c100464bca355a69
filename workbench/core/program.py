"""Compiles blocks of a learner's steps: Python is entered between blocks only."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import tensorflow as tf

from workbench.core.learner import Feed, Learner, Mean, Metrics
from workbench.core.random import Keys, Seed
from workbench.core.runtime import Runtime

INDEX = tf.TensorSpec([], tf.int64)


class Program:
    """A learner under a runtime, runnable in blocks of any number of steps.

    Without a feed the whole block is one compiled `tf.while_loop` over variables that are
    updated in place; its length is an argument, so that one compilation serves every block.
    With a feed, each step is one compiled call that first absorbs the feed's chunk. What depends
    on the seed is no part of the program: `seed` may be changed, and nothing is compiled anew.
    """

    def __init__(self, learner: Learner, runtime: Runtime, seed: int, feed: Feed | None = None):
        self.learner = learner
        self.feed = feed
        self.runtime = runtime.suited(learner.kernels)
        self.seed = seed
        self._keys = Keys()
        self._block: Callable[..., Any] | None = None
        self._evaluate: Callable[..., Any] | None = None

    def run(self, first_step: int, steps: int) -> dict[str, float]:
        """Takes `steps` steps from `first_step` on; returns their mean metrics."""
        block = self._block or self.compile()
        if self.feed is None:
            first, count = tf.constant(first_step, tf.int64), tf.constant(steps, tf.int64)
            means = block(first, count, self._keys.of(self.seed))
            return _ratios(means) | self.learner.account(first_step + steps)
        keys, sums = self._keys.of(self.seed), list[dict[str, Mean]]()
        for step in range(first_step, first_step + steps):
            # Converted here, at a fraction of what the call would take for it.
            chunk = tf.nest.map_structure(tf.constant, self.feed.next(step))
            means, published = block(tf.constant(step, tf.int64), chunk, keys)
            self.feed.receive(published)
            sums.append(means)
        totals = tf.nest.map_structure(lambda *values: tf.add_n(values), *sums)
        account = self.learner.account(first_step + steps)
        return _ratios(totals) | self.feed.metrics() | account

    def evaluate(self, index: int) -> dict[str, float]:
        """Evaluates the learner; `index` seeds it, so every evaluation has draws of its own."""
        if self.feed is not None:
            self.feed.receive(self.learner.publish())
            metrics = self.feed.evaluate(index)
            if metrics is not None:
                return metrics
        if self._evaluate is None:
            self._evaluate = self._compile_evaluation()
        means = self._evaluate(tf.constant(index, tf.int64), self._keys.of(self.seed))
        return _ratios(means) | self.learner.account(index) | self.learner.examine()

    def compile(self) -> Callable[..., Any]:
        """Traces and compiles ahead of the first block, so that its time can be told apart.

        Returns:
          What `run` calls.
        """
        if self.feed is None:
            block = self._block or self._compile_block()
            # No step is taken: the call makes XLA compile now and not in the first block.
            none = tf.constant(0, tf.int64)
            block(none, none, self._keys.of(self.seed))
        else:
            block = self._block or self._compile_fed_step(self.feed)
            self.feed.receive(self.learner.publish())
        self._block = block
        return block

    def _compile_block(self) -> Any:
        step = self._traced(self._train_step, INDEX, Keys.SPEC)

        def block(first: tf.Tensor, count: tf.Tensor, keys: tf.Tensor) -> dict[str, Mean]:
            zeros = tf.nest.map_structure(
                lambda spec: tf.zeros(spec.shape, spec.dtype), step.structured_outputs
            )

            def body(i: tf.Tensor, sums: dict[str, Mean]) -> tuple[tf.Tensor, dict[str, Mean]]:
                return i + 1, tf.nest.map_structure(tf.add, sums, step(first + i, keys))

            start = (tf.constant(0, tf.int64), zeros)
            return tf.while_loop(lambda i, _: i < count, body, start)[1]

        return self._compiled(block, step)

    def _compile_fed_step(self, feed: Feed) -> Any:
        def fed_step(index: tf.Tensor, chunk: Any, keys: tf.Tensor) -> tuple[dict[str, Mean], Any]:
            self.learner.absorb(chunk)
            return self._train_step(index, keys), self.learner.publish()

        spec = (INDEX, feed.spec, Keys.SPEC)
        step = self._traced(fed_step, *spec)
        # A concrete function skips the matching of arguments, half the price of a small call.
        return self._compiled(lambda *args: step(*args), step).get_concrete_function(*spec)

    def _compile_evaluation(self) -> Callable[..., Any]:
        def evaluate(index: tf.Tensor, keys: tf.Tensor) -> dict[str, Mean]:
            return _as_means(self.learner.evaluate(self._at("evaluate/", index, keys)))

        traced = self._traced(evaluate, INDEX, Keys.SPEC)
        return self._compiled(lambda *args: traced(*args), traced)

    def _train_step(self, index: tf.Tensor, keys: tf.Tensor) -> dict[str, Mean]:
        return _as_means(self.learner.train_step(self._at("train/", index, keys)))

    def _at(self, path: str, index: tf.Tensor, keys: tf.Tensor) -> Seed:
        return Seed(self.seed, index, path, find=partial(self._keys.find, keys))

    def _traced(self, function: Callable[..., Any], *specs: Any) -> Any:
        with self.runtime.scope():
            return tf.function(function, autograph=False).get_concrete_function(*specs)

    def _compiled(self, function: Callable[..., Any], traced: Any) -> Any:
        """The function, which calls what was traced; with replicas, its parts are compiled."""
        return self.runtime.compile(
            function, jit=self.runtime.alone and self.runtime.jit_for(traced)
        )


def _as_means(metrics: Metrics) -> dict[str, Mean]:
    means = {}
    for name, value in metrics.items():
        total, weight = value if isinstance(value, Mean) else (value, 1.0)
        total = tf.convert_to_tensor(total)
        dtype = tf.float64 if total.dtype == tf.float64 else tf.float32
        means[name] = Mean(tf.cast(total, dtype), tf.cast(weight, dtype))
    return means


def _ratios(means: dict[str, Mean]) -> dict[str, float]:
    ratios = {}
    for name, (total, weight) in means.items():
        if weight := float(weight):
            ratios[name] = float(total) / weight
        elif math.isnan(float(total)):
            ratios[name] = math.nan
    return ratios
