#!/bin/sh
# Prints what TFLite's benchmark_model prints, after doing what the first line of its --graph says.
delegate="Created TensorFlow Lite XNNPACK delegate for CPU."
for flag in "$@"; do
    case $flag in
    --help) echo "usage: --graph=FILE" && exit 1 ;;
    --graph=*) read -r order <"${flag#--graph=}" ;;
    --use_gpu=true) delegate="Explicitly applied GPU delegate, and the model graph will be completely executed." ;;
    esac
done
case $order in
crash) kill -SEGV $$ ;;
oom) kill -KILL $$ ;;
fails) echo "INFO: STARTING!" && echo "ERROR: Failed to load the model: op version 12 is unknown" >&2 && exit 1 ;;
hangs) exec sleep 6174 ;;
partly) delegate="Explicitly applied GPU delegate, and the model graph will be partially executed." ;;
refuses) delegate="Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate." ;;
odd) echo "count=lots" && exit 0 ;;
esac
echo "INFO: $delegate"
echo "INFO: count=5 first=30 curr=21 min=20 max=30 avg=22.5 std=4 p5=20 median=21 p95=30"
echo
echo "INFO: count=221 first=21 curr=20 min=19 max=25 avg=20.4 std=1 p5=20 median=20 p95=22"
echo
echo "INFO: Inference timings in us: Init: 900, First inference: 30, Warmup (avg): 22.5, Inference (avg): 20.4"
