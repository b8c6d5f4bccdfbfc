#!/usr/bin/env bash
# Starts a training run on all workers and returns; the run goes on when ssh ends.
#
#   scripts/tpu/start.sh [VARIABLE=VALUE …] --config=experiments/llama31_8b.py --workdir=gs://BUCKET/runs/llama31_8b
#
# The flags are those of rmjax.train, the variables are set for it. On each worker ~/rmjax.log has what it says, and
# ~/rmjax.exit its exit code when it has ended. The settings are listed in common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
variables=()
while [[ ${1:-} =~ ^[A-Za-z_][A-Za-z_0-9]*= ]]; do
  variables+=("$1")
  shift
done
[[ " $*" == *" --workdir="* ]] || fail "--workdir=gs://BUCKET/… is missing among the flags: $*"

run="cd ~/rmjax
env $(printf '%q ' ${variables[@]+"${variables[@]}"} .venv/bin/python -m rmjax.train "$@")&
echo \$! > ~/rmjax.pid
wait \$!
echo \$? > ~/rmjax.exit"
on all "if [ -e rmjax.pid ] && kill -0 \$(cat rmjax.pid) 2> /dev/null; then
  echo 'error: a run is going on here already' >&2
  exit 3
fi
rm -f rmjax.exit rmjax.pid
nohup setsid bash -c $(printf %q "$run") >> rmjax.log 2>&1 < /dev/null &
while [ ! -e rmjax.pid ]; do sleep 0.1; done"
