#!/usr/bin/env bash
# Runs each fuzz target of the repository for the given time (default 2s).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-2s}
grep -rlE --include='*_test.go' '^func Fuzz' agent capabilities control drivers proto |
  xargs -n1 dirname | sort -u | while read -r dir; do
  grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | sed 's/^func //' | while read -r target; do
    # Minimizing a large interesting input would take longer than the fuzzing.
    go test "./$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x -timeout 10m </dev/null
  done
done
