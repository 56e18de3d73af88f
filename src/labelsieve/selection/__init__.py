"""Layer 4: rules that tell clean from noisy labels; pure functions of arrays."""
