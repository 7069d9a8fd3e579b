#!/usr/bin/env bash
# Runs the commands of documents, with small budgets, in a folder that has what they speak of (a plan, a strategy, a
# deployment's settings), and fails at the first that the program refuses.
#   scripts/check_documents.sh [--all] [--list] PROGRAM DOCUMENT...
#     PROGRAM    a built shardscout
#     --all      also what takes long: live runs, whole suites, simulated searches, calibration (with SHARDSCOUT_DATA)
#     --list     only prints what would be run
# A command is an indented line, a line of a ```sh block or a span in backquotes that begins with shardscout or a path to
# it; "...", [options] and FOLDER and the like are filled in as below. What builds or tests (cmake, ./test.sh) is run by
# whoever runs this, and is known by name: another program than these is an error.
set -euo pipefail

all=no
list=no
while [[ ${1:-} == --* ]]; do
  case $1 in
    --all) all=yes ;;
    --list) list=yes ;;
    *) echo "unknown option $1" >&2; exit 2 ;;
  esac
  shift
done
program=$(realpath "$1")
shift
repository=$(cd "$(dirname "$0")/.." && pwd)

# The commands of a document, one a line: "LINE<tab>COMMAND". Lines that end with \ are joined; what follows four blanks
# or a # is a remark. Of a block, only lines that begin with a program's name or a variable are commands: the others show
# what was printed.
commands_of() {
  awk '
    function emit(line, text) {
      sub(/^\$ /, "", text)
      # Commands of a list are set in a column: fewer than seven blanks after their name are no remark.
      head = ""
      if (match(text, /^(build\/)?shardscout +[a-z-]+ ? ? ? ? ? ?[^ ]/)) {
        head = substr(text, 1, RLENGTH); text = substr(text, RLENGTH + 1)
      }
      sub(/(    +| +#).*$/, "", text)
      text = head text
      sub(/ +$/, "", text)
      if (text != "") print line "\t" text
    }
    function starts(text) {
      return text ~ /^(\$ )?([A-Z_]+=[^ ]+ )*((build[a-z-]*\/|scripts\/|\.\/)[a-z_.]+|shardscout|cmake|ctest|cpack|mpirun|torchrun|find_package|apt|apt-get|man|pkg-config|g\+\+|cp|git|curl|nvidia-smi|tensorboard|vllm|sbatch|kubectl)( |$)/
    }
    /^```/ { fenced = !fenced; shell = fenced && $0 ~ /^```(sh|bash|console)/; next }
    continued != "" {
      text = $0; sub(/^ +/, "", text)
      more = text ~ /\\$/; sub(/ *\\$/, "", text)
      continued = continued " " text
      if (!more) { emit(at, continued); continued = "" }
      next
    }
    (!fenced && /^    [^ ]/) || shell {
      text = $0; if (!fenced) sub(/^    /, "", text)
      if (!starts(text)) next
      at = NR
      if (text ~ /\\$/) { sub(/ *\\$/, "", text); continued = text; next }
      emit(at, text)
      next
    }
    !fenced {
      rest = $0
      while (match(rest, /`(build\/)?shardscout [a-z-]+ [^`]+`/)) {
        print NR "\t" substr(rest, RSTART + 1, RLENGTH - 2)
        rest = substr(rest, RSTART + RLENGTH)
      }
    }' "$1"
}

problem="--model llama-3.1-8b --cluster h100-sxm --devices 8 --workload decode-chat"

# What a document leaves to its reader, filled in; empty for what is not to be run.
filled_in() {
  local text=$1 word
  # [--lower] is run; [--csv OUT.csv] is not, since its value is anybody's.
  text=$(sed -E 's/ \[[^]]*[A-Z][A-Z][^]]*\]//g; s/\[([^]]*)\]/\1/g' <<<"$text")
  text=${text//--model .../--model llama-3.1-8b}
  text=${text//--cluster .../--cluster h100-sxm --devices 8}
  text=${text//--workload .../--workload decode-chat}
  if [[ " $text " == *" ... "* ]]; then
    local rest=$problem option
    for option in --model --cluster --workload; do
      if [[ $text == *"$option "* ]]; then rest=$(sed -E "s/$option [^ ]+//" <<<"$rest"); fi
    done
    text=${text/ .../ $rest}
  fi
  text=$(sed -E "s/ FILE\.\.\./ plan.json/; s/--workload W( |$)/--workload docs\/chat-poisson.json\1/; s/ (DIR|FOLDER)( |$)/ folder\2/" \
    <<<"$text")
  text=${text//--data folder/--data ${SHARDSCOUT_DATA:-}/data}
  # Budgets that take a moment.
  text=$(sed -E 's/--budget [0-9]+/--budget 64/; s/--seeds [0-9]+/--seeds 1/; s/--fingerprint [0-9]+/--fingerprint 1/' <<<"$text")
  case $text in
    *"shardscout search "* | *"shardscout compare "* | *"shardscout divide "*)
      if [[ $text != *--budget* ]]; then text=$(sed -E 's/(shardscout +(search|compare|divide))/\1 --budget 64/' <<<"$text"); fi
      ;;
  esac
  if [[ $text == *"--suite "* ]]; then text+=" --optimum-time-limit 1"; fi
  echo "$text"
}

takes_long() {
  case $1 in
    *"shardscout live "* | *"--evaluator live"* | mpirun* | *"--suite standard"* | *"shardscout divide "* | \
      *"shardscout calibrate "* | *"--evaluator simulator"* | *chat-poisson* | *"shardscout report "* | *"--report "*) return 0 ;;
  esac
  return 1
}

# Why a command is not run here, or nothing.
left_to_others() {
  case $1 in
    ./test.sh* | ./quickstart.sh* | scripts/* | cmake* | ctest* | cpack*) echo "builds or tests: run by itself" ;;
    *build*/[a-z]*_tests* | build*/experiments/*) echo "a test or an experiment: run by itself" ;;
    torchrun* | tensorboard* | vllm* | sbatch* | kubectl* | nvidia-smi*) echo "another's program, which is not here" ;;
    apt* | git* | curl* | man* | pkg-config* | g++* | cp*) echo "the system's" ;;
    *"shardscout calibrate "*) if [ -z "${SHARDSCOUT_DATA:-}" ]; then echo "needs SHARDSCOUT_DATA"; fi ;;
    mpirun*) if ! command -v mpirun >/dev/null; then echo "no mpirun here"; fi ;;
  esac
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PATH="$(dirname "$program"):$PATH"
# Processes of one machine may be more than its cores.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

furnish() {
  mkdir -p "$1"
  cd "$1"
  ln -s "$(dirname "$program")" build
  ln -s "$repository/docs" "$repository/configs" .
  mkdir folder
  # shellcheck disable=SC2086
  shardscout search $problem --searcher annealing --budget 200 --quiet --for sglang --out plan.json >/dev/null
  cp plan.json decode.json
  # shellcheck disable=SC2086
  shardscout search ${problem/decode-chat/prefill-chat} --searcher annealing --budget 200 --quiet --out prefill.json >/dev/null
  shardscout evaluate plan.json --json --quiet >evaluated.json || true
  shardscout export plan.json --to sglang --lower --out . >/dev/null
  mv sglang.yaml deployment.yaml
  cp deployment.yaml mine.yaml
  cp configs/clusters/h100-sxm.json my-cluster.json
  printf '\tGPU0\tGPU1\nGPU0\t X \tNV18\nGPU1\tNV18\t X \n' >topo.txt
  # The strategy of the plan's only pool.
  awk '/"strategy": \{/ { inside = 1; depth = 0; print "{"; depth = 1; next }
       inside { line = $0; sub(/^      /, "", line); depth += gsub(/\{/, "{", line) - gsub(/\}/, "}", line)
                if (depth == 0) { print "}"; exit }; print line }' plan.json >s.json
  # What runs for real must fit here.
  if [ "$(basename "$1")" = live ]; then
    shardscout search --model tiny-moe --cluster localhost-cpu --devices 4 --workload decode-tiny --searcher annealing \
      --budget 50 --quiet --out plan.json >/dev/null
  fi
}

failed=0
for document in "$@"; do
  path=$(realpath "$document")
  folder=$scratch/$(basename "$document" .md)
  if [ "$list" = no ]; then furnish "$folder" >/dev/null; fi
  ran=0
  while IFS=$'\t' read -r line text; do
    where=$(basename "$document"):$line
    reason=$(left_to_others "$text")
    if [ -n "$reason" ]; then
      echo "$where: left out ($reason): $text"
      continue
    fi
    command=$(filled_in "$text")
    if [ "$all" = no ] && takes_long "$command"; then
      echo "$where: only with --all: $text"
      continue
    fi
    echo "$where: $command"
    if [ "$list" = yes ]; then continue; fi
    code=0
    (cd "$folder" && bash -o pipefail -c "$command" >out.txt 2>err.txt </dev/null) || code=$?
    ran=$((ran + 1))
    # 3: with so small a budget nothing feasible need be found.
    if [ "$code" -ne 0 ] && [ "$code" -ne 3 ]; then
      echo "$where: exit code $code"
      cat "$folder/err.txt"
      failed=1
    fi
  done < <(commands_of "$path")
  cd "$repository"
  echo "$(basename "$document"): $ran commands run"
done
exit "$failed"
