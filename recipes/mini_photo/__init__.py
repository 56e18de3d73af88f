"""Recipe of a small photo CLIP that knows Tiny-ImageNet and nothing else."""
