"""Hashes, signatures, encryption and JWTs for agents of mixkit."""
