#!/bin/sh
# Sets up Vault or OpenBao for the service: mounts, one policy and one login for each kind of process, database users.
# For whoever administers the vault, logged in with $CLI. Safe to repeat; changes no secret.
#
#   SLUG             the service's name, first part of every path
#   CLI              `bao` (default) or `vault`
#   PG_URL           postgresql://{{username}}:{{password}}@HOST:5432/DATABASE?sslmode=verify-full, as it stands: the vault
#                    fills in the braces. Without it there will be no database users
#   PG_PASSWORD_FILE the password of the database role DATABASE_vault; the vault replaces it at once by its own
#   K8S_HOST         the Kubernetes API, such as https://10.0.0.1:443. Without it there will be no Kubernetes login
#   K8S_NAMESPACE    where the pods run; their service accounts are SLUG-api, SLUG-worker, SLUG-inference
#   K8S_CA_FILE      the API's CA, if the vault does not run in that cluster
#   DATABASE_TTL, TOKEN_TTL   how long database users and logins live (1h): far longer than the longest transaction
set -eu
: "${SLUG:?set SLUG to the name of the service}"
CLI=${CLI:-bao} DATABASE_TTL=${DATABASE_TTL:-1h} TOKEN_TTL=${TOKEN_TTL:-1h}
here=$(cd "$(dirname "$0")" && pwd)

mounted() { "$CLI" "$1" list -format=json | grep -q "\"$2/\""; }

mounted secrets secret || "$CLI" secrets enable -path=secret -version=2 kv
mounted auth approle || "$CLI" auth enable approle
for process in api worker inference; do
  sed "s/SLUG/$SLUG/g" "$here/policies/$process.hcl" | "$CLI" policy write "$SLUG-$process" -
  # A secret id is unwrapped once and kept in memory; it must outlive the process, or a fresh one be put in its file.
  "$CLI" write "auth/approle/role/$SLUG-$process" token_policies="$SLUG-$process" \
    token_ttl="$TOKEN_TTL" token_max_ttl=24h secret_id_ttl=720h
done

if [ -n "${PG_URL:-}" ]; then
  database=${PG_URL%%\?*}
  database=${database##*/}
  mounted secrets database || "$CLI" secrets enable database
  if ! "$CLI" read "database/config/$SLUG" >/dev/null 2>&1; then
    "$CLI" write "database/config/$SLUG" plugin_name=postgresql-database-plugin allowed_roles="$SLUG" \
      connection_url="$PG_URL" username="${database}_vault" password=@"${PG_PASSWORD_FILE:?set PG_PASSWORD_FILE}"
    "$CLI" write -force "database/rotate-root/$SLUG"
  fi
  "$CLI" write "database/roles/$SLUG" db_name="$SLUG" default_ttl="$DATABASE_TTL" max_ttl=24h \
    creation_statements="CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}' IN ROLE \"${database}_app\"" \
    revocation_statements="SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}'; DROP ROLE IF EXISTS \"{{name}}\""
fi

if [ -n "${K8S_HOST:-}" ]; then
  mounted auth kubernetes || "$CLI" auth enable kubernetes
  "$CLI" write auth/kubernetes/config kubernetes_host="$K8S_HOST" ${K8S_CA_FILE:+kubernetes_ca_cert=@"$K8S_CA_FILE"}
  for process in api worker inference; do
    "$CLI" write "auth/kubernetes/role/$SLUG-$process" bound_service_account_names="$SLUG-$process" \
      bound_service_account_namespaces="${K8S_NAMESPACE:?set K8S_NAMESPACE}" \
      token_policies="$SLUG-$process" token_ttl="$TOKEN_TTL" token_max_ttl=24h
  done
fi
