# Runs a fuzzer of MIME reading over the catalogue of tricks: replay_tricks.sh mime|header PROGRAM [WORDS …]
set -eu
seeds=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
/usr/bin/python3 "$(dirname "$0")/../hostile/tricks.py" "$folder" "$seeds"
"$@" "$folder"
