#!/usr/bin/env bash
# Install what requirements.txt pins into an environment in which uv is.
#
#   install.sh BIN default    everything from the package index, each file's hash checked
#   install.sh BIN cpu        torch and torchvision, at the pinned versions, as PyTorch's own CPU build,
#                             which only PyTorch's index has; everything else as above, less CUDA
#
# The lock holds no hashes of the CPU build: those two files are checked by nothing but TLS.
set -euo pipefail

readonly BIN=$1 BUILD=$2
readonly LOCK=requirements.txt
# What torch needs for CUDA and nothing else in the lock needs.
readonly CUDA='^(cuda|nvidia)-|^triton=='
WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf -- "$WORK"' EXIT

fail() {
  echo "install: error: $*" >&2
  exit 1
}

uv() { "$BIN/uv" pip "$1" --quiet --python "$BIN/python" "${@:2}"; }

install_torch_for_cpu() {
  local pins
  mapfile -t pins < <(sed -nE 's/^((torch|torchvision)==[^ ;]+).*/\1/p' "$LOCK")
  [[ ${#pins[@]} == 2 ]] || fail "$LOCK: expected one pin each of torch and torchvision, found: ${pins[*]}"
  uv install --no-deps --torch-backend cpu --reinstall-package torch --reinstall-package torchvision \
    --compile-bytecode "${pins[@]}" 2>"$WORK/uv.log" ||
    fail "PyTorch's CPU build cannot be had from its own index ($(tail -n 1 "$WORK/uv.log" | sed 's/^ *cause: //')); nothing was changed. The default build: make setup TORCH=default"
}

remove_cuda() {
  local names
  mapfile -t names < <(grep -E "$CUDA" "$LOCK" | sed 's/==.*//')
  uv uninstall "${names[@]}" 2>/dev/null
}

without_torch() { # the lock less torch and CUDA: each entry is a line and its indented hashes
  awk -v left_out="$CUDA|^torch==|^torchvision==" '/^[^ ]/ {kept = $0 !~ left_out} kept' "$LOCK"
}

case $BUILD in
default)
  uv install --compile-bytecode --require-hashes --requirement "$LOCK"
  ;;
cpu)
  # First, so that nothing is changed where it cannot be done.
  install_torch_for_cpu
  remove_cuda
  without_torch >"$WORK/requirements.txt"
  # The lock is complete; following dependencies would bring the default torch.
  uv install --compile-bytecode --no-deps --require-hashes --requirement "$WORK/requirements.txt"
  ;;
*)
  fail "TORCH=$BUILD given; default or cpu expected."
  ;;
esac
