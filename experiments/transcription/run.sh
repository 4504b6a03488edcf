#!/usr/bin/env bash
# Every run of this study, one after the other: RUNS/VOICE-SEED, its log beside it.
# experiments/transcription/run.sh RUNS RECORDINGS   (where the data set was cloned)
set -euo pipefail
runs=$1
mkdir -p "$runs"
run() {
  local voice=$1 seed=$2
  test -e "$runs/$voice-$seed/curves.png" && return
  /usr/bin/env time -f 'seconds %e\nkilobytes %M' python -m mmjax.main --config=configs/speech.py \
    --config.seed="$seed" --config.data.options.new_voices="('$voice',)" \
    --config.data.options.recordings="$recordings" \
    --workdir="$runs/$voice-$seed" > "$runs/$voice-$seed.log" 2>&1
}
recordings=$2
for seed in 0 1 2; do run george "$seed"; done
for voice in jackson lucas nicolas theo yweweler; do run "$voice" 0; done
