"""Layer 9: why and when prompt tuning resists wrong labels; data, figures and a page.

The gradient and class-token studies compare with true labels; those never reach a tuner.
"""
