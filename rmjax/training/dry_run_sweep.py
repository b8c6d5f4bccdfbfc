"""The search for the layout of a step with the most pairs a second: what ``rmjax.dryrun --sweep`` tries."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator

from rmjax.config import ConfigError, ExperimentConfig, validate
from rmjax.model_config import Remat
from rmjax.training.chips import GIB, devices_of
from rmjax.training.dry_run import LaidOut, check
from rmjax.training.dry_run_result import RESERVED, DryRun, Layout, PairLengths, layout_of

Report = Callable[[Layout, DryRun | str], None]


def variants(config: ExperimentConfig, chips: int) -> Iterator[ExperimentConfig]:
    """Configs of the same experiment that differ in mesh, rows for each chip and remat.

    Tensor parallelism of at most 4, copies of the state (``data``) of at most 4, what is left fully sharded; one to
    eight rows for each chip, in one microbatch. Where a mesh doesn't suit the model it is left out. Remat that
    computes least again comes first, so that the arithmetic of a pair never shrinks from one to the next; of each the
    fewest rows come first.
    """
    for remat, tensor, data, rows in itertools.product(
        (Remat.NONE, Remat.DOTS, Remat.FULL), (1, 2, 4), (1, 2, 4), (1, 2, 4, 8)
    ):
        if chips % (tensor * data):
            continue
        fsdp = chips // tensor // data
        variant = dataclasses.replace(
            config,
            parallel=dataclasses.replace(config.parallel, fsdp=fsdp, tensor=tensor, microbatches=1),
            model=dataclasses.replace(config.model, remat=remat),
            batch=dataclasses.replace(config.batch, rows=rows * data * fsdp),
        )
        if _suits(variant):
            yield variant


def _suits(config: ExperimentConfig) -> bool:
    try:
        validate(config)
    except ConfigError:
        return False
    return True


def sweep(config: ExperimentConfig, topology: str, lengths: PairLengths, report: Report) -> DryRun:
    """The variant with the most pairs a second of those that fit; ConfigError where none does.

    Compiled is only what may be the best: not what has more rows than did not fit, not a state that leaves no room. It
    ends where no variant that is left could be faster than the best if it did nothing but its arithmetic.

    Args:
      config: of an experiment whose strategy is the mesh.
      topology: as the TPU compiler names it.
      lengths: of the pairs that the rows will hold.
      report: is told of each variant what came of it, when that is known.
    """
    check(config)
    best: DryRun | None = None
    too_many: set[tuple[int, int, str]] = set()
    chips = len(devices_of(topology))
    for variant in variants(config, chips):
        layout = layout_of(variant, chips)
        rows_aside = (layout.fsdp, layout.tensor, layout.remat)
        if rows_aside in too_many:
            report(layout, "not compiled: fewer rows do not fit")
            continue
        laid_out = LaidOut(variant, topology, lengths)
        expected = laid_out.known
        if best is not None and expected.pairs_per_second <= best.pairs_per_second:  # and so are all that follow
            report(layout, f"not compiled, nor what follows: arithmetic alone allows {expected.pairs_per_second:.0f}")
            return best
        if expected.state_bytes > RESERVED * expected.hbm_bytes:
            too_many.add(rows_aside)
            report(layout, f"does not fit: the state alone is {expected.state_bytes / GIB:.2f} GiB")
            continue
        found = laid_out.compiled()
        report(layout, found)
        if not found.fits:
            too_many.add(rows_aside)
        elif best is None or found.pairs_per_second > best.pairs_per_second:
            best = found
    if best is None:
        raise ConfigError(f"no layout of this model fits {topology}; right would be a larger slice or shorter rows")
    return best
