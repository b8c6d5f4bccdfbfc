"""What a run trained beside its base, as an adapter that PEFT puts on that base."""

import dataclasses
from pathlib import Path

from absl import logging
from etils import epath

from rmjax.hub import HUB
from rmjax.model_config import NOT_ARCHITECTURE
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.huggingface_export import theirs_of
from rmjax.models.lora import is_adapter
from rmjax.models.peft_format import base_of, write_adapter
from rmjax.scoring.card import model_card
from rmjax.scoring.export import ExportError, check_output, made_whole, number_of_head, write_tokenizer
from rmjax.training.portable import CONTRACT, contract_to_json
from rmjax.training.pretrained import embedding_rows
from rmjax.training.trained import TrainedModel, load_trained
from rmjax.training.tuning import HEAD, adapters_of, trained_from
from rmjax.training.workdir import read_about_data


def export_adapter(
    workdir: epath.PathLike, output: Path | str, *, base: str, step: int | None = None, head: str | None = None
) -> Path:
    """Writes the adapters and the reward head of a run in PEFT's format, whole or not at all.

    Tokenizer, model card and the scoring contract without golden scores lie beside them.

    A base that is a folder is held to the weights that the run kept of its own; of one that isn't and has another name
    than that which the run began with, a warning says so.

    Args:
      workdir: of the run.
      output: a folder that doesn't exist yet.
      base: the name or folder of the model that the run began with, where PEFT is to look for it.
      step: the checkpoint; the best by ``config.best_by`` if not given.
      head: the reward head that is exported; needed where the model has several.

    Raises:
      ExportError: where the output exists or is in a bucket, the head isn't among the model's, the run trained
        nothing that an adapter holds, or other things too, or the base isn't the run's.
      HuggingFaceError: for an architecture that transformers doesn't have, or whose projections have no module each.
      WorkdirError, ConfigError, TokenizerError, CheckpointError: as ``load_trained``.
    """
    output = check_output(output)
    trained = load_trained(workdir, step)
    adapters, config = adapters_of(trained.config), trained.config.model
    if adapters is None:
        raise ExportError(f"the run in {workdir} has no adapters: its config.tuning.lora_rank is 0")
    moved = trained_from(trained.params, trained.config.tuning)
    if others := sorted("/".join(names) for names in moved if not is_adapter(names) and names[0] != HEAD):
        raise ExportError(
            f"the run trained {', '.join(others)} too, which an adapter doesn't hold; right would be the export of the "
            "merged model"
        )
    number = number_of_head(head, config.reward_heads)
    _check_base(trained, base)
    longest = trained.contract.max_prompt_tokens + trained.contract.max_response_tokens
    kind = theirs_of(config, embedding_rows(config, trained.contract), longest=longest)["model_type"]
    with made_whole(output) as folder:
        write_adapter(folder, kind, config, trained.params, adapters, head=number, base=base)
        write_tokenizer(folder, trained.contract, longest)
        dimension = config.reward_heads[number] if config.reward_heads else trained.config.dimension
        (folder / CONTRACT).write_text(contract_to_json(trained, dimension, None))
        card = model_card(
            trained,
            dimension=dimension,
            data=read_about_data(workdir),
            results=[],
            record=None,
            license=None,
            base=base,
        )
        (folder / "README.md").write_text(card, encoding="utf-8")
    return output


def _check_base(trained: TrainedModel, base: str) -> None:
    """ExportError for a folder that holds other weights than the run kept of its base, a warning for another name."""
    own = trained.config.pretrained
    if own is not None and _plain(base) in {_plain(own), _plain(base_of(Path(own)) or own)}:
        return
    began = "no pretrained model" if own is None else own
    if not Path(base).is_dir():
        logging.warning(
            "--adapter_on is %s, and the run began with %s: nothing here says that these are the same weights, and on "
            "others the adapter computes something else", base, began,
        )  # fmt: skip
        return
    theirs, ours = HuggingFaceModel(base), trained.config.model
    fields = [part.name for part in dataclasses.fields(ours) if part.name not in NOT_ARCHITECTURE]
    different = [name for name in fields if getattr(theirs.config, name) != getattr(ours, name)]
    if different or not theirs.holds(trained.params):
        found = f"has another architecture ({', '.join(different)})" if different else "holds other weights"
        raise ExportError(
            f"--adapter_on is {base}, which {found} than the model that the run began with ({began}); on it the "
            "adapter would compute something else"
        )


def _plain(name: str) -> str:
    """A folder by its whole path, an id on the hub without its revision."""
    return str(Path(name).resolve()) if Path(name).is_dir() else name.removeprefix(HUB).partition("@")[0]
