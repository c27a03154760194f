#!/usr/bin/env bash
# Put a backup back: into the empty databases of a new server, and into the store that ENTROPICE_HOME names.
#   POSTGRES_HOST=… POSTGRES_PORT=… POSTGRES_USER=… PGPASSWORD=… ENTROPICE_HOME=… deployment/restore.sh FOLDER
set -euo pipefail
folder=${1:?name the folder of the backup}
for database in dagster mlflow; do
  pg_restore --host="$POSTGRES_HOST" --port="${POSTGRES_PORT:-5432}" --username="$POSTGRES_USER" --no-password \
    --exit-on-error --clean --if-exists --dbname="$database" "$folder/$database.dump"
done
"${ENTROPICE:-entropice}" restore "$folder/store"
echo "restored from $folder"
