#!/usr/bin/env bash
# Installs what the tests need and is missing: curl, PHP, Ruby, Node.js with npm and
# Python 3, systemd for its unit, as Debian packages (needs root), and the packages
# that the Node.js programs need. Does nothing when all are there. What cannot be installed is listed as NOT RUN, and the exit
# is 1: the tests never skip quietly.
set -u

# command:package
wanted=(curl:curl php:php-cli ruby:ruby node:nodejs npm:npm python3:python3 systemd-analyze:systemd)
here="$(dirname "$0")"
# folder:package that is there when the folder's packages are installed
modules=("$here/../sealing/node:@hpke/core" "$here/../publishing/node:@asyncapi/parser")

absent() { [ ! -d "${1%%:*}/node_modules/${1##*:}" ]; }
lacking=0
for module in "${modules[@]}"; do
  absent "$module" && lacking=1
done

missing=()
for pair in "${wanted[@]}"; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing+=("${pair##*:}")
done
[ ${#missing[@]} -eq 0 ] && [ $lacking -eq 0 ] && exit 0

[ ${#missing[@]} -eq 0 ] || echo "set-up: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if [ ${#missing[@]} -eq 0 ]; then
  :
elif command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" -eq 0 ]; then
  apt-get update -q >/dev/null 2>&1 || echo "set-up: the package lists could not be updated"
  for package in "${missing[@]}"; do
    apt-get install -q -y --no-install-recommends "$package" >/dev/null 2>&1 || echo "set-up: $package could not be installed"
  done
else
  echo "set-up: needs Debian's apt-get and root; install ${missing[*]} yourself"
fi

failed=0
for pair in "${wanted[@]}"; do
  if ! command -v "${pair%%:*}" >/dev/null 2>&1; then
    echo "NOT RUN: what needs ${pair%%:*}, because ${pair##*:} could not be installed"
    failed=1
  fi
done
for module in "${modules[@]}"; do
  if absent "$module" && ! npm ci --silent --ignore-scripts --prefix "${module%%:*}" >/dev/null 2>&1; then
    echo "NOT RUN: what needs ${module##*:} in Node.js, because npm could not install it"
    failed=1
  fi
done
exit $failed
