"""The files of a database: rows, write log, lock. Nothing here knows what a record means."""
