#!/usr/bin/env bash
# Installs rmjax on all workers: in ~/rmjax, at RMJAX_REVISION of RMJAX_REPOSITORY. Run again, it updates.
#
#   scripts/tpu/install.sh
#
# Several workers are reached at once only if the ssh key of gcloud is loaded: ssh-add ~/.ssh/google_compute_engine
# The settings are listed in common.sh.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
repository=${RMJAX_REPOSITORY:-$(git -C "$here" remote get-url origin)} || fail "RMJAX_REPOSITORY must be a git URL"
revision=${RMJAX_REVISION:-$(git -C "$here" rev-parse HEAD)}

# The images of TPU VMs may come with a Python older than 3.11; uv brings a newer one.
on all "set -e
mkdir -p rmjax && cd rmjax
git init --quiet
git fetch --quiet --depth=1 $(printf %q "$repository") $(printf %q "$revision")
git checkout --quiet --force FETCH_HEAD
python=python3
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  python3 -m pip install --quiet --user uv
  ~/.local/bin/uv python install --quiet 3.12
  python=\$(~/.local/bin/uv python find 3.12)
fi
make setup PYTHON=\"\$python\"
.venv/bin/pip install --quiet -r requirements-tpu.txt -r requirements-gcs.txt"
