# What `svc serve-inference` may read: its own secrets, the provider's key among them. It has no database.
path "secret/data/SLUG/inference" {
  capabilities = ["read"]
}
path "secret/metadata/SLUG/inference" {
  capabilities = ["read"]
}
