"""The text of a compiled program: its instructions, and how often each of its computations runs."""

import functools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(
    r"^\s+(?P<root>ROOT )?%?(?P<name>[\w.\-]+) = (?P<shape>\(.*?\)|\S+) (?P<opcode>[\w\-]+)\((?P<rest>.*)"
)
_ATTRIBUTES = re.compile(r"\)(?:, \w+=|$)")  # where they begin, after the operands
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_BODY = re.compile(r"body=%?([\w.\-]+)")
_KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_INDEX = re.compile(r"index=(\d+)")
_AS_IT_WAS = ("copy", "copy-start", "copy-done", "bitcast", "convert")  # give the number that they are given


@dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    root: bool
    shape: str
    opcode: str
    rest: str  # operands and attributes

    @functools.cached_property
    def operands(self) -> list[str]:
        """Their names; of a constant the number itself."""
        text = _ATTRIBUTES.split(self.rest, maxsplit=1)[0]
        return [text.strip()] if self.opcode == "constant" else _NAME.findall(text)

    @functools.cached_property
    def called(self) -> list[str]:
        """The computations that it runs; a condition of a loop is none of them, as it sends nothing."""
        if self.opcode in ("async-update", "async-done"):  # what async-start began
            return []
        branches = [name.strip().lstrip("%") for match in _BRANCHES.findall(self.rest) for name in match.split(",")]
        return [*_CALLED.findall(self.rest), *branches]


@dataclass(frozen=True)
class Program:
    """The computations of a program, each of them its instructions by name; a run begins with ``entry``."""

    entry: str
    computations: dict[str, dict[str, Instruction]]

    @functools.cached_property
    def runs(self) -> dict[str, float]:
        """How often each computation runs in one run of the program: those of loops as often as these turn, infinity
        where that can't be read from the text, as when it depends on the data."""
        callers: dict[str, list[tuple[str, float]]] = {name: [] for name in self.computations}
        for caller, instructions in self.computations.items():
            for instruction in instructions.values():
                for name in filter(callers.__contains__, instruction.called):
                    callers[name].append((caller, self._turns(instruction, instructions)))

        @functools.cache
        def runs(name: str) -> float:
            if name == self.entry:
                return 1.0
            return sum((turns * runs(caller) for caller, turns in callers[name] if turns and runs(caller)), 0.0)

        return {name: runs(name) for name in self.computations}

    def _turns(self, loop: Instruction, around: dict[str, Instruction]) -> float:
        """Of a loop that counts up to a bound: from where, in which steps; 1 for what is no loop."""
        condition, body = _CONDITION.search(loop.rest), _BODY.search(loop.rest)
        if condition is None or body is None:
            return 1.0
        if known := _KNOWN_TRIPS.search(loop.rest):
            return float(known[1])
        test, turn = self.computations[condition[1]], self.computations[body[1]]
        less = _root(test)
        if less.opcode != "compare" or "direction=LT" not in less.rest:
            return math.inf
        counter, bound = test.get(less.operands[0]), _number(less.operands[1], test)
        if counter is None or counter.opcode != "get-tuple-element" or bound is None:
            return math.inf
        index = int(_INDEX.findall(counter.rest)[0])
        start, step = _number(_element(around.get(loop.operands[0]), index), around), _step(turn, index)
        if start is None or step is None:
            return math.inf
        return float(max(0, -(-(bound - start) // step)))


def read_program(text: str) -> Program:
    """As a compiler writes it (``compiled.as_text()``)."""
    computations, entry = {}, ""
    for name, is_entry, lines in _computations(text):
        computations[name] = {
            match["name"]: Instruction(
                match["name"], bool(match["root"]), match["shape"], match["opcode"], match["rest"]
            )
            for match in lines
        }
        entry = name if is_entry else entry
    return Program(entry, computations)


def _computations(text: str) -> Iterator[tuple[str, bool, list[re.Match[str]]]]:
    """(name, is it the entry, its lines) of each."""
    lines: list[re.Match[str]] = []
    name, is_entry = "", False
    for line in text.splitlines():
        if match := _COMPUTATION.match(line):
            is_entry, name, lines = bool(match[1]), match[2], []
        elif line.startswith("}") and name:
            yield name, is_entry, lines
            name = ""
        elif name and (match := _INSTRUCTION.match(line)):
            lines.append(match)


def _root(instructions: dict[str, Instruction]) -> Instruction:
    return next(instruction for instruction in instructions.values() if instruction.root)


def _element(made: Instruction | None, index: int) -> str:
    """The name of an element of a tuple that is made in the same computation; else no name."""
    return made.operands[index] if made is not None and made.opcode == "tuple" else ""


def _number(name: str, around: dict[str, Instruction]) -> int | None:
    """The constant that a name stands for; None for what is computed."""
    found = around.get(name)
    while found is not None and found.opcode in _AS_IT_WAS:
        found = around.get(found.operands[0])
    return int(found.operands[0]) if found is not None and found.opcode == "constant" else None


def _step(turn: dict[str, Instruction], index: int) -> int | None:
    """What a turn of a loop adds to its counter, the element of that index; None for what isn't an addition of a
    constant."""
    added = turn.get(_element(_root(turn), index))
    while added is not None and added.opcode in _AS_IT_WAS:
        added = turn.get(added.operands[0])
    if added is None or added.opcode != "add":
        return None
    numbers = [number for name in added.operands if (number := _number(name, turn)) is not None]
    return numbers[0] if len(numbers) == 1 and numbers[0] > 0 else None
