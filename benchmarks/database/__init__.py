"""What bench_db.py compares: the records, and each database behind one small face."""
