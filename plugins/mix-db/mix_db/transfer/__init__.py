"""Import and export: records between a database and files in NDJSON, JSON, MessagePack, CSV and Parquet.

docs/import-export.md says what each format holds and how an import is resumed.
"""
