"""From a runtime's configuration to devices that are ready; call these before the first op."""

import os
from typing import Any

import tensorflow as tf

from workbench.core.config import ConfigError, nearest
from workbench.core.options import (
    MirroredConfig,
    MultiWorkerConfig,
    RuntimeConfig,
    RuntimeOptions,
    TpuConfig,
)
from workbench.core.replicas import each, first, total
from workbench.core.runtime import Runtime
from workbench.core.streams import stream_key


def one_device(config: RuntimeConfig, seed: int) -> Runtime:
    """A single CPU or GPU.

    `seed` reaches the initializers of Keras layers, the one thing that draws statefully; so it is
    with every function here.

    Raises:
      ConfigError: when the device is not there.
    """
    device = _present(config.device)
    _prepare(config, seed)
    return Runtime(device=device, jit=config.jit)


def mirrored(config: MirroredConfig, seed: int) -> Runtime:
    """GPUs of this machine, or its CPU as several logical devices.

    Raises:
      ConfigError: when there are not as many.
    """
    device = _present(config.device)
    if device == "CPU":
        wanted = config.replicas or os.cpu_count() or 1
        found = _logical_cpus(wanted)
    else:
        found = len(tf.config.list_physical_devices(device))
        wanted = config.replicas or found
    if wanted > found:
        raise ConfigError(
            f"runtime.replicas={wanted} exceeds the {found} {device}s that this process has"
        )
    _prepare(config, seed)
    if wanted == 1:
        return Runtime(device=device, jit=config.jit)
    return Runtime(device, config.jit, mirrored_strategy(device, wanted))


def mirrored_strategy(device: str, replicas: int) -> tf.distribute.MirroredStrategy:
    """The first devices of a type, as replicas."""
    # Between logical CPUs a sum is an addition in memory, and collective operations a detour.
    sums = tf.distribute.ReductionToOneDevice() if device == "CPU" else None
    devices = [f"{device}:{number}" for number in range(replicas)]
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=sums)


def multi_worker(config: MultiWorkerConfig, seed: int) -> Runtime:
    """This process' replicas of several processes'; waits until all of them are there.

    Raises:
      ConfigError: when the surroundings do not say who the workers are, or one does not come.
    """
    device = _present(config.device)
    worker = config.worker
    _prepare(config, seed)
    resolvers = tf.distribute.cluster_resolver
    if config.cluster == "slurm":
        per_node = len(tf.config.list_physical_devices("GPU")) if device == "GPU" else 0
        resolver = resolvers.SlurmClusterResolver(port_base=config.port, gpus_per_node=per_node)
    else:
        resolver = resolvers.TFConfigClusterResolver()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (tf.errors.OpError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"the workers did not come together: {reason}") from error
    return Runtime(device, config.jit, strategy, worker)


def tpu(config: TpuConfig, seed: int) -> Runtime:
    """The cores of a TPU.

    Raises:
      ConfigError: when it does not answer.
    """
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=config.name, zone=config.zone, project=config.project
        )
        if config.name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = str(error).split(". ")[0]
        raise ConfigError(f"runtime.name={config.name}: no such TPU answers ({reason})") from error
    _prepare(config, seed)
    return Runtime("TPU", config.jit, tf.distribute.TPUStrategy(resolver))


def try_out(device: str, replicas: int) -> str:
    """`works`, or what happens to a compiled step and a sum on so many devices of a type."""
    try:
        if device == "CPU":
            _logical_cpus(replicas)
        runtime = Runtime(device)
        if replicas > 1:
            runtime = Runtime(device, strategy=mirrored_strategy(device, replicas))
        with runtime.scope():
            ones = each(lambda: tf.linalg.trace(tf.matmul(tf.eye(2), tf.eye(2))))
            sums = runtime.compile(lambda: first(total(ones())), jit=runtime.alone)()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        return f"no: {(str(error).splitlines() or ['no reason given'])[0]}"
    return "works" if float(sums) == 2 * replicas else "no: it counts wrongly"


def accelerated() -> bool:
    """Whether there is more to compute with than the processor."""
    kinds = {device.device_type for device in tf.config.list_logical_devices()}
    return bool(kinds & {"GPU", "TPU"})


def _present(name: str) -> str:
    """TensorFlow's name of a device type that is there; of CPU runs, GPUs are kept out."""
    device = name.upper()
    if not tf.config.list_physical_devices(device):
        found = sorted({d.device_type.lower() for d in tf.config.list_physical_devices()})
        raise ConfigError(f"runtime.device={name} is not on this machine{nearest('', found)}")
    if device == "CPU":
        tf.config.set_visible_devices([], "GPU")
    return device


def _prepare(config: RuntimeOptions, seed: int) -> None:
    if config.threads is not None:
        _set_threads(config.threads)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    precision = "mixed_bfloat16" if config.precision == "bfloat16" else "float32"
    tf.keras.mixed_precision.set_global_policy(precision)
    tf.keras.utils.set_random_seed(stream_key(seed, "initial weights") >> 32)


def _logical_cpus(wanted: int) -> int:
    """Divides the processor; how many logical devices there are then."""
    processor = tf.config.list_physical_devices("CPU")[0]
    parts: list[Any] = [tf.config.LogicalDeviceConfiguration() for _ in range(wanted)]
    try:
        tf.config.set_logical_device_configuration(processor, parts)
    except (RuntimeError, ValueError):  # TensorFlow has started, in an earlier run of this process
        return len(tf.config.list_logical_devices("CPU"))
    return wanted


def _set_threads(threads: int) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:  # TensorFlow has started, in an earlier run of this process
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise ConfigError(
                f"runtime.threads={threads} cannot change inside a process that has run before"
            ) from error
