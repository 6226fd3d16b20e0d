"""Feature flags: OpenFeature over flagd's rules, kept in the database as append-only revisions."""
