#!/usr/bin/env bash
# Deletes the TPU VM and its queued resource; what is in a bucket stays.
#
#   scripts/tpu/delete.sh
#
# The settings are listed in common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
state=$(queued_state)
if [[ -n $state ]]; then
  tpus queued-resources delete "$TPU_NAME" --force --quiet
else
  tpus tpu-vm delete "$TPU_NAME" --quiet
fi
