#!/usr/bin/env bash
# The demo: root, cluster and agent on this machine, and jobs on them.
#   demo.sh start   starts it all, deploys, shows, and leaves it running
#   demo.sh stop    stops the jobs and all of it, and removes what it made
set -euo pipefail
cd "$(dirname "$0")/../.."

DIR=${EDGEIO_DEMO_DIR:-${TMPDIR:-/tmp}/edgeio-demo-$(id -u)}
IMAGE=edgeio-demo/hello:1
export EDGECTL_CONFIG=$DIR/edgectl.yaml

bold() { if [[ -t 1 ]]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
docker_answers() { command -v docker >/dev/null && timeout 3 docker version >/dev/null 2>&1; }

pid() {
  local p
  p=$(cat "$DIR/pid" 2>/dev/null) && [[ $(tr '\0' ' ' <"/proc/$p/cmdline" 2>/dev/null) == *"edgecontrol dev"*"$DIR"* ]] && echo "$p"
}

free_port() {
  local p
  for ((p = 18080; p < 18180; p++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || { echo "$p"; return; }
  done
  echo "demo: no free port from 18080 to 18179" >&2
  return 1
}

# Deletes the demo's folder, and nothing that this script did not make:
# EDGEIO_DEMO_DIR may name anything.
remove_dir() {
  if [[ -e $DIR && ! -e $DIR/.edgeio-demo ]]; then
    echo "demo: $DIR exists and is not the demo's; remove it, or set EDGEIO_DEMO_DIR to a folder that does not exist" >&2
    return 1
  fi
  rm -rf "$DIR"
}

start() {
  if pid >/dev/null; then
    echo "The demo runs already. Stop it with: make demo-stop" >&2
    exit 1
  fi
  remove_dir
  mkdir -p "$(dirname "$DIR")"
  mkdir "$DIR" # fails if another user of this machine was faster
  touch "$DIR/.edgeio-demo"
  trap 'status=$?; if [[ $status -ne 0 ]]; then tail -n 20 "$DIR/log" >&2; stop >/dev/null 2>&1; fi' EXIT
  CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$DIR/hello" ./packaging/demo/hello
  # A node may run native jobs as another user than the one who builds.
  chmod 755 "$DIR" "$DIR/hello"

  setsid bin/edgecontrol dev --data-dir "$DIR" --stop-jobs >"$DIR/out" 2>"$DIR/log" </dev/null &
  echo $! >"$DIR/pid"
  for ((i = 0; i < 300; i++)); do
    grep -q '^ready' "$DIR/out" && break
    pid >/dev/null || exit 1
    sleep 0.1
  done
  grep -q '^ready' "$DIR/out" || exit 1

  local port
  port=$(free_port)
  cat >"$DIR/hello-native.yaml" <<EOF
api_version: v0.1
job_name: hello-native
image: $DIR/hello
image_runtime: native
env:
    HELLO_RUNTIME: a native process
ports:
    - name: http
      port: $port
EOF
  bold "Deploying $DIR/hello-native.yaml"
  cat "$DIR/hello-native.yaml"
  bin/edgectl deploy "$DIR/hello-native.yaml" --wait --timeout 30s

  if docker_answers; then
    tar -c -C "$DIR" hello | docker import --change 'ENTRYPOINT ["/hello"]' --change 'EXPOSE 8080' - "$IMAGE" >/dev/null
    sed -e "s/^job_name:.*/job_name: hello-docker/" -e "s|^image:.*|image: $IMAGE|" \
      -e "s/^image_runtime:.*/image_runtime: docker/" -e "s/a native process/a Docker container/" \
      -e "s/port: $port/port: 8080/" "$DIR/hello-native.yaml" >"$DIR/hello-docker.yaml"
    bold "Deploying $DIR/hello-docker.yaml"
    bin/edgectl deploy "$DIR/hello-docker.yaml" --wait --timeout 60s
  else
    bold "No Docker daemon answers here, so the demo does without a Docker job."
  fi

  bold "edgectl job ls"
  bin/edgectl job ls
  local job url
  for job in hello-native hello-docker; do
    url=$(bin/edgectl job show "$job" -o json 2>/dev/null | sed -n 's/.*"host_port": *\([0-9]*\).*/\1/p' | head -n 1) || true
    [[ -n $url ]] || continue
    bold "curl http://127.0.0.1:$url"
    curl -s --retry 20 --retry-delay 0 --retry-connrefused --max-time 5 "http://127.0.0.1:$url" 2>/dev/null || echo "(no curl here, or no answer: open it in a browser)"
  done
  bold "It keeps running. To look at it:"
  cat <<EOF
  export EDGECTL_CONFIG=$EDGECTL_CONFIG
  bin/edgectl node ls
  bin/edgectl job show hello-native
  bin/edgectl job logs -f hello-native
  bin/edgectl job events hello-native
  bin/edgectl deploy packaging/samples/batch-native.yaml --wait=COMPLETED
EOF
  bold "To stop it and remove all it made:"
  echo "  make demo-stop"
}

stop() {
  local p
  if p=$(pid); then
    kill "$p"
    for ((i = 0; i < 400; i++)); do
      kill -0 "$p" 2>/dev/null || break
      sleep 0.1
    done
    if kill -0 "$p" 2>/dev/null; then
      echo "demo: edgecontrol (pid $p) does not stop; see $DIR/log" >&2
      return 1
    fi
  fi
  if docker_answers; then
    docker image rm "$IMAGE" >/dev/null 2>&1 || true
  fi
  remove_dir
  echo "The demo is stopped; nothing is left of it."
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *)
    echo "usage: $0 start|stop" >&2
    exit 2
    ;;
esac
