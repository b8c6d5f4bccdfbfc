#!/usr/bin/env bash
# Carries a training run to its end through preemptions: creates the TPU VM as a queued resource, installs, starts, and
# does so again whenever the VM has been taken away. The run resumes by itself from its workdir.
#
#   scripts/tpu/run.sh [VARIABLE=VALUE …] --config=experiments/llama31_8b.py --workdir=gs://BUCKET/runs/llama31_8b
#
# The arguments are those of start.sh. Exits with the exit code of the run, 0 when the training is complete; the VM is
# left as it is. It may be stopped and started again: a run that is going on is awaited. The settings are listed in
# common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
PREEMPTED=143  # the code that rmjax.train ends with after a SIGTERM
ATTEMPTS=10    # so many times in a row gcloud or the VM may fail to answer

# Whether the VM has been taken away. Either may say so first; no answer isn't a yes.
preempted() {
  local queued vm
  queued=$(queued_state) && vm=$(vm_state) || return 1
  [[ $queued == SUSPEND* || $vm == PREEMPTED || $vm == TERMINATED ]]
}

# What worker 0 says of the run: running, its exit code, or none.
run_state() {
  on 0 "if [ -s rmjax.exit ]; then cat rmjax.exit
elif [ -e rmjax.pid ] && kill -0 \$(cat rmjax.pid) 2> /dev/null; then echo running
else echo none; fi" | tail -n 1
}

# One look at the VM and the run, and what is to be done about it; not 0 where something didn't answer.
look() {
  local state
  if preempted; then
    say "$TPU_NAME was preempted; it is created anew"
    "$here/delete.sh" || return
  fi
  "$here/create.sh" || return
  state=$(run_state) || return
  if [[ $state == running ]]; then
    started=true
  elif ! $started || [[ $state == none || $state == "$PREEMPTED" ]]; then
    "$here/install.sh" || return 1  # its code may be that of make or pip on a worker
    "$here/start.sh" "$@" || return
    started=true
    say "the run has been started"
  elif [[ $state != 0 ]] && sleep $((4 * POLL_SECONDS)) && preempted; then
    say "the run ended with code $state as its VM was taken away"
  else
    say "the run has ended with code $state"
    exit "$state"
  fi
}

started=false  # by this command: until then an exit code is that of an earlier run
failures=0
while true; do
  code=0
  look "$@" || code=$?
  ((code != 2)) || exit 2  # wrong settings, or a request that was refused
  if ((code == 0)); then failures=0; else failures=$((failures + 1)); fi
  ((failures < ATTEMPTS)) || fail "$TPU_NAME didn't answer, or couldn't be made ready, $ATTEMPTS times in a row"
  sleep "$POLL_SECONDS"
done
