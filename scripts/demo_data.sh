#!/bin/sh
# Prints the data set of the demo: Fashion-MNIST where it is installed, else scikit-learn's digits, saying so.
if [ -d /usr/share/datasets/fashion-mnist ]; then
    echo fashion-mnist
else
    echo "demo: Fashion-MNIST is not here (package dataset-fashion-mnist), so the demo uses scikit-learn's digits" >&2
    echo digits
fi
