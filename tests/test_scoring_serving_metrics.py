"""Counters as Prometheus reads them."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rmjax.scoring.queueing import BatchReport
from rmjax.scoring.serving_metrics import ServingMetrics


def values(metrics: ServingMetrics) -> dict[tuple, float]:
    """Of every sample by its name and labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def test_requests_and_batches_are_counted():
    metrics = ServingMetrics(1000)
    for status, seconds in ((200, 0.02), (200, 3.0), (429, 0.001)):
        metrics.answered("/classify", status, seconds)
    metrics.computed(BatchReport(groups=2, cut_prompts=1, responses=7, tokens=250, seconds=0.2))
    metrics.computed(BatchReport(groups=1, cut_prompts=1, responses=1, tokens=1000, seconds=0.4))
    found = values(metrics)
    assert found["rmjax_requests_total", "/classify", "200"] == 2
    assert found["rmjax_requests_total", "/classify", "429"] == 1
    assert found["rmjax_request_seconds_count", "/classify"] == 3
    assert found["rmjax_request_seconds_bucket", "/classify", "0.025"] == 2
    assert (found["rmjax_rewards_total",], found["rmjax_tokens_total",]) == (8, 1250)
    assert found["rmjax_cut_prompts_total",] == 2
    assert found["rmjax_batch_fill_sum",] == pytest.approx(1.25)
    assert found["rmjax_batch_tokens_bucket", "256.0"] == 1
    assert found["rmjax_batch_seconds_sum",] == pytest.approx(0.6)


def test_gauges_are_read_when_they_are_asked_for_and_servers_do_not_share_counters():
    metrics, other, waiting = ServingMetrics(10), ServingMetrics(10), [3]
    metrics.watch(waiting=lambda: waiting[0], waiting_bytes=lambda: 100 * waiting[0], ready=lambda: True)
    assert values(metrics)["rmjax_waiting_responses",] == 3
    waiting[0] = 5
    assert values(metrics)["rmjax_waiting_responses",] == 5
    assert values(metrics)["rmjax_waiting_bytes",] == 500
    assert values(metrics)["rmjax_ready",] == 1
    metrics.answered("/", 200, 1.0)
    assert ("rmjax_requests_total", "/", "200") not in values(other)
