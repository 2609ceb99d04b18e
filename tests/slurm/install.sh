#!/usr/bin/env bash
# install.sh -- Slurm's programs on a new machine (Debian 12, root); does nothing where all are there
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
install() {
  apt-get update -qq
  # --no-install-recommends; mariadb-client-core only for my_print_defaults, which mariadb-install-db calls
  apt-get install -y -qq --no-install-recommends slurm-wlm munge slurmdbd mariadb-server-core mariadb-client-core
}
for c in slurmctld slurmd slurmdbd srun sacct munged mungekey mariadbd mariadb-install-db my_print_defaults; do
  command -v "$c" >/dev/null && continue
  log=$(set -e; install 2>&1) || { echo "$log" >&2; exit 1; }
  break
done
slurmctld -V
