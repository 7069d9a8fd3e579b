# Sourced by the scripts that work in a Debian root of their own.

# make_debian_root SUITE FOLDER: a minimal root, unless FOLDER holds one, that reaches the mirror as this host does.
# Needs root and debootstrap; ends the script, saying so, without them.
make_debian_root() {
  local suite=$1 root=$2 mirror
  if [ "$(id -u)" -ne 0 ]; then
    echo "A chroot needs root: run this with sudo" >&2
    exit 2
  fi
  if ! command -v debootstrap >/dev/null; then
    echo "debootstrap is missing: apt-get install debootstrap" >&2
    exit 2
  fi
  if [ ! -e "$root/etc/debian_version" ]; then
    mirror=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)
    echo "== Making a Debian root of $suite in $root"
    debootstrap --variant=minbase "$suite" "$root" "${mirror:-http://deb.debian.org/debian}" >"$root.log" 2>&1 ||
      { echo "debootstrap failed, see $root.log" >&2; exit 2; }
    rm -f "$root.log"
  fi
  # How this host reaches its mirror (proxies, transports), where that is configured.
  grep -l Acquire /etc/apt/apt.conf.d/* | xargs -r cp -t "$root/etc/apt/apt.conf.d/"
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
}
