#!/usr/bin/env bash
# A real Slurm on one Debian or Ubuntu machine, for tests: munge, slurmctld, six virtual nodes (slurmd) and,
# unless told otherwise, MariaDB and slurmdbd for accounting and QoS. Loopback only, no systemd, needs root.
#
#   dev-cluster.sh up            install what is missing, start everything; does nothing where all is up
#   dev-cluster.sh down          stop what this script started
#   dev-cluster.sh wipe          down, and remove all state (jobs, database, logs)
#   dev-cluster.sh env           print "export SLURM_CONF=...", for eval
#   dev-cluster.sh check         say whether it can run here (root, apt or everything installed); 0 if so
#   dev-cluster.sh status        what runs, states of the nodes
#   dev-cluster.sh stop-node N   kill -9 one slurmd and its job steps: a node that fails
#   dev-cluster.sh start-node N  bring that node back
#   dev-cluster.sh stop-ctld | kill-ctld | start-ctld     an outage of the controller
#
# Settings (environment; those of the cluster itself are read when it starts):
#   SLURM_DEV_DIR    state directory                 (default /tmp/slurm-dev)
#   SLURM_DEV_DB     1: MariaDB and slurmdbd (sacct, QoS, accounts)  0: no database (default 1)
#   SLURM_DEV_CGROUP auto | v1 | v2 | none           (default auto)
#   SLURM_DEV_PORT   first of 40 loopback ports      (default 16800)
#   SLURM_DEV_MINJOBAGE  seconds a finished job stays in slurmctld (default 300, Slurm's own)
#   SLURM_DEV_MEM    MB each virtual node claims     (default 4096)
#   SLURM_DEV_CORES  real cores: number of "realcore" licences (default: nproc)
#   SLURM_DEV_EXTRA  extra slurm.conf lines
# shellcheck disable=SC2015,SC2016  # 'A && B || true' and text for an inner shell are meant so
set -euo pipefail

D=${SLURM_DEV_DIR:-/tmp/slurm-dev}
DB=${SLURM_DEV_DB:-1}
CG=${SLURM_DEV_CGROUP:-auto}
P0=${SLURM_DEV_PORT:-16800}
AGE=${SLURM_DEV_MINJOBAGE:-300}
MEM=${SLURM_DEV_MEM:-4096}
EXTRA=${SLURM_DEV_EXTRA:-}
CORES=${SLURM_DEV_CORES:-$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)}   # nproc heeds them
HOST=$(uname -n); HOST=${HOST%%.*}
GPP=(gs01r1b01 gs01r1b02 gs01r1b03 gs01r1b04)   # CPU nodes, 112 cores (declared, not real)
ACC=(as01r1b01 as01r1b02)                       # GPU nodes, 80 cores + 4 gpus (declared)
NODES=("${GPP[@]}" "${ACC[@]}")
export SLURM_CONF=$D/etc/slurm.conf

