# Sourced by the scripts beside it: the settings, all of them environment variables, and what the scripts share.
#
#   TPU_NAME          of the TPU VM, and of its queued resource                     (required)
#   TPU_ZONE          such as us-central1-a                                         (required)
#   TPU_PROJECT       the Google Cloud project                                      (gcloud's own)
#   TPU_TYPE          the accelerator type, such as v5litepod-16                    (required by create.sh and run.sh)
#   TPU_VERSION       the runtime version, such as v2-alpha-tpuv5-lite              (required by create.sh and run.sh)
#   TPU_SPOT          true: a spot VM, which is cheaper and may be preempted        (false)
#   RMJAX_REPOSITORY  the git URL that the workers fetch from                       (origin of this checkout)
#   RMJAX_REVISION    the branch, tag or commit, to be found there                  (the commit of this checkout)
#   POLL_SECONDS      between two looks at what is awaited                          (30)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${TPU_NAME:?must be the name of the TPU VM}"
: "${TPU_ZONE:?must be the zone of the TPU VM, such as us-central1-a}"
POLL_SECONDS=${POLL_SECONDS:-30}
where=(--zone="$TPU_ZONE" ${TPU_PROJECT:+"--project=$TPU_PROJECT"})
spot=()
[[ ${TPU_SPOT:-false} != true ]] || spot=(--spot)

say() {
  echo "$(date +%H:%M:%S) $*" >&2
}

fail() {
  echo "error: $*" >&2
  exit 2
}

tpus() {
  gcloud compute tpus "$@" "${where[@]}"
}

# on WORKER COMMAND: runs the command on a worker (0, 1, …) or on all of them at the same time.
on() {
  tpus tpu-vm ssh "$TPU_NAME" --worker="$1" --command="$2"
}

# The state of the queued resource; nothing where there is none.
queued_state() {
  tpus queued-resources list --filter="name~/$TPU_NAME\$" --format="value(state.state)"
}

# The state of the TPU VM; nothing where there is none.
vm_state() {
  tpus tpu-vm list --filter="name~/$TPU_NAME\$" --format="value(state)"
}
