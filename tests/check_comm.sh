#!/usr/bin/env bash
# ctest labels: mpi
# The comm seam under mpirun: the conformance checks on 1, 2, 3, 4 and 8 ranks, and what ranks say when one of them
# fails, does something else, leaves something out, does not come, or dies.
#   check_comm.sh SOURCE BIN
set -u
source=$1 bin=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
failed=0
export FAKE_GPUS_FOLDER=$work

ranks() { # ranks P arguments of test_comm...
    local n=$1
    shift
    timeout 60 "$source/launch/mpirun" --quiet --bin "$bin/test_comm" -n "$n" "$@" > "$work/out" 2>&1
}

for n in 1 2 3 4 8; do
    if ranks $n ''; then
        echo "$n ranks: $(grep -c ' 0 failed' "$work/out") without a failure"
    else
        echo "FAILED on $n ranks:"; grep -B1 FAILED "$work/out" | head -20; failed=1
    fi
done

# scene SCENE RANKS CODE SECONDS TEXT: the exit code is CODE within SECONDS, TEXT is said, and by one rank only.
scene() {
    local start=$SECONDS
    ranks "$2" act "$1"
    local code=$? took=$((SECONDS - start)) said
    said=$(grep -c -- "$5" "$work/out")
    [ -n "$5" ] || said=1 # the words are the launcher's
    if [ $code -ne "$3" ] || [ $took -gt "$4" ] || [ "$said" -ne 1 ]; then
        echo "FAILED: $1: exit code $code (expected $3), $took s (at most $4), '$5' said $said times:"
        sed 's/^/  /' "$work/out" | head -20
        failed=1
    else
        echo "$1: $code after $took s: $(grep -m 1 -- "$5" "$work/out" | cut -c1-200)"
    fi
}
scene fail 4 4 10 'rank 2: no memory for 17 bytes'
scene differ 4 6 10 'ranks do different things: rank 0 (and others) is in collective 3 (sum of second, 24 bytes.*rank 2 in collective 3 (sum of second, 16 bytes'
scene skip 4 6 10 'ranks do different things: .*sum of second.*; rank 3 in collective 3 (sum of third'
scene sleep 4 6 12 'rank 3 did not come to collective 3 (sum of second, 8 bytes; step 12, dreaming) within 3 s'
scene queue_sleep 4 6 12 'rank 0 did not come to .*(\(sum of items taken\|queue of takes\), 8 bytes; step 12, dreaming) within 3 s (parallel.timeout_s); 3 of 4 ranks'
OMPI_MCA_osc=pt2pt scene queue_sleep 4 6 12 'rank 0 did not come to .*; step 12, dreaming) within 3 s (parallel.timeout_s)'
scene die 4 9 10 ''
scene part_fail 4 4 10 'error: rank 3: no memory for 17 bytes'
scene part_sleep 4 6 12 'rank 3 did not come to .* within 3 s .*; rank 1 waits in collective 2 (sum of second, 8 bytes; step 12, dreaming) of the odd ranks'
scene part_apart 4 6 10 'ranks do different things: .*sum of everything'
scene stop 4 75 10 'stopped together'
scene gpu_shared 4 2 10 'ranks 1 and 3 have the same GPU, 0000:01:00.0 (fake) of host'
scene gpu_absent 4 6 10 'rank 3: no GPU 250'
scene gpu_refuses 4 6 10 'GPU 251 cannot join'
scene gpu_stalls 4 6 12 'sum on GPUs of numbers, 8 bytes; .*) did not end within 3 s although every rank takes part'
[ -e "$bin/libcarnot_nccl.so" ] || scene gpu_no_nccl 4 2 10 'run.device=cuda on 4 ranks needs NCCL: no libcarnot_nccl.so'

timeout 120 "$source/launch/mpirun" --quiet --bin "$bin/carnot" -n 2 bench comm > "$work/out" 2>&1
code=$? rows=$(grep -cE '^comm  (copy|sum|scatter_sum|gather|broadcast).* bytes: [0-9.]+ s, .* times the copy of' "$work/out")
[ $code -eq 0 ] && [ "$rows" -eq 24 ] || { echo "FAILED: bench comm: exit code $code, $rows rows of 24"; tail -n 3 "$work/out"; failed=1; }
exit $failed
