# What `svc serve` may read: its own secrets, and a database user. SLUG is replaced by setup.sh.
path "secret/data/SLUG/api" {
  capabilities = ["read"]
}
path "secret/metadata/SLUG/api" {
  capabilities = ["read"]
}
path "database/creds/SLUG" {
  capabilities = ["read"]
}
