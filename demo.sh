#!/usr/bin/env bash
# Two models of real data from start to end, each command shown before it runs; `make demo` calls it.
set -euo pipefail
cd "$(dirname "$0")"
export LC_ALL=C # decimal points, whatever the language

say() { printf '\n%s\n' "$*"; }

run() { # show a command as it would be typed, then run it
    printf '\n$ %s\n' "$1"
    eval "$1"
}

metric() { # its value in what `fm eval` printed
    sed -n "s/^$1: //p" "$2"
}

require() { # an awk condition that must hold
    awk "BEGIN { exit !($1) }" || { say "This is not what the demo should reach: expected $1."; exit 1; }
}

rm -rf demo
mkdir demo

say '=== 1. Is this handwritten digit a 0?

data/digits.train.csv holds a digit a line: what it is (the column "label"), then its 8 x 8 pixels. First it is
converted into recordIO-protobuf, which loads fast and is what Amazon SageMaker reads. A 0 becomes label 1, every
other digit label 0.'
for part in train test; do
    run "fm convert data/digits.$part.csv -o demo/digits.$part.rec --label-column label --positive-label 0"
done

say 'Now train a binary classifier. The digits of the test file are scored after each epoch, never trained on.'
run 'fm train demo/digits.train.rec --test demo/digits.test.rec \
    --predictor-type binary_classifier --num-factors 10 -o demo/digits.fm'

say 'The model file is all that is needed from here on. Its metrics on the test digits:'
run 'fm eval demo/digits.fm demo/digits.test.rec | tee demo/digits.metrics'

say 'And a score for each of them, the probability of a 0. Beside the first ten stands what the digit is:'
run 'fm predict demo/digits.fm demo/digits.test.rec -o demo/digits.scores'
run "cut -d, -f1 data/digits.test.csv | tail -n +2 | paste - demo/digits.scores | sed -n '1,10p'"

say '=== 2. How will this guest rate that restaurant?

data/restaurants.train.csv holds ratings from 0 to 2 by guests of restaurants. CSV can be trained on directly: every
userID, as it is text, and every placeID, a number that names a thing, is a feature. The two partial ratings are
ignored, as they would give the answer away. Training stops once 2 epochs in a row did no better on the test file.'
run 'fm train data/restaurants.train.csv --test data/restaurants.test.csv \
    --label-column rating --categorical placeID --ignore food_rating,service_rating \
    --predictor-type regressor --early-stopping-patience 2 -o demo/restaurants.fm'

say 'The model knows its columns by name and how they are read, so CSV needs no options now:'
run 'fm eval demo/restaurants.fm data/restaurants.test.csv | tee demo/restaurants.metrics'
run 'fm predict demo/restaurants.fm data/restaurants.test.csv --to csv -o demo/restaurants.csv'
run 'head -4 demo/restaurants.csv'

say 'What has it learned? The features have the names of columns and values.'
run 'fm inspect demo/restaurants.fm --top 3'

accuracy=$(metric accuracy demo/digits.metrics)
rmse=$(metric rmse demo/restaurants.metrics)
guess=$(awk -F, 'FNR == 1 { next } NR == FNR { sum += $3; n++; next } { squares += ($3 - sum / n) ^ 2; m++ }
                 END { print sqrt(squares / m) }' data/restaurants.train.csv data/restaurants.test.csv)
require "$accuracy > 0.98"
require "$rmse < 0.9 * $guess"
say "$(printf 'Done. %.1f %% of the test digits are classified correctly. Ratings are missed by %.3f (root mean square); always
guessing the mean rating misses by %.3f. Models and scores are in demo/.' \
    "$(awk "BEGIN { print 100 * $accuracy }")" "$rmse" "$guess")"
