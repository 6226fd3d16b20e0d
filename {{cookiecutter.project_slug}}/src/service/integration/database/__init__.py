"""Everything that is remembered: tables, migrations, and the adapters that keep the application's promises in SQL."""
