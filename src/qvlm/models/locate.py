"""Where the files of a model are that the user names."""

from __future__ import annotations

from pathlib import Path

from qvlm.errors import ModelError
from qvlm.models.download_bar import Report
from qvlm.models.hub import fetch, is_hub_name
from qvlm.reference import cache_directory, pico_llava_path

BUNDLED = "pico-llava"
BUILT = "smol-llava"
"""Built into the cache by `qvlm reference build smol-llava`."""


def locate(
    name: str | Path,
    *,
    weights: bool = True,
    code: bool = False,
    offline: bool = False,
    report: Report | None = None,
) -> Path:
    """Returns the directory of a model, or of a quantized run, that a name stands for.

    Args:
        name: `pico-llava`, `smol-llava`, a directory, or `org/name` or `org/name@revision` of the
            hub, from where it is downloaded.
        weights, code, offline, report: of a download, see `models.hub.fetch`.

    Raises:
        ModelError: it is none of these, or cannot be downloaded.
    """
    if str(name) == BUNDLED:
        return pico_llava_path()
    if str(name) == BUILT:
        return _built()
    path = Path(name)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"'{path}' has no config.json: give the directory of a saved model")
        return path
    if path.exists():
        raise ModelError(f"'{path}' is a file: give the directory of a saved model")
    if is_hub_name(str(name)):
        return fetch(str(name), weights=weights, code=code, offline=offline, report=report)
    raise ModelError(
        f"model '{name}' does not exist: give a directory, a hub id (org/name), '{BUNDLED}' "
        f"or '{BUILT}'"
    )


def _built() -> Path:
    """The built smol-llava's directory."""
    directory = cache_directory() / BUILT
    if not (directory / "config.json").is_file():
        raise ModelError(
            f"{BUILT} has not been built yet ('{directory}'): run `qvlm reference build {BUILT}`"
        )
    return directory
