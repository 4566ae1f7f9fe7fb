"""Who may do what: subjects, roles, grants, and where they are kept."""
