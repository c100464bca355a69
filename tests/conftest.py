"""TensorFlow's notices would bury what a test has to say; it starts with four devices."""

import logging
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)

import tensorflow as tf  # noqa: E402

# Processes of tests side by side; experiments that ask for one thread an operation can run in them.
tf.config.threading.set_intra_op_parallelism_threads(1)

# Now, for it cannot be done once TensorFlow has started: a test may have up to 4 replicas.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)
