"""What a run trained beside its base, as an adapter that PEFT puts on that base."""

from pathlib import Path

from etils import epath

from rmjax.models.huggingface_export import theirs_of
from rmjax.models.lora import is_adapter
from rmjax.models.peft_format import write_adapter
from rmjax.scoring.export import ExportError, check_output, made_whole, number_of_head
from rmjax.training.pretrained import embedding_rows
from rmjax.training.trained import load_trained
from rmjax.training.tuning import HEAD, adapters_of, trained_from


def export_adapter(
    workdir: epath.PathLike, output: Path | str, *, base: str, step: int | None = None, head: str | None = None
) -> Path:
    """Writes the adapters and the reward head of a run in PEFT's format, whole or not at all.

    Args:
      workdir: of the run.
      output: a folder that doesn't exist yet.
      base: the name or folder of the model that the run began with, where PEFT is to look for it.
      step: the checkpoint; the best by ``config.best_by`` if not given.
      head: the reward head that is exported; needed where the model has several.

    Raises:
      ExportError: where the output exists or is in a bucket, the head isn't among the model's, or the run trained
        nothing that an adapter holds, or other things too.
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
    longest = trained.contract.max_prompt_tokens + trained.contract.max_response_tokens
    kind = theirs_of(config, embedding_rows(config, trained.contract), longest=longest)["model_type"]
    with made_whole(output) as folder:
        write_adapter(folder, kind, config, trained.params, adapters, head=number, base=base)
    return output
