#!/usr/bin/env bash
# ctest labels: serial slow
# check_kills.sh before every single call.
exec "$(dirname "$0")/check_kills.sh" "$1" "$2" 1
