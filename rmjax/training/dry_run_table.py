"""Dry runs as people read them: one in words, several as a table."""

from rmjax.training.chips import GIB
from rmjax.training.dry_run_result import DryRun, Layout


def in_words(found: DryRun) -> str:
    """A table of two columns."""
    layout, compiled = found.layout, found.compiled
    lines = {
        "topology": f"{found.topology}, {found.chips} chips: data={layout.data} fsdp={layout.fsdp} "
        f"tensor={layout.tensor}",
        "parameters": f"{found.parameters / 1e9:.3f} billion; first moments are {layout.first_moment_dtype}",
        "batch": f"{layout.rows} rows of {layout.row_length} tokens, {layout.rows_per_chip} a chip in "
        f"{layout.microbatches} microbatches; computed again: {layout.remat}",
        "arithmetic": f"{found.flops:.3g} operations a step",
    }
    if compiled is None:
        lines["fits"] = f"no, the state is {found.state_bytes / GIB:.2f} GiB; the compiler says: {found.refusal}"
    else:
        sent = ", ".join(f"{kind} {size / GIB:.2f}" for kind, size in sorted(compiled.collectives.items())) or "nothing"
        lines |= {
            "memory of a chip": f"{compiled.peak_bytes / GIB:.2f} GiB of {found.hbm_bytes / GIB:.0f} GiB: "
            f"{compiled.argument_bytes / GIB:.2f} arguments, {compiled.temporary_bytes / GIB:.2f} temporaries",
            "fits": "yes" if found.fits else "no",
            "a chip sends": f"{sent} GiB",
            "least time": f"{found.roofline_seconds:.3f} s: compute {found.compute_seconds:.3f}, memory "
            f"{compiled.memory_seconds:.3f}, interconnect {compiled.interconnect_seconds:.3f}; bound by {found.bound}",
            "pairs a second": f"{found.pairs_per_second:.0f}; padded, with every prompt twice, "
            f"{found.padded_pairs_per_second:.0f}",
        }
    width = max(map(len, lines))
    return "\n".join(f"{name:{width}}  {text}" for name, text in lines.items())


_COLUMNS = "fsdp tensor data remat rows/chip moment1 peak_GiB bound pairs/s"


def heading() -> str:
    """Of the columns of ``in_a_line``."""
    return "".join(f"{column:>10}" for column in _COLUMNS.split())


def in_a_line(layout: Layout, found: DryRun | str) -> str:
    """What came of a layout: a dry run, or in words why there was none."""
    cells = [
        layout.fsdp, layout.tensor, layout.data, layout.remat, layout.rows_per_chip, layout.first_moment_dtype,
    ]  # fmt: skip
    line = "".join(f"{cell:>10}" for cell in cells)
    if isinstance(found, str):
        return f"{line}  {found}"
    if found.compiled is None:
        return f"{line}  does not fit: {found.refusal}"
    line += f"{found.compiled.peak_bytes / GIB:10.2f}"
    return line + (f"{found.bound:>13}{found.pairs_per_second:8.0f}" if found.fits else "  does not fit")
