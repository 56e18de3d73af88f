"""Layer 10: one file a verb; each parses, calls one function below, and prints."""
