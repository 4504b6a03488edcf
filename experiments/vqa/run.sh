#!/usr/bin/env bash
# Every run of this study, three seeds each, one after the other: RUNS/NAME-SEED and its log.
# The default's wall time is that of a first start: its data and compiled programs are made anew.
# experiments/vqa/run.sh RUNS
set -euo pipefail
runs=$1
mkdir -p "$runs"
run() {
  local name=$1 config=$2 seed
  shift 2
  for seed in 0 1 2; do
    test -e "$runs/$name-$seed/confusion.png" && continue
    test "$name" = default && set -- "--config.data.dir=$runs/cold/$seed/data" \
      "--config.compilation_cache=$runs/cold/$seed/compiled"
    /usr/bin/env time -f 'seconds %e\nkilobytes %M' python -m mmjax.main --config="$config" \
      --config.seed=$seed --workdir="$runs/$name-$seed" "$@" > "$runs/$name-$seed.log" 2>&1
  done
}
run default configs/vqa.py
run reference configs/vqa.py:reference
run text configs/vqa.py "--config.modalities=('text',)"
run image configs/vqa.py "--config.modalities=('image',)"
