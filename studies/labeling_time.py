"""How long judgments take, the same for all studies that spend labeling time.

Reading is at 238 words a minute (Brysbaert, 2019, doi 10.1016/j.jml.2019.104047). A decision is assumed to take five
seconds: nobody has measured it on this testbed. A person who judges several responses to a prompt reads it once.
"""

import math

_WORD = 60 / 238  # seconds
PROMPT = 21 * _WORD  # the testbed's mean prompt, in words
RESPONSE = 24 * _WORD  # and its mean response
DECIDING = 5.0  # seconds


def rating_seconds(responses: int) -> float:
    """Of one rating, by a person who rates so many responses to a prompt, one after the other."""
    return PROMPT / responses + RESPONSE + DECIDING


def ranking_seconds(responses: int) -> float:
    """Of one ranking; of two, a comparison. Sorting asks for at least log2(K!) decisions."""
    return PROMPT + RESPONSE * responses + DECIDING * math.ceil(math.log2(math.factorial(responses)))
