//! End to end: learning, probes, evaluation, clusters and maps of a catalogue through `mert-search`.
