#!/usr/bin/env bash
# Runs deploy/slurm in a real Slurm with two nodes on this machine: eight shares and the join that depends on them, of the real pair
# and of a generated one; there one task is killed and requeued. Adapters are compared with those of one run, byte for byte.
# Needs root. PHLORA_BIN is the command, if it is not target/release/phlora.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash .ci/apt.sh slurm-wlm slurmctld slurmd munge
phlora=$(realpath "${PHLORA_BIN:-${CARGO_TARGET_DIR:-target}/release/phlora}")
repository=$PWD
work=$(mktemp -d)
chmod 755 "$work"
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf

stop() {
  local name pid
  for name in ctld slurmd-n1 slurmd-n2 munged; do
    pid=$(cat "$work/$name.pid" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || continue
    for _ in {1..100}; do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  done
  rm -rf "$work"
}
trap stop EXIT

# Names of this machine are not for the log.
say() { printf '%s\n' "$*" | sed "s#$work/##g; s#$repository/##g; s#$host#host#g"; }
fail() {
  say "slurm.sh: $*" >&2
  tail -n 20 "$work"/logs/*.log "$work"/ctld.log "$work"/slurmd-*.log >&2 || true
  exit 1
}

mkdir -m 700 "$work/munge"
mkdir "$work/state" "$work/spool-n1" "$work/spool-n2" "$work/bin" "$work/logs"
ln -s "$phlora" "$work/bin/phlora"
export PATH=$work/bin:$PATH
(umask 077 && head -c 1024 /dev/urandom >"$work/munge/key" && chmod 400 "$work/munge/key")
munged --key-file="$work/munge/key" --socket="$work/munge.socket" --pid-file="$work/munged.pid" \
  --log-file="$work/munge/log" --seed-file="$work/munge/seed" --force 2>"$work/munge/said" ||
  { cat "$work/munge/said" >&2; exit 1; }
memory=$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)
cat >"$SLURM_CONF" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge.socket,cred_expire=5
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool-%n
SlurmctldPidFile=$work/ctld.pid
SlurmdPidFile=$work/slurmd-%n.pid
SlurmctldLogFile=$work/ctld.log
SlurmdLogFile=$work/slurmd-%n.log
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=$memory State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=$memory State=UNKNOWN
PartitionName=p Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
slurmctld
slurmd -N n1
slurmd -N n2
for _ in {1..100}; do
  [ "$(sinfo -h -N -o %T | grep -c '^idle')" = 2 ] && break
  sleep 0.2
done
say "$(sinfo --version)"
say "$(sinfo -h -N -o '%N %T, %c processors')"

# Waits until job $1 has left the queue; it must have ended well.
await() {
  local state
  for _ in {1..600}; do
    state=$(scontrol -o show job "$1" 2>/dev/null | grep -o 'JobState=[A-Z_]*' | sort -u | tr '\n' ' ')
    case $state in
      *FAILED* | *CANCELLED* | *TIMEOUT*) fail "job $1: $state" ;;
      'JobState=COMPLETED ') return ;;
    esac
    sleep 0.3
  done
  fail "job $1 does not end: $state"
}

# Submits the extraction with options $2 of the models in $1, in $3 rounds, and sets parts, out and the job numbers.
submit() {
  export BASE=$1/base TUNED=$1/tuned OPTIONS=$2
  number=$((${number:-0} + 1))
  export PARTS=$work/parts-$number OUT=$work/adapter-$number ROUNDS=$3
  join=$(cd "$work/logs" && "$repository/deploy/slurm/submit.sh" --array=1-8 --cpus-per-task=1 --mem=500M 2>"$work/said")
  array=$(sed -n 's/^round 1: job //p' "$work/said")
  say "$2: $(tr '\n' ',' <"$work/said") join job $join"
}

# Waits for the join and compares.
compare() {
  await "$join"
  read -ra options <<<"$OPTIONS"
  phlora extract "$BASE" "$TUNED" -o "$work/one" --quiet --threads 1 "${options[@]}" 2>"$work/warnings"
  diff -r "$work/one" "$OUT" || fail "the adapter is not that of one run"
  rm -rf "$work/one"
  local nodes
  nodes=$(sed -n 's/: share.*//p' "$work/logs/phlora-${array}"_*.log | sort | uniq -c | awk '{ printf "%s (%s) ", $2, $1 }')
  [[ $nodes == *n1*n2* ]] || fail "only these nodes had tasks: $nodes"
  say "$OPTIONS: tasks on ${nodes}joined by job $join; the adapter is that of one run, byte for byte"
}

say "== the real pair"
submit "$repository/tests/data/tiny-llama" "--rank 16" 1
compare
submit "$repository/tests/data/tiny-llama" "--energy 90% --uniform" 2
compare

say "== a generated model with experts; one task is killed and requeued"
say "$(python3 tests/clusters/generate.py "$work/experts" --layers 2 --hidden 512 --inner 384)"
submit "$work/experts" "--rank 48 --tolerance 1e-9" 1
# Stops the process of share 3 when its part holds something, so that it is killed in the middle of its work.
part=$PARTS/00003.part
victim=
for _ in {1..2000}; do
  if [ "$(stat -c %s "$part" 2>/dev/null || echo 0)" -gt 65536 ]; then
    victim=$(pgrep -f -- "-o $part --shard") && kill -STOP "$victim" && break
  fi
  sleep 0.01
done
[ -n "$victim" ] || fail "share 3 was never seen at work"
kept=$(stat -c %s "$part")
scontrol requeue "${array}_3"
say "task ${array}_3 is requeued while it works; its part holds $kept bytes"
await "$join"
say "$(grep -h 'share 3' "$work/logs/phlora-${array}_3.log")"
grep -q 'restart 1' "$work/logs/phlora-${array}_3.log" || fail "task 3 did not start again"
compare

say "== the queue after all"
say "$(scontrol -o show job "$array" | sed -n 's/JobId=\([0-9]*\) .*ArrayTaskId=\([0-9]*\).* Restarts=\([0-9]*\).*NodeList=\(n[12]\).*/job \1, share \2: restarts \3, on \4/p' | sort -t' ' -k4n)"
[ -z "$(squeue -h)" ] || fail "jobs are left in the queue"
