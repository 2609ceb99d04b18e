#!/usr/bin/env bash
# down.sh DIR [--purge] -- stop what up.sh started in DIR, by pid (idempotent).
# Running jobs are killed, pending ones cancelled (SL_KEEP_JOBS=1: both left, for a later up.sh).
# --purge removes DIR too; without it a later up.sh DIR goes on
# with the same queue, job ids and accounting.
set -uo pipefail
[ -n "${1:-}" ] || { echo "usage: down.sh DIR [--purge]" >&2; exit 2; }
[ -d "$1" ] || exit 0
D=$(cd "$1" && pwd -P)
[ -n "$D" ] && [ "$D" != / ] && [ -e "$D/etc/slurm.conf" ] || { echo "not a folder of up.sh: $1" >&2; exit 2; }
export SLURM_CONF=$D/etc/slurm.conf

pid() { # PIDFILE COMM -> the pid, if it is alive and that program
  local p
  p=$(cat "$1" 2>/dev/null) && [ -n "$p" ] && [ "$(cat "/proc/$p/comm" 2>/dev/null)" = "$2" ] &&
    ! grep -q '^State:.Z' "/proc/$p/status" 2>/dev/null && echo "$p"
}
stepds() { # this cluster's slurmstepd processes, told by their environment
  local p
  for p in /proc/[0-9]*; do
    [ "$(cat "$p/comm" 2>/dev/null)" = slurmstepd ] || continue
    tr '\0' '\n' <"$p/environ" | grep -qxF "SLURM_CONF=$SLURM_CONF" && echo "${p#/proc/}"
  done
} 2>/dev/null
stop() { # SIGNAL SECONDS PID... : signal, then wait until all are gone
  local s=$1 end p l
  end=$(($(date +%s) + $2))
  shift 2
  [ $# -gt 0 ] || return 0
  kill "-$s" "$@" 2>/dev/null
  while :; do
    l=0
    for p; do [ -e "/proc/$p" ] && [ "$(cut -d' ' -f3 "/proc/$p/stat" 2>/dev/null)" != Z ] && l=1; done
    [ $l = 0 ] && return 0
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.05
  done
}
end() { # SECONDS PIDFILE COMM
  local p
  p=$(pid "$2" "$3") || return 0
  stop TERM "$1" "$p" || stop KILL 2 "$p"
}

if pid "$D/run/slurmctld.pid" slurmctld >/dev/null && [ "${SL_KEEP_JOBS:-0}" != 1 ]; then
  for id in $(timeout 10 squeue -h -o %A | sort -un); do echo "$id"; done | xargs -r timeout 20 scancel --full --signal=KILL 2>/dev/null
  squeue -h -o %A 2>/dev/null | sort -un | xargs -r timeout 20 scancel 2>/dev/null
  for _ in $(seq 60); do [ -z "$(stepds)" ] && break; sleep 0.05; done
fi
ds=()
for f in "$D"/run/slurmd-*.pid; do p=$(pid "$f" slurmd) && ds+=("$p"); done
stop TERM 10 ${ds[@]+"${ds[@]}"} || stop KILL 2 "${ds[@]}"
end 15 "$D/run/slurmctld.pid" slurmctld
[ "${SL_KEEP_JOBS:-0}" = 1 ] || for s in $(stepds); do # steps left over: their children (the job's processes), then themselves
  stop KILL 2 $(ps -o pid= --ppid "$s") "$s"
done
end 10 "$D/run/slurmdbd.pid" slurmdbd
end 20 "$D/run/mysql.pid" mariadbd
end 5 "$D/munge/pid" munged
[ "${2:-}" = --purge ] && rm -rf "$D"
exit 0
