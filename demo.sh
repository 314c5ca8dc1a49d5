#!/usr/bin/env bash
# The main job on real photos: make demo, or make demo SAMPLE=FOLDER for one's own.
set -euo pipefail
export FAMILIA_WORKSPACE="${FAMILIA_WORKSPACE:-demo-workspace}"
photos="${SAMPLE:-$FAMILIA_WORKSPACE/stamps}"

step() {
  printf '\n$ %s\n' "$*"
  "$@"
}

mkdir -p "$FAMILIA_WORKSPACE"
if [ -z "${SAMPLE:-}" ]; then
  step cli sample stamps "$photos" || {
    echo "Or run the demo on your own photos: make demo SAMPLE=FOLDER (a folder of class folders)."
    exit 1
  }
fi
step cli embed "$photos"
step cli split --test 0.2
step cli inspect
step cli fit --head all
step cli fit --head logreg --balance smote
step cli leaderboard
step cli evaluate
step cli report -o "$FAMILIA_WORKSPACE/report.html"
one="$(find -L "$photos" -type f \( -iname '*.png' -o -iname '*.jpg' -o -iname '*.jpeg' \) | sort | sed -n 1p)"
step cli predict "$one" --top 3
step cli search "$one" --k 5 --gallery "$FAMILIA_WORKSPACE/alike.html"
cat > "$FAMILIA_WORKSPACE/grid.toml" <<'TOML'
heads = ["logreg", "knn"]
balance = ["none", "smote"]
photos = ["50%", "all"]
TOML
step cli sweep "$FAMILIA_WORKSPACE/grid.toml"
step cli sweep show grid
printf '\nAll of it is in %s. Look at report.html, inspect/inspect.html,\nalike.html, runs/*/test/ and sweeps/grid/ there.\n' "$FAMILIA_WORKSPACE"
