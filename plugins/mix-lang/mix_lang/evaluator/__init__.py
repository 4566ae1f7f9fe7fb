"""The reference evaluator: what a program means, as plainly as it can be said."""
