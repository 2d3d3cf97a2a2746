#!/bin/sh
# carnot doctor: exit code 0 on any machine and in any environment, and it sees the traps.
# usage: check_doctor.sh SOURCE BIN
carnot=$2/carnot
failures=0

# expect WHAT PATTERN VARIABLE=VALUE...: doctor in that environment ends well and prints the pattern.
expect() {
    what=$1 pattern=$2
    shift 2
    if ! page=$(env "$@" "$carnot" doctor 2>&1); then
        echo "FAILED: $what: exit code is not 0"
        failures=$((failures + 1))
    elif ! printf '%s\n' "$page" | grep -Eq "$pattern"; then
        echo "FAILED: $what: no line fits '$pattern' in:"
        printf '%s\n' "$page"
        failures=$((failures + 1))
    else
        echo "passed: $what"
    fi
}

expect "a plain start counts cores" '^ok +cores +[0-9]+ in the affinity mask' LANG=C
expect "too many OpenMP threads are seen" '^WARN +threads +OMP_NUM_THREADS=4096 on' OMP_NUM_THREADS=4096
expect "MKL_CBWR=COMPATIBLE is seen once" '^WARN +threads +MKL_CBWR=COMPATIBLE' MKL_CBWR=COMPATIBLE
expect "a libtorch that cannot be opened is a missing part" '^MISSING +libtorch' CN_TORCH_SO=/nonexistent/x.so
expect "an empty PATH does no harm" '^(ok|note|MISSING) +MPI' PATH=
expect "a temporary folder that is not there is a warning" '^WARN +disk +/nonexistent' TMPDIR=/nonexistent

if "$carnot" doctor --nonsense >/dev/null 2>&1; then
    echo "FAILED: an unknown argument is accepted"
    failures=$((failures + 1))
fi
[ $failures -eq 0 ]
