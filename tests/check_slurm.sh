#!/usr/bin/env bash
# ctest labels: mpi slow
# A Slurm of its own on this machine: launch/slurm.sbatch is signalled, put back into the queue, goes on and ends
# with the same bits as an unbroken run; the same for an array; then the signal that Slurm sends before the time is up.
# Needs root, slurm-wlm and munge (launch/test --all installs them).
#   check_slurm.sh SOURCE BIN
set -u
source=$1 bin=$2
[ "$(id -u)" -eq 0 ] || { echo "SKIPPED: a Slurm of the test's own needs root"; exit 77; }
for program in slurmctld slurmd munged sbatch; do
    command -v $program > /dev/null || { echo "SKIPPED: no $program: apt-get install slurm-wlm munge"; exit 77; }
done
work=$(mktemp -d) || exit 1
failed=0
. "$source/tests/runs.sh"

stop() {
    local pid
    scancel --user=root --signal=KILL > /dev/null 2>&1
    for pid in "$work"/slurmctld.pid "$work"/slurmd.pid "$work"/munge/pid; do
        [ ! -s "$pid" ] || kill "$(cat "$pid")" 2> /dev/null
    done
    sleep 1
    rm -rf "$work"
}
trap stop EXIT

# ---- the daemons ----------------------------------------------------------------------------------
chmod 711 "$work"
mkdir -m 711 "$work"/{munge,state,spool}
head -c 1024 /dev/urandom > "$work/munge/key" && chmod 400 "$work/munge/key"
host=$(hostname -s) port=$((20000 + $$ % 20000))
cat > "$work/slurm.conf" <<CONF
ClusterName=carnot
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthInfo=socket=$work/munge/socket
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SchedulerParameters=sched_min_interval=1,batch_sched_delay=0
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$work/slurm.conf CARNOT=$bin/carnot
munged --force --socket="$work/munge/socket" --key-file="$work/munge/key" --pid-file="$work/munge/pid" \
    --log-file="$work/munge/log" --seed-file="$work/munge/seed" 2> "$work/munged.log" &&
    slurmctld && slurmd || { fault "the daemons of Slurm do not start"; cat "$work"/*.log; exit 1; }
idle() { [ "$(sinfo -h -o %t)" = idle ]; }
await 20 "an idle node" idle || { tail -n 5 "$work/slurmctld.log" "$work/slurmd.log"; exit 1; }

# ---- the jobs -------------------------------------------------------------------------------------
state() { scontrol show job "$1" | grep -oE "JobState=$2"; }
requeued() { scontrol show job "$1" | grep -q 'Restarts=1'; }
gone() { ! pgrep -x slurmstepd; }
rows_reach() { [ "$(rows "$1")" -ge "$2" ]; }

# again JOB NAME: the job is signalled in the middle, comes back and ends.
again() {
    await 60 "job $1 makes steps" rows_reach "$2" 10 || return
    scancel --signal=USR1 "$1"
    await 30 "job $1 is requeued" requeued "$1" && await 30 "the first start of job $1 is over" gone || return
    rows_reach "$2" $steps && fault "job $1 was done before its signal came"
    sleep 2
    scontrol update JobId="$1" StartTime=now # Slurm lets a requeued job wait for two minutes
    await 60 "job $1 ends" state "$1" COMPLETED
}

cd "$work" || exit 1
steps=200
table_run $steps 8
tasks=$(($(nproc) > 1 ? 2 : 1))
"$source/launch/mpirun" --quiet --bin "$bin/carnot" -n $tasks --threads 1 train run.json "run.dir=\"$work/whole\"" > whole.log 2>&1 ||
    { fault "the unbroken run"; tail -n 3 whole.log; exit 1; }

job=$(sbatch --parsable --ntasks-per-node=$tasks --output="$work/job.log" "$source/launch/slurm.sbatch" \
    train run.json "run.dir=\"$work/job\"" parallel.threads=1) || exit 1
again "$job" job
same whole job || fault "the requeued job has other bits"
for text in 'srun --mpi=pmix .* train run.json' "$tasks ranks over Open MPI" 'stopped by signal 10 after step' \
    'back into the queue' 'going on after step'; do
    [ "$tasks" -eq 2 ] || [ "${text#*ranks over}" = "$text" ] || continue
    grep -q -- "$text" job.log || fault "the log of the job lacks '$text': $(head -n 5 job.log)"
done
grep -E 'stopped by|going on' job.log

printf 'optimizer.lr=0.1\noptimizer.lr=0.3\n' > trials
job=$(sbatch --parsable --array=2 --output="$work/trial.log" "$source/launch/slurm-array.sbatch" \
    trials run.json parallel.threads=1) || exit 1
again "${job}_2" runs/trial-2
ln -s "$work/runs/trial-2" trial
same whole trial || fault "the requeued trial has other bits"
grep -q 'run.name=trial-2 optimizer.lr=0.3' trial.log || fault "trial 2 is not line 2: $(head -n 1 trial.log)"

# Slurm sends USR1 by itself: a minute of time, its signal 50 s (to 110 s: Slurm looks twice a minute) before.
job=$(sbatch --parsable --time=1 --signal=USR1@50 --output="$work/limit.log" "$source/launch/slurm.sbatch" \
    train run.json "run.dir=\"$work/limit\"" parallel.threads=1 train.steps=1000000 checkpoint.every=0) || exit 1
await 100 "the job nears its limit and is requeued" requeued "$job"
grep -q 'stopped by signal 10 after step' limit.log || fault "no stop before the limit: $(tail -n 2 limit.log)"
[ -e limit/checkpoints/latest ] || fault "nothing was saved before the limit"
grep -h 'stopped by' limit.log
exit $failed
