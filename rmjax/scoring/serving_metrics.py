"""What the server counts, in the format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from rmjax.scoring.queueing import BatchReport

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TOKENS = tuple(float(1 << power) for power in range(6, 21))
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class ServingMetrics:
    """The counters of one server, apart from those of any other in the process.

    Args:
      batch_tokens: the budget of a batch, of which ``rmjax_batch_fill`` is the share that was used.
    """

    def __init__(self, batch_tokens: int):
        self._registry, self._batch_tokens = CollectorRegistry(), batch_tokens
        registry = self._registry
        self._requests = Counter("rmjax_requests", "Requests answered.", ["route", "status"], registry=registry)
        self._latency = Histogram(
            "rmjax_request_seconds",
            "From a request's head to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._waiting = Gauge("rmjax_waiting_responses", "Taken, and not answered yet.", registry=registry)
        self._bytes = Gauge("rmjax_waiting_bytes", "Of their texts, each with its prompt.", registry=registry)
        self._ready = Gauge("rmjax_ready", "1 while requests are taken.", registry=registry)
        self._rewards = Counter("rmjax_rewards", "Rewards computed.", registry=registry)
        self._cut = Counter("rmjax_cut_prompts", "Prompts that lost tokens to the model's limit.", registry=registry)
        self._tokens = Counter("rmjax_tokens", "Tokens computed, shared ones once.", registry=registry)
        self._batches = Histogram("rmjax_batch_tokens", "Tokens of a batch.", buckets=_TOKENS, registry=registry)
        self._fill = Histogram("rmjax_batch_fill", "Share of the budget used.", buckets=_SHARES, registry=registry)
        self._seconds = Histogram("rmjax_batch_seconds", "To compute a batch.", buckets=_SECONDS, registry=registry)

    def watch(
        self, *, waiting: Callable[[], float], waiting_bytes: Callable[[], float], ready: Callable[[], float]
    ) -> None:
        """Reads the gauges by these functions from now on."""
        self._waiting.set_function(waiting)
        self._bytes.set_function(waiting_bytes)
        self._ready.set_function(ready)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def computed(self, batch: BatchReport) -> None:
        """Counts a batch."""
        self._rewards.inc(batch.responses)
        self._tokens.inc(batch.tokens)
        self._cut.inc(batch.cut_prompts)
        self._batches.observe(batch.tokens)
        self._fill.observe(batch.tokens / self._batch_tokens)
        self._seconds.observe(batch.seconds)

    def text(self) -> bytes:
        """All of it, as it is scraped."""
        return generate_latest(self._registry)
