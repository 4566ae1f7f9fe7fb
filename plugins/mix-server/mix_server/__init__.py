"""The agent server of mixkit, on Falcon ASGI."""
