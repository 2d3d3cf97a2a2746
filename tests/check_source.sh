#!/bin/sh
# The rules of the house, checked on the source: who includes what, what plug-ins may call, how long things are.
#
#   tests/check_source.sh [DIR]               every rule (DIR: the tree that this script stands in)
#   RULES="sizes lists" tests/check_source.sh DIR
#
# Prints one line per violation, "rule: file:line: what", and exits 1 if there is any.
# tests/check_source_rules.sh shows that each rule fires.
set -u
LC_ALL=C
export LC_ALL
cd "${1:-$(dirname "$0")/..}" || exit 2
all_rules="third_party vocabulary plug_ins blind calls memory program sizes functions preprocessor labels lists headers format"
rules=${RULES:-$all_rules}
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT
found=$scratch/found
: >"$found"

# Sources below the given folders (those that exist).
sources() {
    for folder in "$@"; do
        [ -d "$folder" ] && find "$folder" -name '*.[ch]' -o -path "$folder/*" -name '*.cpp'
    done | sort
}

# The code of files without comments and without the insides of strings: "file:line:code".
# With keep=1 strings stay as they are.
code_of() {
    keep=$1
    shift
    [ $# -gt 0 ] || return 0
    awk -v keep="$keep" '
        FNR == 1 { comment = 0 }
        {
            out = ""; n = length($0); i = 1
            while (i <= n) {
                c = substr($0, i, 1); two = substr($0, i, 2)
                if (comment) { if (two == "*/") { comment = 0; i += 2 } else i++; continue }
                if (two == "//") break
                if (two == "/*") { comment = 1; i += 2; continue }
                if (c == "\"" || c == "\047") {
                    text = c; i++
                    while (i <= n) {
                        d = substr($0, i, 1)
                        if (d == "\\") { text = text substr($0, i, 2); i += 2; continue }
                        text = text d; i++
                        if (d == c) break
                    }
                    out = out (keep ? text : c c)
                    continue
                }
                out = out c; i++
            }
            print FILENAME ":" FNR ":" out
        }' "$@"
}

# report RULE MESSAGE: lines "file:line:anything" on standard input become violations.
report() {
    awk -F: -v rule="$1" -v message="$2" '
        { rest = $0; sub(/^[^:]*:[^:]*:/, "", rest); gsub(/^[ \t]+|[ \t]+$/, "", rest)
          print rule ": " $1 ":" $2 ": " message ": " rest }' >>"$found"
}

includes_of() {
    grep -nH '^[[:space:]]*#[[:space:]]*include' "$@" /dev/null
}

# ---- rules ------------------------------------------------------------------------------------------------------

# Headers of third parties stay in the one place that wraps them.
third_party() {
    own() { # own HEADERS PATHS: includes of HEADERS (a pattern) outside PATHS
        includes_of $(sources include algorithms envs rewards trainer tests) |
            grep -E "[<\"]($1)" | grep -vE "^($2)" | report third_party "only $2 may include this"
    }
    own 'cjson/|cJSON' 'trainer/core/json\.c'
    own 'ATen/|c10/|torch/|cuda' 'trainer/model/|trainer/comm/comm_nccl\.c'
    own 'mpi\.h|nccl\.h' 'trainer/comm/'
    own 'hdf5|H5' 'trainer/store/'
    own 'pcre2|utf8proc' 'trainer/text/|rewards/regex\.c'
    own 'gmp\.h|flint|arb|mpfr' 'rewards/math/'
    own 'microhttpd|curl/|seccomp' 'rewards/|trainer/service'
    includes_of $(sources trainer | grep -v '^trainer/model/') |
        grep -E '<[a-z_]+>' | report third_party 'a C++ header outside trainer/model'
}

# include/carnot knows nobody.
vocabulary() {
    includes_of $(sources include) | grep -vE '"carnot/[a-z_]+\.h"|<std(arg|bool|def|int)\.h>' |
        report vocabulary 'the vocabulary includes carnot/ and the freestanding headers only'
}

# Plug-ins include carnot/ and their own folder with what is below it; nobody includes plug-ins.
plug_ins() {
    for file in $(sources algorithms envs rewards); do
        folder=$(dirname "$file")
        grep -nH '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' "$file" | while IFS= read -r line; do
            name=$(printf '%s' "$line" | sed 's/.*"\(.*\)".*/\1/')
            case $name in
            carnot/*) ;;
            ../*/*) printf '%s\n' "$line" ;;
            */*) [ -f "${folder%%/*}/$name" ] || printf '%s\n' "$line" ;;
            *) [ -f "$folder/$name" ] || [ -f "$folder/../$name" ] || printf '%s\n' "$line" ;;
            esac
        done
    done | report plug_ins 'a plug-in includes carnot/ and its own folder only'
    includes_of $(sources include trainer) | grep -E '"(\.\./)*(algorithms|envs|rewards)/' |
        report plug_ins 'plug-ins are reached through their lists only'
}

# Names in a list file: the words of its X(...) lines.
list_names() {
    [ -f "$1" ] && code_of 0 "$1" | grep -E '#define [A-Z_]+\(X\)|^[^#]*X\([a-z0-9_]+\)' |
        grep -oE 'X\([a-z0-9_]+\)' | sed 's/X(\(.*\))/\1/' | grep -vx name | sort -u
}

plug_in_names() {
    list_names envs/envs.c
    list_names rewards/rewards.c
    for file in algorithms/entropy/entropies.c entropy/entropies.c; do list_names $file; done
    [ -f algorithms/algorithms.c ] && sed -n 's/.*\.name = "\([a-z0-9_]*\)".*/\1/p' algorithms/algorithms.c
}

