"""HTTP for agents of mixkit: $http_do behind the one egress check."""
