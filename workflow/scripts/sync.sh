#!/usr/bin/env bash
# After a clone or a checkout: get what DVC keeps, check that it is whole, and tell Snakemake that it
# is good. Says what is missing where that cannot be.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [[ -n $(dvc remote list) ]]; then
  dvc pull --quiet
else
  dvc checkout --quiet 2>/dev/null || true
fi
if ! changed=$(dvc status --json 2>/dev/null); then
  echo "sync: dvc status failed; is this a Git repository with .dvc?" >&2
  exit 1
fi
if [[ $changed == "{}" ]]; then
  # Unconditional, hence only after DVC has compared every file with what it recorded.
  snakemake --touch --quiet all
  echo "sync: Snakemake and DVC have nothing to do."
  exit 0
fi
stages=$(python -c 'import json, sys; print(" ".join(json.load(sys.stdin)))' <<<"$changed")
if [[ -z $(dvc remote list) ]]; then
  echo "sync: no DVC remote is set, and this machine lacks files of the stages: $stages." >&2
  echo "sync: make them with 'make run', or name a remote that has them: dvc remote add --default NAME ADDRESS" >&2
else
  echo "sync: the remote lacks files of the stages: $stages; make them with 'make run'." >&2
fi
exit 1
