"""Finds files of collections that are not downloaded: in a folder, or in WORKBENCH_DATA."""

from pathlib import Path

from workbench.core.config import ConfigError, nearest
from workbench.datasets.published import folders


def file_of(collection: str, path: str | None, name: str, suffix: str) -> Path:
    """A collection's file, whatever the case of its name.

    Args:
      collection: the name of its folder.
      path: the folder, where a user has named one.
      name: the file's, without suffix.

    Raises:
      ConfigError: when there is none, naming the nearest.
    """
    searched = list(folders(collection, path))
    files = {
        file.stem.lower(): file
        for folder in reversed(searched)
        if folder.is_dir()
        for file in folder.iterdir()
        if file.suffix == suffix
    }
    if found := files.get(name.lower()):
        return found
    if files:
        raise ConfigError(f"name={name} is not in {collection}{nearest(name.lower(), files)}")
    places = " or ".join(str(folder) for folder in searched)
    raise ConfigError(
        f"name={name}: there is no {suffix} file in {places}; set WORKBENCH_DATA to the folder "
        f"that has {collection}, or dataset.path to it"
    )
