# shellcheck shell=bash
# Installs the Debian packages that tests need and this machine lacks. Sourced by env.sh.

# missing_packages prints the package for each program that is not there.
missing_packages() {
  have dockerd || printf '%s\n' docker.io
  have docker-registry || printf '%s\n' docker-registry
  [[ -n "$(static_busybox)" ]] || printf '%s\n' busybox-static
  have protoc || printf '%s\n' protobuf-compiler
  have ip || printf '%s\n' iproute2
  have curl || printf '%s\n' curl
  # The race detector needs a C compiler.
  have gcc || printf '%s\n' gcc libc6-dev
  have iptables || printf '%s\n' iptables
  # Runs the example of a driver in another language.
  have python3 || printf '%s\n' python3
  # Runs unikernel images of the target virtio; takes some 20 s to install.
  have qemu-system-x86_64 || printf '%s\n' qemu-system-x86
}

# static_busybox prints the path of a busybox that runs in an empty root.
static_busybox() {
  local path
  path=$(command -v busybox) || return 0
  # ldd fails for a static program; a dynamic one would need its libraries in the image.
  ldd "$path" >/dev/null 2>&1 || printf '%s\n' "$path"
}

apt_quiet() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" \
    </dev/null >>"$STATE/apt.log" 2>&1
}

install_packages() {
  local missing=()
  mapfile -t missing < <(missing_packages)
  # Where dockerd comes without the command line (Debian 13), that is a package of its own.
  if [[ ${#missing[@]} -eq 0 ]] && have docker; then
    return 0
  fi
  if [[ $EUID -ne 0 ]]; then
    say "not root; install these yourself: ${missing[*]:-docker-cli}"
    return 1
  fi
  have apt-get || { say "no apt-get here; install the equivalent of: ${missing[*]}"; return 1; }

  say "installing ${missing[*]:-docker-cli}"
  apt_quiet update || { say "apt-get update: see $STATE/apt.log"; return 1; }
  if [[ ${#missing[@]} -gt 0 ]]; then
    apt_quiet install --no-install-recommends "${missing[@]}" || { say "apt-get install: see $STATE/apt.log"; return 1; }
  fi
  if ! have docker; then
    apt_quiet install --no-install-recommends docker-cli || { say "apt-get install docker-cli: see $STATE/apt.log"; return 1; }
  fi
}
