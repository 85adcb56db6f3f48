"""What a role sees of the tables and actions, as a GraphQL schema."""
