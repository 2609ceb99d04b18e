#!/usr/bin/env bash
# up.sh DIR -- start a private, real Slurm cluster on this one host: munged, mariadbd,
# slurmdbd, slurmctld and N slurmd, started by hand (no systemd), as root, all state under DIR.
# Idempotent: healthy -> only prints the env; half dead -> starts what is missing, keeping state.
# Stdout is only `export ...` lines (progress goes to stderr):   eval "$(up.sh DIR)"
# Knobs (environment):
#   SL_NODES=2 SL_CPUS=16 SL_MEM=16000 SL_GPUS=8   per-node sizes (need not exist in hardware)
#   SL_DB=1            0: no mariadb/slurmdbd, so no sacct (submitit then sees state UNKNOWN)
#   SL_NS=1            each slurmd in its own UTS+mount namespace: own hostname, n1.. resolvable
#   SL_CRED_EXPIRE=5   seconds a requeued job waits before it may start (Slurm's default: 120)
#   SL_KILLWAIT=5 SL_GRACE=10
# Packages: apt-get install -y --no-install-recommends slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core
set -euo pipefail
umask 022
[ -n "${1:-}" ] || { echo "usage: up.sh DIR" >&2; exit 2; }
mkdir -p "$1"
D=$(cd "$1" && pwd -P)
[ -n "$D" ] && [ "$D" != / ] || exit 2
N=${SL_NODES:-2} CPUS=${SL_CPUS:-16} MEM=${SL_MEM:-16000} GPUS=${SL_GPUS:-8}
DB=${SL_DB:-1} NS=${SL_NS:-1} CRED=${SL_CRED_EXPIRE:-5} KW=${SL_KILLWAIT:-5} GRACE=${SL_GRACE:-10}
HOST=$(hostname -s) ME=$(id -un)
[ "$(id -u)" = 0 ] || NS=0 # namespaces (here) and jobs of other users need root
export SLURM_CONF=$D/etc/slurm.conf
T0=$(date +%s%N)

