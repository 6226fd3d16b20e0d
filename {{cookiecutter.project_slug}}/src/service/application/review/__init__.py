"""People deciding where the service would not decide alone."""
