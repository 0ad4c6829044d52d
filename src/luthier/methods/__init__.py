"""Training methods: which parameters learn, and which activations are computed once; one file is one method."""
