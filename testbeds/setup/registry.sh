# shellcheck shell=bash
# Image registries on free loopback ports. Sourced by env.sh.

# The password is for loopback tests only; the hash is bcrypt, the one kind the registry takes.
readonly REGISTRY_USER=edgeio REGISTRY_PASSWORD=edgeio-test
# shellcheck disable=SC2016
readonly REGISTRY_HTPASSWD='edgeio:$2a$05$yD2GXT.ngMDhUIIqnjfTrOhE5fU4YiPGwOmcz/2RF3kDPNKX1ZUuK'

# start_registry NAME [auth] starts one and sets REGISTRY_ADDR.
start_registry() {
  local name=$1 auth=${2:-} dir=$STATE/$1
  mkdir -p "$dir/data"
  {
    printf 'version: 0.1\nlog: {level: info}\n'
    printf 'storage: {filesystem: {rootdirectory: %s/data}, delete: {enabled: true}}\n' "$dir"
    printf 'http: {addr: "127.0.0.1:0"}\n'
    if [[ -n $auth ]]; then
      printf '%s\n' "$REGISTRY_HTPASSWD" >"$dir/htpasswd"
      printf 'auth: {htpasswd: {realm: edgeio-test, path: %s/htpasswd}}\n' "$dir"
    fi
  } >"$dir/config.yml"
  setsid docker-registry serve "$dir/config.yml" </dev/null >"$STATE/$name.log" 2>&1 &
  local pid=$!
  printf '%s\n' "$pid" >"$dir/pid"
  REGISTRY_ADDR=
  local i
  for ((i = 0; i < 100; i++)); do
    # It takes a free port and tells which in its log.
    REGISTRY_ADDR=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$STATE/$name.log" | head -n 1)
    [[ -n $REGISTRY_ADDR ]] && return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  say "docker-registry does not start: see $STATE/$name.log"
  return 1
}

stop_registry() {
  local pid
  pid=$(cat "$STATE/$1/pid" 2>/dev/null) || return 0
  rm -f "$STATE/$1/pid"
  [[ $(cat "/proc/$pid/comm" 2>/dev/null) == docker-registry ]] || return 0
  stop_pid "$pid" 5
}

# push_image ADDR [login] puts the test image into a registry.
push_image() {
  local target=$1/edgeio/busybox:1 config=$STATE/docker-cli
  mkdir -p "$config"
  if [[ -n ${2:-} ]]; then
    printf '%s' "$REGISTRY_PASSWORD" |
      docker --config "$config" login -u "$REGISTRY_USER" --password-stdin "$1" >/dev/null 2>>"$STATE/push.log" ||
      { say "docker login $1: see $STATE/push.log"; return 1; }
  fi
  docker tag "$TEST_IMAGE" "$target"
  docker --config "$config" push -q "$target" >>"$STATE/push.log" 2>&1 ||
    { say "docker push $target: see $STATE/push.log"; return 1; }
  docker rmi "$target" >/dev/null
}
