"""What a compiled program sends between devices, read from its text."""

import math
import re
from collections import Counter

from rmjax.training.program import Instruction, read_program

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BITS = {"pred": 8, "bf16": 16}
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED_GROUPS = re.compile(r"replica_groups=\[\d+,(\d+)\]")
_MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")  # between them the order of the devices
_MESH_AXIS = re.compile(r"'([^']+)'(?:=(\d+)|:\(\d+\)(\d+))?")


def collective_bytes(text: str) -> Counter[str]:
    """The bytes that each device must send, by kind of collective, in one run of a compiled program.

    Counted as a ring sends them: of n devices that share a result of b bytes an all-gather sends b (n - 1) / n from
    each, an all-reduce twice that, a reduce-scatter n - 1 times its (n times smaller) result. The bodies of loops count
    as often as they run. The TPU compiler cuts a collective into a start, parts that are woven into the arithmetic
    (into that of loops too) and an end, all of one channel: it counts as often as the rarest of them runs.

    Raises:
      ValueError: where it can't be read from the text how much is sent.
    """
    program = read_program(text)
    sent: dict[str, tuple[float, str, int]] = {}
    for name, instructions in program.computations.items():
        for instruction in instructions.values():
            if program.runs[name] and (own := _own(instruction, instructions)) is not None:
                channel = _CHANNEL.search(instruction.rest)
                whole = channel[0] if channel else f"{name}: {instruction.name}"
                part = (program.runs[name], *own)
                sent[whole] = min(sent.get(whole, part), part)
    found = Counter[str]()
    for whole, (runs, kind, size) in sent.items():
        if runs == math.inf:
            raise ValueError(f"{kind} ({whole}) is sent in a loop of which can't be read how often it turns")
        found[kind] += int(runs) * size
    return found


def _own(instruction: Instruction, around: dict[str, Instruction]) -> tuple[str, int] | None:
    """The kind and size of what an instruction sends, by what the others of its computation make of it."""
    kind, started = instruction.opcode.removesuffix("-start"), instruction.opcode.endswith("-start")
    if kind not in KINDS:
        return None
    sizes = [_bytes(*shape) for shape in _SHAPE.findall(instruction.shape)]
    # What has been started gives (operands, results, ...): of a gather the largest is the result.
    result = max(sizes) if started else sum(sizes)
    if kind == "collective-permute":  # from each device to one other
        return kind, result
    devices = _group_size(instruction)
    share = (devices - 1) / devices
    if kind == "all-reduce" and _keeps_a_part(instruction, around):
        return "reduce-scatter", round(result * share)
    factor = {"all-reduce": 2 * share, "reduce-scatter": devices - 1.0}.get(kind, share)
    if kind == "reduce-scatter" and started:
        factor = share  # the largest is the operand
    return kind, round(result * factor)


def _keeps_a_part(instruction: Instruction, around: dict[str, Instruction]) -> bool:
    """Whether nothing but a part of the result is used: so the TPU compiler writes a reduce-scatter, as one fusion."""
    uses = [other.opcode for other in around.values() if instruction.name in other.operands]
    return uses == ["dynamic-slice"] and not instruction.root


def _bytes(kind: str, dimensions: str) -> int:
    bits = _BITS.get(kind) or int(re.sub(r"\D", "", kind) or 32)
    size = 1
    for dimension in filter(None, dimensions.split(",")):
        size *= int(dimension)
    return size * bits // 8


def _group_size(instruction: Instruction) -> int:
    """How many devices share, in any of the ways that compilers write it."""
    text = instruction.rest
    if match := _LISTED_GROUPS.search(text):
        return len(match[1].split(","))
    if match := _COUNTED_GROUPS.search(text):
        return int(match[1])
    if match := _MESH_GROUPS.search(text):
        sizes = {name: int(size) for name, size, _ in _MESH_AXIS.findall(match[1])}
        return math.prod(int(part or sizes[name]) for name, _, part in _MESH_AXIS.findall(match[2]))
    raise ValueError(f"a collective whose groups can't be read: {instruction.name} of {text[:200]}")