# The trainer is blind: no plug-in is named there.  "length" is also a reason to stop, "command" a subcommand.
blind() {
    names=$(plug_in_names | sort -u | grep -vxE 'length|command' | paste -sd '|' -)
    [ -n "$names" ] || return 0
    code_of 1 $(sources trainer) >"$scratch/trainer"
    grep -E "\"($names)\"" "$scratch/trainer" | report blind 'a plug-in is named in the trainer'
    grep -E "cn_(algorithm|axis|entropy|env|reward)_($names)\\b" "$scratch/trainer" |
        report blind 'a plug-in is used by name in the trainer'
}

# Plug-ins print nothing, end nothing, and draw from cn_rng only.
calls() {
    code_of 0 $(sources algorithms envs rewards) |
        grep -v '_exit(127)' | # a child that could not become another program
        grep -v '^rewards/service/worker\.c:.*_exit(' | # a worker is a process of its own
        grep -E '(^|[^A-Za-z0-9_>.])(v?f?printf|puts|putchar|fputs|exit|_exit|abort|assert|s?rand|random|drand48)[[:space:]]*\(' |
        report calls 'not in a plug-in'
}

# Algorithms and plain rewards take scratch memory from an arena.
memory() {
    code_of 0 $(sources algorithms rewards | grep -vE '^rewards/(math|service|sandbox|code|command)') |
        grep -E '(^|[^A-Za-z0-9_>.])(malloc|calloc|realloc|free|aligned_alloc|strdup)[[:space:]]*\(' |
        report memory 'memory comes from an arena here'
}

# Nothing but main, the log and the writer of rows prints; nobody ends the process or asserts.
program() {
    code_of 0 $(sources trainer | grep -vE '^trainer/(main|filters/filter)\.c|^trainer/core/log\.c') |
        grep -v '_exit(128 + ' | # a signal handler's way out
        grep -v '_exit(127)' |   # a child that could not become another program
        grep -E '(^|[^A-Za-z0-9_>.])(printf|puts|putchar|exit|_exit|abort|assert)[[:space:]]*\(' |
        report program 'only main ends the process and only cn_log and filter.c print'
    code_of 0 $(sources include algorithms envs rewards trainer) |
        grep -E '^[^:]*:[0-9]*:[[:space:]]*typedef[[:space:]]+(struct|enum|union)[^()]*$' |
        report program 'no typedefed structs'
}

