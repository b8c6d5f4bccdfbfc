#!/usr/bin/env bash
# Shows the log of a run as it grows, until Ctrl-C, which the run doesn't notice.
#
#   scripts/tpu/watch.sh [WORKER]                                   the worker is 0 if not given
#   gcloud storage cat gs://BUCKET/runs/NAME/metrics.jsonl | tail   its metrics, as far as they are in the bucket
#
# The settings are listed in common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
on "${1:-0}" "tail -n 100 -F rmjax.log"
