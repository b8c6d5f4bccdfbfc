#!/usr/bin/env bash
# Creates the TPU VM and waits until it is there.
#
#   scripts/tpu/create.sh            asks for it as a queued resource, and waits for its turn
#   scripts/tpu/create.sh --direct   asks for it at once, which is an error where none is free
#
# Where there is one already it says so. The settings are listed in common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
: "${TPU_TYPE:?must be the accelerator type, such as v5litepod-16}"
: "${TPU_VERSION:?must be the runtime version, such as v2-alpha-tpuv5-lite}"

if [[ ${1:-} == --direct ]]; then
  tpus tpu-vm create "$TPU_NAME" --accelerator-type="$TPU_TYPE" --version="$TPU_VERSION" ${spot[@]+"${spot[@]}"}
  exit
fi
[[ $# == 0 ]] || fail "unexpected arguments: $*; the one there is is --direct"

state=$(queued_state)
if [[ -z $state ]]; then
  tpus queued-resources create "$TPU_NAME" --node-id="$TPU_NAME" --accelerator-type="$TPU_TYPE" \
    --runtime-version="$TPU_VERSION" ${spot[@]+"${spot[@]}"}
fi
last=
while true; do
  state=$(queued_state)
  [[ $state == "$last" ]] || say "queued resource $TPU_NAME: ${state:-gone}"
  last=$state
  case $state in
    ACTIVE) exit 0 ;;
    "" | FAILED | SUSPENDING | SUSPENDED | DELETING)
      fail "$TPU_NAME is ${state:-gone} and won't become active; \`gcloud compute tpus queued-resources describe" \
        "$TPU_NAME ${where[*]}\` says why, and scripts/tpu/delete.sh removes it" ;;
  esac
  sleep "$POLL_SECONDS"
done
