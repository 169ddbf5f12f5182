#!/usr/bin/env bash
# run.sh BUILD SECONDS NAME...: fuzzes each target so long, as `make fuzz` built it. The first finding ends the run:
# the input is kept in BUILD/findings/NAME, and the end of libFuzzer's report is shown.
set -Eeuo pipefail
build=$1 seconds=$2
shift 2
regress=$(dirname "$0")/regress

# What is new in the corpus of a target stays there; seeds and regressions are only read.
fuzz() {
    local name=$1 corpus=$build/corpus/$1 findings=$build/findings/$1 inputs=() values=1
    # Where time passes, every run compares values never seen before: they would all look new.
    case $name in frames | endpoint) values=0 ;; esac
    mkdir -p "$corpus" "$findings"
    for folder in "$build/seeds/$name" "$regress/$name"; do
        [ -d "$folder" ] && inputs+=("$folder")
    done
    "$build/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -max_len=8192 -timeout=20 -rss_limit_mb=2048 \
        -use_value_profile=$values -print_final_stats=1 -artifact_prefix="$findings/" \
        "$corpus" "${inputs[@]}" >"$findings/log" 2>&1
}

for name in "$@"; do
    printf -- '-- fuzz_%s, %s s: ' "$name" "$seconds"
    if ! fuzz "$name"; then
        printf 'a finding\n'
        tail -n 60 "$build/findings/$name/log"
        exit 1
    fi
    awk '/^stat::number_of_executed_units/ { runs = $2 } /^#.*DONE/ { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "%d inputs, %d edges, nothing found\n", runs, cov }' "$build/findings/$name/log"
done
