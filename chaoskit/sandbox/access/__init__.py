"""Who may do what: identities and their tokens, and RBAC over the roles in the store."""
