"""How an AI judge is asked."""

import math
from dataclasses import dataclass

from rmjax.errors import UserError

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSettings:
    """Everything about a run of an AI judge but its tasks.

    Attributes:
      model: as the endpoint names it; the annotator of the labels.
      dimension: what is judged.
      constitution: the text to judge by.
      output: the .jsonl or .jsonl.gz file of the labels.
      store: the SQLite file of all answers; beside the output if None.
      base_url: of the endpoint, as http://127.0.0.1:8000/v1; None: the openai client's own (OPENAI_BASE_URL, or
        OpenAI's).
      logprobs: whether the answer token's alternatives are asked for.
      votes: how many answers are asked for, to each order, where no logprobs come with the first.
      ties: whether the judge may say that neither is better.
      concurrency: the most requests at a time.
      tries: of one request, before it counts as failed.
      nonsense_tries: how often a question is asked whose answers are no letter.
      timeout_s: how long a try waits for its whole answer.
      max_tokens: of an answer.
      max_tokens_name: what the endpoint calls it.
      price_in, price_out: of a million tokens, in any currency.
      dry_run: estimate alone, and ask nothing.
    """

    model: str
    dimension: str
    constitution: str
    output: str
    store: str | None = None
    base_url: str | None = None
    logprobs: bool = True
    votes: int = 1
    ties: bool = False
    concurrency: int = 16
    tries: int = 8
    nonsense_tries: int = 3
    timeout_s: float = 60.0
    max_tokens: int = 8
    max_tokens_name: str = "max_tokens"
    price_in: float | None = None
    price_out: float | None = None
    dry_run: bool = False

    def __post_init__(self):
        for name in ("model", "dimension", "constitution", "output"):
            if not getattr(self, name).strip():
                raise UserError(f"{name} is empty; it must be given")
        for name in ("votes", "concurrency", "tries", "nonsense_tries", "max_tokens"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.timeout_s < math.inf:
            raise UserError(f"timeout_s is {self.timeout_s}; it must be a finite number above 0")
        for name in ("price_in", "price_out"):
            if getattr(self, name) is not None and not 0 <= getattr(self, name) < math.inf:
                raise UserError(f"{name} is {getattr(self, name)}; it must be a finite number of at least 0")
        if (self.price_in is None) != (self.price_out is None):
            raise UserError("price_in and price_out go together, each for a million tokens; found one of them")
        if not self.output.endswith((".jsonl", ".jsonl.gz")):
            raise UserError(f"output is {self.output!r}; it must end in .jsonl or .jsonl.gz")
        if self.base_url is not None and not self.base_url.startswith(("http://", "https://")):
            raise UserError(
                "base_url has no scheme; it must begin with http:// or https://, as http://127.0.0.1:8000/v1"
            )
        if self.max_tokens_name not in TOKEN_LIMITS:
            raise UserError(f"max_tokens_name is {self.max_tokens_name!r}; it must be {' or '.join(TOKEN_LIMITS)}")
        if self.store is None and "://" in self.output:
            raise UserError(f"output is {self.output!r}, where no SQLite file can lie; --store=FILE names a local one")

    @property
    def store_path(self) -> str:
        """Where the answers are kept."""
        return self.store or f"{self._stem}.answers.sqlite"

    @property
    def orders_path(self) -> str:
        """Where both orders of each pair are written, as labels of their own."""
        return f"{self._stem}.orders{self.output[len(self._stem) :]}"

    @property
    def _stem(self) -> str:
        return self.output.removesuffix(".gz").removesuffix(".jsonl")
