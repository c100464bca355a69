"""DP-SGD of TensorFlow Privacy on the tutorial's MNIST CNN, alone.

Takes settings as one JSON argument and prints what it measured as JSON. It gets what makes it
fastest: its fast gradient clipping where layers have it, a data set in memory, and lots of one
size. Timed is an epoch of `fit`.
"""

import json
import os
import sys
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tensorflow as tf
import tensorflow_privacy as tfp
from tensorflow_privacy.privacy.fast_gradient_clipping import layer_registry


def layers() -> list[tf.keras.layers.Layer]:
    keras = tf.keras.layers
    return [
        keras.Conv2D(16, 8, 2, "same", activation="relu"),
        keras.MaxPool2D(2, 1),
        keras.Conv2D(32, 4, 2, activation="relu"),
        keras.MaxPool2D(2, 1),
        keras.Flatten(),
        keras.Dense(32, activation="relu"),
        keras.Dense(10),
    ]


def model(mode: str, clip: float, noise: float) -> tf.keras.Model:
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if mode == "optimizer":
        made = tf.keras.Sequential([tf.keras.Input([28, 28, 1]), *layers()])
        optimizer = tfp.VectorizedDPKerasSGDOptimizer(
            clip, noise, num_microbatches=None, learning_rate=0.25
        )
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
    else:
        registry = layer_registry.make_default_layer_registry() if mode == "fast" else None
        inputs = tf.keras.Input([28, 28, 1])
        outputs = inputs
        for layer in layers():
            outputs = layer(outputs)
        made = tfp.DPModel(
            clip,
            noise,
            use_xla=mode == "xla",
            layer_registry=registry,
            inputs=inputs,
            outputs=outputs,
        )
        optimizer = tf.keras.optimizers.legacy.SGD(0.25)
    made.compile(optimizer, loss)
    return made


def main(mode: str, batch: int, clip: float, noise: float, steps: int) -> dict[str, float]:
    images = tf.random.uniform([steps * batch, 28, 28, 1])
    labels = tf.random.uniform([steps * batch], 0, 10, tf.int32)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch, True).cache()
    trained = model(mode, clip, noise)
    trained.fit(data, epochs=1, verbose=0)
    started = time.perf_counter()
    trained.fit(data, epochs=1, verbose=0)
    return {"examples/s": steps * batch / (time.perf_counter() - started)}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
