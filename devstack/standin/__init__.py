"""A stand-in for Hasura graphql-engine v2, for development only; README.md says what it covers."""
