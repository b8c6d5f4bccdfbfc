"""What a compiled program sends between devices, read from its text."""

import math
import re
from collections import Counter
from collections.abc import Iterator

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_BITS = {"pred": 8, "bf16": 16}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (?P<shape>\(.*?\)|\S+) (?P<opcode>[\w\-]+)\(")
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_LISTED_GROUPS = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED_GROUPS = re.compile(r"replica_groups=\[\d+,(\d+)\]")
_MESH_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}")
_MESH_AXIS = re.compile(r"'([^']+)'(?:=(\d+)|:\(\d+\)(\d+))?")


def collective_bytes(text: str) -> Counter[str]:
    """The bytes that each device must send, by kind of collective, in one run of a compiled program.

    Counted as a ring sends them: of n devices that share a result of b bytes an all-gather sends b (n - 1) / n from
    each, an all-reduce twice that, a reduce-scatter n - 1 times its (n times smaller) result. The bodies of loops count
    as often as the compiler says that they run; where it doesn't say, once.
    """
    computations = dict(_computations(text))
    entry = next(name for name, (is_entry, _) in computations.items() if is_entry)
    found: dict[str, Counter[str]] = {}

    def total(name: str) -> Counter[str]:
        if name not in found:
            found[name] = Counter()  # an empty one stands for it meanwhile; computations don't call themselves
            for line in computations[name][1]:
                found[name] += _own(line)
                trips = int(match[1]) if (match := _TRIPS.search(line)) else 1
                for called in _called(line):
                    if called in computations:
                        found[name] += Counter({kind: count * trips for kind, count in total(called).items()})
        return found[name]

    return total(entry)


def _computations(text: str) -> Iterator[tuple[str, tuple[bool, list[str]]]]:
    """(name, (is the entry, lines)) of each computation."""
    lines: list[str] = []
    name, is_entry = "", False
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            is_entry, name, lines = bool(match[1]), match[2], []
        elif line.startswith("}") and name:
            yield name, (is_entry, lines)
            name = ""
        elif name:
            lines.append(line)


def _called(line: str) -> list[str]:
    branches = [name.strip().lstrip("%") for match in _BRANCHES.findall(line) for name in match.split(",")]
    return [*_CALLED.findall(line), *branches]


def _own(line: str) -> Counter[str]:
    """What the instruction of one line sends."""
    match = _INSTRUCTION.match(line)
    if match is None:
        return Counter()
    kind = match["opcode"].removesuffix("-start")
    if kind not in KINDS:
        return Counter()
    sizes = [_bytes(*shape) for shape in _SHAPE.findall(match["shape"])]
    # What has been started gives (operands, results, ...): of a gather the largest is the result.
    result = max(sizes) if match["opcode"].endswith("-start") else sum(sizes)
    if kind == "collective-permute":  # from each device to one other
        return Counter({kind: result})
    devices = _group_size(line)
    share = (devices - 1) / devices
    factor = {"all-reduce": 2 * share, "reduce-scatter": devices - 1.0}.get(kind, share)
    if kind == "reduce-scatter" and match["opcode"].endswith("-start"):
        factor = share  # the largest is the operand
    return Counter({kind: round(result * factor)})


def _bytes(kind: str, dimensions: str) -> int:
    bits = _BITS.get(kind) or int(re.sub(r"\D", "", kind) or 32)
    size = 1
    for dimension in filter(None, dimensions.split(",")):
        size *= int(dimension)
    return size * bits // 8


def _group_size(line: str) -> int:
    """How many devices share, in any of the ways that compilers write it."""
    if match := _LISTED_GROUPS.search(line):
        return len(match[1].split(","))
    if match := _COUNTED_GROUPS.search(line):
        return int(match[1])
    if match := _MESH_GROUPS.search(line):
        sizes = {name: int(size) for name, size, _ in _MESH_AXIS.findall(match[1])}
        return math.prod(int(part or sizes[name]) for name, _, part in _MESH_AXIS.findall(match[2]))
    raise ValueError(f"a collective whose groups can't be read: {line.strip()[:200]}")
