"""What Hasura sends and expects (protocol), and what we ask of it (client)."""
