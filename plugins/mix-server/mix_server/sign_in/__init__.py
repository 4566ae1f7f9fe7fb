"""Third-party sign-in: users of a workspace connect accounts that they have elsewhere, by OAuth 2 or OpenID Connect."""
