#!/usr/bin/env bash
# A real Slurm on this one machine, for trying the workflow's cluster executor, and for nothing else.
# It listens on the loopback address and writes to one folder, to which a link in /etc/slurm leads.
#
#   slurm_one_node.sh start    install Slurm if need be, start it, wait until the node is idle
#   slurm_one_node.sh status   show its node and its jobs
#   slurm_one_node.sh stop     stop all that start started; remove its folder and the link
#
# The folder is MEDLABEL_SLURM, if that is set. Exit status 77: not possible on this machine.
set -euo pipefail

# In what a trap runs, a plain `return` gives the status from before the trap; hence `return 0` here.

# Not Slurm's own ports: a cluster's daemons may be running here.
readonly CONTROLLER_PORT=26817 NODE_PORT=26818
readonly PATIENCE=60 # seconds that a daemon may take to start or to end
STATE=${MEDLABEL_SLURM:-/tmp/medlabel_slurm_$(id -u)}
readonly STATE
readonly CONFIGURATION=$STATE/slurm.conf
# Where clients look unless told otherwise. Snakemake's jobs cannot be told: their executor clears
# the environment of all SLURM_ variables.
readonly LINK=/etc/slurm/slurm.conf
# Debian keeps the daemons where only root's PATH looks.
export PATH=$PATH:/usr/sbin:/sbin

say() { echo "slurm_one_node: $*" >&2; }

skip() {
  say "skipped: $*"
  exit 77
}

fail() {
  say "error: $*"
  exit 1
}

ours() { [[ $(readlink -- "$LINK") == "$CONFIGURATION" ]]; }

installed() {
  local program
  for program in munged slurmctld slurmd sinfo squeue scancel sbatch srun; do
    command -v "$program" >/dev/null || return 1
  done
}

install_slurm() {
  if installed; then return 0; fi
  command -v apt-get >/dev/null || skip "Slurm is not installed, and there is no apt-get to install it with."
  say "installing munge and slurm-wlm"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get install --yes --no-install-recommends munge slurm-wlm; } \
    >"$STATE/apt.log" 2>&1 </dev/null ||
    skip "apt-get could not install munge and slurm-wlm: $(tail -n 1 "$STATE/apt.log")"
}

write_configuration() {
  local host memory
  host=$(hostname -s)
  memory=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
  cat >"$CONFIGURATION" <<END
ClusterName=medlabel
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$CONTROLLER_PORT
SlurmdPort=$NODE_PORT
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$STATE/munge.socket
StateSaveLocation=$STATE/controller
SlurmdSpoolDir=$STATE/node
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
# Without control groups, which a container may not have: nothing holds a job to its memory.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
ReturnToService=2
# Without a database of past jobs, Snakemake asks squeue, which forgets them after this many seconds.
MinJobAge=3600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE
END
  mkdir -p "$(dirname "$LINK")"
  ln -sfn "$CONFIGURATION" "$LINK"
}

start_munge() {
  # A name of its own keeps munged from creating keys where the system's own daemon reads them.
  (
    umask 077
    head -c 128 /dev/urandom >"$STATE/munge.key"
  )
  munged --force --socket="$STATE/munge.socket" --key-file="$STATE/munge.key" \
    --pid-file="$STATE/munged.pid" --log-file="$STATE/munged.log" --seed-file="$STATE/munge.seed" \
    2>>"$STATE/munged.log" || fail "munged did not start: $(tail -n 1 "$STATE/munged.log")"
}

# Clients wait for minutes where the controller does not answer; hence the limit.
node_state() { timeout 5 sinfo --noheader --format=%T 2>/dev/null || true; }

wait_until_idle() {
  local deadline=$((SECONDS + PATIENCE))
  while ((SECONDS < deadline)); do
    if [[ $(node_state) == idle ]]; then return 0; fi
    sleep 1
  done
  fail "the node is not idle after $PATIENCE s; the logs end with: $(tail --quiet --lines 1 "$STATE/slurmctld.log" "$STATE/slurmd.log" | paste --serial --delimiters '|')"
}

running() { # whether the daemon whose pid file is named runs
  [[ -s $STATE/$1.pid ]] && kill -0 "$(<"$STATE/$1.pid")" 2>/dev/null
}

start() {
  [[ $(id -u) == 0 ]] || skip "starting Slurm needs root."
  if [[ -e $LINK || -n ${SLURM_CONF-} ]] && ! ours; then
    skip "this machine is configured for another Slurm (${SLURM_CONF-$LINK})."
  fi
  if running slurmctld && running slurmd && running munged; then
    say "runs already"
  else
    if [[ -e $STATE ]]; then stop; fi
    mkdir -p "$(dirname "$STATE")"
    mkdir -m 755 "$STATE"
    trap 'stop 2>/dev/null' EXIT # the last line is to be why it goes no further
    install_slurm
    mkdir "$STATE/controller" "$STATE/node"
    write_configuration
    start_munge
    slurmctld -f "$CONFIGURATION" -c || fail "slurmctld did not start: $(tail -n 1 "$STATE/slurmctld.log")"
    slurmd -f "$CONFIGURATION" || fail "slurmd did not start: $(tail -n 1 "$STATE/slurmd.log")"
    wait_until_idle
    trap - EXIT
    say "node $(hostname -s) is idle: $(nproc) CPUs; folder $STATE"
  fi
}

end() { # ask the daemon whose pid file is named to end, then make it
  local pid second
  if ! running "$1"; then return 0; fi
  pid=$(<"$STATE/$1.pid")
  kill "$pid"
  for ((second = 0; second < PATIENCE; second++)); do
    if ! kill -0 "$pid" 2>/dev/null; then return 0; fi
    sleep 1
  done
  say "$1 did not end in $PATIENCE s; killing it"
  kill -KILL "$pid" || true
}

cancel_jobs() { # and wait until their processes ended, which outlive slurmd otherwise
  local deadline=$((SECONDS + PATIENCE)) jobs
  while ((SECONDS < deadline)); do
    mapfile -t jobs < <(timeout 5 squeue --noheader --format=%i 2>/dev/null)
    if [[ ${#jobs[@]} == 0 ]]; then return 0; fi
    timeout 5 scancel --quiet "${jobs[@]}" || true
    sleep 1
  done
  say "jobs still run after $PATIENCE s"
}

stop() {
  if [[ ! -e $STATE ]]; then
    say "does not run"
    return 0
  fi
  if running slurmctld; then cancel_jobs; fi
  end slurmd
  end slurmctld
  end munged
  if ours; then rm -- "$LINK"; fi
  rm -rf -- "$STATE"
  say "stopped"
}

status() {
  running slurmctld || fail "does not run."
  sinfo --long --Node
  squeue
}

case ${1-} in
start | stop | status) "$1" ;;
*) fail "start, stop or status expected." ;;
esac
