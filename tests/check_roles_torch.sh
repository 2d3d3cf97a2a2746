#!/usr/bin/env bash
# ctest labels: torch mpi
# The same as check_roles.sh, with the libtorch back end.
exec "$(dirname "$0")/check_roles.sh" "$1" "$2" torch
