"""What tests of databases stand on: a slow plain database that is obviously right."""
