# What `svc worker` may read: its own secrets, and a database user. SLUG is replaced by setup.sh.
path "secret/data/SLUG/worker" {
  capabilities = ["read"]
}
path "secret/metadata/SLUG/worker" {
  capabilities = ["read"]
}
path "database/creds/SLUG" {
  capabilities = ["read"]
}
