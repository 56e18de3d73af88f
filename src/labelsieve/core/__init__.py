"""Layer 0: errors, validation, devices, seeds, registries, files. Imports nothing above it."""
