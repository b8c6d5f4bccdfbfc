#!/usr/bin/env bash
# Brings a workdir, or a part of it, from a bucket to this machine. Run again, it copies what has changed.
#
#   scripts/tpu/fetch.sh gs://BUCKET/runs/NAME runs/NAME [FLAGS of gcloud storage rsync]
#   scripts/tpu/fetch.sh gs://BUCKET/runs/NAME runs/NAME --exclude='checkpoints/.*'
set -euo pipefail
[[ $# -ge 2 && $1 == gs://* ]] || { sed -n '2,5s/^# \?//p' "$0" >&2; exit 2; }
mkdir -p "$2"
gcloud storage rsync "$1" "$2" --recursive "${@:3}"
