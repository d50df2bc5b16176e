#!/usr/bin/env bash
# A real Slurm with two nodes, n1 and n2, on this machine, for the tests beside it.
#   two_nodes.sh up DIR | down DIR      (root; apt-get install slurm-wlm munge)
set -euo pipefail
dir=$2
host=$(hostname -s)
export SLURM_CONF=$dir/slurm.conf

end() {  # pid file
  [ -s "$1" ] || return 0
  local pid; pid=$(cat "$1")
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.1; done
  kill -9 "$pid" 2>/dev/null || true
}

down() {
  scancel --quiet --full --signal=KILL --user="$(id -un)" 2>/dev/null || true
  for name in slurmd-n1 slurmd-n2 slurmctld munged; do end "$dir/$name.pid"; done
  grep -v ' # llama-gpt4-test$' /etc/hosts > "$dir/hosts" && cat "$dir/hosts" > /etc/hosts
}

start_slurmd() { slurmd -N "$1" -f "$SLURM_CONF"; }

up() {
  mkdir -p "$dir"/state "$dir"/spool-n1 "$dir"/spool-n2 /run/munge
  chmod 755 "$dir"
  install -d -o munge -m 755 "$dir/munge"
  [ -s "$dir/munge/key" ] || { head -c 1024 /dev/urandom > "$dir/munge/key"; chown munge "$dir/munge/key"; chmod 400 "$dir/munge/key"; }
  su -s /bin/sh munge -c "munged --socket=$dir/munge/socket --key-file=$dir/munge/key --pid-file=$dir/munge/munged.pid --log-file=$dir/munge/log --seed-file=$dir/munge/seed"
  ln -sf "$dir/munge/munged.pid" "$dir/munged.pid"
  cat > "$SLURM_CONF" <<C
ClusterName=test
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPort=16817
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmdSpoolDir=$dir/spool-%n
StateSaveLocation=$dir/state
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
KillWait=5
SlurmdTimeout=20
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[17001-17002] CPUs=2 RealMemory=8000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
C
  echo "127.0.0.1 n1 n2 # llama-gpt4-test" >> /etc/hosts
  slurmctld -f "$SLURM_CONF"
  start_slurmd n1
  start_slurmd n2
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --states=idle --format=%D)" = 2 ] && return 0
    sleep 0.5
  done
  sinfo; tail "$dir"/*.log; exit 1
}

revive() { start_slurmd n2; }

"$1"
