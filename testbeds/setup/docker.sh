# shellcheck shell=bash
# A Docker daemon and the test image. Sourced by env.sh.

# The daemon is one for all runs at a time on this machine, for two daemons
# would fight over the bridge and the firewall rules.
readonly SHARED=/run/edgeio-testbed
readonly SHARED_DATA=/var/tmp/edgeio-testbed
readonly TEST_IMAGE=edgeio-test/busybox:1

docker_answers() { timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# with_shared_lock runs a command while no other run changes the shared daemon.
with_shared_lock() {
  mkdir -p "$SHARED/users"
  (
    flock -w 120 9 || { say "waited 120 s for another run's set-up ($SHARED/lock)"; exit 1; }
    "$@"
  ) 9>"$SHARED/lock"
}

docker_up() {
  if [[ $EUID -ne 0 ]]; then
    docker_answers && return 0
    say "no Docker daemon answers, and only root can start one: run as root, or start Docker"
    return 1
  fi
  with_shared_lock shared_docker_up
}

shared_docker_up() {
  printf '%s\n' "$OWNER" >"$SHARED/users/$(basename "$STATE")"
  if docker_answers; then
    return 0
  fi
  stop_shared_dockerd
  local legacy=$SHARED/legacy
  mkdir -p "$legacy"
  local tool
  for tool in iptables ip6tables; do
    [[ -x /usr/sbin/$tool-legacy ]] && ln -sf "/usr/sbin/$tool-legacy" "$legacy/$tool"
  done
  try_dockerd "$PATH" ||
    { [[ -e $legacy/iptables ]] && try_dockerd "$legacy:$PATH"; } ||
    try_dockerd "$PATH" --iptables=false --ip6tables=false ||
    try_dockerd "$PATH" --iptables=false --ip6tables=false --bridge=none ||
    { cp "$SHARED/dockerd.log" "$STATE/" 2>/dev/null || true
      rm -f "$SHARED/users/$(basename "$STATE")"
      say "dockerd does not start; its last words, all in $STATE/dockerd.log:"
      tail -n 5 "$SHARED/dockerd.log" >&2
      return 1; }
}

# try_dockerd PATH FLAG... starts the daemon and waits until it answers or dies.
try_dockerd() {
  local path=$1
  shift
  mkdir -p "$SHARED_DATA"
  rm -f /var/run/docker.pid
  [[ -e /sys/class/net/docker0 ]] || : >"$SHARED/made-bridge"
  # 9 is the lock: the daemon must not hold it.
  PATH=$path setsid dockerd --data-root "$SHARED_DATA/docker" "$@" \
    </dev/null >>"$SHARED/dockerd.log" 2>&1 9>&- &
  local pid=$!
  printf '%s\n' "$pid" >"$SHARED/dockerd.pid"
  local i
  for ((i = 0; i < 300; i++)); do
    if docker_answers; then
      [[ $# -eq 0 ]] || say "dockerd runs with $*"
      return 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  stop_shared_dockerd
  return 1
}

# stop_shared_dockerd ends the daemon that try_dockerd started, if it is still that one.
stop_shared_dockerd() {
  local pid
  pid=$(cat "$SHARED/dockerd.pid" 2>/dev/null) || return 0
  rm -f "$SHARED/dockerd.pid"
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] || return 0
  stop_pid "$pid" 30
  if [[ -e $SHARED/made-bridge ]]; then
    ip link delete docker0 2>/dev/null || true
    rm -f "$SHARED/made-bridge"
  fi
}

docker_down() {
  [[ -d $SHARED/users && -w $SHARED/users ]] || return 0
  with_shared_lock shared_docker_down
}

shared_docker_down() {
  rm -f "$SHARED/users/$(basename "$STATE")"
  local lease owner
  for lease in "$SHARED"/users/*; do
    [[ -e $lease ]] || continue
    owner=$(cat "$lease")
    # "-" is a session by hand, which ends with its own "down".
    if [[ $owner == - ]] || kill -0 "$owner" 2>/dev/null; then
      return 0
    fi
    rm -f "$lease"
  done
  if [[ -e $SHARED/made-image ]]; then
    docker rmi "$TEST_IMAGE" >/dev/null 2>&1 || true
    rm -f "$SHARED/made-image"
  fi
  [[ -e $SHARED/dockerd.pid ]] || return 0
  stop_shared_dockerd
  cp "$SHARED/dockerd.log" "$STATE/" 2>/dev/null || true
  rm -rf "${SHARED:?}/dockerd.log" "${SHARED:?}/legacy" "${SHARED_DATA:?}"
}

# make_image builds the test image from the host's busybox: no network, no base image.
make_image() {
  docker image inspect "$TEST_IMAGE" >/dev/null 2>&1 && return 0
  local root=$STATE/image applet
  mkdir -p "$root"/{bin,etc,tmp,root,home}
  chmod 1777 "$root/tmp"
  cp "$(static_busybox)" "$root/bin/busybox"
  for applet in $("$root/bin/busybox" --list); do
    [[ $applet == busybox ]] || ln -sf busybox "$root/bin/$applet"
  done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  tar -C "$root" --owner=0 --group=0 -c . |
    docker import -c 'CMD ["sh"]' -c 'ENV PATH=/bin' - "$TEST_IMAGE" >/dev/null
  rm -rf "$root"
  # The last run takes it away. A plain user, who cannot note that, leaves it.
  [[ ! -w $SHARED ]] || : >"$SHARED/made-image"
}