# Files have one purpose and a size that can be read.
sizes() {
    for file in $(sources include algorithms envs rewards trainer tests); do
        limit=500
        case $file in
        trainer/train.c) limit=250 ;;
        trainer/main.c) limit=150 ;;
        algorithms/entropy/*.c | entropy/*.c) limit=200 ;;
        tests/*) limit=800 ;; # tables of cases
        esac
        lines=$(wc -l <"$file")
        [ "$lines" -le $limit ] || echo "$file:$lines:$lines lines"
    done | report sizes 'too long, split it'
}

# A function fits a screen (60 lines) and takes at most five parameters.  What implements or declares a signature of
# include/carnot (first parameter self, shared or a context, or a name with cn_) has as many as that says; pieces of
# kernels (*_body.h, inlined into one loop and compiled once per instruction set) keep their operands in registers.
functions() {
    code_of 0 $(sources algorithms envs rewards trainer tests) | awk '
        function parameters(text,    i, c, depth, count, any) {
            depth = 0; count = 0; any = 0
            for (i = 1; i <= length(text); i++) {
                c = substr(text, i, 1)
                if (c == "(") { depth++; if (depth == 1) { count = 1; any = 0 } continue }
                if (c == ")") { depth--; if (depth == 0) return any ? count : 0 }
                if (depth == 1 && c == ",") count++
                if (depth >= 1 && c != " ") any = 1
            }
            return 0
        }
        {
            split($0, part, ":"); file = part[1]; line = part[2]
            code = $0; sub(/^[^:]*:[^:]*:/, "", code)
            if (file != last) { head = ""; inside = 0; last = file }
            if (!inside && code ~ /^[A-Za-z_].*\(/ && code !~ /^#/ && code !~ /;[ \t]*$/) { head = code; start = line; open = 1 }
            else if (!inside && open) head = head code
            if (!inside && open && code ~ /;[ \t]*$/) { open = 0; head = "" }
            if (code ~ /^{/ && open) { inside = 1; open = 0 }
            if (code ~ /^}/ && inside) {
                inside = 0
                if (line - start + 1 > 60) print file ":" start ":" line - start + 1 " lines: " head
                n = parameters(head)
                if (n > 5 && head !~ /\((void \*(self|shared)[,)]|const struct cn_context \*)/ && head !~ /[ *]cn_[a-z_]*\(/ && file !~ /_body\.h$/) print file ":" start ":" n " parameters: " head
                head = ""
            }
        }' | report functions 'at most 60 lines and 5 parameters'
}

# Choose a file in CMake instead of an #ifdef inside a function.  simd.h is where an instruction set is told apart.
preprocessor() {
    code_of 0 $(sources algorithms envs rewards trainer | grep -v '/simd\.h$') | awk '
        {
            split($0, part, ":"); code = $0; sub(/^[^:]*:[^:]*:/, "", code)
            if (part[1] != last) { inside = 0; last = part[1] }
            if (code ~ /^{/) inside = 1
            if (code ~ /^}/) inside = 0
            if (inside && code ~ /^[ \t]*#[ \t]*(if|ifdef|ifndef|elif)/) print
        }' | report preprocessor 'no #ifdef inside a function'
}

# CMake finds labels by "ctest labels:" in one line, which a reflowed comment may have broken.
labels() {
    for file in tests/test_*.c tests/check_*.sh; do
        [ -f "$file" ] && grep -nHE '^[ *#/]*labels:|ctest$' "$file"
    done | report labels 'write "ctest labels: ..." in one line'
}

# Every plug-in file is in its list, and every line of a list has its file.
lists() {
    compare() { # compare FOLDER KIND LIST
        [ -f "$3" ] || return 0
        list_names "$3" >"$scratch/listed"
        grep -lE "^const struct cn_$2 cn_$2_[a-z0-9_]+ = " "$1"/*.c 2>/dev/null |
            sed 's|.*/||; s|\.c$||' | sort -u >"$scratch/files"
        comm -23 "$scratch/listed" "$scratch/files" | sed "s|^|$3:1:no file $1/|; s|\$|.c|"
        comm -13 "$scratch/listed" "$scratch/files" | sed "s|.*|$1/&.c:1:& is not in $3|"
    }
    {
        compare envs env envs/envs.c
        compare rewards reward rewards/rewards.c
        compare algorithms/entropy entropy algorithms/entropy/entropies.c
    } | report lists 'files and list differ'
}

# Every public header compiles alone, as C11 and as C++17.
headers() {
    for header in include/carnot/*.h; do
        name=carnot/$(basename "$header")
        printf '#include "%s"\nint check_source_unit;\n' "$name" >"$scratch/unit.c"
        cp "$scratch/unit.c" "$scratch/unit.cpp"
        ${CC:-cc} -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude "$scratch/unit.c" \
            >"$scratch/log" 2>&1 || echo "$header:1:C11: $(grep -m1 error "$scratch/log" | tr ':' ' ')"
        [ -n "$cxx" ] || continue
        "$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -Iinclude "$scratch/unit.cpp" \
            >"$scratch/log" 2>&1 || echo "$header:1:C++17: $(grep -m1 error "$scratch/log" | tr ':' ' ')"
    done | report headers 'does not compile alone'
}

# Formatted as .clang-format says.  Only the version that the sources were formatted with decides.
format() {
    sources include algorithms envs rewards trainer tests | xargs -n 64 -P 2 clang-format --dry-run 2>&1 |
        grep 'Wclang-format' | sed 's/: warning.*//' | awk -F: '!seen[$1]++ { print $1 ":" $2 ":clang-format -i" }' |
        report format 'not formatted'
}

# ---- run ------------------------------------------------------------------------------------------------------------

cxx=$(command -v "${CXX:-c++}" || true)
[ -n "$cxx" ] || echo "SKIPPED: headers as C++17 (no C++ compiler)"
for rule in $rules; do
    if [ $rule = format ] && ! clang-format --version 2>/dev/null | grep -q 'version 14\.'; then
        echo "SKIPPED: format (needs clang-format 14)"
        continue
    fi
    $rule
done
if [ -s "$found" ]; then
    sort -u "$found"
    echo "$(sort -u "$found" | wc -l) violations of the rules of the house"
    exit 1
fi
echo "rules of the house kept: $(echo $rules)"
