#!/usr/bin/env bash
# ctest labels: torch mpi
# The same as check_shard.sh, with the libtorch back end, in f32 and in bf16.
exec "$(dirname "$0")/check_shard.sh" "$1" "$2" torch
