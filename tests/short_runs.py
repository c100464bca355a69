"""Runs of a second, and what is needed to compare them."""

import json
import sys
import time

import numpy as np
import tensorflow as tf

from workbench.recording.metrics import read_metrics

CARTPOLE = "experiment=dqn/cartpole"
# A run of a second: 20 blocks of 100 environment steps, with a checkpoint after each.
SHORT = [
    CARTPOLE,
    "network.layers=[16]",
    "algorithm.replay_capacity=500",
    "algorithm.batch_size=16",
    "algorithm.learning_starts=100",
    "algorithm.exploration.steps=1000",
    "algorithm.evaluation.episodes=5",
    "train.budget=2000",
    "train.log_every=100",
    "train.evaluate_every=500",
    "train.checkpoint_every=0",
    "recorder=minimal",
]


def command(*arguments):
    return [sys.executable, "-m", "workbench", *arguments]


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def numbers(folder):
    return [
        {name: value for name, value in record.items() if name != "time"}
        for record in read_metrics(folder / "metrics.jsonl")
    ]


def weights(folder):
    newest = max((folder / "checkpoints").glob("step-*"))
    reader = tf.train.load_checkpoint(str(newest / "variables"))
    names = sorted(reader.get_variable_to_shape_map())
    return {n: reader.get_tensor(n) for n in names if n != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def assert_same_run(folder, reference):
    assert numbers(folder) == numbers(reference)
    ours, theirs = weights(folder), weights(reference)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if name.endswith("save_counter/.ATTRIBUTES/VARIABLE_VALUE"):
            continue
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
