#!/usr/bin/env bash
# The smallest study through Slurm on this machine, the same without it, and a comparison of the two
# results folders, byte by byte. Whatever happens, the Slurm that this starts is stopped again.
#
#   slurm_demo.sh [folder]     the folder to write to, slurm_demo if not given
#
# Exit status 77: Slurm cannot be started here; 1: the results differ or a run failed.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly OVERLAY=config/tiny.yaml
readonly FOLDER=${1:-slurm_demo}
readonly CLUSTER=workflow/scripts/slurm_one_node.sh

say() { echo "slurm_demo: $*" >&2; }

study() { # run the study into the subfolder that is named first, with Snakemake's further options
  local folder=$FOLDER/$1 started=$SECONDS
  shift
  if ! snakemake --configfile "$OVERLAY" \
    --config "folders={data: $folder/data, results: $folder/results}" "$@" >"$folder.log" 2>&1; then
    tail -n 40 "$folder.log" >&2
    say "error: the run into $folder failed; all it said is in $folder.log"
    return 1
  fi
  say "$folder: done in $((SECONDS - started)) s"
}

rm -rf -- "${FOLDER:?}/slurm" "$FOLDER/local"
mkdir -p "$FOLDER"

clean_up() {
  # Asked to end, Snakemake would wait for jobs of a Slurm that is gone.
  pkill -KILL --parent $$ --full snakemake || true
  "$CLUSTER" stop
}

"$CLUSTER" start
trap clean_up EXIT
study slurm --profile profiles/slurm --slurm-status-command squeue \
  --slurm-init-seconds-before-status-checks 2 --seconds-between-status-checks 2 --latency-wait 10
"$CLUSTER" stop
trap - EXIT

study local
if ! diff --recursive --brief "$FOLDER/slurm/results" "$FOLDER/local/results"; then
  say "error: the results differ"
  exit 1
fi
say "$(find "$FOLDER/local/results" -type f | wc -l) files of results, byte for byte the same"
