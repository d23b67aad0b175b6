#!/usr/bin/env bash
# Brings up what tests need on this machine, and takes it down again. See README.md.
set -euo pipefail

STATE=${EDGEIO_TEST_STATE:-${TMPDIR:-/tmp}/edgeio-test-$(id -u)}
# Whose run this is: a process, or "-" for a session by hand.
OWNER=${EDGEIO_TEST_OWNER:--}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Daemons live where a plain user's PATH may not look.
PATH=$PATH:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# stop_pid PID SECONDS asks a process to end, and makes it.
stop_pid() {
  local i
  kill "$1" 2>/dev/null || return 0
  for ((i = 0; i < $2 * 20; i++)); do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.05
  done
  kill -9 "$1" 2>/dev/null || true
}

# shellcheck source=packages.sh
. "$HERE/packages.sh"
# shellcheck source=docker.sh
. "$HERE/docker.sh"
# shellcheck source=registry.sh
. "$HERE/registry.sh"

up() {
  if [[ -e $STATE/env ]]; then
    down # what an interrupted run has left
  fi
  mkdir -p "$STATE"
  : >"$STATE/env.new"
  if bring_up; then
    mv "$STATE/env.new" "$STATE/env"
    return 0
  fi
  take_down
  if [[ $EUID -eq 0 ]]; then
    say "set-up is not complete; logs are in $STATE"
    return 1
  fi
  # A laptop may lack all this: its tests skip.
  say "going on without Docker; its tests will skip"
  printf 'export EDGEIO_REQUIRE=native\n' >"$STATE/env"
}

# kvm_works tells whether virtual machines can be run here. The device may be
# there without being of use, as in a virtual machine without nesting.
kvm_works() { [[ -c /dev/kvm ]] && (exec 3<>/dev/kvm) 2>/dev/null; }

bring_up() {
  install_packages && docker_up && make_image || return 1
  start_registry registry || return 1
  local open=$REGISTRY_ADDR
  start_registry registry-auth auth || return 1
  local closed=$REGISTRY_ADDR
  push_image "$open" && push_image "$closed" login || return 1
  {
    printf 'export EDGEIO_REQUIRE=native,docker,python3,qemu%s\n' "$(kvm_works && printf ,kvm)"
    printf 'export EDGEIO_TEST_IMAGE=%q\n' "$TEST_IMAGE"
    printf 'export EDGEIO_TEST_REGISTRY=%q\n' "$open"
    printf 'export EDGEIO_TEST_REGISTRY_AUTH=%q\n' "$closed"
    [[ -z ${DOCKER_HOST:-} ]] || printf 'export DOCKER_HOST=%q\n' "$DOCKER_HOST"
  } >"$STATE/env.new"
}

# take_down stops what was started and leaves the logs.
take_down() {
  stop_registry registry
  stop_registry registry-auth
  docker_down
}

down() {
  [[ -d $STATE ]] || return 0
  take_down
  rm -rf "${STATE:?}"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  path) printf '%s\n' "$STATE/env" ;;
  *)
    printf 'usage: %s up|down|path\n' "$0" >&2
    exit 2
    ;;
esac