say() { printf '%s\n' "$*" >&2; }
alive() { # alive PIDFILE: is that daemon running, and not another process that got its number since?
  local p name
  [ -s "$1" ] && p=$(cat "$1") && kill -0 "$p" 2>/dev/null || return 1
  name=$(cat "/proc/$p/comm" 2>/dev/null) || return 1
  case $name in munged|mariadbd|slurmdbd|slurmctld|slurmd|setsid|bash|dev-cluster.sh) ;; *) return 1 ;; esac
  ! grep -q '^State:.Z' "/proc/$p/status" 2>/dev/null
}
wanted_pkgs() {
  echo munge slurmctld slurmd slurm-client
  if [ "$DB" = 1 ]; then echo slurmdbd mariadb-server; fi
}
missing_pkgs() {
  local p
  for p in $(wanted_pkgs); do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || echo "$p"
  done
}
check() { # plain words instead of a failure half-way
  [ "$(uname -s)" = Linux ] || { say "the test cluster needs Linux"; return 1; }
  [ "$(id -u)" = 0 ] || { say "the test cluster needs root: it installs packages and starts Slurm's daemons"; return 1; }
  command -v dpkg-query apt-get >/dev/null || { say "the test cluster needs Debian or Ubuntu (apt-get)"; return 1; }
}
wait_for() { # wait_for SECONDS COMMAND...
  local end=$(( SECONDS + $1 )); shift   # wall clock, not tries: a client may itself wait seconds
  while ! timeout 10 "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}
stop_pid() { # stop_pid FILE [SECONDS]
  local f=$1 n=$(( ${2:-15} * 10 )) p
  alive "$f" || { rm -f "$f"; return 0; }
  p=$(cat "$f"); kill "$p" 2>/dev/null || true
  while kill -0 "$p" 2>/dev/null; do n=$((n-1)); [ $n -gt 0 ] || { kill -9 "$p" || true; break; }; sleep 0.1; done
  rm -f "$f"
}

install_pkgs() {
  local miss=() policy=/usr/sbin/policy-rc.d made=0 rc=0
  mapfile -t miss < <(missing_pkgs)
  [ ${#miss[@]} -gt 0 ] || return 0
  say "installing: ${miss[*]}"
  # The packages' scripts would start daemons where a policy allows it: forbid that meanwhile.
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' > $policy; chmod 755 $policy; made=1; }
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
      --no-install-recommends "${miss[@]}"; } >"$D/log/apt.log" 2>&1 || rc=$?
  [ $made = 0 ] || rm -f $policy
  [ $rc = 0 ] || { tail -20 "$D/log/apt.log" >&2; say "could not install: ${miss[*]}"; exit 1; }
}

pick_cgroup() {
  [ "$CG" = auto ] || return 0
  if [ -d /sys/fs/cgroup/freezer ] && [ -d /sys/fs/cgroup/memory ] \
     && mkdir /sys/fs/cgroup/memory/slurmdevprobe 2>/dev/null; then
    rmdir /sys/fs/cgroup/memory/slurmdevprobe; CG=v1
  else CG=none; fi   # v2 without systemd is fragile in 22.05: only on request
}

write_conf() {
  mkdir -p "$D"/{etc,log,run,state,munge} ; chmod 755 "$D" "$D"/{etc,log,run,state}
  local n i=0
  if [ "$CG" = none ]; then
    TRACK="ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=task=1"
  else
    TRACK="ProctrackType=proctrack/cgroup
TaskPlugin=task/cgroup
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2"
    cat > "$D/etc/cgroup.conf" <<C
CgroupPlugin=cgroup/$CG
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
AllowedRAMSpace=100
MinRAMSpace=30
C
  fi
  local ACCT PREEMPT=''
  if [ "$DB" = 1 ]; then
    ACCT="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((P0+2))
AccountingStoragePass=$D/munge/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment,job_script,job_env
AccountingStorageTRES=gres/gpu
PriorityType=priority/multifactor"
    PREEMPT="PreemptType=preempt/qos
PreemptMode=CANCEL"
  else
    ACCT="AccountingStorageType=accounting_storage/none"
  fi
  cat > "$D/etc/slurm.conf" <<C
ClusterName=dev
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$P0
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket=$D/munge/munge.socket
MpiDefault=none
ReturnToService=2
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmdSpoolDir=$D/state/spool-%n
StateSaveLocation=$D/state/ctld
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
SlurmdParameters=config_overrides
SlurmctldParameters=idle_on_node_suspend
SwitchType=switch/none
$TRACK
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5,bf_interval=5,bf_resolution=60,sched_min_interval=50000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
$PREEMPT
GresTypes=gpu
Licenses=realcore:$CORES
DefMemPerCPU=16
MaxArraySize=1001
MaxJobCount=20000
MinJobAge=$AGE
InactiveLimit=0
KillWait=5
BatchStartTimeout=10
SlurmctldTimeout=20
SlurmdTimeout=20
MessageTimeout=10
UnkillableStepTimeout=60
JobRequeue=1
RebootProgram=/bin/true
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.txt
PropagateResourceLimits=NONE
$ACCT
$EXTRA
C
  for n in "${GPP[@]}"; do i=$((i+1))
    echo "NodeName=$n NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((P0+10+i)) CPUs=112 Boards=1 SocketsPerBoard=2 CoresPerSocket=56 ThreadsPerCore=1 RealMemory=$MEM State=UNKNOWN" >> "$D/etc/slurm.conf"; done
  for n in "${ACC[@]}"; do i=$((i+1))
    echo "NodeName=$n NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((P0+10+i)) CPUs=80 Boards=1 SocketsPerBoard=2 CoresPerSocket=40 ThreadsPerCore=1 RealMemory=$MEM Gres=gpu:4 State=UNKNOWN" >> "$D/etc/slurm.conf"; done
  local g a; g=$(IFS=,; echo "${GPP[*]}"); a=$(IFS=,; echo "${ACC[*]}")
  cat >> "$D/etc/slurm.conf" <<C
PartitionName=gpp Nodes=$g Default=YES MaxTime=3-00:00:00 DefaultTime=00:10:00 State=UP
PartitionName=acc Nodes=$a MaxTime=3-00:00:00 DefaultTime=00:10:00 State=UP
C
  for n in 0 1 2 3; do [ -e "$D/etc/fakegpu$n" ] || mknod "$D/etc/fakegpu$n" c 1 3; done  # clones of /dev/null
  echo "NodeName=$a Name=gpu File=$D/etc/fakegpu[0-3]" > "$D/etc/gres.conf"
  if [ "$DB" = 1 ]; then
    ( umask 077; cat > "$D/etc/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$D/munge/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((P0+2))
SlurmUser=root
DebugLevel=info
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((P0+3))
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
C
    )
  fi
}

start_munge() {
  alive "$D/run/munged.pid" && return 0
  chown munge:munge "$D/munge"; chmod 755 "$D/munge"
  [ -s "$D/etc/munge.key" ] || ( umask 077; head -c 1024 /dev/urandom > "$D/etc/munge.key" )
  chown munge "$D/etc/munge.key"; chmod 400 "$D/etc/munge.key"
  mkdir -p "$D/munge/run"; chown munge "$D/munge/run"
  : > "$D/log/munged.log"; chown munge "$D/log/munged.log"
  rm -f "$D/munge/munge.socket"*
  setpriv --reuid munge --regid munge --clear-groups \
    munged --force --num-threads=10 --key-file="$D/etc/munge.key" --socket="$D/munge/munge.socket" \
    --pid-file="$D/munge/run/munged.pid" --log-file="$D/munge/run/munged.log" --seed-file="$D/munge/run/seed" 2>>"$D/log/munged.log" 9>&-
  wait_for 10 munge -n --socket "$D/munge/munge.socket" || { cat "$D/log/munged.log" >&2; exit 1; }
  cp "$D/munge/run/munged.pid" "$D/run/munged.pid"
}

start_db() {
  [ "$DB" = 1 ] || return 0
  if ! alive "$D/run/mariadb.pid"; then
    mkdir -p "$D/mysql"; chown mysql "$D/mysql"
    if [ ! -d "$D/mysql/mysql" ]; then
      mariadb-install-db --no-defaults --user=mysql --datadir="$D/mysql" --auth-root-authentication-method=socket --skip-test-db >"$D/log/mariadb-install.log" 2>&1
    fi
    setsid mariadbd --no-defaults --user=mysql --datadir="$D/mysql" --socket="$D/mysql/db.sock" \
      --pid-file="$D/mysql/mariadb.pid" --bind-address=127.0.0.1 --port=$((P0+3)) \
      --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=2 \
      --skip-log-bin --max-connections=50 >"$D/log/mariadb.log" 2>&1 </dev/null 9>&- &
    echo $! > "$D/run/mariadb.pid"
    wait_for 60 mariadb-admin --no-defaults -S "$D/mysql/db.sock" ping || { tail "$D/log/mariadb.log" >&2; exit 1; }
    mariadb --no-defaults -S "$D/mysql/db.sock" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db;
      CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
      CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
      GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1'; GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"
  fi
  if ! alive "$D/run/slurmdbd.pid"; then
    setsid slurmdbd -D >"$D/log/slurmdbd.out" 2>&1 </dev/null 9>&- &
    echo $! > "$D/run/slurmdbd.pid"
    wait_for 60 sacctmgr -n show cluster || { tail "$D/log/slurmdbd.log" >&2; exit 1; }
  fi
}

setup_accounts() { # after slurmctld: only then does the database know the gres/gpu TRES
  [ "$DB" = 1 ] || return 0
  if [ ! -e "$D/state/accounts-done-2" ]; then
    # Accounts and QoS with a real site's names: a job without a known one is refused.
    q() { sacctmgr -i -Q "$@" >>"$D/log/sacctmgr.log" 2>&1 || true; }
    q add cluster dev
    q add qos gp_debug  set MaxWall=02:00:00 MaxTRESPU=cpu=448 Priority=100
    q add qos gp_ehpc   set MaxWall=3-00:00:00
    q add qos acc_debug set MaxWall=02:00:00 MaxTRESPU=gres/gpu=8 Priority=100
    q add qos acc_ehpc  set MaxWall=3-00:00:00
    q add qos gp_preempt set MaxWall=02:00:00   # gives way to gp_ehpc
    q modify qos gp_ehpc set Preempt=gp_preempt
    q add account ehpc01 cluster=dev Description=dev Organization=dev
    q add user root account=ehpc01 cluster=dev qos=gp_debug,gp_ehpc,gp_preempt,acc_debug,acc_ehpc defaultqos=gp_ehpc
    q modify user root where account=ehpc01 set qos=gp_debug,gp_ehpc,gp_preempt,acc_debug,acc_ehpc
    sacctmgr -i modify user root set adminlevel=admin >>"$D/log/sacctmgr.log" 2>&1 || true
    sacctmgr -i modify user root set defaultaccount=ehpc01 >>"$D/log/sacctmgr.log" 2>&1 || true
    sacctmgr -n -P show assoc user=root format=account,qos | grep -q '^ehpc01|.*gp_debug' \
      || { tail "$D/log/sacctmgr.log" >&2; say "accounts and QoS could not be set up"; exit 1; }
    : > "$D/state/accounts-done-2"
  fi
}

start_ctld() {
  alive "$D/run/slurmctld.daemon.pid" && return 0
  mkdir -p "$D/state/ctld"
  setsid slurmctld -D -f "$SLURM_CONF" >"$D/log/slurmctld.out" 2>&1 </dev/null 9>&- &
  echo $! > "$D/run/slurmctld.daemon.pid"
  wait_for 30 sh -c 'scontrol ping | grep -q UP' || { tail "$D/log/slurmctld.log" "$D/log/slurmctld.out" >&2; exit 1; }
}

start_node() {
  alive "$D/run/node-$1.pid" && return 0
  mkdir -p "$D/state/spool-$1"
  setsid slurmd -D -N "$1" -f "$SLURM_CONF" >"$D/log/slurmd-$1.out" 2>&1 </dev/null 9>&- &
  echo $! > "$D/run/node-$1.pid"
}

stop_node() { # as a node that loses power: slurmd, its slurmstepds and their processes, at once
  local f p pp kills=()
  alive "$D/run/node-$1.pid" && kill -9 "$(cat "$D/run/node-$1.pid")" || true
  rm -f "$D/run/node-$1.pid"
  for f in /proc/[0-9]*/environ; do
    grep -qzx "SLURMD_NODENAME=$1" "$f" 2>/dev/null || continue     # a process of a job on this node
    grep -qzxF "SLURM_CONF=$SLURM_CONF" "$f" 2>/dev/null || continue # of this cluster: there may be two
    p=${f#/proc/}; p=${p%/environ}
    pp=$(awk '/^PPid:/{print $2}' "/proc/$p/status" 2>/dev/null) || continue
    grep -q '^slurmstepd:' "/proc/$pp/cmdline" 2>/dev/null && kills=("$pp" "${kills[@]}")
    kills+=("$p")
  done
  [ ${#kills[@]} -eq 0 ] || kill -9 "${kills[@]}" 2>/dev/null || true
}

case "${1:-}" in
up|down|wipe|stop-*|start-*|kill-*)
  check || exit 3
  mkdir -p "$D"
  exec 9>"$D/.lock"   # one at a time: a second "up" waits and then finds everything up
  flock -w 300 9 || { say "another dev-cluster.sh is at work in $D"; exit 1; }
  ;;
esac

case "${1:-}" in
up)
  mkdir -p "$D/log"; install_pkgs; pick_cgroup
  alive "$D/run/slurmctld.daemon.pid" || write_conf
  start_munge; start_db; start_ctld; setup_accounts
  for n in "${NODES[@]}"; do start_node "$n"; done
  for n in $(sinfo -h -N -t drain,fail -o %N | sort -u); do scontrol update nodename="$n" state=resume || true; done
  wait_for 60 sh -c '[ -z "$(sinfo -h -N -t down,unk,no_respond,fail,drain -o %N)" ] && [ "$(sinfo -h -N -o %N | sort -u | wc -l)" = '${#NODES[@]}' ]' \
    || { sinfo -N -l >&2; tail -3 "$D"/log/slurmd-*.log >&2; exit 1; }
  say "up: cgroup=$CG db=$DB   export SLURM_CONF=$SLURM_CONF"
  ;;
down)
  if alive "$D/run/slurmctld.daemon.pid"; then timeout 20 scancel -u "$(id -un)" -f >/dev/null 2>&1 || true
    wait_for 15 sh -c '[ -z "$(squeue -h -t running,completing)" ]' || true; fi
  for n in "${NODES[@]}"; do alive "$D/run/node-$n.pid" && kill "$(cat "$D/run/node-$n.pid")" || true; done   # all at once: each takes 1.5 s
  for n in "${NODES[@]}"; do stop_pid "$D/run/node-$n.pid"; done
  stop_pid "$D/run/slurmctld.daemon.pid"; stop_pid "$D/run/slurmdbd.pid"
  stop_pid "$D/run/mariadb.pid" 30; stop_pid "$D/run/munged.pid"
  for c in memory freezer cpuset devices cpuacct; do   # empty leftovers only
    [ -d /sys/fs/cgroup/$c ] && find /sys/fs/cgroup/$c -depth -type d \( -path '*/slurm_*' -o -path '*/slurm/*' -o -name slurm \) -exec rmdir {} + 2>/dev/null || true
  done
  say down ;;
wipe) exec 9>&-; "$0" down; rm -rf -- "${D:?}/state" "${D:?}/mysql" "${D:?}/log" "${D:?}/run" "${D:?}/munge" "${D:?}/etc" "${D:?}/.lock" ;;
check) check ;;
env) echo "export SLURM_CONF=$SLURM_CONF" ;;
status)
  for f in "$D"/run/*.pid; do [ -e "$f" ] && { alive "$f" && echo "$(basename "$f" .pid) running" || echo "$(basename "$f" .pid) dead"; }; done; sinfo -N -o '%N %P %t %c %m %G' ;;
stop-node) stop_node "${2:?node}" ;;
start-node) start_node "${2:?node}" ;;
stop-ctld) stop_pid "$D/run/slurmctld.daemon.pid" ;;
kill-ctld) kill -9 "$(cat "$D/run/slurmctld.daemon.pid")"; rm -f "$D/run/slurmctld.daemon.pid" ;;
start-ctld) start_ctld ;;
*) sed -n '2,26p' "$0" >&2; exit 2 ;;
esac
