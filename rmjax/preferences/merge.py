"""Rows of one prompt, spread over a file or over many, as one group."""

import dataclasses
from collections.abc import Iterable, Sequence

from rmjax.preferences.fields import shown
from rmjax.preferences.record import Comparison, Preference, RowError, Text


def merge_prompts(preferences: Iterable[Preference]) -> tuple[Preference, ...]:
    """The preferences with those of one prompt, dimension and source merged, in order of first appearance.

    A merged record holds equal responses once and all comparisons, with their indices moved and their weights as they
    were. Records that know their utilities are merged among themselves, so that no utility is lost.

    Raises:
      RowError: when two records give one response different utilities.
    """
    groups: dict[tuple[object, ...], list[Preference]] = {}
    for preference in preferences:
        key = (preference.prompt, preference.dimension, preference.source, preference.utilities is None)
        groups.setdefault(key, []).append(preference)
    return tuple(_merge(group) if len(group) > 1 else group[0] for group in groups.values())


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
        utilities=None if group[0].utilities is None else tuple(utilities),
        origin=f"{group[0].origin} and {len(group) - 1} more of the prompt",
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
