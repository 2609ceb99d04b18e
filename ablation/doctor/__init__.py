"""Command: check this machine, the run folders and the cluster, and say what to do about what is amiss."""
