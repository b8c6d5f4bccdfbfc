"""Dry runs as people read them, and the search for the best of several."""

from absl import logging
from jax.errors import JaxRuntimeError

from rmjax.config import ConfigError, ExperimentConfig
from rmjax.training.chips import GIB, chip_of, devices_of
from rmjax.training.dry_run import DryRun, PairLengths, dry_run, variants


def in_words(found: DryRun) -> str:
    """A table of two columns."""
    sent = ", ".join(f"{kind} {size / GIB:.2f}" for kind, size in sorted(found.collectives.items())) or "nothing"
    lines = {
        "topology": f"{found.topology}, {found.chips} chips",
        "parameters": f"{found.parameters / 1e9:.3f} billion",
        "batch": f"{found.rows} rows of {found.row_length} tokens",
        "memory of a chip": f"{found.peak_bytes / GIB:.2f} GiB of {found.hbm_bytes / GIB:.0f} GiB: "
        f"{found.argument_bytes / GIB:.2f} arguments, {found.temporary_bytes / GIB:.2f} temporaries",
        "fits": "yes" if found.fits else "no",
        "a chip sends": f"{sent} GiB",
        "arithmetic": f"{found.flops:.3g} operations a step",
        "least time": f"{found.roofline_seconds:.3f} s: compute {found.compute_seconds:.3f}, memory "
        f"{found.memory_seconds:.3f}, interconnect {found.interconnect_seconds:.3f}; bound by {found.bound}",
        "pairs a second": f"{found.pairs_per_second:.0f}; padded, with every prompt twice, "
        f"{found.padded_pairs_per_second:.0f}",
    }
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {text}" for name, text in lines.items())


def sweep(config: ExperimentConfig, topology: str, lengths: PairLengths) -> DryRun:
    """The variant with the most pairs a second of those that fit; ConfigError where none does.

    Says of each what came of it; what the compiler refuses for want of memory is among those that don't fit.
    """
    best: DryRun | None = None
    for variant in variants(config, chip_of(topology), len(devices_of(topology))):
        name = (
            f"fsdp={variant.parallel.fsdp} tensor={variant.parallel.tensor} rows={variant.batch.rows} "
            f"remat={variant.model.remat.value}"
        )
        try:
            found = dry_run(variant, topology, lengths)
        except JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            logging.info("%s: does not fit", name)
            continue
        logging.info(
            "%s: %.2f GiB, %s, %.0f pairs/s", name, found.peak_bytes / GIB, found.bound, found.pairs_per_second
        )
        if found.fits and (best is None or found.pairs_per_second > best.pairs_per_second):
            best = found
            logging.info("%s: the best so far", name)
    if best is None:
        raise ConfigError(f"no layout of this model fits {topology}; right would be a larger slice or shorter rows")
    return best
