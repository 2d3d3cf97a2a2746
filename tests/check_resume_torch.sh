#!/usr/bin/env bash
# ctest labels: torch serial
# The same as check_resume.sh, with the libtorch back end and the C decode engine.
exec "$(dirname "$0")/check_resume.sh" "$1" "$2" torch
