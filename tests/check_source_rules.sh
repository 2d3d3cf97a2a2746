#!/bin/sh
# Shows that each rule of check_source.sh fires: plants one violation at a time in a copy and expects its report.
set -u
LC_ALL=C
export LC_ALL
source_dir=$1
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
failures=0
planted=0

fresh_copy() {
    rm -rf "$scratch/copy"
    mkdir "$scratch/copy"
    for part in include algorithms envs rewards trainer .clang-format; do
        [ -e "$source_dir/$part" ] && cp -R "$source_dir/$part" "$scratch/copy/"
    done
    mkdir "$scratch/copy/tests"
}

# plant RULE FILE TEXT: appends TEXT to FILE (made if absent) and expects RULE to name FILE; then undoes it.
plant() {
    planted=$((planted + 1))
    file=$scratch/copy/$2
    mkdir -p "$(dirname "$file")"
    if [ -e "$file" ]; then cp "$file" "$scratch/saved"; else rm -f "$scratch/saved"; fi
    printf '%b\n' "$3" >>"$file"
    output=$(RULES=$1 "$source_dir/tests/check_source.sh" "$scratch/copy" 2>&1)
    status=$?
    if printf '%s\n' "$output" | grep -q '^SKIPPED: '"$1"; then
        echo "SKIPPED: $output"
    elif [ $status -ne 1 ] || ! printf '%s\n' "$output" | grep -q "^$1: "; then
        echo "FAILED: $1 does not see in $2: $3"
        printf '%s\n' "$output" | head -5
        failures=$((failures + 1))
    fi
    if [ -e "$scratch/saved" ]; then mv "$scratch/saved" "$file"; else rm -f "$file"; fi
}

lines() { # lines N TEXT
    awk -v n="$1" -v text="$2" 'BEGIN { for (i = 0; i < n; i++) printf "%s\\n", text }'
}

fresh_copy
plant third_party trainer/core/str.c '#include <cjson/cJSON.h>'
plant third_party trainer/core/str.c '#include <ATen/ATen.h>'
plant third_party trainer/main.c '#include <hdf5.h>'
plant third_party rewards/planted.c '#include <mpi.h>'
plant third_party trainer/core/str.c '#include <gmp.h>'
plant third_party trainer/planted.c '#include <vector>'
plant vocabulary include/carnot/str.h '#include <stdio.h>'
plant vocabulary include/carnot/str.h '#include "trainer/core/config.h"'
plant plug_ins envs/planted.c '#include "trainer/core/config.h"'
plant plug_ins envs/planted.c '#include "../rewards/answer.h"'
plant plug_ins trainer/planted.c '#include "envs/split.h"'
plant blind trainer/planted.c 'static bool f(const char *name) { return strcmp(name, "questions") == 0; }'
plant blind trainer/core/str.c 'extern const struct cn_reward cn_reward_exact_answer;'
plant calls envs/planted.c 'static void f(void) { printf("x"); }'
plant calls rewards/planted.c 'static int f(void) { return rand (); }'
plant calls algorithms/planted.c 'static void f(void) { assert(1); }'
plant memory algorithms/planted.c 'static void *f(void) { return malloc(3); }'
plant memory rewards/planted.c 'static void f(void *p) { free(p); }'
plant program trainer/planted.c 'static void f(void) { exit(3); }'
plant program trainer/core/str.c 'static void f(void) { printf("x"); }'
plant program trainer/planted.h 'typedef struct { int a; } planted;'
plant sizes trainer/planted.c "$(lines 500 '/* x */')"
plant sizes trainer/main.c "$(lines 150 '/* x */')"
plant sizes algorithms/entropy/planted.c "$(lines 200 '/* x */')"
plant functions trainer/planted.c "static int f(void)\\n{\\n$(lines 60 '    g();')}"
plant functions trainer/planted.c 'static int f(int a, int b, int c,\n             int d, int e, int g)\n{\n}'
plant preprocessor trainer/planted.c 'static int f(void)\n{\n#ifdef X\n    g();\n#endif\n}'
plant labels tests/test_planted.c '/* A test.  ctest\n * labels: torch */'
plant lists envs/planted.c 'const struct cn_env cn_env_planted = {0};'
plant lists rewards/rewards.c '#define MORE(X) X(planted)'
plant headers include/carnot/str.h 'struct cn_planted { struct cn_unknown x; };'
plant headers include/carnot/str.h 'static inline void *cn_planted(void *new) { char *p = new; return p; }'
plant format trainer/planted.c 'int  f( void ){return 1;}'

# What must not be seen: the same words in comments and texts.
printf '/* printf("x"); malloc(3); */\nstatic const char *f(void)\n{\n    return "exit(1); rand()";\n}\n' \
    >"$scratch/copy/envs/planted.c"
output=$(RULES="calls memory plug_ins functions" "$source_dir/tests/check_source.sh" "$scratch/copy" | grep planted)
if [ -n "$output" ]; then
    echo "FAILED: seen in a comment or a text: $output"
    failures=$((failures + 1))
fi
echo "$planted violations planted, $failures not seen"
[ $failures -eq 0 ]
