"""The application decides: contracts, policy, fallbacks and use cases. It knows no framework, driver or vendor."""
