"""The pod before you rent it: compiles the train step of an experiment with the TPU compiler, on any Linux machine.

    python -m rmjax.dryrun --config=experiments/llama31_8b.py --topology=v5e:4x4

Prints a table and, last, one JSON line. ``--sweep`` tries meshes, rows for each chip (in one microbatch) and what is
computed again, prints a line for each as it becomes known, and then the best that fits.
"""

import functools
import json

import jax
from absl import flags
from ml_collections import config_flags

from rmjax.command import run
from rmjax.training.dry_run import dry_run
from rmjax.training.dry_run_result import PairLengths
from rmjax.training.dry_run_sweep import sweep
from rmjax.training.dry_run_table import heading, in_a_line, in_words

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment, as for rmjax.train.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "The slice: v5e:4x4, v5p:2x2x1, v6e:4x4.", required=True)
_SWEEP = flags.DEFINE_bool("sweep", False, "Try meshes, rows for each chip and remat policies.")
_DISTINCT = flags.DEFINE_float("distinct_tokens", PairLengths().distinct, "Tokens of a pair, its prompt once.")
_PADDED = flags.DEFINE_float("padded_tokens", PairLengths().padded, "Tokens that a padding trainer computes for it.")
_SEEN = flags.DEFINE_float("seen_tokens", PairLengths().seen, "How many tokens a token sees on average.")


def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)  # jax can't read a program again for chips not there
    lengths = PairLengths(distinct=_DISTINCT.value, padded=_PADDED.value, seen=_SEEN.value)
    if _SWEEP.value:
        print(heading(), flush=True)
        tell = functools.partial(print, flush=True)
        found = sweep(_CONFIG.value, _TOPOLOGY.value, lengths, lambda *tried: tell(in_a_line(*tried)))
    else:
        found = dry_run(_CONFIG.value, _TOPOLOGY.value, lengths)
    print(in_words(found))
    print(json.dumps(found.to_json()))


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    run(main)
