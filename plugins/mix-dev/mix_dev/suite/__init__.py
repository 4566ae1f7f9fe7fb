"""Tests in modules of Mix: found, compiled, run, told."""
