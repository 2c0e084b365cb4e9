"""Optimizers, schedules and learning rates."""
