"""Models by the name of their folder, or by their id on the Hugging Face hub."""

import functools
import os
import re
from pathlib import Path

from rmjax.errors import UserError

_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
HUB = "hf://"  # before an id, where a name without it would be a folder
_TEXT = ["*.json", "*.jinja", "*.model", "*.txt"]  # configs, tokenizers and chat templates
_WEIGHTS = ["model*.safetensors", "adapter_model.safetensors"]


class HubError(UserError):
    """A model that is neither a folder here nor to be had from the hub; the message says why."""


def folder_of(name: str, *, weights: bool = True) -> Path:
    """The folder of a model.

    Args:
      name: of a folder, or else an id on the hub, ``OWNER/NAME`` or ``OWNER/NAME@REVISION``, which is downloaded into
        the hub's own cache unless it is there; after ``hf://`` it is an id whatever folders there are.
      weights: whether they are needed, or the files beside them alone.

    Raises:
      HubError: if it is neither, or the hub hasn't got it, or it can't be reached and its cache hasn't got it.
    """
    plain = name.removeprefix(HUB)
    if plain == name and name and Path(name).is_dir():
        return Path(name)
    if "://" in plain:
        raise HubError(f"{name} is no folder of this machine; right would be one, to which it has been copied")
    match = _ID.fullmatch(plain)
    if match is None or (plain == name and Path(name).exists()):
        raise HubError(f"{name!r} is neither a folder nor an id on the hub (OWNER/NAME or OWNER/NAME@REVISION)")
    try:
        return _downloaded(match["id"], match["revision"], weights)
    except HubError as error:
        if plain != name:
            raise
        raise HubError(f"there is no folder {name} here, and {error}") from error


@functools.cache  # a run asks for config, weights and tokenizer, each for itself
def _downloaded(name: str, revision: str | None, weights: bool) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_TEXT, *_WEIGHTS] if weights else _TEXT
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise HubError(f"the hub doesn't give {name!r}: {reason}") from error
