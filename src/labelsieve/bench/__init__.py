"""Layer 9: measuring against true labels, which exist nowhere else."""
