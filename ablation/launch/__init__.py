"""Command: start the workers that the missing runs need, in this process, on this machine or on a Slurm cluster."""
