"""Wavelet scattering of images by kymatio, kept on disk as it takes a while."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kymatio
import numpy as np
from kymatio.numpy import Scattering2D

from workbench.core.config import ConfigError
from workbench.core.news import say
from workbench.datasets.published import cache

# Oyallon & Mallat 2015, as Tramèr & Boneh 2021: two scales of eight angles, of which there are
# 1 + 2·8 + 8·8 = 81 coefficients at every fourth place.
SCALES, ANGLES = 2, 8

# Images that are transformed together, and how many more than that are worth keeping.
CHUNK = 256
KEPT_FROM = 4096


def scattered(images: np.ndarray, source: str) -> np.ndarray:
    """Scattering coefficients `[n, height / 4, width / 4, 81 · channels]`, float32.

    Args:
      images: float32 `[n, height, width, channels]`.
      source: what the images are of, for what is said.

    Raises:
      ConfigError: when they are no images, or too small.
    """
    shape = images.shape[1:]
    if len(shape) != 3:
        raise ConfigError(
            f"features=scattering is for images, [height, width, channels], and the examples of "
            f"{source} are {list(shape)}; choose features=raw or features=pca"
        )
    if min(shape[:2]) < 2**SCALES:
        raise ConfigError(
            f"features=scattering needs images from {2**SCALES}x{2**SCALES}, and those of "
            f"{source} are {shape[0]}x{shape[1]}; choose features=raw or features=pca"
        )
    if len(images) < KEPT_FROM:
        return transformed(images)
    path = cache("scattering") / f"{_key(images)}.npy"
    if (kept := _kept(path)) is not None:
        return kept
    say(f"scattering {len(images):,} images of {source}, which is kept in {path.parent}")
    found = transformed(images)
    _keep(path, found)
    return found


def transformed(images: np.ndarray) -> np.ndarray:
    """Scattering coefficients of images."""
    transform = Scattering2D(SCALES, images.shape[1:3], ANGLES)

    def chunk(first: int) -> np.ndarray:
        channels = np.moveaxis(images[first : first + CHUNK], -1, 1)
        found = np.moveaxis(transform(np.ascontiguousarray(channels)), (1, 2), (3, 4))
        return found.reshape(*found.shape[:3], -1)  # a channel's coefficients stay together

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(chunk, range(0, len(images), CHUNK))))


def _key(images: np.ndarray) -> str:
    """A name for what becomes of these images."""
    how = f"{kymatio.__version__} {SCALES} {ANGLES} {images.shape} {images.dtype}"
    return hashlib.sha256(how.encode() + np.ascontiguousarray(images).tobytes()).hexdigest()[:32]


def _kept(path: Path) -> np.ndarray | None:
    """What is on disk, if it can be read."""
    try:
        found: np.ndarray = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return found


def _keep(path: Path, features: np.ndarray) -> None:
    """Writes a whole file or none; without room for it, the next run takes the time again."""
    part = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.save(stream, features)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        say(f"{path} cannot be written ({error})")
