"""Rows of one prompt, spread over a file or over many, as one group."""

import dataclasses
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from rmjax.preferences.fields import shown
from rmjax.preferences.record import Comparison, Preference, PreferenceSet, RowError, Text


def merge_prompts(preferences: Iterable[Preference]) -> tuple[Preference, ...]:
    """The preferences with those of one prompt, dimension and source merged, in order of first appearance.

    A merged record holds equal responses once and all comparisons, with their indices moved and their weights as they
    were; their id where they have the same. Records that know their utilities are merged among themselves, so that no
    utility is lost, and checks of attention with those of the same pair.

    Raises:
      RowError: when two records give one response different utilities.
    """
    groups: dict[tuple[object, ...], list[Preference]] = {}
    for preference in preferences:
        groups.setdefault(_key(preference), []).append(preference)
    return tuple(_merge(group) if len(group) > 1 else group[0] for group in groups.values())


def merge_sets(sets: Sequence[PreferenceSet]) -> tuple[PreferenceSet, ...]:
    """The same over several sets: a merged record lies in the set that holds its first.

    So each set says where its records begin, a later set may be left with none, and what was skipped stays with the
    set it was skipped in.
    """
    merged = iter(merge_prompts(chain.from_iterable(sets)))
    seen: set[tuple[object, ...]] = set()
    result = []
    for one in sets:
        new = {_key(preference) for preference in one} - seen
        seen |= new
        result.append(dataclasses.replace(one, preferences=tuple(islice(merged, len(new)))))
    return tuple(result)


def _key(preference: Preference) -> tuple[object, ...]:
    check = None if preference.known_answer is None else (preference.known_answer, preference.responses)
    return preference.prompt, preference.dimension, preference.source, preference.utilities is None, check


def _merge(group: Sequence[Preference]) -> Preference:
    places: dict[Text, int] = {}
    utilities: list[float] = []
    comparisons: list[Comparison] = []
    for preference in group:
        moved: list[int] = []
        for index, response in enumerate(preference.responses):
            place = places.setdefault(response, len(places))
            moved.append(place)
            if preference.utilities is not None:
                _add_utility(utilities, place, preference, index)
        comparisons += [
            dataclasses.replace(comparison, left=moved[comparison.left], right=moved[comparison.right])
            for comparison in preference.comparisons
        ]
    return dataclasses.replace(
        group[0],
        responses=tuple(places),
        comparisons=tuple(comparisons),
        id=group[0].id if len({preference.id for preference in group}) == 1 else None,
        utilities=None if group[0].utilities is None else tuple(utilities),
        origin=f"{group[0].origin} and {len(group) - 1} more of the prompt",
        fields=(),
    )


def _add_utility(utilities: list[float], place: int, preference: Preference, index: int) -> None:
    assert preference.utilities is not None
    utility = preference.utilities[index]
    if place == len(utilities):
        utilities.append(utility)
    elif utilities[place] != utility:
        raise RowError(
            origin=preference.origin,
            field=f"utilities[{index}]",
            kind="utilities that differ",
            found=shown(utility),
            right=f"{utilities[place]}, as an earlier row of the prompt gives this response",
        )
