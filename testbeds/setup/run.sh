#!/usr/bin/env bash
# run.sh COMMAND... runs a command in the environment that env.sh makes, and
# takes that down afterwards, however it ends. Logs stay if it fails. See README.md.
set -euo pipefail

if [[ $# -eq 0 ]]; then
  printf 'usage: %s COMMAND...\n' "$0" >&2
  exit 2
fi
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export EDGEIO_TEST_OWNER=$$
if [[ -z ${EDGEIO_TEST_STATE:-} ]]; then
  EDGEIO_TEST_STATE=$(mktemp -d "${TMPDIR:-/tmp}/edgeio-test.XXXXXX")
fi
export EDGEIO_TEST_STATE

child=
finish() {
  local status=$?
  trap '' INT TERM HUP
  if [[ -n $child ]]; then
    kill "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
  fi
  if [[ $status -ne 0 ]]; then
    local kept=$EDGEIO_TEST_STATE.logs
    mkdir -p "$kept"
    cp "$EDGEIO_TEST_STATE"/*.log /run/edgeio-testbed/dockerd.log "$kept" 2>/dev/null || true
    printf 'setup: logs kept in %s\n' "$kept" >&2
  fi
  "$HERE/env.sh" down
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$HERE/env.sh" up
# shellcheck disable=SC1091
. "$EDGEIO_TEST_STATE/env"
# In the background, so that a signal is acted upon at once and not after the command.
"$@" <&0 &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
