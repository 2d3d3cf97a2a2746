#!/usr/bin/env bash
# ctest labels: mpi slow
# Two network namespaces as two hosts: mpirun starts its daemon on the other through an agent of this test, and a run
# whose ranks can only meet over the interface between them has the same bits as a run of one rank.  Needs root.
#   check_hosts.sh SOURCE BIN
set -u
source=$1 bin=$2
[ "$(id -u)" -eq 0 ] || { echo "SKIPPED: network namespaces need root"; exit 77; }
command -v ip > /dev/null || { echo "SKIPPED: no ip: apt-get install iproute2"; exit 77; }
work=$(mktemp -d) || exit 1
failed=0
. "$source/tests/runs.sh"
one=carnot$$a two=carnot$$b
trap 'ip netns del $one 2> /dev/null; ip netns del $two 2> /dev/null; rm -rf "$work"' EXIT

ip netns add $one && ip netns add $two || { echo "SKIPPED: this machine allows no network namespaces"; exit 77; }
ip link add carnot0 netns $one type veth peer name carnot1 netns $two || { fault "no pair of interfaces"; exit 1; }
ip -n $one addr add 10.77.0.1/24 dev carnot0
ip -n $two addr add 10.77.0.2/24 dev carnot1
for end in "$one lo" "$one carnot0" "$two lo" "$two carnot1"; do
    ip -n "${end% *}" link set "${end#* }" up
done
printf '10.77.0.1 slots=1\n10.77.0.2 slots=1\n' > "$work/hosts"

# What ssh is elsewhere: agent HOST COMMAND...
cat > "$work/agent" <<AGENT
#!/bin/sh
[ "\$1" = 10.77.0.2 ] || exit 9
shift
exec ip netns exec $two unshare --uts sh -c 'hostname host-two; eval "\$*"' sh "\$@"
AGENT
chmod +x "$work/agent"
# shellcheck disable=SC2016 # expanded by the inner shell
on_one() { ip netns exec $one unshare --uts sh -c 'hostname host-one; exec "$@"' sh "$@"; }
bytes() { ip netns exec $one cat /sys/class/net/carnot0/statistics/tx_bytes; }

table_run 20 8
"$bin/carnot" train "$work/run.json" "run.dir=\"$work/alone\"" parallel.threads=1 > "$work/alone.log" 2>&1 ||
    { fault "one rank"; tail -n 3 "$work/alone.log"; exit 1; }
before=$(bytes)
export OMPI_MCA_plm_rsh_agent=$work/agent HYDRA_LAUNCHER=ssh HYDRA_LAUNCHER_EXEC=$work/agent
on_one timeout 120 "$source/launch/mpirun" --bin "$bin/carnot" -n 2 --hosts "$work/hosts" --threads 1 train "$work/run.json" \
    "run.dir=\"$work/apart\"" > "$work/apart.log" 2>&1 || { fault "two hosts"; cat "$work/apart.log"; exit 1; }
moved=$(($(bytes) - before))
same alone apart || fault "two hosts have other bits than one rank"
for text in 'file .*hosts' 'rank 0: host host-one' 'rank 1: host host-two'; do
    grep -q -- "$text" "$work/apart.log" || fault "the log lacks '$text': $(head -n 4 "$work/apart.log")"
done
# The weights that a rank sends in each of the 40 updates: 4096 x 259 sums of 8 bytes, half of them.
least=$((40 * 4096 * 259 * 4))
[ "$moved" -gt $least ] || fault "only $moved bytes crossed the interface, expected $least"
# Debian's Open MPI leaves out what it would need to count between hosts, so work was divided beforehand; here it may.
if grep -q 'OMPI_MCA_osc=pt2pt' "$work/apart.log"; then
    OMPI_MCA_osc=pt2pt on_one timeout 120 "$source/launch/mpirun" --bin "$bin/carnot" -n 2 --hosts "$work/hosts" --threads 1 train \
        "$work/run.json" "run.dir=\"$work/queue\"" > "$work/queue.log" 2>&1 || { fault "a queue between hosts"; cat "$work/queue.log"; exit 1; }
    same alone queue || fault "a queue between two hosts changes bits"
    grep -q 'divided beforehand' "$work/queue.log" && fault "there is no queue with OMPI_MCA_osc=pt2pt"
fi
echo "2 hosts: same bits, $((moved / 1000000)) MB left host-one through its interface"
exit $failed