el() { echo "$((($(date +%s%N) - T0) / 1000000)) ms"; }
say() { echo "slurm up: $*" >&2; }
die() { say "FAILED: $*"; tail -n 5 "$D"/log/*.log >&2 2>/dev/null; exit 1; }
alive() { # PIDFILE COMM: is that pid alive and that program?
  local p
  p=$(cat "$1" 2>/dev/null) && [ -n "$p" ] && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = "$2" ] &&
    ! grep -q '^State:.Z' "/proc/$p/status" 2>/dev/null # a zombie keeps its name
}
waitfor() { # SECONDS COMMAND...
  local end=$(($(date +%s) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.05
  done
}

mkdir -p "$D"/{etc,state,log,run,dev,spool,munge,mysql}
chmod 755 "$D" "$D/munge"
exec 9>"$D/.lock"
flock 9 # one starter at a time; every daemon gets 9>&-

# --- ports: chosen once (a free contiguous run below the ephemeral range), kept in DIR --------
if [ ! -s "$D/etc/ports" ]; then
  python3 -c '
import random, socket, sys
n = int(sys.argv[1])
for _ in range(200):
    b = random.randrange(20000, 32000 - n); ss = []
    try:
        for p in range(b, b + n):
            s = socket.socket(); ss.append(s); s.bind(("127.0.0.1", p))
    except OSError: continue
    finally: [s.close() for s in ss]
    print(b); break
else: sys.exit("no free ports")' $((N + 3)) >"$D/etc/ports"
fi
P=$(cat "$D/etc/ports")
PCTLD=$P PDBD=$((P + 1)) PSQL=$((P + 2)) PN1=$((P + 3))

# --- config: rewritten every time, from the knobs only ----------------------------------------
# gres.conf wants a character or block device (a plain file: scheduled, but no CUDA_VISIBLE_DEVICES)
for ((i = 0; i < GPUS; i++)); do ln -sfn /dev/null "$D/dev/nvidia$i"; done
ACCT="AccountingStorageType=accounting_storage/none"
[ "$DB" = 1 ] && ACCT="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$PDBD
AccountingStoragePass=$D/munge/socket
AccountingStorageTRES=gres/gpu"
NODES="n[1-$N]" NH=$HOST PORTS="[$PN1-$((PN1 + N - 1))]"
[ "$N" = 1 ] && NODES=n1 PORTS=$PN1
[ "$NS" = 1 ] && NH=$NODES
[ "$NS" != 1 ] && [ "$N" -gt 1 ] && NH=$HOST
GRES="" GTYPES=""
[ "$GPUS" -gt 0 ] && GRES="Gres=gpu:$GPUS" GTYPES="GresTypes=gpu"
cat >"$D/etc/slurm.conf.new" <<CONF
ClusterName=t
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PCTLD
SlurmUser=$ME
SlurmdUser=$ME
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also how long a requeued job waits before it may start again (default 120 s)
AuthInfo=socket=$D/munge/socket,cred_expire=$CRED
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.pid
SlurmdPidFile=$D/run/slurmd-%n.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SlurmdParameters=config_overrides
ReturnToService=2
$GTYPES
JobRequeue=1
MaxArraySize=20001
MaxJobCount=50000
MinJobAge=300
KillWait=$KW
SlurmdTimeout=30
SlurmctldTimeout=30
MessageTimeout=20
SchedulerType=sched/backfill
SchedulerParameters=${SL_SCHED:-batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,default_queue_depth=10000}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobCompType=jobcomp/filetxt
JobCompLoc=$D/log/jobcomp.txt
$ACCT
NodeName=$NODES NodeAddr=127.0.0.1 NodeHostname=$NH Port=$PORTS CPUs=$CPUS RealMemory=$MEM $GRES State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=$GRACE State=UP
PartitionName=high Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
${SL_EXTRA_CONF:-}
CONF
mv "$D/etc/slurm.conf.new" "$D/etc/slurm.conf"
{
  echo AutoDetect=off
  if [ "$GPUS" = 1 ]; then echo "Name=gpu File=$D/dev/nvidia0"
  elif [ "$GPUS" -gt 1 ]; then echo "Name=gpu File=$D/dev/nvidia[0-$((GPUS - 1))]"; fi
} >"$D/etc/gres.conf"
{
  cat /etc/hosts
  for ((i = 1; i <= N; i++)); do echo "127.0.0.1 n$i"; done
} >"$D/etc/hosts"

# --- munge ------------------------------------------------------------------------------------
[ -s "$D/munge/key" ] || mungekey -c -k "$D/munge/key" -b 1024
if ! alive "$D/munge/pid" munged; then
  munged -f -S "$D/munge/socket" --key-file="$D/munge/key" --log-file="$D/log/munged.log" \
    --pid-file="$D/munge/pid" --seed-file="$D/munge/seed" >&2 2>&1 9>&- || die munged
fi

# --- mariadb + slurmdbd -------------------------------------------------------------------------
if [ "$DB" = 1 ]; then
  # debug-no-sync: no fsync (4 s -> 0.5 s for the install, and quicker accounting)
  MY=(--no-defaults --user="$ME" "--datadir=$D/mysql" --debug-no-sync=1 --innodb-log-file-size=8M
    --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900)
  if [ ! -e "$D/mysql/.done" ]; then
    rm -rf "$D/mysql" && mkdir "$D/mysql"
    mariadb-install-db "${MY[@]}" --auth-root-authentication-method=normal --skip-test-db \
      --skip-name-resolve --force >"$D/log/mysql-install.log" 2>&1 9>&- || die mariadb-install-db
    : >"$D/mysql/.done"
    say "mariadb installed $(el)"
  fi
  if ! alive "$D/run/mysql.pid" mariadbd; then
    printf '%s\n' "CREATE DATABASE IF NOT EXISTS slurm_acct;" \
      "CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';" \
      "GRANT ALL ON slurm_acct.* TO 'slurm'@'127.0.0.1';" >"$D/etc/init.sql"
    setsid mariadbd "${MY[@]}" --bind-address=127.0.0.1 --port="$PSQL" --socket="$D/run/mysql.sock" \
      --pid-file="$D/run/mysql.pid" --init-file="$D/etc/init.sql" --skip-name-resolve --skip-log-bin \
      --innodb-buffer-pool-size=64M --key-buffer-size=1M --performance-schema=0 \
      >"$D/log/mysql.log" 2>&1 </dev/null 9>&- &
    waitfor 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$PSQL" || die mariadbd
    say "mariadb up $(el)"
  fi
  (
    umask 077
    cat >"$D/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$D/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$PDBD
SlurmUser=$ME
LogFile=$D/log/slurmdbd.log
PidFile=$D/run/slurmdbd.pid
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$PSQL
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct
CONF
  )
  if ! alive "$D/run/slurmdbd.pid" slurmdbd; then
    rm -f "$D/run/slurmdbd.pid"
    slurmdbd >&2 9>&- || die slurmdbd
    waitfor 30 sacctmgr -n show cluster || { sacctmgr -n show cluster >&2 || :; die "slurmdbd does not answer"; }
    say "slurmdbd up $(el)"
  fi
  [ -n "$(sacctmgr -nP show cluster t 2>/dev/null)" ] || sacctmgr -i -Q add cluster t >&2 || die "add cluster"
fi

# --- slurmctld, slurmd ----------------------------------------------------------------------------
if ! alive "$D/run/slurmctld.pid" slurmctld; then
  rm -f "$D/run/slurmctld.pid"
  slurmctld >&2 2>&1 9>&- || die slurmctld
fi
for ((i = 1; i <= N; i++)); do
  alive "$D/run/slurmd-n$i.pid" slurmd && continue
  rm -f "$D/run/slurmd-n$i.pid"
  mkdir -p "$D/spool/n$i"
  if [ "$NS" = 1 ]; then
    unshare --uts --mount sh -c \
      "hostname n$i && mount --bind '$D/etc/hosts' /etc/hosts && exec slurmd -N n$i" \
      >&2 2>&1 9>&- || die "slurmd n$i"
  else
    slurmd -N "n$i" >&2 2>&1 9>&- || die "slurmd n$i"
  fi
done
up() { [ "$(sinfo -hN -p main -t idle,mixed,allocated,completing -o '%N %T' | grep -vc '\*')" -ge "$N" ]; }
waitfor 30 up || { sinfo -NR >&2; die "nodes did not come up"; }
say "up: $(sinfo -h -p main -o '%D nodes %T cpus(A/I/O/T)=%C %G' | head -1)  $(el)"
echo "export SLURM_CONF=$D/etc/slurm.conf" | tee "$D/env"
