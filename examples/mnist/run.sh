#!/usr/bin/env bash
# "Is this digit a 0?" as a training job of SageMaker, five seeds with its notebook's hyperparameters and five with
# fmkit's own defaults, each judged on the 10,000 test digits.
#
#     examples/mnist/run.sh IDX_FOLDER [FOLDER]      (FOLDER: the job's tree, default mnist)
#
# `train` is the container's entry point; --root puts the tree elsewhere than /opt/ml. SEEDS="7 8" takes other seeds.
set -euo pipefail
export LC_ALL=C # decimal points, whatever the language
idx=${1:?usage: examples/mnist/run.sh IDX_FOLDER [FOLDER]}
root=${2:-mnist}
required='"predictor_type": "binary_classifier", "feature_dim": "784", "num_factors": "10"'
notebook='"mini_batch_size": "200", "epochs": "1"'

job() { # the name of the row, a seed, more hyperparameters: a line of the table
    printf '{%s, "seed": "%s", %s}\n' "$required" "$2" "$3" > "$root/input/config/hyperparameters.json"
    train --root "$root" > "$root/log" 2>&1 || { cat "$root/log" >&2; exit 1; }
    fm eval "$root/model/model.fm" "$root/input/data/test" > "$root/metrics"
    row "$1" "$2" "$(value accuracy)" "$(value f1)"
}

value() { # of a metric that `fm eval` printed, to four places
    awk -F ': ' -v name="$1" '$1 == name { printf "%.4f", $2 }' "$root/metrics"
}

row() {
    printf '%-18s  %-4s  %-8s  %s\n' "$@"
}

mkdir -p "$root/input/config"
python "$(dirname "$0")/prepare.py" "$idx" "$root/input/data"
row hyperparameters seed accuracy f1
row published - 0.9806 0.907
for seed in ${SEEDS:-0 1 2 3 4}; do
    job "the notebook's" "$seed" "$notebook"
done
for seed in ${SEEDS:-0 1 2 3 4}; do
    job "fmkit's defaults" "$seed" '"preset": "native"'
done
