#!/usr/bin/env bash
# ctest labels: serial
# check_resume.sh with a method that holds the policy near that of the rollout before: a frozen copy which a
# checkpoint must keep.
exec "$(dirname "$0")/check_resume.sh" "$1" "$2" table remix
